"""Says what a job of Slurm takes for itself, asks Slurm whether it would take such jobs and how they are, and makes what submits them."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable, Collection
from concurrent.futures import Future
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, TypeVar

from ..errors import SuiteError
from . import cluster as code
from .executor import Died

Result = TypeVar("Result")

Cluster = Literal["slurm", "local", "debug"]
"""What does the jobs: Slurm; or, to try the same way without it, processes of this machine, or this very process."""

ANSWER_SECONDS = 8.0
"""Slurm has so long to answer, or to cancel jobs."""

TIME_LIMITS = 50
"""A job that goes beyond its time limit is begun again, and goes on, so often."""

TOOLS = ("sbatch", "srun", "squeue", "scancel")

AT_WORK = {
    "READY",
    "PENDING",
    "RUNNING",
    "UNKNOWN",
    "REQUEUED",
    "REQUEUE_FED",
    "REQUEUE_HOLD",
    "RESV_DEL_HOLD",
    "COMPLETING",
    "PREEMPTED",
    "SIGNALING",
    "STAGE_OUT",
    "STOPPED",
    "SUSPENDED",
    "RESIZING",
    "QUEUED",
    "CONFIGURING",
}
"""States of a job that may yet tell something."""

NOT_LISTED = "NOT LISTED"
"""The state of a job that Slurm's controller, which answers, does not know any more, when the accounts do not say how it ended."""


@dataclass(frozen=True)
class Wanted:
    """What does the jobs, what each of them takes for itself, and where their files lie."""

    cluster: Cluster = "slurm"
    partition: str = ""
    account: str = ""
    minutes: int = 60
    cpus: int = 1
    gpus: int = 0
    memory: float = 4.0
    folder: str = "suite-jobs"

    @property
    def place(self) -> Path:
        return Path(self.folder).absolute()

    @property
    def flags(self) -> list[str]:
        """What each job takes, as options of sbatch."""
        flags = {
            "partition": self.partition,
            "account": self.account,
            "time": self.minutes,
            "cpus-per-task": self.cpus,
            "gpus-per-node": self.gpus,
            "mem": f"{int(self.memory * 1024)}MB" if self.memory else "",
        }
        return [f"--{name}={value}" for name, value in flags.items() if value]

    def parameters(self, workers: int) -> dict[str, Any]:
        """What each job takes, as submitit names it, and how many there are at once."""
        parameters = {
            "name": "suite",
            "timeout_min": self.minutes,
            "cpus_per_task": self.cpus,
            "gpus_per_node": self.gpus or None,
            "mem_gb": self.memory or None,
            "slurm_partition": self.partition or None,
            "slurm_account": self.account or None,
            "slurm_array_parallelism": workers,
            "slurm_additional_parameters": {"requeue": True},
        }
        return {name: value for name, value in parameters.items() if value is not None}

    def death(self, state: str, log: str) -> Died | None:
        """How a job died that has ended in a state, by its own fault; None where another one may do better."""
        if "timed-out too many times" in log or state.startswith("TIMEOUT"):
            return Died(f"its job went {TIME_LIMITS} times beyond {self.minutes} minutes; give jobs more, with minutes=", "timeout", log)
        if state.startswith("OUT_OF_ME"):
            return Died("Slurm ended its job, since it took more memory than it may; give jobs more, with memory=", "oom", log)
        return None


def wanted(device: str, **options: Any) -> Wanted:
    """What is asked for, a GPU for each job where it computes on one and nothing else is said.

    Raises SuiteError for what no job could have.
    """
    asked = Wanted(**options)
    if asked.minutes < 1 or asked.cpus < 1 or asked.gpus < 0 or asked.memory < 0:
        raise SuiteError(
            f"executor 'slurm': minutes={asked.minutes}, cpus={asked.cpus}, gpus={asked.gpus}, memory={asked.memory:g}: "
            "a job takes at least a minute and a CPU, and no negative number of GPUs or GiB"
        )
    return replace(asked, gpus=asked.gpus or (1 if device == "cuda" else 0))


def check(wanted: Wanted) -> None:
    """Raises SuiteError where submitit or Slurm is not there, or Slurm would refuse such jobs."""
    _submitit()
    if wanted.cluster != "slurm":
        return
    if missing := [tool for tool in TOOLS if shutil.which(tool) is None]:
        raise SuiteError(
            f"executor 'slurm': there is no {missing[0]} here; begin the run on a machine that submits jobs to Slurm, "
            "or try it without Slurm: --executor 'slurm(cluster=local)'"
        )
    command = ["sbatch", "--test-only", *wanted.flags, "--wrap", "true"]
    try:
        asked = subprocess.run(command, capture_output=True, text=True, timeout=ANSWER_SECONDS, check=False)
    except subprocess.TimeoutExpired:
        raise SuiteError(f"executor 'slurm': sbatch does not answer within {ANSWER_SECONDS:g} s; `sinfo` says how Slurm is") from None
    if asked.returncode:
        said = [line for line in asked.stderr.splitlines() if line.strip()] or [f"sbatch ended with {asked.returncode}"]
        raise SuiteError(
            f"executor 'slurm': Slurm refuses such jobs ({' '.join(wanted.flags)}): {'; '.join(said)}; change the options, `sinfo` says what there is"
        )


def _submitit() -> Any:
    try:
        import submitit
    except ModuleNotFoundError:
        raise SuiteError("executor 'slurm' needs the package submitit: pip install -c constraints.txt 'recurrent-suite[slurm]'") from None
    return submitit


def submitter(wanted: Wanted, folder: Path, workers: int) -> Any:
    """What submits jobs, which import the suite and all drop-ins as they are now, whatever is edited while they wait for their turn.

    folder: for the code, and for what submitit writes; workers: how many jobs of an array are at work at once
    """
    shipped = folder / "code"
    path = os.pathsep.join(str(shipped / name) for name in code.ship(shipped).split(os.pathsep) if name)
    imported = os.pathsep.join(filter(None, [str(shipped), os.environ.get("PYTHONPATH", "")]))
    python = shlex.join(["env", f"PYTHONPATH={imported}", f"SUITE_PATH={path}", sys.executable])
    own = {"python": python, "max_num_timeout": TIME_LIMITS, "max_pickle_size_gb": 100.0}
    named = {f"{kind}_{name}": value for kind in ("slurm", "local") for name, value in own.items()}
    executor = _submitit().AutoExecutor(folder / "jobs", cluster=wanted.cluster, **named)
    executor.update_parameters(**wanted.parameters(workers))
    return executor


def aside(ask: Callable[[], Result], then: Callable[[], object] = lambda: None) -> Future[Result]:
    """Do what may take long in a thread that nobody waits for, not even the end of this process; then: is called when it is done."""
    future: Future[Result] = Future()

    def do() -> None:
        try:
            future.set_result(ask())
        except BaseException as error:  # raised where the result is asked for
            future.set_exception(error)
        then()

    threading.Thread(target=do, name="suite slurm", daemon=True).start()
    return future


def _answer(*command: str) -> str | None:
    """What a command of Slurm's prints; None where it fails, is not there, or does not answer in time."""
    try:
        asked = subprocess.run(command, capture_output=True, text=True, timeout=ANSWER_SECONDS, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return None if asked.returncode else asked.stdout


def states(jobs: Collection[str]) -> dict[str, str]:
    """The states of jobs by their ids, asked anew: as Slurm's controller has them; of those that it has no longer, as its accounts do.

    Where the controller does not answer, and the accounts do not know a job, its state is UNKNOWN.
    """
    from submitit.slurm.slurm import SlurmInfoWatcher

    listed = _answer("squeue", "--noheader", "--array", "--states=all", f"--user={os.getuid()}", "--format=%i|%T")
    queue = dict(line.strip().split("|", 1) for line in (listed or "").splitlines() if "|" in line)
    ended = {job for job in jobs if queue.get(job, "") not in AT_WORK}
    if not ended:
        return {job: queue[job] for job in jobs}
    numbers = ",".join(sorted({job.partition("_")[0] for job in ended}))
    printed = _answer("sacct", "--parsable2", "--format=JobID,State,NodeList", f"--jobs={numbers}")
    accounts = {job: facts.get("State", "") for job, facts in SlurmInfoWatcher().read_info(printed or "").items()}

    def state(job: str) -> str:
        if listed is None:
            return accounts.get(job) or "UNKNOWN"
        if job in queue:
            return queue[job]
        return NOT_LISTED if at_work(accounts.get(job, "")) else accounts[job]  # accounts may never hear of the end of a job

    return {job: state(job) for job in jobs}


def at_work(state: str) -> bool:
    """Whether a job in a state may yet tell something."""
    return (state.upper().split() or ["UNKNOWN"])[0] in AT_WORK


def cancel(jobs: Collection[str]) -> None:
    """Have Slurm end jobs, or forget those that it has not begun; where it does not answer, they see by themselves that their run is gone."""
    if jobs:
        _answer("scancel", *jobs)


def refusal(error: BaseException) -> str:
    """What Slurm says why it takes no jobs, out of whatever submitit makes of it."""
    return "; ".join([line for line in str(error).splitlines() if "error" in line.lower()] or [str(error)])


def last_lines(file: Path, count: int = 40) -> str:
    try:
        return "\n".join(file.read_text(errors="replace").splitlines()[-count:])
    except OSError:  # a job that never began has none
        return ""
