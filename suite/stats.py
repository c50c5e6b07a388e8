"""Computes skills, intervals, areas and half-points: pure functions on arrays, a Generator handed in."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import ArrayLike, NDArray

RANGE_BELOW = 5
"""Under so many values the interval is their plain range: a bootstrap of three says little."""


class Interval(NamedTuple):
    """A mean with its range (fewer than five values) or 95 % bootstrap interval."""

    mean: float
    low: float
    high: float
    count: int


def skill(loss: ArrayLike, baseline: ArrayLike) -> NDArray[np.float64]:
    """1 − min(1, loss/baseline): 1 is perfect, 0 no better than not looking; NaN stays NaN."""
    ratio = np.asarray(loss, dtype=np.float64) / np.asarray(baseline, dtype=np.float64)
    return np.asarray(1 - np.minimum(1, ratio))


def interval(values: ArrayLike, rng: np.random.Generator, resamples: int = 2000) -> Interval:
    """The mean of the finite values with its range or, from five values on, percentile bootstrap interval at 95 %."""
    sample = np.asarray(values, dtype=np.float64)
    sample = np.sort(sample[np.isfinite(sample)])  # sorted, so that the order of rows does not reach the bootstrap
    if not len(sample):
        return Interval(math.nan, math.nan, math.nan, 0)
    if len(sample) < RANGE_BELOW:
        return Interval(float(sample.mean()), float(sample[0]), float(sample[-1]), len(sample))
    means = rng.choice(sample, size=(resamples, len(sample))).mean(axis=1)
    low, high = np.quantile(means, [0.025, 0.975])
    return Interval(float(sample.mean()), float(low), float(high), len(sample))


def area(clean: float, skills: Sequence[float]) -> float:
    """Mean height, by trapezia, of a skill curve over evenly spaced severities that starts at the clean skill."""
    curve = np.asarray([clean, *skills], dtype=np.float64)
    return float(np.trapezoid(curve) / (len(curve) - 1))


def half_point(clean: float, severities: Sequence[float], skills: Sequence[float]) -> float:
    """The severity at which skill first falls to half of the clean skill, linear between severities.

    NaN where it never does (censored beyond the last) and where there is no clean skill to halve. A fall before
    the first severity gives the first.
    """
    if not clean > 0:
        return math.nan
    target = clean / 2
    for index, value in enumerate(skills):
        if value <= target:
            if index == 0:
                return float(severities[0])
            before, step = skills[index - 1], severities[index] - severities[index - 1]
            return float(severities[index - 1] + step * (before - target) / (before - value))
    return math.nan


def least_p(seeds: int) -> float:
    """The least two-sided p a paired sign-flip test can give: 2 / 2ⁿ."""
    return min(1.0, 2.0 / 2**seeds)


def distinguishable(a: Any, b: Any) -> bool:
    """Whether two sets of values do not overlap: the plainest reading of two ranges."""
    first, second = np.asarray(a, dtype=np.float64), np.asarray(b, dtype=np.float64)
    return bool(first.min() > second.max() or second.min() > first.max())
