"""Tests scores whose learning rates were chosen by the other seeds: two variants exchange all that they have of a seed, and choose anew.

A trial's validation and test scores share its trained weights, so that a rate chosen by the trial itself flatters it. A rate that only the
other seeds choose does not; but then the seeds' scores agree too well for a test that takes them to be independent. What may be exchanged
without a difference between two variants is all that they have of one seed, before any rate is chosen.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..measures.scores import chosen_by_others
from .inference import TIED

Floats = NDArray[np.float64]
Scores = tuple[ArrayLike, ArrayLike]
"""The validation and the test scores of a cell, each (rates, seeds)."""


class Solutions(NamedTuple):
    """What the trials of a variant in one cell have, ``(rates, seeds)`` each.

    validation: what their rates are chosen by; steps: until they solved, or that they were given; solved: which of the two
    """

    validation: ArrayLike
    steps: ArrayLike
    solved: ArrayLike


def cross_fitted(validation: ArrayLike, test: ArrayLike) -> tuple[NDArray[np.intp], Floats]:
    """The learning rate that the other seeds choose for each seed (seeds,), and the seed's test score at that rate (seeds,).

    validation, test: scores (rates, seeds), the greater the better. A NaN in validation, a trial that was lost, counts as 0; one in test
    is handed on. Of rates whose means are equal the first is chosen. A single seed has no others: it chooses by its own validation, and its
    score is flattered.
    Errors: ValueError for shapes that differ, are not (rates, seeds), or are empty.
    """
    scores = _stacked((validation, test))
    return chosen_by_others(scores[0]), _fitted(scores)[0]


def fitted_sign_flip(variant: Sequence[Scores], baseline: Sequence[Scores], rng: np.random.Generator, draws: int = 20_000) -> float:
    """The two-sided p of "no difference" between scores whose rates were chosen by `cross_fitted`.

    variant, baseline: the scores of each cell, of the same cells, rates and seeds; of no cells at all p is 1
    draws: exact where all n pairs have 2ⁿ ≤ draws exchanges, or else (k + 1) / (draws + 1) of so many
    The statistic is the mean of the cells' mean differences. A test score that is NaN, as what an unsolved trial keeps of its skill, takes
    its pair away where it is chosen, and a cell without pairs itself.
    Errors: ValueError for shapes that differ or a test score that is infinite.
    """
    exact = sum(np.shape(test)[-1] for _, test in baseline) <= math.log2(draws)
    sums, counts = np.zeros(1), np.zeros(1)  # over cells (M,), first those of no exchange
    for ours, theirs in zip(variant, baseline, strict=True):
        own, other = _alike(ours, theirs)
        if np.isinf([own[1], other[1]]).any():
            raise ValueError("a test score must not be infinite")
        swaps = _swaps(own.shape[2], rng, draws)
        (first,), (second,) = _exchanged(own, other, swaps)  # (K, seeds)
        apart = first - second
        pairs = np.isfinite(apart).sum(axis=1)
        means, there = np.nansum(apart, axis=1) / np.maximum(pairs, 1), np.minimum(pairs, 1)  # (K,)
        if not exact and len(swaps) != draws + 1:
            drawn = np.append(0, rng.integers(len(means), size=draws))
            means, there = means[drawn], there[drawn]
        sums = (sums[:, None] + means).ravel() if exact else sums + means
        counts = (counts[:, None] + there).ravel() if exact else counts + there
    statistics = np.abs(sums / np.maximum(counts, 1))
    return float(np.mean(statistics >= statistics[0] - TIED))


def fitted_log_rank(variant: Solutions, baseline: Solutions, rng: np.random.Generator, draws: int = 20_000) -> tuple[float, float]:
    """The log-rank statistic z of trials whose rates were chosen by the other seeds, and its two-sided p by exchange.

    variant, baseline: of the same rates and seeds; draws: exact where all 2ⁿ exchanges are no more, or else (k + 1) / (draws + 1)

    The p as of many trials would not do: of few it is too small, and seeds that choose for each other agree too well.
    Errors: ValueError for shapes that differ or are empty.
    """
    own, other = _alike(variant, baseline)
    (steps, solved), (their_steps, they_solved) = _exchanged(own, other, _swaps(own.shape[2], rng, draws))
    z = log_rank_statistic((steps, their_steps), (solved > 0, they_solved > 0))
    return float(z[0]), float(np.mean(np.abs(z) >= abs(z[0]) - TIED))


def log_rank_statistic(steps: Sequence[Floats], solved: Sequence[NDArray[np.bool_]]) -> Floats:
    """The log-rank statistic z ``(K,)`` of two groups, of K data sets at once: steps ``(K, n)`` and whether they ended in a solution, by group.

    It is above 0 where the first group solves sooner than if both were alike, and 0 where the data cannot tell (Mantel, 1966).
    """
    excess, variance = np.zeros(len(steps[0])), np.zeros(len(steps[0]))
    for step in np.unique(np.concatenate([own.ravel() for own in steps])):
        at_risk = [(own >= step).sum(axis=1) for own in steps]
        events = [((own == step) & done).sum(axis=1) for own, done in zip(steps, solved, strict=True)]
        n, d = sum(at_risk), sum(events)
        part = at_risk[0] / np.maximum(n, 1)
        excess += events[0] - d * part
        variance += d * part * (1 - part) * (n - d) / np.maximum(n - 1, 1)
    return np.asarray(np.where(variance > 0, excess / np.sqrt(np.where(variance > 0, variance, 1)), 0.0))


def _swaps(seeds: int, rng: np.random.Generator, draws: int) -> NDArray[np.bool_]:
    """Which seeds are exchanged (K, seeds), at first none: all 2ⁿ ways where they are no more than draws, or else draws + 1 of them."""
    every = seeds <= math.log2(draws)
    swaps = np.arange(2**seeds)[:, None] >> np.arange(seeds) & 1 if every else rng.integers(0, 2, size=(draws + 1, seeds))
    swaps[0] = 0
    return swaps.astype(np.bool_)


def _exchanged(own: Floats, other: Floats, swaps: NDArray[np.bool_]) -> tuple[Floats, Floats]:
    """The scores of both sides (scores, K, seeds) after each exchange, at the rates that are chosen then; of (1 + scores, rates, seeds)."""
    swapped = swaps[:, None, :]  # (K, 1, seeds)
    return tuple(_fitted(np.where(swapped, b[:, None], a[:, None])) for a, b in ((own, other), (other, own)))  # type: ignore[return-value]


def _fitted(scores: Floats) -> Floats:
    """All but the first (scores, ..., seeds) at the rates that the other seeds choose by the first, of (1 + scores, ..., rates, seeds)."""
    chosen = chosen_by_others(scores[0])
    return np.take_along_axis(scores[1:], chosen[None, ..., None, :], axis=-2)[..., 0, :]


def _alike(*sides: Sequence[ArrayLike]) -> list[Floats]:
    """Each side as an array (1 + scores, rates, seeds), all of one shape."""
    stacked = [_stacked(side) for side in sides]
    if len({side.shape for side in stacked}) != 1:
        raise ValueError(f"both must be of one shape (rates, seeds), not {' and '.join(str(side.shape[1:]) for side in stacked)}")
    return stacked


def _stacked(parts: Sequence[ArrayLike]) -> Floats:
    """Validation and what belongs to it as one array (1 + scores, rates, seeds), what is NaN in validation as 0."""
    arrays = [np.asarray(part, dtype=np.float64) for part in parts]
    if len({array.shape for array in arrays}) != 1 or arrays[0].ndim != 2 or not arrays[0].size:
        raise ValueError(
            f"all must be of one shape (rates, seeds) that is not empty, not {', '.join(str(array.shape) for array in arrays)}"
        )
    return np.stack([np.nan_to_num(arrays[0], nan=0.0), *arrays[1:]])
