"""Tests, intervals and the size of what can be found: pure functions on arrays, every random number from a Generator handed in.

A cell is one task at one length. Its values are one per seed, skills in [0, 1] or paired differences of skills in [-1, 1].
A value that is NaN is refused with a ValueError: who calls says what a lost trial scores.
"""

from __future__ import annotations

import math
import warnings
from bisect import bisect_left
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeVar, overload

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .stats import Interval

__all__ = [
    "LEVEL", "MOST_SEEDS", "TIED", "Finding", "Survival", "effect", "holm", "log_rank",
    "pooled_skill", "seeds_needed", "sign_flip", "skill_interval", "smallest_effect", "solve_rate", "survival", "verdict",
]  # fmt: skip

LEVEL = 0.05
"""How often, at most, anything may be found between equals; intervals are at 1 - LEVEL."""

MOST_SEEDS = 1000
"""More seeds than this are not asked for."""

TIED = 1e-9
"""Skills that differ by no more are equal, and so are statistics by no more than this part of the greatest possible one."""

BLOCK = 2**15
"""So many numbers of a simulation are worked on at once, which a processor's cache holds."""

SIMULATED = 30.0
"""Up to this effective number of pairs power is simulated; beyond it, Student's t stands in, which is within 3 % there."""

Finding = Literal["better", "worse", "undecided"]

Floats = NDArray[np.float64]
Key = TypeVar("Key")


def _samples(cells: Sequence[ArrayLike], low: float = -math.inf, high: float = math.inf) -> list[Floats]:
    """The values of each cell that has any, sorted, so that the order of rows does not reach the random numbers."""
    samples = [np.sort(np.asarray(cell, dtype=np.float64).ravel()) for cell in cells]
    for sample in samples:
        if not np.isfinite(sample).all():
            raise ValueError("a cell holds a value that is not finite; give a lost trial the score that the protocol gives it")
        if len(sample) and not low <= sample[0] <= sample[-1] <= high:
            raise ValueError(f"a cell holds values from {sample[0]:g} to {sample[-1]:g}; they must lie in [{low:g}, {high:g}]")
    return [sample for sample in samples if len(sample)]


def _weights(sizes: Sequence[int]) -> Floats:
    """What a value weighs in the mean of the cells' means (N,), for cells of so many values; the weights sum to one."""
    return np.concatenate([np.full(size, 1 / (size * len(sizes))) for size in sizes])


# Tests


def sign_flip(cells: Sequence[ArrayLike], rng: np.random.Generator, draws: int = 100_000) -> float:
    """The two-sided p of a stratified paired sign-flip test of "no difference" between a variant and the baseline.

    cells: the paired differences of each cell, one per seed; a cell without any is left out, and of no cells at all p is 1
    draws: with n differences other than zero the test is exact if 2ⁿ ≤ draws, or else draws so many signs: p = (k + 1) / (draws + 1)

    The statistic is the mean of the cells' means, every cell of the same weight. Assumed is that without a difference each d is as
    likely as -d, whatever the others are: that variant and baseline could be exchanged in any pair alone. Two things break this.

    Scores of `exchange.cross_fitted` rates: seeds that choose for each other agree too well, and 8 to 26 % of equals are found, not 5 %. Their
    test is `exchange.fitted_sign_flip`.
    Skewed differences, even of mean zero: a variant whose skill is 0.8 always, against a baseline that solves with p = 0.8, is found
    worse in 8 % of draws; with 0.95 in place of 0.8 in half of them. It is another variant, and `effect` says that its mean may be equal.
    """
    samples = _samples(cells)
    if not samples:
        return 1.0
    values = np.concatenate(samples)
    weighted = (values * _weights([len(sample) for sample in samples]))[np.abs(values) > TIED]  # a zero has no sign to flip
    least = abs(float(weighted.sum())) - TIED * float(np.abs(weighted).sum())
    if len(weighted) <= math.log2(draws):
        return float(np.mean(np.abs(_every_sign(weighted)) >= least))
    block, hits = max(1, 2**20 // len(weighted)), 0
    for start in range(0, draws, block):
        flipped = rng.integers(0, 2, size=(min(block, draws - start), len(weighted)), dtype=np.bool_)  # (M, N)
        hits += int(np.count_nonzero(np.abs(weighted.sum() - 2 * (flipped @ weighted)) >= least))
    return (hits + 1) / (draws + 1)


def _every_sign(values: Floats) -> Floats:
    """The sum of the values (N,) under each choice of signs (2ᴺ,)."""
    sums = np.zeros(1)
    for value in values:
        sums = np.concatenate([sums + value, sums - value])
    return sums


@overload
def holm(p: Mapping[Key, float]) -> dict[Key, float]: ...
@overload
def holm(p: Sequence[float]) -> list[float]: ...
def holm(p: Mapping[Key, float] | Sequence[float]) -> dict[Key, float] | list[float]:
    """Each p as Holm's step-down method adjusts it, however the comparisons depend on each other; ValueError for one outside [0, 1]."""
    if isinstance(p, Mapping):
        return dict(zip(p, holm(list(p.values())), strict=True))
    raw = np.asarray(p, dtype=np.float64)
    if not ((raw >= 0) & (raw <= 1)).all():
        raise ValueError(f"every p must lie in [0, 1], and among {list(p)} one does not")
    adjusted, order = np.empty_like(raw), np.argsort(raw, kind="stable")
    adjusted[order] = np.minimum(np.maximum.accumulate(raw[order] * np.arange(len(raw), 0, -1)), 1.0)
    return [float(value) for value in adjusted]


def verdict(p_adjusted: float, effect: float, level: float = LEVEL) -> Finding:
    """What may be said of a variant: the sign of its effect if its adjusted p is at most the level; ValueError if NaN leaves that open."""
    if math.isnan(p_adjusted) or (p_adjusted <= level and math.isnan(effect)):
        raise ValueError(f"of p {p_adjusted:g} and effect {effect:g} nothing can be said")
    if p_adjusted > level or effect == 0:
        return "undecided"
    return "better" if effect > 0 else "worse"


# Intervals


def _bounded_mean(samples: Sequence[Floats], floor: float, ceiling: float, rng: np.random.Generator, draws: int) -> Interval:
    """The mean of the cells' means with an interval at 95 %, of values that lie in [floor, ceiling].

    The values are given random weights, as in a Bayesian bootstrap, and beside them one that was not seen: the floor for the lower end,
    the ceiling for the upper one (Gaffke 2005; Learned-Miller & Thomas 2019, arXiv:1905.06208). It weighs as much as the heaviest seen
    one. Of zeros and ones in cells of one size this is Clopper and Pearson's interval; that it covers for every bounded distribution is
    conjectured and not proven, so it is measured: tests/validate.py. What cells differ by counts as noise, which errs to the wide side.
    """
    if not samples:
        return Interval(math.nan, math.nan, math.nan, 0)
    values, weights = np.concatenate(samples), _weights([len(sample) for sample in samples])
    seen = rng.standard_exponential((draws, len(values))) * weights  # (M, N)
    unseen = rng.standard_exponential(draws) * weights.max()  # (M,)
    total, body = seen.sum(axis=1) + unseen, seen @ values
    low = np.quantile((body + unseen * floor) / total, LEVEL / 2)
    high = np.quantile((body + unseen * ceiling) / total, 1 - LEVEL / 2)
    return Interval(float(weights @ values), max(float(low), floor), min(float(high), ceiling), len(values))


def skill_interval(values: ArrayLike, rng: np.random.Generator, draws: int = 20_000) -> Interval:
    """The mean of skills in [0, 1] with an interval at 95 % that covers the true mean of what the values were drawn from.

    Measured over 4,000 draws of 5 (10) values: it covers normal skills in 100 % (100 %) of them, lognormal ones in 99.7 % (99.3 %),
    solved-or-not with p = 0.8 in 99 % (99 %) and with p = 0.95 in 98 % (99 %), and any solved-or-not in 96 % or more. Its mean widths are
    0.54, 0.58, 0.68, 0.56 (0.32, 0.35, 0.50, 0.37). The bootstrap's interval covers p = 0.95 in 22 % (39 %), Student's t in as few.
    Errors: ValueError for a value outside [0, 1]. Of no values the interval is NaN, with n = 0.
    """
    return pooled_skill([values], rng, draws)


def pooled_skill(cells: Sequence[ArrayLike], rng: np.random.Generator, draws: int = 20_000) -> Interval:
    """As `skill_interval`, of the mean over cells of their mean skills, every cell of the same weight."""
    return _bounded_mean(_samples(cells, 0.0, 1.0), 0.0, 1.0, rng, draws)


def effect(cells: Sequence[ArrayLike], rng: np.random.Generator, draws: int = 20_000) -> Interval:
    """The mean over cells of mean paired differences with an interval at 95 % that covers the true mean difference of these cells.

    cells: the paired differences of each cell, each in [-1, 1]; a cell without any is left out, and of no cells the interval is NaN

    It asks only for the bounds, not for symmetry or normality, and so is wide of few pairs: a rare loss of everything cannot be excluded.
    It may hold zero where `sign_flip` finds a difference, as it mostly does of fewer than 30 pairs: then there is one, of unknown size.
    Measured over 4,000 draws it covers in 97 % or more: widths in one cell of 5 (10) pairs are 1.0 to 1.3 (0.6 to 1.0), in four cells
    0.4 to 0.7 (0.2 to 0.5). Scores of `exchange.cross_fitted` rates, whose seeds agree too well, it covers in 89 % or more if solved or not.
    Errors: ValueError for a difference outside [-1, 1].
    """
    return _bounded_mean(_samples(cells, -1.0, 1.0), -1.0, 1.0, rng, draws)


def solve_rate(solved: int, trials: int) -> Interval:
    """The part of the trials that solved, with Clopper and Pearson's interval at 95 %; NaN with n = 0 where there are none.

    It covers every p in 95 % or more. Wilson's is narrower, and covers p = 0.95 in 91 % of draws of ten trials.
    Errors: ValueError unless 0 ≤ solved ≤ trials.
    """
    from scipy import stats

    if not 0 <= solved <= trials:
        raise ValueError(f"{solved} of {trials} trials cannot have solved")
    if not trials:
        return Interval(math.nan, math.nan, math.nan, 0)
    bounds = stats.binomtest(int(solved), int(trials)).proportion_ci(1 - LEVEL, method="exact")
    return Interval(solved / trials, float(bounds.low), float(bounds.high), int(trials))


# Steps until a task is solved


@dataclass(frozen=True)
class Survival:
    """What part of the trials has not solved its task after how many steps (Kaplan and Meier), with pointwise intervals at 95 %.

    steps: 0 and those at which a trial solved or ended, ascending (K,); probability, low, high: of being unsolved after them (K,)
    median, median_low, median_high: the steps by which half have solved, inf where that lies beyond the last step
    """

    steps: Floats
    probability: Floats
    low: Floats
    high: Floats
    median: float
    median_low: float
    median_high: float


def _censored(steps: ArrayLike, solved: ArrayLike) -> Any:
    """Steps and whether they ended in a solution (N,), as scipy takes them."""
    from scipy import stats

    count, done = np.asarray(steps, dtype=np.float64).ravel(), np.asarray(solved, dtype=np.bool_).ravel()
    if len(count) != len(done) or not len(count):
        raise ValueError(f"there are {len(count)} steps and {len(done)} outcomes; there must be as many, and at least one")
    if not (np.isfinite(count) & (count > 0)).all():
        raise ValueError("steps must be finite and positive; give an unsolved trial the steps it was allowed")
    return stats.CensoredData(uncensored=count[done], right=count[~done])


def survival(steps: ArrayLike, solved: ArrayLike) -> Survival:
    """Estimate how many trials are unsolved after how many steps.

    steps: until a trial solved, or that an unsolved one was allowed (N,); solved: which of the two (N,). A trial that diverged never
    solves: give it the steps of its plan, since one that leaves early counts as one that might have solved later.

    Intervals are log-log ones; at a probability of 0 or 1 these do not exist, and the exact binomial one stands in. Of four trials or
    more they cover in 93 % or more, of three in 89 %; the median's covers in 93 % or more.
    Errors: ValueError for lengths that differ, no trials, or steps that are not positive and finite.
    """
    from scipy import stats

    sample = _censored(steps, solved)
    curve = stats.ecdf(sample).sf
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # undefined bounds are set below
        bounds = curve.confidence_interval(1 - LEVEL, method="log-log")
    at, probability, low, high = (
        np.insert(values, 0, start)
        for values, start in ((curve.quantiles, 0), (curve.probabilities, 1), (bounds.low.probabilities, 1), (bounds.high.probabilities, 1))
    )
    for k in np.flatnonzero(probability == 1):
        low[k], high[k] = 1 - solve_rate(0, int(np.count_nonzero(np.asarray(steps) >= at[k]))).high, 1.0
    solutions = int(np.count_nonzero(solved))
    for k in np.flatnonzero(probability == 0):
        low[k], high[k] = 0.0, 1 - solve_rate(solutions, solutions).low
    halves = [float(np.append(at[line <= 0.5 + TIED], math.inf)[0]) for line in (probability, low, high)]
    return Survival(at, probability, low, high, *halves)


def log_rank(steps_a: ArrayLike, solved_a: ArrayLike, steps_b: ArrayLike, solved_b: ArrayLike) -> float:
    """The two-sided p of the log-rank test that two groups of trials solve equally fast; 1 where the data cannot tell.

    The p is that of many trials. Of two equal groups of 3, 5, 10, 20 trials, up to 10, 8, 7, 6 % are found different at 0.05: of few
    trials it describes, and carries no claim.
    Errors: as of `survival`.
    """
    from scipy import stats

    with np.errstate(invalid="ignore", divide="ignore"):  # without a solution, or with all at one step, the variance is zero
        p = float(stats.logrank(_censored(steps_a, solved_a), _censored(steps_b, solved_b)).pvalue)
    return 1.0 if math.isnan(p) else p


# Power


def smallest_effect(pairs_per_cell: Sequence[int], spread: float, comparisons: int, rng: np.random.Generator, power: float = 0.8) -> float:
    """The smallest true mean difference that `sign_flip` finds so often, tested at LEVEL / comparisons; inf where none can be found.

    pairs_per_cell: how many seeds each cell has; spread: the standard deviation of a paired difference, in whose unit the answer is
    comparisons: how many variants are compared; Holm's method finds this at least

    Differences are taken for normal, of one spread and one mean in all cells. An answer may exceed 1, which no difference of skills can.
    Errors: ValueError for a spread below 0, fewer than one comparison, or a power outside (0, 1).
    """
    from scipy import stats

    if not spread >= 0 or comparisons < 1 or not 0 < power < 1:
        raise ValueError(f"spread {spread:g} must be at least 0, comparisons {comparisons} at least 1, and power {power:g} within (0, 1)")
    sizes, level = [pairs for pairs in pairs_per_cell if pairs], LEVEL / comparisons
    if 0.5 ** (sum(sizes) - 1) > level:  # the least p, 2 / 2ⁿ
        return math.inf
    weights = _weights(sizes)
    effective = float((weights**2).sum() ** 2 / (weights**4).sum())  # so many pairs of equal weight leave the variance as uncertain
    if effective <= SIMULATED:
        return spread * _simulated(weights, level, power, rng)
    t = stats.t(effective - 1)
    return spread * float((t.ppf(1 - level / 2) + t.ppf(power)) * math.sqrt(weights @ weights))


def _simulated(weights: Floats, level: float, power: float, rng: np.random.Generator) -> float:
    """The smallest effect by simulation, in standard deviations of a difference: bisected on the same normal draws and signs."""
    rows = max(2000, math.ceil(16 / level))
    if 2 ** (len(weights) - 1) <= rows:  # half of all choices of signs: the others mirror them
        signs = 1.0 - 2.0 * (np.arange(2 ** (len(weights) - 1))[:, None] >> np.arange(len(weights)) & 1)
    else:
        signs = 1.0 - 2.0 * rng.integers(0, 2, size=(rows, len(weights)))
        signs[0] = 1.0
    flipped = signs * weights  # (M, N); the first row is what was observed
    noise = rng.standard_normal((max(400, 4_000_000 // len(flipped)), len(weights))) @ flipped.T  # (K, M)
    shift = flipped.sum(axis=1)  # (M,)

    blocks = np.array_split(noise, math.ceil(noise.size / BLOCK))

    def detected(block: Floats, moved: Floats) -> int:
        statistics = block + moved
        np.abs(statistics, out=statistics)
        reached = np.count_nonzero(statistics >= statistics[:, :1] * (1 - TIED), axis=1)
        return int(np.count_nonzero(reached / len(moved) <= level * (1 + TIED)))

    def suffices(difference: float) -> bool:
        """Whether it is found often enough, which the first rows may show already."""
        moved, detections, left = difference * shift, 0, len(noise)
        for block in blocks:
            detections, left = detections + detected(block, moved), left - len(block)
            if detections / len(noise) >= power or (detections + left) / len(noise) < power:
                break
        return detections / len(noise) >= power

    low, high = 0.0, 1.0
    while not suffices(high):
        low, high = high, 2 * high
    for _ in range(9):  # to 1 / 512 of that
        low, high = (low, (low + high) / 2) if suffices((low + high) / 2) else ((low + high) / 2, high)
    return high


def seeds_needed(effect: float, smallest: Callable[[int], float]) -> int | None:
    """How many seeds a cell must have for a true mean difference to be found with 80 % power; None beyond MOST_SEEDS, and of none at all.

    effect: the difference, of either sign; smallest: the smallest effect that so many seeds a cell show, as `smallest_effect` has it, which
    falls as they grow. The answer is 2 at least, since the rate of a single seed is chosen by no other.
    Errors: ValueError for an effect that is NaN.
    """
    if math.isnan(effect):
        raise ValueError("the effect must be a number, not NaN")
    counts = range(2, MOST_SEEDS + 1)
    place = bisect_left(counts, True, key=lambda seeds: smallest(seeds) <= abs(effect))
    return counts[place] if effect and place < len(counts) else None
