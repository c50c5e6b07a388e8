"""Says what came of a job, and which smaller jobs find out who among several trials is to blame."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from dataclasses import replace

from ..errors import SuiteError, writable
from ..trial import FAULTS, Outcome, Status
from . import worker
from .executor import Died, Gone


def outcomes_of(job: worker.Job, future: Future[tuple[Outcome, ...]], validated: Mapping[str, int]) -> tuple[Outcome, ...]:
    """The worker's outcomes, or why there are none.

    validated: the last step that is known to have been validated, by key; a process that died tells of no later one

    Raises Gone where the pool is, since that says nothing of the job.
    """
    try:
        return future.result()
    except Gone:
        raise
    except Died as error:
        status: Status = error.status
        reason, traceback = str(error), writable(error.output)
    except Exception as error:
        status, reason = "failed", str(error) if isinstance(error, SuiteError) else f"{type(error).__name__}: {error}"
        traceback = str(getattr(error, "traceback", ""))
    times = f" (in each of {job.attempt} attempts)" if job.attempt > 1 else ""
    return tuple(Outcome(trial.key, status, reason + times, traceback, validated.get(trial.key)) for trial in job.trials)


def tried_again(job: worker.Job, outcomes: Sequence[Outcome], retries: int) -> list[worker.Job]:
    """The jobs that take the place of one whose trials met a fault together; none where its outcomes stand.

    A crash is tried again as it is, so many times. Then, or after another fault, a population is halved until the guilty stand alone and
    the others have their results. After a timeout its members are tried alone at once: each may take its own time then, so that all of
    it takes no more than twice what is allowed for all, where halves that hang would take that again with each halving.
    """
    status = next((outcome.status for outcome in outcomes if outcome.status in FAULTS), None)
    if status is None:  # none, or some have diverged, which is their own affair
        return []
    if status == "crashed" and job.attempt <= retries:
        return [replace(job, attempt=job.attempt + 1)]
    size = len(job.trials)
    if size == 1:
        return []
    return job.parted(1 if status == "timeout" else -(-size // 2))


def second_try(job: worker.Job, outcomes: Sequence[Outcome], again: Sequence[worker.Job]) -> tuple[str, str]:
    """Whose trials met a fault and are tried again, and how, in words: the store shows nothing of it where they end well."""
    first = job.trials[0]
    fault = next(outcome for outcome in outcomes if outcome.status in FAULTS)
    count = len(job.trials)
    trials = f"{count} trials {fault.status} together" if count > 1 else f"a trial {fault.status}"
    how = "again" if len(again) == 1 else f"{' and '.join(str(len(each.trials)) for each in again)} together"
    reason = fault.reason.partition("\n")[0]
    return f"{first.variant.label} on {first.task.label}, T={first.length}", f"{trials} ({reason}), tried {how}"
