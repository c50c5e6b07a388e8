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

__all__ = ["RANGE_BELOW", "Interval", "area", "half_point", "least_p", "pooled", "skill", "spread", "spreads"]

RANGE_BELOW = 5
"""Fewer values than this are shown with their range, since an interval of so few would say nothing."""


class Interval(NamedTuple):
    """A mean with its range or its interval at 95 %."""

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


def spread(values: ArrayLike) -> Interval:
    """The mean of the finite values with their range."""
    sample = np.asarray(values, dtype=np.float64)
    sample = sample[np.isfinite(sample)]
    if not len(sample):
        return Interval(math.nan, math.nan, math.nan, 0)
    return Interval(float(sample.mean()), float(sample.min()), float(sample.max()), len(sample))


def pooled(groups: Sequence[ArrayLike], rng: np.random.Generator) -> Interval:
    """The mean of the groups' means, every group of the same weight, with its interval at 95 %.

    A group without finite values is left out. With fewer than five values in any group, or values beyond 0 and 1, low and high are the
    means of the groups' least and greatest values.
    """
    samples = [np.asarray(group, dtype=np.float64) for group in groups]
    samples = [sample[np.isfinite(sample)] for sample in samples]
    samples = [sample for sample in samples if len(sample)]
    if not samples:
        return Interval(math.nan, math.nan, math.nan, 0)
    if min(map(len, samples)) >= RANGE_BELOW and all(0 <= sample.min() <= sample.max() <= 1 for sample in samples):
        from .inference import pooled_skill  # which builds on the intervals here

        return pooled_skill(samples, rng)
    mean, low, high = (float(np.mean([end(sample) for sample in samples])) for end in (np.mean, np.min, np.max))
    return Interval(mean, low, high, sum(map(len, samples)))


def spreads(frame: DataFrame, by: Sequence[str]) -> DataFrame:
    """The mean and range of the column `value` for each group of rows, in the order of first appearance: columns `by`, mean, low, high, n."""
    import pandas as pd

    groups = frame.groupby(list(by), sort=False, observed=True)["value"]
    return pd.DataFrame([(*key, *spread(values.to_numpy())) for key, values in groups], columns=[*by, *Interval._fields])


def least_p(seeds: int) -> float:
    """The least two-sided p a paired sign-flip test can give: 2 / 2ⁿ."""
    return float(min(1.0, 2.0 / 2**seeds))
