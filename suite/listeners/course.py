"""Gathers what is heard of a run, with its moments, into the course that a forecast is made from."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from ..trial import Outcome, Timing, Trial


@dataclass(frozen=True)
class Layout:
    """What a run is going to do.

    populations: trials that are trained as one program, the first begun first, `workers` of them at a time
    trained: keys of trials that lack nothing but evaluations
    timings: to be measured afterwards, shape by shape
    compiling: names of the engines that compile
    """

    populations: tuple[tuple[Trial, ...], ...] = ()
    workers: int = 1
    trained: frozenset[str] = frozenset()
    timings: tuple[Timing, ...] = ()
    compiling: frozenset[str] = frozenset()

    def trains(self, group: Sequence[Trial]) -> bool:
        """Whether a population is trained, and not evaluated alone."""
        return any(trial.key not in self.trained for trial in group)


@dataclass(frozen=True)
class Heard:
    """What was heard of a population, with the moments in seconds of one clock; None for what has not come to pass.

    first, last: the step of a validation and its moment; several members' validations at one step are one
    train_seconds: of all members, as the worker measured it
    """

    started: float | None = None
    first: tuple[int, float] | None = None
    last: tuple[int, float] | None = None
    ended: float | None = None
    train_seconds: float | None = None


@dataclass(frozen=True)
class Pace:
    """How fast a population was, in seconds; None for what was not measured.

    step: of training, for all members, validations included; sample: of evaluation, for all members, a sample at one point of a measure
    start: from taking it up to the first step; cold: whether nothing like it had begun before, so that something was to be compiled
    """

    trial: Trial
    members: int
    step: float | None = None
    sample: float | None = None
    start: float | None = None
    cold: bool = False

    @property
    def program(self) -> tuple[object, ...]:
        """What is compiled once."""
        return program_of(self.trial, self.members)


@dataclass(frozen=True)
class Course:
    """What was heard of a run.

    begun: when it was said what will be done; started: when the first population was; timing: when timing began
    populations: as the layout has them; shapes: moments at which the timings of a shape were done; known: paces that were measured before
    """

    begun: float
    started: float | None = None
    populations: tuple[Heard, ...] = ()
    timing: float | None = None
    shapes: tuple[float, ...] = ()
    known: tuple[Pace, ...] = ()


def program_of(trial: Trial, members: int) -> tuple[object, ...]:
    """What is compiled once for populations of a variant and this size, at whatever length."""
    return trial.variant.label, trial.engine, trial.hidden_size, trial.training.batch_size, members


def samples(trial: Trial) -> float:
    """How many samples of the trained length a trial is tested on; one that is twice as long counts twice."""
    factors = [at if asked.axis == "long_range" else 1.0 for asked in trial.evaluations for at in asked.at]
    return trial.test_samples * sum(factors)


def pace_of(group: Sequence[Trial], heard: Heard, trains: bool) -> Pace:
    """What a population's moments say of its pace."""
    first, asked = group[0], samples(group[0])
    if heard.started is None:
        return Pace(first, len(group))
    if not trains:
        whole = heard.ended is not None and asked
        return Pace(first, len(group), sample=(heard.ended - heard.started) / asked if whole and heard.ended is not None else None)
    if heard.first is None or heard.last is None:
        return Pace(first, len(group))
    step = None if heard.train_seconds is None else heard.train_seconds / heard.last[0]
    if heard.last[0] > heard.first[0]:
        step = (heard.last[1] - heard.first[1]) / (heard.last[0] - heard.first[0])
    start = None if step is None else max(0.0, heard.first[1] - heard.started - step * heard.first[0])
    sample = (heard.ended - heard.last[1]) / asked if heard.ended is not None and asked else None
    return Pace(first, len(group), step, sample, start)


class Hearing:
    """The course of one run, kept up to date by what is told of it; `now` is in seconds of one clock.

    A population that failed as a whole is begun again in parts, which its members' second start tells.
    """

    def __init__(self, now: float) -> None:
        self.layout: Layout | None = None
        self.course = Course(now)
        self._place: dict[str, int] = {}  # of each trial's population
        self._begun: list[set[str]] = []  # keys of members that have started, by population
        self._left: list[set[str]] = []  # keys of members that have not ended

    def known(self, paces: Iterable[Pace]) -> None:
        self.course = replace(self.course, known=tuple(paces))

    def scheduled(self, layout: Layout, now: float) -> None:
        self.layout = layout
        self.course = replace(self.course, begun=now, populations=tuple(Heard() for _ in layout.populations))
        self._place = {trial.key: place for place, group in enumerate(layout.populations) for trial in group}
        self._begun = [set() for _ in layout.populations]
        self._left = [{trial.key for trial in group} for group in layout.populations]

    def started(self, key: str, now: float) -> None:
        place = self._place.get(key)
        if place is None:
            return
        if self.course.started is None:
            self.course = replace(self.course, started=now)
        if key in self._begun[place] or not self._begun[place]:
            self._begun[place] = set()
            self._enter(place, Heard(started=now))
        self._begun[place].add(key)

    def validated(self, key: str, step: int, now: float) -> None:
        place = self._place.get(key)
        if place is None:
            return
        heard = self.course.populations[place]
        if heard.last is None or step > heard.last[0]:
            self._enter(place, replace(heard, first=heard.first or (step, now), last=(step, now)))

    def finished(self, key: str, outcome: Outcome, now: float) -> None:
        place = self._place.get(key)
        if place is None:
            return
        self._left[place].discard(key)
        heard = self.course.populations[place]
        if outcome.train_seconds is not None and outcome.members is not None:
            heard = replace(heard, train_seconds=outcome.train_seconds * outcome.members)
        self._enter(place, heard if self._left[place] else replace(heard, ended=now))

    def timing_started(self, now: float) -> None:
        self.course = replace(self.course, timing=now)

    def timed(self, timing: Timing, now: float) -> None:
        """All timings of a shape are told of at once, in the order of the shapes."""
        shapes = sorted({timing.shape for timing in self.layout.timings}) if self.layout else []
        done = shapes.index(timing.shape) + 1 if timing.shape in shapes else 0
        if done > len(self.course.shapes):
            self.course = replace(self.course, shapes=(*self.course.shapes, *[now] * (done - len(self.course.shapes))))

    def _enter(self, place: int, heard: Heard) -> None:
        populations = self.course.populations
        self.course = replace(self.course, populations=(*populations[:place], heard, *populations[place + 1 :]))
