"""Computes intervals, pooled means and the least p of a test: pure functions on arrays, to which a Generator is handed."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from ..measures.scores import area, half_point, skill

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import ArrayLike
    from pandas import DataFrame

__all__ = ["RANGE_BELOW", "Interval", "area", "half_point", "interval", "intervals", "least_p", "overlap", "pooled", "skill"]

RANGE_BELOW = 5
"""Fewer values than this are shown with their range, since a bootstrap of so few says little."""


class Interval(NamedTuple):
    """A mean with its range (fewer than five values) or 95 % bootstrap interval."""

    mean: float
    low: float
    high: float
    n: int

    def text(self, digits: int = 2) -> str:
        """``0.72 (0.70–0.75)``; the mean alone where there is one value, and ``–`` where there is none."""
        if not self.n:
            return "–"
        mean, low, high = (f"{value:.{digits}f}".replace("-", "−") for value in self[:3])
        between = " to " if "−" in low + high else "–"
        return mean if self.n == 1 else f"{mean} ({low}{between}{high})"

    def rounded(self, digits: int = 2) -> Interval:
        """The interval as `text` shows it, so that what is said of it agrees with what is read."""
        return Interval(round(self.mean, digits), round(self.low, digits), round(self.high, digits), self.n)


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


def pooled(groups: Sequence[ArrayLike], rng: np.random.Generator, resamples: int = 2000) -> Interval:
    """The mean of the groups' means, every group of the same weight, values resampled within their group.

    A group without finite values is left out. With fewer than five in any group, low and high are the means of the
    groups' least and greatest values.
    """
    samples = [np.asarray(group, dtype=np.float64) for group in groups]
    samples = [np.sort(sample[np.isfinite(sample)]) for sample in samples]
    samples = [sample for sample in samples if len(sample)]
    if not samples:
        return Interval(math.nan, math.nan, math.nan, 0)
    count = sum(len(sample) for sample in samples)
    mean = float(np.mean([sample.mean() for sample in samples]))
    if min(len(sample) for sample in samples) < RANGE_BELOW:
        return Interval(mean, float(np.mean([sample[0] for sample in samples])), float(np.mean([sample[-1] for sample in samples])), count)
    means = np.mean([rng.choice(sample, size=(resamples, len(sample))).mean(axis=1) for sample in samples], axis=0)
    low, high = np.quantile(means, [0.025, 0.975])
    return Interval(mean, float(low), float(high), count)


def intervals(frame: DataFrame, by: Sequence[str], seed: int = 0) -> DataFrame:
    """The interval of the column `value` for each group of rows, in the order of first appearance: columns `by`, mean, low, high, n.

    Every group is given a generator of its own from the same seed, so that another group's rows do not change its interval.
    """
    import pandas as pd

    groups = frame.groupby(list(by), sort=False, observed=True)["value"]
    rows = [(*key, *interval(values.to_numpy(), np.random.default_rng(seed))) for key, values in groups]
    return pd.DataFrame(rows, columns=[*by, *Interval._fields])


def least_p(seeds: int) -> float:
    """The least two-sided p a paired sign-flip test can give: 2 / 2ⁿ."""
    return float(min(1.0, 2.0 / 2**seeds))


def overlap(a: Interval, b: Interval) -> bool:
    """Whether two intervals share a point: then neither mean may be called ahead."""
    return a.low <= b.high and b.low <= a.high
