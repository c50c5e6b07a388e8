"""Says what a plan would run, and from a few steps of each variant, timed in other processes, how long that may take."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from .errors import contained
from .execution.executor import Died, answer, bounds_of
from .execution.local import LocalPool, default_workers
from .execution.populations import populations
from .execution.run import Work
from .machine import first_of
from .ops import engines
from .plan import state
from .registry.finder import discover
from .report.lint import Remark
from .training import data, trainer
from .training.optimizer import Optimizer
from .trial import TOLERANCE, Timing, Trial

LENGTHS = (8, 24)
"""Sequence lengths at which steps are timed; from there, time grows in proportion."""

MEMBERS = 6
"""A population is timed with at most so many members."""

ARITHMETIC = 5e8
"""And with at most so many multiplications a step, so that a large plan is answered as soon as a small one."""

COMPILED = 0.75
"""How long a compiled step takes, over the same not compiled, which can be timed at once (docs/performance.md)."""

COMPILE_SECONDS = 6.0
"""What compiling takes for each variant and shape that was not compiled on this machine before."""

LIMIT_SECONDS = 60.0
"""A variant whose few steps take longer hangs; others take less than a second."""

START_SECONDS = 6.0
"""For workers to start, and for the report to be written."""


@dataclass(frozen=True)
class Pace:
    """Seconds as a constant and a part for each step of a sequence, for one member."""

    constant: float = 0.0
    each: float = 0.0

    def at(self, length: float) -> float:
        return self.constant + self.each * length


@dataclass(frozen=True)
class Paces:
    """How long one variant takes: a step of training on a batch, and a forward over so many samples as one batch of a stream has."""

    training: Pace = Pace()
    scoring: Pace = Pace()

    def seconds(self, trial: Trial) -> float:
        """A trial's training, validations and evaluations."""
        training = trial.training
        batch = min(data.EVALUATION_BATCH, training.evaluation_samples)
        validations = training.steps / training.validate_every
        factors = [at if asked.axis == "long_range" else 1.0 for asked in trial.evaluations for at in asked.at]
        validating = validations * training.evaluation_samples * self.scoring.at(trial.length)
        testing = trial.test_samples * sum(self.scoring.at(trial.length * factor) for factor in factors)
        return training.steps * self.training.at(trial.length) + (validating + testing) / batch


def paces(trial: Trial, members: int, gpus: str = "") -> Paces | str:
    """Time a few steps of a population of so many like this trial, in the process that this is called in; or why it cannot be run."""
    trainer.prepare(trial.device)
    with first_of(gpus), contained() as raised:
        return _paces(trial, members)
    return raised.reason


def _paces(trial: Trial, members: int) -> Paces:
    registry = discover()
    variant, task = registry.variant(trial.variant.name).noun, registry.task(trial.task.name).noun
    compiled = engines.engine(trial.engine).compiles
    engine = engines.DERIVED.name if compiled else trial.engine
    size = max(1, trial.training.batch_size * trial.hidden_size * 4 * trial.hidden_size * LENGTHS[1])
    # one stacked member alone is computed as two
    count = max(min(2, members), min(members, MEMBERS, int(ARITHMETIC / size)))
    speed = (COMPILED if compiled else 1.0) / count
    few = replace(trial.training, steps=3, evaluation_samples=min(data.EVALUATION_BATCH, trial.training.evaluation_samples))
    group = [replace(trial, seed=seed, engine=engine, training=few, test_samples=few.evaluation_samples) for seed in range(count)]
    models = trainer.gather(trainer.build(group, variant, task), engine)
    optimizer = Optimizer(models, group)

    def training(length: int) -> float:
        clock = [time.perf_counter()]
        for x, wanted in trainer.drawn([replace(each, length=length) for each in group], task):
            models.learn(x, lambda output, row, wanted=wanted: trainer.member_loss(task, output, wanted, row))  # type: ignore[misc]
            optimizer.step()
            clock.append(time.perf_counter())
        return min(after - before for before, after in itertools.pairwise(clock[1:]))

    def scoring(length: int) -> float:
        stream = list(data.test_stream(task, group[0], length))
        trainer.score(models, task, group[0], stream)
        start = time.perf_counter()
        trainer.score(models, task, group[0], stream)
        return time.perf_counter() - start

    return Paces(_line(training, speed), _line(scoring, speed))


def _line(seconds: Callable[[int], float], scale: float) -> Pace:
    """The line through the seconds at the two lengths; never one that falls."""
    short, long = (scale * seconds(length) for length in LENGTHS)
    each = max(long - short, 0.2 * long) / (LENGTHS[1] - LENGTHS[0])
    return Pace(max(0.0, long - each * LENGTHS[1]), each)


@dataclass(frozen=True)
class Estimate:
    """How long the work of a plan may take on this machine.

    trials: seconds of one core by cell (task, length and variant); compiling: of one core; timing: alone on the machine
    unknown: why a variant could not be timed, by its label
    """

    trials: dict[str, float]
    compiling: float
    timing: float
    workers: int
    unknown: Mapping[str, str] = field(default_factory=dict)

    @property
    def seconds(self) -> float:
        training = (sum(self.trials.values()) + self.compiling) / self.workers
        return training + self.timing + (START_SECONDS if self.trials or self.timing else 0.0)


def estimate(work: Work, workers: int | None) -> Estimate:
    """Estimate what is left to do, from a few steps of each variant timed in other processes."""
    count = max(1, work.executor.count(workers, work.machine.device)) if work.pending else 1
    groups = populations(work.pending, count, work.executor.devices) if work.pending else []
    known, unknown = _timed(groups, work)
    cells: dict[str, float] = {}
    shapes = set()
    for group in groups:
        first = group[0]
        if (pace := known.get(first.variant.label)) is None:
            continue
        cell = f"{first.task.label}, T={first.length}, {first.variant.label}"
        cells[cell] = cells.get(cell, 0.0) + sum(pace.seconds(trial) for trial in group)
        if engines.engine(first.engine).compiles:
            shapes.add((first.variant.label, first.hidden_size, len(group), first.training.batch_size))
    timing = sum(_timing_seconds(timing, known) for timing in work.untimed)
    compiled = {(timing.variant.label, timing.hidden_size) for timing in work.untimed if engines.engine(timing.engine).compiles}
    return Estimate(
        cells, COMPILE_SECONDS * len(shapes), timing + COMPILE_SECONDS * len(compiled), min(count, max(1, len(groups))), unknown
    )


def _timed(groups: Sequence[Sequence[Trial]], work: Work) -> tuple[dict[str, Paces], dict[str, str]]:
    """The paces of each variant by its label, and why it has none, from processes that a variant may end or hang."""
    asked: dict[str, Sequence[Trial]] = {}
    for group in groups:
        asked.setdefault(group[0].variant.label, group)
    known: dict[str, Paces] = {}
    unknown: dict[str, str] = {}
    if not asked:
        return known, unknown
    bounds = bounds_of(work.plan.limits.model_copy(update={"timeout": LIMIT_SECONDS}))
    with LocalPool(min(len(asked), default_workers(work.machine.device)), show=lambda _printed: None) as pool:
        futures = {label: pool.submit(paces, group[0], len(group), work.executor.gpus, bounds=bounds) for label, group in asked.items()}
        for label, future in futures.items():
            try:
                found = answer(pool, future)
            except Died as died:
                found = str(died)
            if isinstance(found, Paces):
                known[label] = found
            else:
                unknown[label] = found
    return known, unknown


def _timing_seconds(timing: Timing, known: dict[str, Paces]) -> float:
    """A timing's rounds and its warming up: forward, and forward with backward, which takes three times as long."""
    pace = known.get(timing.variant.label, next(iter(known.values()), Paces()))
    if timing.shape.streaming:
        return (timing.rule.repeats + 3) * 0.006
    whole = pace.training.at(timing.shape.length)
    return (timing.rule.repeats + 9) * sum(max(0.006, part * whole) for part in (1 / 3, 1.0))


def describe(work: Work, workers: int | None) -> str:
    """The trials of a plan by task and variant, their parameters, and an estimate of time."""
    estimated = estimate(work, workers)
    rows: dict[tuple[str, str], list[Trial]] = {}
    for trial in work.trials:
        rows.setdefault((trial.task.label, trial.variant.label), []).append(trial)
    pending = {trial.key for trial in work.pending}
    lines = [
        f"plan {work.plan.name} on {work.machine.device}: {len(work.trials)} trials, {len(pending)} to do, {estimated.workers} at a time"
    ]
    lines.append(f"{'task':20} {'variant':24} {'hidden':>6} {'parameters':>10}  {'state':>10} {'engine':18} {'trials':>6} {'minutes':>8}")
    flagged = False
    for (task, variant), trials in rows.items():
        trial = trials[0]
        off = abs(trial.parameters - trial.budget) > TOLERANCE * trial.budget and work.plan.matching.rule == "parameters"
        flagged = flagged or off
        used = " ".join(dict.fromkeys(each.engine for each in trials))
        carried = state.text({each.state_size for each in trials}, trial.causal)
        spent = sum(
            seconds for cell, seconds in estimated.trials.items() if cell.startswith(f"{task}, T=") and cell.endswith(f", {variant}")
        )
        left = sum(each.key in pending for each in trials)
        minutes = "?" if variant in estimated.unknown else f"{spent / 60:.1f}"
        lines.append(
            f"{task:20} {variant:24} {trial.hidden_size:6} {trial.parameters:10}{'!' if off else ' '} {carried:>10} {used:18} {left:6} {minutes:>8}"
        )
    if flagged:
        lines.append(f"! more than {100 * TOLERANCE:g} % from the budget of the task's {work.plan.matching.hidden_size}-unit LSTM")
    return "\n".join([*lines, *_summary(estimated)])


def remark(work: Work, workers: int | None = None) -> Remark:
    """What a plan still takes here, as something to say of it."""
    return Remark("note", "time", "; ".join(_summary(estimate(work, workers))))


def _summary(estimated: Estimate) -> list[str]:
    """How long it takes, on what, and where it is long, what would shorten it."""
    lines = [
        f"about {_span(estimated.seconds)} (minutes above are of one core; compiling {_span(estimated.compiling)}, timing {_span(estimated.timing)})"
    ]
    lines += [f"? {variant} could not be timed: {reason}" for variant, reason in estimated.unknown.items()]
    if estimated.seconds < LONG_SECONDS:
        return lines
    total = sum(estimated.trials.values())
    largest = sorted(estimated.trials.items(), key=lambda item: -item[1])[:3]
    named = "; ".join(f"{cell} ({100 * seconds / total:.0f} %)" for cell, seconds in largest)
    lines.append(f"the longest: {named}")
    return [
        *lines,
        "shorter in proportion: fewer steps, seeds or learning_rates, shorter lengths; with --tasks and --variants a part at a time",
    ]


LONG_SECONDS = 7200
"""An estimate beyond this names what takes so long."""


def _span(seconds: float) -> str:
    for limit, unit, size in ((120, "s", 1), (7200, "min", 60), (172800, "h", 3600)):
        if seconds < limit:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds / 86400:.0f} days"
