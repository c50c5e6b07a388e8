"""Reads how much energy a device has used, where it tells."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from ..errors import contained

POWERCAP = Path("/sys/class/powercap")
"""Where Linux shows the counters of processors, as files."""

PACKAGE = "package-"
"""How the counter of a whole processor begins its name; those of its cores and of memory are parts of it or stand beside it."""

CPU_SECONDS, CUDA_SECONDS = 0.2, 1.0
"""A call is repeated for so long: a processor counts every millisecond, a GPU about ten times a second."""


@dataclass(frozen=True)
class Counter:
    """A count of joules that only grows, until it begins again at its end.

    read: the joules so far; end: how many joules it counts before it is at 0 again; None where it never is
    """

    read: Callable[[], float]
    end: float | None = None

    def between(self, before: float, after: float) -> float:
        """The joules from one reading to a later one."""
        return after - before if after >= before or self.end is None else after - before + self.end


def joules(call: Callable[[], object], device: str) -> float | None:
    """The joules that a call takes of the device, what it takes when idle included; None where the device does not tell, or stops to.

    It is all that the processors' packages, or the GPU, used meanwhile, so that other work on the machine counts too.
    """
    counters = cuda_counters() if device == "cuda" else cpu_counters()
    before = readings(counters)
    if not before:
        return None
    count, least = 0, CUDA_SECONDS if device == "cuda" else CPU_SECONDS
    start = time.perf_counter()
    while time.perf_counter() - start < least:
        call()
        if device == "cuda":
            torch.cuda.synchronize()
        count += 1
    after = readings(counters)
    if not after:
        return None
    return sum(counter.between(*pair) for counter, *pair in zip(counters, before, after, strict=True)) / count


def readings(counters: Sequence[Counter]) -> list[float]:
    """What counters show, which are the device's own; nothing where one of them fails, whatever the driver raises."""
    values: list[float] = []
    with contained() as raised:
        values = [counter.read() for counter in counters]
    return [] if raised else values


def cpu_counters() -> list[Counter]:
    """A counter for each processor of this machine that tells and may be read, which on most systems takes the rights of root."""
    counters = []
    for folder in sorted(POWERCAP.glob("*")):
        try:
            if not (folder / "name").read_text().startswith(PACKAGE):
                continue
            end = _microjoules(folder / "max_energy_range_uj")
            _microjoules(folder / "energy_uj")
        except (OSError, ValueError):  # a folder without a counter, or one that others may not read
            continue
        counters.append(Counter(lambda file=folder / "energy_uj": _microjoules(file), end))  # type: ignore[misc]
    return counters


def _microjoules(file: Path) -> float:
    return int(file.read_text()) / 1e6


def cuda_counters() -> list[Counter]:
    """The counter of the GPU that is in use, by NVIDIA's management library; none without the package that speaks to it."""
    try:
        import pynvml
    except ImportError:
        return []
    with contained() as raised:  # no driver, or a library of before it could count
        pynvml.nvmlInit()
        gpu = pynvml.nvmlDeviceGetHandleByUUID(f"GPU-{torch.cuda.get_device_properties().uuid}")
    return [] if raised else [Counter(lambda: pynvml.nvmlDeviceGetTotalEnergyConsumption(gpu) / 1e3)]
