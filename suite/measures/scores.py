"""Turns losses into skill, and a curve of skills into an area and a half-point: pure functions on numbers."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from ..spec import Point

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray


EQUAL = 1e-9
"""Means that differ by less than this differ by rounding."""


def skill(loss: ArrayLike, baseline: ArrayLike, ideal: ArrayLike = 0.0) -> NDArray[np.float64]:
    """(baseline − loss) / (baseline − ideal), from 0 to 1: 1 is as good as can be, 0 no better than not looking; NaN stays NaN.

    Where even the ideal predictor does no better than not looking, nobody shows any skill.
    """
    gained, room = (np.asarray(baseline, dtype=np.float64) - np.asarray(least, dtype=np.float64) for least in (loss, ideal))
    part = gained / np.where(room > 0, room, 1)
    return np.asarray(np.clip(np.where(room > 0, part, np.minimum(part, 0)), 0, 1))


def skill_of(point: Point) -> float:
    """The skill that a point shows; a loss that was not finite shows none."""
    return skill_shown(point.scores["loss"], point.baseline, point.ideal)


def skill_shown(loss: float, baseline: float, ideal: float) -> float:
    """The skill of one loss, 0 where it was not finite."""
    return float(skill(loss, baseline, ideal)) if math.isfinite(loss) else 0.0


def area(clean: float, skills: Sequence[float]) -> float:
    """Mean height, by trapezia, of a skill curve over evenly spaced severities that starts at the clean skill."""
    curve = np.asarray([clean, *skills], dtype=np.float64)
    return float(np.trapezoid(curve)) / (len(curve) - 1)


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


def chosen_by_others(validation: ArrayLike) -> NDArray[np.intp]:
    """For each seed, the row of the best mean over the other seeds, of equals the first: of scores ``(…, rates, seeds)``, ``(…, seeds)``.

    A choice made on a seed's own validation would flatter its test, since both rest on the same weights. A single seed has no others,
    and chooses for itself. NaN is a score that is not there; a row without any other counts as 0.
    """
    scores = np.asarray(validation, dtype=np.float64)
    known, values = np.isfinite(scores), np.nan_to_num(scores)
    if scores.shape[-1] > 1:
        total, count = (part.sum(axis=-1, keepdims=True) - part for part in (values, known.astype(int)))
        values = total / np.maximum(count, 1)
    chosen: NDArray[np.intp] = np.argmax(values >= values.max(axis=-2, keepdims=True) - EQUAL, axis=-2)
    return chosen


def median_interval(values: ArrayLike, level: float = 0.95) -> tuple[float, float, float]:
    """The median, and the narrowest pair of order statistics around it that holds the true one with at least this probability.

    With fewer values than six no pair does: then the least and the greatest.
    """
    sample = np.sort(np.asarray(values, dtype=np.float64))
    count = len(sample)
    outside, skipped = 0.5**count, 0  # of so many fair coins, the probability that at most `skipped` show heads
    while 2 * (wider := outside + math.comb(count, skipped + 1) * 0.5**count) <= 1 - level:
        outside, skipped = wider, skipped + 1
    return float(np.median(sample)), float(sample[skipped]), float(sample[count - 1 - skipped])


def time_ratio(seconds: ArrayLike, baseline: ArrayLike, clone: ArrayLike = ()) -> tuple[float, float, float]:
    """How many times longer than the baseline a call takes, as the median over rounds with its interval.

    The interval is widened by as much as a clone of the baseline may depart from it, by the farther end of the interval of that: no
    difference inside it can be told from none.
    """
    base = np.asarray(baseline, dtype=np.float64)
    middle, low, high = median_interval(np.asarray(seconds, dtype=np.float64) / base)
    copies = np.asarray(clone, dtype=np.float64)
    if not len(copies):
        return middle, low, high
    _, least, most = median_interval(copies / base)
    floor = max(most, 1 / least)
    return middle, low / floor, high * floor
