"""Says how many seconds a run may still take, from what was heard of it: measured paces, weighted by length, members and variant."""

from __future__ import annotations

import heapq
import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from statistics import fmean, median

from ..trial import Timing, Trial
from .course import Course, Heard, Layout, Pace, pace_of, samples

START_SECONDS = 4.0
"""What workers take to begin, until one has."""

FIRST_SECONDS = 1.0
"""What a population takes before its first step, until one has been heard of."""

REPORT_SECONDS = 8.0
"""What the report takes to be written."""

GRADE_SECONDS = 1.0
"""What grading a variant takes, until one is graded."""

CALL_SECONDS = 0.006
"""What a measurement of a time takes at least: it repeats a call until the clock's grain does not show."""

PREPARING_CALLS = 60
"""Preparing a timing (warming up, counting what it takes) takes as long as so many measurements of it."""

OVERDUE = 0.15
"""What has taken longer than was foreseen is taken to last this part of its time so far once more."""

FORWARD_SHARE = 1 / 3
"""The part of a training step that is its forward."""

BATCH_GAIN = 4.0
"""So many times faster a sample is computed in the large batches of an evaluation than in training, until that is measured."""


def seconds_left(layout: Layout, course: Course, now: float) -> float | None:
    """How long the run may still take, its report included; None where nothing has been measured that this could rest on."""
    pairs = zip(layout.populations, course.populations, strict=True)
    paces = Paces([*(pace_of(group, heard, layout.trains(group)) for group, heard in pairs), *course.known])
    training = _training_left(layout, course, paces, now)
    return None if training is None else training + _rest_left(layout, course, paces, now)


class Paces:
    """Paces that were measured, from which those of other lengths, sizes and variants follow."""

    def __init__(self, measured: Sequence[Pace]) -> None:
        self._steps = _Means((pace.trial, pace.step / pace.trial.length / pace.members) for pace in measured if pace.step is not None)
        self._samples = _Means((pace.trial, pace.sample / pace.members) for pace in measured if pace.sample is not None)
        self._starts: dict[str, list[float]] = {}
        for pace in measured:
            if pace.start is not None:
                self._starts.setdefault(pace.trial.engine, []).append(pace.start)

    def step(self, trial: Trial, members: int) -> float | None:
        """Seconds of a training step of a population like this trial; None where nothing was measured yet."""
        each = self._steps.of(trial)
        return None if each is None else each * trial.length * members

    def sample(self, trial: Trial, members: int) -> float | None:
        """Seconds a sample and step of the sequence in an evaluation; where that was not measured, from the training's."""
        each, step = self._samples.of(trial), self._steps.of(trial)
        if each is None and step is not None:
            each = FORWARD_SHARE / BATCH_GAIN * step / trial.training.batch_size
        return None if each is None else each * members

    def start(self, trial: Trial) -> float:
        """Seconds that a population takes before its first step."""
        starts = self._starts.get(trial.engine) or [start for each in self._starts.values() for start in each]
        return median(starts) if starts else FIRST_SECONDS

    def call(self, timing: Timing) -> float | None:
        """Seconds of one model's forward with backward at the batch of training, whatever the engine; None where nothing was measured."""
        each = self._steps.of_variant(timing.variant.label)
        return None if each is None else each * timing.shape.length


class _Means:
    """Geometric means of what was measured, of trials that are more or less alike."""

    def __init__(self, measured: Iterable[tuple[Trial, float]]) -> None:
        self._logarithms: dict[tuple[object, ...], list[float]] = {}
        self._lengths: dict[tuple[object, ...], set[int]] = {}
        for trial, value in measured:
            variant = _variant(trial)
            self._lengths.setdefault(variant, set()).add(trial.length)
            places = (
                (*variant, trial.length, trial.task.label),
                (*variant, trial.length),
                (trial.engine,),
                (),
                ("of", trial.variant.label),
            )
            for place in places:
                self._logarithms.setdefault(place, []).append(math.log(max(value, 1e-12)))

    def of(self, trial: Trial) -> float | None:
        """The mean of the same cell, else of the variant's nearest length, else of the engine, else of all."""
        variant = _variant(trial)
        nearest = min(self._lengths.get(variant, ()), key=lambda length: abs(math.log(length / trial.length)), default=0)
        return self._first((*variant, trial.length, trial.task.label), (*variant, nearest), (trial.engine,), ())

    def of_variant(self, label: str) -> float | None:
        return self._first(("of", label), ())

    def _first(self, *places: tuple[object, ...]) -> float | None:
        found = next((self._logarithms[place] for place in places if place in self._logarithms), None)
        return None if found is None else math.exp(fmean(found))


def _variant(trial: Trial) -> tuple[object, ...]:
    return trial.engine, trial.variant.label, trial.hidden_size


def _training_left(layout: Layout, course: Course, paces: Paces, now: float) -> float | None:
    """Seconds until the last population has ended: those that wait are taken up in turn by whichever worker is free first."""
    running: list[float] = []
    waiting: list[float] = []
    for group, heard in zip(layout.populations, course.populations, strict=True):
        if heard.ended is not None:
            continue
        trains = layout.trains(group)
        parts = _parts(group, trains, paces)
        if parts is None:
            return None
        if heard.started is None:
            waiting.append(parts.whole)
        else:
            running.append(_running_left(group, heard, trains, parts, now))
    if not running and not waiting:
        return 0.0
    begun = any(heard.started is not None for heard in course.populations)
    starting = 0.0 if begun else _remaining(START_SECONDS, now - course.begun)
    free = [starting] * max(0, layout.workers - len(running)) + running
    heapq.heapify(free)
    for seconds in waiting:
        heapq.heapreplace(free, free[0] + seconds)
    return max(free)


@dataclass(frozen=True)
class Parts:
    """Seconds that a population is foreseen to take: to begin, to train, and to be evaluated."""

    start: float
    training: float
    testing: float

    @property
    def whole(self) -> float:
        return self.start + self.training + self.testing


def _parts(group: Sequence[Trial], trains: bool, paces: Paces) -> Parts | None:
    first, members = group[0], len(group)
    step, sample = paces.step(first, members) if trains else 0.0, paces.sample(first, members)
    if step is None or sample is None:
        return None
    return Parts(paces.start(first), step * first.training.steps, sample * samples(first))


def _running_left(group: Sequence[Trial], heard: Heard, trains: bool, parts: Parts, now: float) -> float:
    """Seconds until a population that was begun ends: by its own pace, where two of its validations tell that."""
    assert heard.started is not None
    if not trains:
        return _remaining(parts.start + parts.testing, now - heard.started)
    training = group[0].training
    own = pace_of(group, heard, trains).step
    step = parts.training / training.steps if own is None else own
    done, since, start = (*heard.last, 0.0) if heard.last else (0, heard.started, parts.start)
    if done >= training.steps:
        return _remaining(parts.testing, now - since)
    interval = min(training.validate_every, training.steps - done)
    return _remaining(start + step * interval, now - since) + step * (training.steps - done - interval) + parts.testing


def _remaining(foreseen: float, elapsed: float) -> float:
    """What is left of something foreseen to take so long, never nothing as long as it goes on."""
    return max(foreseen - elapsed, OVERDUE * max(elapsed, foreseen))


def _rest_left(layout: Layout, course: Course, paces: Paces, now: float) -> float:
    """Seconds of timing, grading and the report."""
    ends = [course.timing, *course.shapes, *course.graded]
    moments = [moment for moment in ends if moment is not None]
    trained = max((heard.ended or now for heard in course.populations), default=course.begun)
    since = now - max(moments, default=trained)
    foreseen = list(_stages(layout, course, paces))[len(course.shapes) + len(course.graded) :]
    over = all(heard.ended is not None for heard in course.populations)
    return _remaining(foreseen[0], since) + sum(foreseen[1:]) if over else sum(foreseen)


def _stages(layout: Layout, course: Course, paces: Paces) -> Iterator[float]:
    """Seconds that each shape's timings, each grading, and the report are foreseen to take, corrected by those that are done."""
    shapes = sorted({timing.shape for timing in layout.timings})
    foreseen = [_shape_seconds([timing for timing in layout.timings if timing.shape == shape], paces) for shape in shapes]
    if foreseen:
        foreseen[0] += START_SECONDS
    factor = 1.0
    if course.shapes and course.timing is not None:
        factor = (course.shapes[-1] - course.timing) / sum(foreseen[: len(course.shapes)])
    yield from (factor * seconds for seconds in foreseen)
    first = START_SECONDS if layout.gradings and not foreseen else 0.0
    grade = GRADE_SECONDS
    if len(course.graded) > 1:
        grade = (course.graded[-1] - course.graded[0]) / (len(course.graded) - 1)
    for number in range(layout.gradings):
        yield grade + (first if number == 0 else 0.0)
    yield REPORT_SECONDS


def _shape_seconds(timings: Sequence[Timing], paces: Paces) -> float:
    """Seconds of the rounds at one shape, between the least and the most that its rule allows."""
    rule = timings[0].rule
    once = sum(_call_seconds(timing, paces) for timing in timings)
    rounds = (rule.repeats + rule.most) / 2
    return PREPARING_CALLS * once + max(rule.repeats * once, min(rounds * once, rule.seconds))


def _call_seconds(timing: Timing, paces: Paces) -> float:
    """Seconds of one round of a timing: forward, and forward with backward; of a stream, one step."""
    whole = paces.call(timing)
    if timing.shape.streaming or whole is None:
        return CALL_SECONDS
    return sum(max(CALL_SECONDS, share * whole) for share in (FORWARD_SHARE, 1.0))
