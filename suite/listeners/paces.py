"""Says how fast populations are that have not run yet, from the paces of those that have."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from statistics import fmean, median
from typing import Literal, TypeAlias

from ..trial import Timing, Trial
from .course import Pace

FORWARD_SHARE = 1 / 3
"""The part of a training step that is its forward."""

FIXED_STEPS = 12.0
"""The part of a step's time that does not grow with the sequence, in steps of it, until two lengths were measured."""

MOST_ALIKE = 0.95
"""The times at two lengths are taken to differ by so much at least."""


class Paces:
    """Paces that were measured, from which those of other lengths, sizes and variants follow.

    A step takes a part that grows with the sequence and one that does not, as drawing data and moving the weights; the second is as
    long as so many steps of the sequence, the same for all variants.
    """

    def __init__(self, measured: Sequence[Pace], known: Sequence[Pace], compiling: Mapping[str, float], first: float) -> None:
        self._steps = _Means(_each(measured, "step"), _each(known, "step"))
        self._samples = _Means(_each(measured, "sample"), _each(known, "sample"))
        self._compiling, self._first_seconds = compiling, first
        self._starts: dict[tuple[object, ...], list[float]] = {}
        for pace in measured:
            if pace.start is not None:
                for place in ((pace.cold, pace.trial.engine), (pace.cold,)):
                    self._starts.setdefault(place, []).append(pace.start)

    def step(self, trial: Trial, members: int) -> float | None:
        """Seconds of a training step of a population like this trial; None where nothing was measured yet."""
        each = self._steps.of(trial)
        return None if each is None else each * members

    def sample(self, trial: Trial, members: int) -> float | None:
        """Seconds that an evaluation takes for a sample; where that was not measured, from the training's."""
        each, step = self._samples.of(trial), self._steps.of(trial)
        if each is None and step is not None:
            from ..training.data import EVALUATION_BATCH  # imports torch, as whoever has measured a step has done before

            # between a forward that takes as long for any batch, and one that takes as long for any sample
            each = FORWARD_SHARE * step / math.sqrt(trial.training.batch_size * EVALUATION_BATCH)
        return None if each is None else each * members

    def start(self, trial: Trial, cold: bool) -> float:
        """Seconds that a population takes before its first step; a cold one may have to be compiled."""
        starts = self._starts.get((cold, trial.engine))
        if starts is None and cold and trial.engine in self._compiling:
            return self._compiling[trial.engine]
        starts = starts or self._starts.get((False,))
        return median(starts) if starts else self._first_seconds

    def compile(self, engine: str) -> float:
        """Seconds of compiling one variant for an engine: what its first populations took to begin more than later ones."""
        if engine not in self._compiling:
            return 0.0
        cold, warm = self._starts.get((True, engine)), self._starts.get((False,))
        return max(0.0, median(cold) - (median(warm) if warm else self._first_seconds)) if cold else self._compiling[engine]

    def call(self, timing: Timing) -> float | None:
        """Seconds of one model's forward with backward at the batch of training, whatever the engine; None where nothing was measured."""
        return self._steps.of_variant(timing.variant.label, timing.shape.length)


Each: TypeAlias = list[tuple[Trial, float]]
"""Seconds for each member of a population like the trial."""


def _each(paces: Sequence[Pace], name: Literal["step", "sample"]) -> Each:
    return [(pace.trial, value / pace.members) for pace in paces if (value := getattr(pace, name)) is not None]


class _Means:
    """Geometric means of seconds that were measured, of trials that are more or less alike, each over its length.

    What was known before counts where nothing alike was measured in this run, as much slower or faster as this run is in what both have.
    """

    def __init__(self, measured: Each, known: Each) -> None:
        self._fixed = next((part for part in (_fixed_part(measured), _fixed_part(known)) if part is not None), FIXED_STEPS)
        self._measured, self._known = _Table(measured, self._fixed), _Table(known, self._fixed)
        both = self._measured.variants.keys() & self._known.variants.keys()
        self._drift = fmean(self._measured.variants[each] - self._known.variants[each] for each in both) if both else 0.0

    def of(self, trial: Trial) -> float | None:
        """The mean of the same cell, else of the variant at its nearest length, else on other engines, else of the engine, else of all."""
        variant = _variant(trial)
        exact = (self._measured.nearest(variant, trial), self._drifted(self._known.nearest(variant, trial)))
        return self._seconds(trial.length, *exact, *map(self._mean, ((trial.variant.label,), ("engine", trial.engine), ())))

    def of_variant(self, label: str, length: int) -> float | None:
        """The mean of a variant on whatever engine, else of all."""
        return self._seconds(length, self._mean((label,)), self._mean(()))

    def _mean(self, place: tuple[object, ...]) -> float | None:
        measured = self._measured.mean(place)
        return self._drifted(self._known.mean(place)) if measured is None else measured

    def _drifted(self, logarithm: float | None) -> float | None:
        return None if logarithm is None else logarithm + self._drift

    def _seconds(self, length: int, *logarithms: float | None) -> float | None:
        """The first that there is, at a length."""
        first = next((logarithm for logarithm in logarithms if logarithm is not None), None)
        return None if first is None else math.exp(first) * (self._fixed + length)


class _Table:
    """Means of logarithms of seconds over length, by what trials have in common."""

    def __init__(self, each: Each, fixed: float) -> None:
        values: dict[tuple[object, ...], list[float]] = {}
        self._lengths: dict[tuple[object, ...], set[int]] = {}
        for trial, seconds in each:
            variant = _variant(trial)
            self._lengths.setdefault(variant, set()).add(trial.length)
            common = [(*variant, trial.length, trial.task.label), (*variant, trial.length), variant]
            for place in (*common, (trial.variant.label,), ("engine", trial.engine), ()):
                values.setdefault(place, []).append(math.log(max(seconds, 1e-9) / (fixed + trial.length)))
        self._means = {place: fmean(logarithms) for place, logarithms in values.items()}
        self.variants = {variant: self._means[variant] for variant in self._lengths}

    def mean(self, place: tuple[object, ...]) -> float | None:
        return self._means.get(place)

    def nearest(self, variant: tuple[object, ...], trial: Trial) -> float | None:
        """Of the same cell, else of the variant at the length that is nearest."""
        lengths = self._lengths.get(variant, ())
        near = min(lengths, key=lambda length: abs(math.log(length / trial.length)), default=0)
        same = self.mean((*variant, trial.length, trial.task.label))
        return self.mean((*variant, near)) if same is None else same


def _fixed_part(measured: Each) -> float | None:
    """The part that does not grow with the sequence, in steps of it: the median over variants that were measured at two lengths."""
    by_variant: dict[tuple[object, ...], dict[int, list[float]]] = {}
    for trial, seconds in measured:
        by_variant.setdefault((*_variant(trial), trial.task.label), {}).setdefault(trial.length, []).append(seconds)
    parts = []
    for by_length in by_variant.values():
        if len(by_length) > 1:
            short, long = min(by_length), max(by_length)
            ratio = min(fmean(by_length[short]) / fmean(by_length[long]), MOST_ALIKE)
            parts.append(max(0.0, (ratio * long - short) / (1 - ratio)))
    return median(parts) if parts else None


def _variant(trial: Trial) -> tuple[object, ...]:
    return trial.engine, trial.variant.label, trial.hidden_size
