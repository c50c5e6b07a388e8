"""Says how many seconds a run may still take, from what was heard of it: measured paces, weighted by length, members and variant."""

from __future__ import annotations

import heapq
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from ..trial import Timing, Trial
from .course import Course, Heard, Layout, Pace, pace_of, program_of, samples
from .paces import FORWARD_SHARE, Paces

START_SECONDS = 4.0
"""What workers take to begin, until one has."""

FIRST_SECONDS = 1.0
"""What a population takes before its first step, until one has been heard of."""

COMPILE_SECONDS = 6.0
"""What compiling takes for one variant, until that was measured."""

REPORT_SECONDS = 8.0
"""What the report takes to be written."""

CALL_SECONDS = 0.006
"""What a measurement of a time takes at least: it repeats a call until the clock's grain does not show."""

PREPARING_SECONDS = 0.3
"""What preparing a timing takes: warming up, and counting what else it takes."""

MOST_SLOW = 100.0
"""A machine is taken to be so many times slower than an idle one at most."""

OVERDUE = 0.15
"""What has taken longer than was foreseen is taken to last this part of its time so far once more."""


def seconds_left(layout: Layout | None, course: Course, now: float) -> float | None:
    """How long the run may still take, its report included; None where nothing has been measured that this could rest on."""
    if layout is None:
        return None
    slow = slowness(course)
    compiling = dict.fromkeys(layout.compiling, slow * COMPILE_SECONDS)
    paces = Paces(list(_measured(layout, course)), course.known, compiling, slow * FIRST_SECONDS)
    training = _training_left(layout, course, paces, now)
    return None if training is None else training + _rest_left(layout, course, paces, now)


def _measured(layout: Layout, course: Course) -> Iterator[Pace]:
    """The paces of the populations that were begun; the first of those that share compiled code is a cold one."""
    begun = [pair for pair in zip(layout.populations, course.populations, strict=True) if pair[1].started is not None]
    seen = set()
    for group, heard in sorted(begun, key=lambda pair: pair[1].started or 0.0):
        pace = pace_of(group, heard, layout.trains(group))
        yield replace(pace, cold=pace.program not in seen)
        seen.add(pace.program)


def _training_left(layout: Layout, course: Course, paces: Paces, now: float) -> float | None:
    """Seconds until the last population has ended: those that wait are taken up in turn by whichever worker is free first."""
    running: list[float] = []
    waiting: list[float] = []
    seen = set()
    for group, heard in zip(layout.populations, course.populations, strict=True):
        program = program_of(group[0], len(group))
        cold = program not in seen
        seen.add(program)
        if heard.ended is not None:
            continue
        trains = layout.trains(group)
        parts = _parts(group, trains, cold, paces)
        if parts is None:
            return None
        if heard.started is None:
            waiting.append(parts.whole)
        else:
            running.append(_running_left(group, heard, trains, parts, now))
    if not running and not waiting:
        return 0.0
    starting = 0.0 if course.started is not None else _remaining(START_SECONDS, now - course.begun)
    free = [starting] * max(0, max(1, layout.workers) - len(running)) + running  # none is this very process
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


def _parts(group: Sequence[Trial], trains: bool, cold: bool, paces: Paces) -> Parts | None:
    first, members = group[0], len(group)
    step, sample = paces.step(first, members) if trains else 0.0, paces.sample(first, members)
    if step is None or sample is None:
        return None
    return Parts(paces.start(first, cold), step * first.training.steps, sample * samples(first))


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


def slowness(course: Course) -> float:
    """How much slower this machine, busy as it is, does fixed work than an idle one: by the start of its workers."""
    if course.started is None:
        return 1.0
    return min(MOST_SLOW, max(1 / MOST_SLOW, (course.started - course.begun) / START_SECONDS))


def _rest_left(layout: Layout, course: Course, paces: Paces, now: float) -> float:
    """Seconds of timing and the report."""
    slow = slowness(course)
    ends = [course.timing, *course.shapes]
    moments = [moment for moment in ends if moment is not None]
    trained = max((heard.ended or now for heard in course.populations), default=course.begun)
    since = now - max(moments, default=trained)
    foreseen = list(_stages(layout, course, paces, slow))[len(course.shapes) :]
    over = all(heard.ended is not None for heard in course.populations)
    return _remaining(foreseen[0], since) + sum(foreseen[1:]) if over else sum(foreseen)


def _stages(layout: Layout, course: Course, paces: Paces, slow: float) -> Iterator[float]:
    """Seconds that each shape's timings, and the report, are foreseen to take, corrected by those that are done."""
    foreseen = list(_shapes_seconds(layout.timings, paces, slow))
    if foreseen:
        foreseen[0] += slow * START_SECONDS
    done, rest = sum(foreseen[: len(course.shapes)]), sum(foreseen[len(course.shapes) :])
    taken = course.shapes[-1] - course.timing if course.shapes and course.timing is not None else done
    factor = (taken + rest) / (done + rest) if foreseen else 1.0  # a small part that took longer than foreseen says little of the rest
    yield from (factor * seconds for seconds in foreseen)
    yield slow * REPORT_SECONDS


def _shapes_seconds(timings: Sequence[Timing], paces: Paces, slow: float) -> Iterator[float]:
    """Seconds of each shape: preparing its timings, compiling what was not, and rounds, between the least and the most of its rule."""
    compiled: set[tuple[str, int, str]] = set()
    for shape in sorted({timing.shape for timing in timings}):
        group = [timing for timing in timings if timing.shape == shape]
        rule, once = group[0].rule, sum(_call_seconds(timing, paces) for timing in group)
        models = {(timing.variant.label, timing.hidden_size, timing.engine) for timing in group} - compiled
        compiled |= models
        preparing = slow * PREPARING_SECONDS * len(group) + sum(paces.compile(engine) for *_, engine in models)
        yield preparing + max(rule.repeats * once, min((rule.repeats + rule.most) / 2 * once, rule.seconds))


def _call_seconds(timing: Timing, paces: Paces) -> float:
    """Seconds of one round of a timing: forward, and forward with backward; of a stream, one step."""
    whole = paces.call(timing)
    if timing.shape.streaming or whole is None:
        return CALL_SECONDS
    return sum(max(CALL_SECONDS, share * whole) for share in (FORWARD_SHARE, 1.0))
