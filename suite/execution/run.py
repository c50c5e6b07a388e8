"""Does the work that a store lacks, through an executor: a failure is a record, never a lost row."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field, replace
from itertools import islice

from .. import machine
from ..listeners.announce import Audience
from ..plan.schema import Limits, Plan, Request
from ..registry.registry import Deadly, Registry
from ..spec import Grade, Machine
from ..store import unfinished
from ..store.selection import Selection
from ..store.store import Store, done
from ..trial import BASELINE, FAULTS, Grading, Invocation, Outcome, Timed, Timing, Trial
from . import worker
from .choosing import Chosen
from .events import Event
from .executor import POLL_SECONDS, Died, Pool, answer, bounds_of
from .keeping import Keeping
from .outcomes import outcomes_of, second_try, tried_again
from .populations import companions, lacking, needed, populations, trained_before

UNLIMITED = Limits()

Note = Callable[[str, str], object]
"""Takes a sentence for the user: what it is of, and what there is to say."""

WATCHED = 64
"""The first one to end is waited for among so many: those that were submitted first, and so are at work."""


@dataclass(frozen=True)
class Work:
    """A plan made ready to run on this machine: what it asks for, and what the store has of each.

    executor: where its populations are trained
    plan: whole; request: which part of it is asked for, which selection, trials, timings and gradings are of
    selection: what the report shows; None for all that the store holds
    outcomes, timed, grades: what the store has, by key
    surroundings: the digest of the code that this rests on, taken before any of it was looked at
    """

    plan: Plan
    request: Request
    selection: Selection | None
    registry: Registry
    store: Store
    machine: Machine
    executor: Chosen
    trials: tuple[Trial, ...]
    timings: tuple[Timing, ...]
    gradings: tuple[Grading, ...]
    outcomes: Mapping[str, Outcome]
    timed: Mapping[str, Timed]
    grades: Mapping[str, Grade]
    surroundings: str

    @property
    def pending(self) -> tuple[Trial, ...]:
        return tuple(trial for trial in self.trials if not done(trial, self.outcomes.get(trial.key)))

    @property
    def ends(self) -> dict[str, int]:
        """How many trials did not end as ok, by how they did; those without an outcome are missing."""
        statuses = [self.outcomes[trial.key].status if trial.key in self.outcomes else "missing" for trial in self.trials]
        return {status: count for status, count in Counter(statuses).items() if status != "ok"}

    @property
    def untimed(self) -> tuple[Timing, ...]:
        return tuple(timing for timing in self.timings if timing.key not in self.timed or self.timed[timing.key].failed)

    @property
    def ungraded(self) -> tuple[Grading, ...]:
        return tuple(grading for grading in self.gradings if grading.key not in self.grades or self.grades[grading.key].failed)

    @property
    def resumable(self) -> frozenset[str]:
        """The variants, by their labels, whose training is known to go on from a checkpoint to the same bits."""
        graded = ((grading.variant.label, self.grades.get(grading.key)) for grading in self.gradings)
        return frozenset(label for label, grade in graded if grade and not grade.failed and not grade.unresumable)


def run_trials(work: Work, invocation: Invocation, executor: Pool, audience: Audience, workers: int) -> dict[str, Outcome]:
    """Do the pending trials, telling listeners what happens; every outcome is in the store before they hear of it.

    Outcomes of trials that the run was stopped before are `skipped`; they are neither stored nor told of.

    Raises Gone where the executor can do no call any more.
    """
    training = _Training(work, invocation, executor, audience)
    training.tidy()
    unfinished.clear(work.store.unfinished)
    jobs = list(_jobs(work, workers, executor))
    tell_schedule(work, [job.trials for job in jobs], workers, audience)
    training.give_up(work.registry.deadly)
    for job in jobs:
        training.submit(job)
    return training.finish()


def _jobs(work: Work, workers: int, executor: Pool) -> Iterator[worker.Job]:
    """The pending trials as jobs: populations to train, and trained ones that lack an evaluation."""
    store, outcomes, resumable = work.store, work.outcomes, work.resumable
    keeping = Keeping(store.unfinished, work.plan.limits.checkpoint)
    pending = [trial for trial in work.pending if trial.variant.label not in work.registry.deadly]
    trained = {trial.key for trial in pending if trained_before(outcomes.get(trial.key), store, trial.key)}
    untrained = companions([trial for trial in pending if trial.key not in trained], work.trials)
    unasked = [lacking(trial, outcomes.get(trial.key)) for trial in pending if trial.key in trained]
    for train, trials in ((True, untrained), (False, unasked)):
        for group in populations(trials, max(1, workers), work.executor.devices) if trials else ():
            checkpoints = tuple(store.checkpoint(trial.key) for trial in group)
            kept = keeping if group[0].variant.label in resumable else None
            yield worker.Job(group, train, checkpoints, executor.channel, keeping=kept)


def tell_schedule(work: Work, populations: Sequence[Sequence[Trial]], workers: int, audience: Audience) -> None:
    """Tell listeners what is going to be done, and in what order."""
    audience.tell("suite_scheduled", populations=populations, workers=workers, timings=work.untimed)


class _Training:
    """The jobs of one run on their way, and what has come of them."""

    def __init__(self, work: Work, invocation: Invocation, executor: Pool, audience: Audience) -> None:
        self._store, self._limits, self._machine = work.store, work.plan.limits, invocation.machine
        self._executor, self._audience = executor, audience
        self._waiting = {trial.key: trial for trial in work.pending}
        self._standing = {trial.key for trial in work.trials} | work.store.ledger_keys
        self._outcomes = dict(work.outcomes)
        self._futures: dict[Future[tuple[Outcome, ...]], worker.Job] = {}
        self._ended: deque[Future[tuple[Outcome, ...]]] = deque()  # so that nobody looks at all of them for each one that ends
        self._validated: dict[str, int] = {}  # the step of the last validation that was told of, or that it goes on after, by key
        self._faults = 0

    def submit(self, job: worker.Job) -> None:
        if any(trial.key in self._waiting for trial in job.trials):
            bounds = bounds_of(self._limits, len(job.trials), on_device=needed(job.trials))
            future = self._executor.submit(worker.work, job, bounds=bounds)
            self._futures[future] = job
            future.add_done_callback(self._ended.append)

    def finish(self) -> dict[str, Outcome]:
        """Wait for every job and those that come of it; the outcomes by key.

        Raises SuiteError as soon as the store is seen to be gone, or the pool.
        """
        while self._futures:
            self._executor.wait(list(islice(self._futures, WATCHED)), POLL_SECONDS)
            self._store.check_held()
            ended = [self._ended.popleft() for _ in range(len(self._ended))]
            for event in self._executor.events():
                if event.note or event.key in self._waiting:
                    self._hear(event)
            for future in ended:
                if future in self._futures:  # else it was cancelled
                    self._end(self._futures.pop(future), future)
            if self._stopped:
                self._skip_the_rest()
        unfinished.clear(self._store.unfinished)
        return self._outcomes

    def tidy(self) -> None:
        """Remove what was kept of trainings that are done, or that stand for nothing in the plan any more."""
        unfinished.tidy(self._store.unfinished, self._superfluous)

    def _superfluous(self, key: str) -> bool:
        return key not in self._standing or self._store.learned(key)

    @property
    def _stopped(self) -> bool:
        return self._limits.max_failures is not None and self._faults >= self._limits.max_failures

    def _hear(self, event: Event) -> None:
        if event.note:
            self._audience.note(event.about, event.note)
            return
        if event.begun:
            self._validated[event.key] = event.begun
        elif event.validation is None:
            self._validated.pop(event.key, None)
        else:
            self._validated[event.key] = event.validation.step
        _tell(self._audience, self._waiting[event.key], event)

    def _end(self, job: worker.Job, future: Future[tuple[Outcome, ...]]) -> None:
        """Keep the outcomes of a job, or go on with those that are to be tried again."""
        outcomes = outcomes_of(job, future, self._validated)
        again = tried_again(job, outcomes, self._limits.retries)
        if again and self._stopped:
            self._skip(job)
            return
        if again:
            self._audience.note(*second_try(job, outcomes, again))
        for smaller in again:
            self.submit(smaller)
        for outcome in () if again else outcomes:
            if outcome.key in self._waiting:
                self._keep(outcome)
        self.tidy()

    def give_up(self, deadly: Mapping[str, Deadly]) -> None:
        """Keep the outcomes of trials that are not begun, since their variants have ended or hung a process when they were planned."""
        for trial in list(self._waiting.values()):
            if variant := deadly.get(trial.variant.label):
                self._keep(Outcome(trial.key, variant.status, variant.reason, variant.output))

    def _keep(self, outcome: Outcome) -> None:
        """Keep the outcome of a trial that is waited for, and tell of it."""
        trial = self._waiting.pop(outcome.key)
        self._store.put(trial, outcome, self._machine, machine.today())
        self._outcomes[trial.key] = self._store.get(trial) or outcome
        self._faults += outcome.status in FAULTS
        self._audience.tell("suite_trial_finished", trial=trial, outcome=self._outcomes[trial.key])

    def _skip_the_rest(self) -> None:
        """Begin no further job; those that are at work end by themselves."""
        for future in [future for future in self._futures if future.cancel()]:
            self._skip(self._futures.pop(future))

    def _skip(self, job: worker.Job) -> None:
        reason = f"the run was stopped after {self._faults} trials that failed, crashed, or went beyond their time or memory"
        for trial in job.trials:
            if trial.key in self._waiting:
                self._outcomes[trial.key] = Outcome(trial.key, "skipped", reason)


def _tell(audience: Audience, trial: Trial, event: Event) -> None:
    if event.validation is None:
        audience.tell("suite_trial_started", trial=trial, step=event.begun)
        return
    if event.cut:
        audience.note(
            trial.task.label, f"it has so many metrics that listeners hear of {len(event.validation.scores)} of them; the store has all"
        )
    audience.tell("suite_validated", trial=trial, validation=event.validation)


def run_timings(work: Work, executor: Pool, audience: Audience) -> None:
    """Measure the latencies the store lacks, each with the baseline of its engine and shape beside it, alone on the machine."""
    deadly = work.registry.deadly
    for timing in work.untimed:
        if timing.variant.label in deadly:
            _keep_timed(work, timing, Timed(failed=deadly[timing.variant.label].reason), audience)
    lacking = {timing.key: timing for timing in work.untimed if timing.variant.label not in deadly}
    beside = {(timing.engine, timing.shape) for timing in lacking.values()}
    wanted = [
        timing
        for timing in work.timings
        if timing.key in lacking or (timing.variant == BASELINE and (timing.engine, timing.shape) in beside)
    ]
    late = Late(frozenset(trial.variant.label for trial in work.trials if _timed_out(work.outcomes.get(trial.key))))
    for shape in sorted({timing.shape for timing in wanted}):
        group = [timing for timing in wanted if timing.shape == shape]
        for timing, timed in timed_together(executor, group, late, work.plan.limits, audience.note):
            if timing.key in lacking:
                _keep_timed(work, timing, timed, audience)


def _keep_timed(work: Work, timing: Timing, timed: Timed, audience: Audience) -> None:
    work.store.put_timing(timing, timed)
    audience.tell("suite_timed", timing=timing, timed=timed)


def _timed_out(outcome: Outcome | None) -> bool:
    return outcome is not None and outcome.status == "timeout"


@dataclass(frozen=True)
class Late:
    """Which variants go beyond their time, so that one that hangs holds up no other, and is not waited for again at each shape.

    suspects: the labels of those that did so in a training; beyond: which did when they were timed, and on which engine
    """

    suspects: frozenset[str] = frozenset()
    beyond: set[tuple[str, str]] = field(default_factory=set)

    def expected(self, timing: Timing) -> bool:
        """Whether a timing would go beyond its time too."""
        return (timing.variant.label, timing.engine) in self.beyond

    def feared(self, timing: Timing) -> bool:
        """Whether it may."""
        return timing.variant.label in self.suspects or self.expected(timing)


BEYOND = "not timed, since this variant went beyond its time on this engine when it was timed before in this run"


def timed_together(
    executor: Pool,
    group: Sequence[Timing],
    late: Late,
    limits: Limits = UNLIMITED,
    note: Note = lambda _about, _note: None,
) -> Iterator[tuple[Timing, Timed]]:
    """Time a group in the same rounds; where its process ends early, each timing again with nothing but the baseline of its engine.

    Those of variants that may hang, or whose baseline may, are timed so in any case.
    """
    baselines = {timing.engine: timing for timing in group if timing.variant == BASELINE}
    apart = [timing for timing in group if late.feared(timing) or late.feared(baselines[timing.engine])]
    together = [timing for timing in group if timing not in apart]
    try:
        yield from _timed(executor, together, limits, note)
    except Died:
        apart = list(group)
    for timing in sorted(apart, key=lambda timing: timing.variant != BASELINE):  # first, so that what they fail of is known to be theirs
        baseline = baselines[timing.engine]
        try:
            if late.expected(timing) or late.expected(baseline):
                yield timing, Timed(failed=BEYOND if late.expected(timing) else f"the baseline it is compared with failed: {BEYOND}")
                continue
            beside = [] if timing == baseline else [baseline]
            yield from (pair for pair in _timed(executor, [*beside, timing], limits, note) if pair[0] == timing)
        except Died as error:
            if error.status == "timeout":
                late.beyond.add((timing.variant.label, timing.engine))
            yield timing, Timed(failed=str(error))


def _timed(executor: Pool, group: Sequence[Timing], limits: Limits, note: Note) -> list[tuple[Timing, Timed]]:
    """Raises Died where the process ends before it is done."""
    if not group:
        return []
    bounds = bounds_of(limits, len(group), beside=max(timing.rule.seconds for timing in group))
    rounds = answer(executor, executor.submit(worker.work_timings, group, bounds=bounds), note)
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


def run_grades(work: Work, executor: Pool, audience: Audience) -> Work:
    """Grade the variants the store has no grade of; the work with all grades."""
    grades = dict(work.grades)
    for grading in work.ungraded:
        try:
            if deadly := work.registry.deadly.get(grading.variant.label):
                raise Died(deadly.reason, deadly.status)
            grade = answer(executor, executor.submit(worker.work_grade, grading, bounds=bounds_of(work.plan.limits)), audience.note)
        except Died as error:
            grade = Grade(failed=str(error))
        work.store.put_grade(grading, grade)
        grades[grading.key] = grade
        audience.tell("suite_graded", grading=grading, grade=grade)
    return replace(work, grades=grades)


def invocation_of(work: Work, workers: int = 1) -> Invocation:
    """The run as listeners are told of it."""
    return Invocation(
        plan=work.plan.name,
        runs=work.store.folder.parent,
        device=work.machine.device,
        trials=work.trials,
        pending=frozenset(trial.key for trial in work.pending),
        finished=work.outcomes,
        machine=work.machine,
        workers=workers,
    )


def after(work: Work, outcomes: Mapping[str, Outcome]) -> Work:
    """The work with what its trials came to."""
    return replace(work, outcomes=outcomes)
