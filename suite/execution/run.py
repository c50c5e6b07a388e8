"""Does the work that a store lacks, through an executor: a failure is a record, never a lost row."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from dataclasses import dataclass, replace

from ..errors import SuiteError
from ..listeners.announce import Audience
from ..plan.schema import Plan, Request
from ..registry.registry import Registry
from ..spec import Grade, Machine
from ..store.selection import Selection
from ..store.store import Store, done
from ..trial import BASELINE, Grading, Invocation, Outcome, Timed, Timing, Trial
from . import worker
from .events import Event
from .executor import Died, Executor
from .populations import companions, lacking, populations, trained_before

POLL_SECONDS = 0.1


@dataclass(frozen=True)
class Work:
    """A plan made ready to run on this machine: what it asks for, and what the store has of each.

    plan: whole; request: which part of it is asked for, which selection, trials, timings and gradings are of
    outcomes, timed, grades: what the store has, by key
    """

    plan: Plan
    request: Request
    selection: Selection
    registry: Registry
    store: Store
    machine: Machine
    trials: tuple[Trial, ...]
    timings: tuple[Timing, ...]
    gradings: tuple[Grading, ...]
    outcomes: Mapping[str, Outcome]
    timed: Mapping[str, Timed]
    grades: Mapping[str, Grade]

    @property
    def pending(self) -> tuple[Trial, ...]:
        return tuple(trial for trial in self.trials if not done(trial, self.outcomes.get(trial.key)))

    @property
    def untimed(self) -> tuple[Timing, ...]:
        return tuple(timing for timing in self.timings if timing.key not in self.timed or self.timed[timing.key].failed)

    @property
    def ungraded(self) -> tuple[Grading, ...]:
        return tuple(grading for grading in self.gradings if grading.key not in self.grades or self.grades[grading.key].failed)


def run_trials(work: Work, invocation: Invocation, executor: Executor, audience: Audience, workers: int) -> dict[str, Outcome]:
    """Do the pending trials, telling listeners what happens; every outcome is in the store before they hear of it.

    Where a job fails as a whole, by an exception or with its process, its halves are tried again, until who is to blame stands alone.
    """
    waiting = {trial.key: trial for trial in work.pending}
    store, outcomes = work.store, dict(work.outcomes)
    jobs = list(_jobs(work, workers, executor))
    tell_schedule(work, [job.trials for job in jobs], workers, audience)
    futures: dict[Future[tuple[Outcome, ...]], worker.Job] = {executor.submit(worker.work, job): job for job in jobs}
    while futures:
        finished, _ = wait(futures, timeout=POLL_SECONDS, return_when=FIRST_COMPLETED)
        for event in executor.events():
            if event.key in waiting:
                _tell(audience, waiting[event.key], event)
        for future in [future for future in futures if future in finished]:
            job = futures.pop(future)
            ended = _outcomes(job, future)
            if len(job.trials) > 1 and job.trials[0].device == "cpu" and all(outcome.status == "failed" for outcome in ended):
                futures |= {executor.submit(worker.work, half): half for half in job.halves()}
                continue
            for outcome in ended:
                if outcome.key in waiting:
                    trial = waiting[outcome.key]
                    store.put(trial, outcome, invocation.machine)
                    outcomes[trial.key] = store.get(trial) or outcome
                    audience.tell("suite_trial_finished", trial=trial, outcome=outcomes[trial.key])
    return outcomes


def _jobs(work: Work, workers: int, executor: Executor) -> Iterator[worker.Job]:
    """The pending trials as jobs: populations to train, and trained ones that lack an evaluation."""
    store, outcomes = work.store, work.outcomes
    trained = {trial.key for trial in work.pending if trained_before(outcomes.get(trial.key), store, trial.key)}
    untrained = companions([trial for trial in work.pending if trial.key not in trained], work.trials)
    unasked = [lacking(trial, outcomes.get(trial.key)) for trial in work.pending if trial.key in trained]
    for train, trials in ((True, untrained), (False, unasked)):
        for group in populations(trials, workers) if trials else ():
            checkpoints = tuple(store.checkpoint(trial.key) for trial in group)
            yield worker.Job(group, train, checkpoints, executor.channel)


def tell_schedule(work: Work, populations: Sequence[Sequence[Trial]], workers: int, audience: Audience) -> None:
    """Tell listeners what is going to be done, and in what order."""
    audience.tell("suite_scheduled", populations=populations, workers=workers, timings=work.untimed, gradings=work.ungraded)


def _tell(audience: Audience, trial: Trial, event: Event) -> None:
    if event.validation is None:
        audience.tell("suite_trial_started", trial=trial)
        return
    if event.cut:
        audience.note(
            trial.task.label, f"it has so many metrics that listeners hear of {len(event.validation.scores)} of them; the store has all"
        )
    audience.tell("suite_validated", trial=trial, validation=event.validation)


def _outcomes(job: worker.Job, future: Future[tuple[Outcome, ...]]) -> tuple[Outcome, ...]:
    """The worker's outcomes, or why there are none."""
    try:
        return future.result()
    except Died as error:
        return tuple(Outcome(trial.key, "failed", reason=str(error)) for trial in job.trials)
    except Exception as error:
        reason = str(error) if isinstance(error, SuiteError) else f"{type(error).__name__}: {error}"
        traceback = str(getattr(error, "traceback", ""))
        return tuple(Outcome(trial.key, "failed", reason=reason, traceback=traceback) for trial in job.trials)


def run_timings(work: Work, executor: Executor, audience: Audience) -> None:
    """Measure the latencies the store lacks, each with the baseline of its engine and shape beside it, alone on the machine."""
    lacking = {timing.key: timing for timing in work.untimed}
    beside = {(timing.engine, timing.shape) for timing in lacking.values()}
    wanted = [
        timing
        for timing in work.timings
        if timing.key in lacking or (timing.variant == BASELINE and (timing.engine, timing.shape) in beside)
    ]
    for shape in sorted({timing.shape for timing in wanted}):
        group = [timing for timing in wanted if timing.shape == shape]
        for timing, timed in timed_together(executor, group):
            if timing.key in lacking:
                work.store.put_timing(timing, timed)
                audience.tell("suite_timed", timing=timing, timed=timed)


def timed_together(executor: Executor, group: Sequence[Timing]) -> Iterator[tuple[Timing, Timed]]:
    """Time a group in the same rounds; where its process dies, each timing again with nothing but the baseline of its engine."""
    try:
        yield from _timed(executor, group)
    except Died:
        baselines = {timing.engine: timing for timing in group if timing.variant == BASELINE}
        for timing in group:
            beside = [] if timing.variant == BASELINE else [baselines[timing.engine]]
            try:
                yield from (pair for pair in _timed(executor, [*beside, timing]) if pair[0] == timing)
            except Died as error:
                yield timing, Timed(failed=str(error))


def _timed(executor: Executor, group: Sequence[Timing]) -> list[tuple[Timing, Timed]]:
    """Raises Died where the process ends before it is done."""
    rounds = executor.submit(worker.work_timings, group).result()
    baselines = {timing.engine: timing.key for timing in group if timing.variant == BASELINE}
    timed = []
    for timing in group:
        baseline = baselines[timing.engine]
        if timing.key in rounds.failed:
            timed.append((timing, Timed(failed=rounds.failed[timing.key])))
        elif baseline in rounds.failed:
            timed.append((timing, Timed(failed=f"the baseline it is compared with failed: {rounds.failed[baseline]}")))
        else:
            seconds, clones = rounds.seconds[timing.key], rounds.clones.get(baseline, {})
            fused, cost = rounds.fused.get(timing.key, False), rounds.costs.get(timing.key)
            timed.append((timing, Timed(seconds, rounds.seconds[baseline], clones, fused, cost, rounds.roof)))
    return timed


def run_grades(work: Work, executor: Executor, audience: Audience) -> Work:
    """Grade the variants the store has no grade of; the work with all grades."""
    grades = dict(work.grades)
    for grading in work.ungraded:
        try:
            grade = executor.submit(worker.work_grade, grading).result()
        except Died as error:
            grade = Grade(failed=str(error))
        work.store.put_grade(grading, grade)
        grades[grading.key] = grade
        audience.tell("suite_graded", grading=grading, grade=grade)
    return replace(work, grades=grades)


def invocation_of(work: Work) -> Invocation:
    """The run as listeners are told of it."""
    return Invocation(
        plan=work.plan.name,
        runs=work.store.folder.parent,
        device=work.machine.device,
        trials=work.trials,
        pending=frozenset(trial.key for trial in work.pending),
        finished=work.outcomes,
        machine=work.machine,
    )


def after(work: Work, outcomes: Mapping[str, Outcome]) -> Work:
    """The work with what its trials came to."""
    return replace(work, outcomes=outcomes)
