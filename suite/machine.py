"""Says what machine and versions a result comes from, and which device to use."""

from __future__ import annotations

import contextlib
import functools
import importlib.metadata
import os
import platform
import subprocess
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

from .errors import SuiteError
from .spec import Machine

ENVIRONMENT = {
    # more than one thread changes the bits of a sum, and on busy cores costs many times the time
    "OMP_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    # MKL rounds by where a matrix lies in memory, unless told to compute alike wherever it lies
    "MKL_CBWR": "AUTO",
    # each worker compiles by itself: a pool of compilers would take the other workers' cores
    "TORCHINDUCTOR_COMPILE_THREADS": "1",
    # glibc would give large workspaces back to the kernel after each step; page faults then take half the time
    "MALLOC_MMAP_MAX_": "0",
    "MALLOC_TRIM_THRESHOLD_": "17179869184",
    # cuBLAS is deterministic only with a fixed workspace
    "CUBLAS_WORKSPACE_CONFIG": ":4096:8",
}
"""What must be set before a process that trains or times starts."""

DECIDING = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "MKL_CBWR")
"""Those of them that decide the last bits of what a CPU computes."""

PACKAGES = ("recurrent-suite", "torch", "numpy", "mlflow", "pandas", "pluggy")


def today() -> str:
    """The day by the clock of this machine, in UTC: ``2026-01-31``."""
    return datetime.now(UTC).date().isoformat()


def resolve_device(asked: str, gpus: str = "") -> str:
    """``auto`` becomes ``cuda`` where there is one, or where GPUs are named, else ``cpu``."""
    import torch

    if asked not in {"auto", "cpu", "cuda"}:
        raise SuiteError(f"--device {asked}: use auto, cpu or cuda; --devices names several GPUs")
    if gpus:
        if asked == "cpu":
            raise SuiteError(f"--device cpu: --devices {gpus} names GPUs; leave one of the two out")
        gpu_indices(gpus)
        return "cuda"
    if asked == "cpu":
        return "cpu"
    if torch.cuda.is_available():
        return "cuda"
    if asked == "cuda":
        raise SuiteError("--device cuda: torch finds no CUDA device here; use --device cpu, or see `suite doctor`")
    return "cpu"


def gpu_indices(named: str) -> tuple[int, ...]:
    """The GPUs that are named, ``cuda:0,cuda:1`` or ``all``, by their numbers among those that this process may see.

    Raises SuiteError for what names none, one that is not there or named twice, and for GPUs of more than one model.
    """
    import torch

    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    names = [f"cuda:{index}" for index in range(count)] if named.strip() == "all" else [name.strip() for name in named.split(",")]
    if not count:
        raise SuiteError(f"--devices {named}: torch finds no CUDA device here; use --device cpu, or see `suite doctor`")
    for name in names:
        kind, _, index = name.partition(":")
        if kind != "cuda" or not index.isascii() or not index.isdigit():
            raise SuiteError(f"--devices {named}: '{name}' names no GPU; write cuda:0,cuda:1, or all")
        if int(index) >= count:
            last = f"cuda:0 to cuda:{count - 1}" if count > 1 else "cuda:0 alone"
            raise SuiteError(f"--devices {named}: there is no {name}; this process may see {last} (CUDA_VISIBLE_DEVICES decides that)")
    indices = tuple(int(name.partition(":")[2]) for name in names)
    if len(set(indices)) < len(indices):
        raise SuiteError(f"--devices {named} names a GPU twice")
    models = {index: torch.cuda.get_device_name(index) for index in indices}
    if unlike := [index for index in indices if models[index] != models[indices[0]]]:
        raise SuiteError(
            f"--devices {named}: cuda:{indices[0]} is {models[indices[0]]} and cuda:{unlike[0]} is {models[unlike[0]]}, which compute other bits; "
            "name GPUs of one model, and give the others a run with another --runs folder"
        )
    return indices


def visible(index: int) -> str:
    """What CUDA_VISIBLE_DEVICES must be for a new process to see this GPU alone: among several that it lists here, the one at this place."""
    listed = [entry.strip() for entry in os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",") if entry.strip()]
    return listed[index] if index < len(listed) else str(index)


@contextlib.contextmanager
def first_of(gpus: str) -> Iterator[None]:
    """Let ``cuda`` mean the first of the GPUs that are named; nothing changes where none is."""
    if not gpus:
        yield
        return
    import torch

    with torch.cuda.device(gpu_indices(gpus)[0]):
        yield


def device_model(device: str) -> str:
    """The GPU's name, or the CPU instruction set torch computes with: results are bit-identical within one of these."""
    import torch

    if device == "cuda":
        return torch.cuda.get_device_name()
    return f"{platform.machine()} {torch.backends.cpu.get_cpu_capability()}"


@functools.cache
def cpu_model() -> str:
    """The processor's name for people, as the system gives it."""
    info = Path("/proc/cpuinfo")
    if info.is_file():
        for line in info.read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "not installed"


@functools.cache
def commit() -> str:
    """The checkout's git commit, with ``+changes`` where files differ from it; ``unknown`` outside a checkout."""
    root = Path(__file__).resolve().parents[1]
    if not (root / ".git").exists():
        return "unknown"
    try:
        head, status = (
            subprocess.run(["git", "-C", str(root), *arguments], capture_output=True, text=True, check=True).stdout.strip()
            for arguments in (["rev-parse", "HEAD"], ["status", "--porcelain", "--untracked-files=no"])
        )
    except (OSError, subprocess.CalledProcessError):  # no git, or a checkout without a commit
        return "unknown"
    return head + ("+changes" if status else "")


def check_environment() -> None:
    """Raises SuiteError where this very process would compute other bits than a worker, whose environment is set before it starts."""
    wrong = [f"{name}={ENVIRONMENT[name]}" for name in DECIDING if os.environ.get(name) != ENVIRONMENT[name]]
    if wrong:
        raise SuiteError(
            f"work in this process: set {' '.join(wrong)} before Python starts, or results differ in their last bits; `suite run --workers 0` does it"
        )


@contextlib.contextmanager
def one_thread() -> Iterator[None]:
    """Let torch compute with one thread inside: where other processes are at work, more threads wait for each other."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def memory(device: str) -> int:
    """Bytes of memory that this process may use on the device: the GPU's, or the machine's within its control group's limit."""
    if device == "cuda":
        import torch

        return torch.cuda.get_device_properties(torch.cuda.current_device()).total_memory
    physical = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") if hasattr(os, "sysconf") else 1 << 62
    try:
        limit = int(Path("/sys/fs/cgroup/memory.max").read_text(encoding="ascii"))
    except (OSError, ValueError):  # no control group, or one without a limit
        return physical
    return min(physical, limit)


def describe(device: str) -> Machine:
    """This machine and what is installed on it."""
    return Machine(
        commit=commit(),
        python=platform.python_version(),
        packages={package: version(package) for package in PACKAGES},
        system=f"{platform.system()} {platform.machine()}",
        cpu=cpu_model(),
        cores=os.cpu_count() or 1,
        device=device,
        device_model=device_model(device),
    )
