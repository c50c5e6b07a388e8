"""Tests and estimates differences that are paired by seed, in cells of the same weight: pure functions, to which a Generator is handed."""

from __future__ import annotations

import bisect
import math
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeVar

import numpy as np
from scipy.stats import t as student

from .stats import Interval

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

Finding = Literal["better", "worse", "undecided"]
Key = TypeVar("Key", bound=Hashable)

DRAWS = 100_000
"""Sign flips that are drawn where there are more than so many; else all of them are looked at."""

CHUNK = 1 << 22
"""So many signs are held at once."""

CLOSE = 1e-9
"""Statistics that differ by less than this part of the larger are ties, as they would be without rounding."""

MOST_SEEDS = 1000


@dataclass(frozen=True)
class Flips:
    """What the statistic comes to under each flip of signs, as a line in the difference θ that is taken off all values first: a − θ b.

    The statistic is the mean over cells of the mean difference in each; `observed` is its value as it was, without a flip.
    """

    observed: float
    a: NDArray[np.float64]
    b: NDArray[np.float64]
    exact: bool

    def p(self, theta: float = 0.0) -> float:
        """Two-sided: how often a flip is at least as far from 0 as what was observed, if the true difference were θ."""
        wanted = abs(self.observed - theta)
        count = int(np.count_nonzero(np.abs(self.a - theta * self.b) >= wanted * (1 - CLOSE) - 1e-15))
        return count / len(self.a) if self.exact else (count + 1) / (len(self.a) + 1)


def flips(cells: Sequence[ArrayLike], rng: np.random.Generator, draws: int = DRAWS) -> Flips:
    """All flips of the signs of paired differences, or so many drawn ones.

    Under no difference each pair's sign is as likely one way as the other, whatever the others' are: a seed draws other data and other
    weights for each task and length, so its pairs in several cells count as independent.

    Raises ValueError where there is no pair, or one that is not finite.
    """
    values = [np.asarray(cell, dtype=np.float64) for cell in cells]
    if not values or not all(len(cell) for cell in values) or not all(np.isfinite(cell).all() for cell in values):
        raise ValueError("every cell takes one finite difference or more")
    weights = np.concatenate([np.full(len(cell), 1 / (len(values) * len(cell))) for cell in values])
    weighted = weights * np.concatenate(values)
    pairs = len(weights)
    exact = 2**pairs <= draws
    total = 2**pairs if exact else draws
    a, b = np.empty(total), np.empty(total)
    for start in range(0, total, max(1, CHUNK // pairs)):
        count = min(max(1, CHUNK // pairs), total - start)
        if exact:
            bits = (np.arange(start, start + count)[:, None] >> np.arange(pairs)) & 1
        else:
            bits = rng.integers(0, 2, size=(count, pairs), dtype=np.int8)
        signs = 1.0 - 2.0 * bits
        a[start : start + count], b[start : start + count] = signs @ weighted, signs @ weights
    return Flips(float(weighted.sum()), a, b, exact)


def sign_flip(cells: Sequence[ArrayLike], rng: np.random.Generator, draws: int = DRAWS) -> float:
    """The two-sided p of a stratified paired sign-flip test of no difference: exact where there are few flips, else of drawn ones."""
    return flips(cells, rng, draws).p()


def effect(cells: Sequence[ArrayLike], rng: np.random.Generator, level: float = 0.95, draws: int = DRAWS) -> Interval:
    """The mean over cells of the mean difference, with the interval of those true differences that the sign-flip test would not refute.

    It covers as often as it says where differences are symmetric about their mean, as those of two variants that differ by a shift are.
    Differences lie between −1 and 1; with fewer than six pairs the test refutes nothing, and the interval is all of that.
    """
    every = flips(cells, rng, draws)
    low, high = (_end(every, bound, 1 - level) for bound in (-1.0, 1.0))
    return Interval(every.observed, low, high, sum(len(np.asarray(cell)) for cell in cells))


def _end(every: Flips, bound: float, alpha: float) -> float:
    """The furthest difference towards the bound that is not refuted, by bisection."""
    if every.p(bound) > alpha:
        return bound
    inside, outside = every.observed, bound
    for _ in range(40):
        middle = (inside + outside) / 2
        inside, outside = (middle, outside) if every.p(middle) > alpha else (inside, middle)
    return inside


def holm(p: Mapping[Key, float]) -> dict[Key, float]:
    """The p of several tests, adjusted so that any wrong rejection among them is as rare as its level says (Holm, 1979)."""
    adjusted: dict[Key, float] = {}
    highest = 0.0
    for place, key in enumerate(sorted(p, key=lambda key: p[key])):
        highest = max(highest, min(1.0, (len(p) - place) * p[key]))
        adjusted[key] = highest
    return adjusted


def finding(adjusted: float, difference: float, level: float = 0.05) -> Finding:
    """What an adjusted p and a difference say."""
    if not adjusted < level or difference == 0:
        return "undecided"
    return "better" if difference > 0 else "worse"


def smallest_effect(pairs: Sequence[int], spread: float, comparisons: int, power: float = 0.8, level: float = 0.05) -> float:
    """The smallest true difference that the test finds with this probability, given so many pairs in each cell.

    spread: the standard deviation of a paired difference within a cell; comparisons: how many tests share the level

    By Student's t, which the sign-flip test comes near to from some ten pairs on; infinite where even the least p would not do.
    """
    total = sum(pairs)
    alpha = level / max(1, comparisons)
    freedom = total - len(pairs)
    if 2.0 ** (1 - total) >= alpha or freedom < 1:
        return math.inf
    error = spread * math.sqrt(sum(1 / count for count in pairs)) / len(pairs)
    return float((student.ppf(1 - alpha / 2, freedom) + student.ppf(power, freedom)) * error)


def seeds_needed(difference: float, spread: float, cells: int, comparisons: int) -> int | None:
    """How many seeds in each of so many cells would find a difference as large with 80 %; None beyond a thousand."""
    every = range(2, MOST_SEEDS + 1)
    place = bisect.bisect_left(every, True, key=lambda seeds: smallest_effect([seeds] * cells, spread, comparisons) <= abs(difference))
    return every[place] if place < len(every) else None
