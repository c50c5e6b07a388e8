"""Says how soon each variant solves its tasks: counts, survival curves, and whether that is sooner than the baseline."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..measures.scores import chosen_by_others
from ..trial import BASELINE, FAULTS
from . import inference
from .counted import apart, listed, steps, trials
from .inference import Survival
from .stats import Interval

if TYPE_CHECKING:
    from pandas import DataFrame

    from ..spec import Results

LEAST_SEEDS = 8
"""A single cell is judged by itself from so many seeds on."""

SEED = 0
"""Of the generator for exchanges, so that the same results give the same p."""

Floats = NDArray[np.float64]
Sooner = Literal["sooner", "later", "undecided", ""]


class Steps(NamedTuple):
    """What the trials of a variant in one cell have, ``(rates, seeds)`` each.

    validation: what their rates are chosen by; steps: until they solved, or that they were given; solved: which of the two
    """

    validation: ArrayLike
    steps: ArrayLike
    solved: ArrayLike


@dataclass(frozen=True)
class Solving:
    """How soon a variant solves one cell.

    rate: the part of its trials that solved it; survival: of the steps until it met its goal, None where no trial is known
    log_rank: p of the log-rank test against the baseline, as of many trials; exchanged: p of the same statistic by exchange, adjusted for
        all comparisons; both NaN where there is none
    finding: whether it solves the cell sooner than the baseline; empty where nothing is said; why: the reason for that, or what is missing
    """

    variant: str
    task: str
    length: int
    rate: Interval
    survival: Survival | None
    log_rank: float = math.nan
    exchanged: float = math.nan
    finding: Sooner = ""
    why: str = ""


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


def fitted_log_rank(variant: Steps, baseline: Steps, rng: np.random.Generator, draws: int = 20_000) -> tuple[float, float]:
    """The log-rank statistic z of trials whose rates were chosen by the other seeds, and its two-sided p by exchange.

    variant, baseline: of the same rates and seeds; draws: exact where all 2ⁿ exchanges are no more, or else (k + 1) / (draws + 1)

    As in ``inference.fitted_sign_flip`` whatever the two have of a seed is exchanged, and all rates are chosen anew. The p as of many trials
    would not do: of few it is too small, and seeds that choose for each other agree too well.
    Errors: ValueError for shapes that differ or are empty.
    """
    ours, theirs = ([np.asarray(part, dtype=np.float64) for part in side] for side in (variant, baseline))
    shapes = {part.shape for part in (*ours, *theirs)}
    if len(shapes) != 1 or ours[0].ndim != 2 or not ours[0].size:
        raise ValueError(f"all must be of one shape (rates, seeds) that is not empty, not {', '.join(map(str, sorted(shapes)))}")
    seeds = ours[0].shape[1]
    every = seeds <= math.log2(draws)
    flips = np.arange(2**seeds)[:, None] >> np.arange(seeds) & 1 if every else rng.integers(0, 2, size=(draws + 1, seeds))
    flips[0] = 0
    exchanged = flips.astype(np.bool_)[:, None, :]  # (K, 1, seeds)
    chosen = [
        _fitted(*(np.where(exchanged, other, own) for own, other in zip(*pair, strict=True))) for pair in ((ours, theirs), (theirs, ours))
    ]
    z = log_rank_statistic([side[0] for side in chosen], [side[1] for side in chosen])
    return float(z[0]), float(np.mean(np.abs(z) >= abs(z[0]) - inference.TIED))


def _fitted(validation: Floats, steps: Floats, solved: Floats) -> tuple[Floats, NDArray[np.bool_]]:
    """Steps and outcomes ``(K, seeds)`` at the rates that the other seeds choose, of ``(K, rates, seeds)``."""
    rows = chosen_by_others(np.nan_to_num(validation))[:, None, :]
    taken = [np.take_along_axis(values, rows, axis=1)[:, 0, :] for values in (steps, solved)]
    return taken[0], taken[1] > 0


def solving(results: Results) -> list[Solving]:
    """How soon each variant solves each cell, in the order of cells and variants; cells that nobody solved are left out of comparisons."""
    counted, timed = trials(results), steps(results)
    counted = counted[~counted["status"].isin(FAULTS)]
    reasons = apart(results)
    found = []
    for (task, _), rows in counted.groupby(["task", "length"], sort=False):
        for name in [name for name in listed(results) if name in set(rows["variant"])]:
            own = rows[rows["variant"] == name]
            times = timed[timed["key"].isin(own["key"])]
            survival = inference.survival(times["value"], ~times["censored"].astype(bool)) if len(times) else None
            row = Solving(name, str(task), int(rows["length"].iloc[0]), inference.solve_rate(int(own["solved"].sum()), len(own)), survival)
            why = _why_apart(name, reasons[name], rows)
            found.append(replace(row, why=why) if why else _compared(row, results, timed))
    return _adjusted(found)


def _why_apart(name: str, reason: str, rows: DataFrame) -> str:
    """Why a variant is not compared with the baseline in a cell; empty where it is."""
    if name == BASELINE.label:
        return "the baseline"
    if reason:
        return reason
    if BASELINE.label not in set(rows["variant"]):
        return f"{BASELINE.label} has no trial here"
    return "" if rows["steps_to_solve"].notna().any() else "nobody solved it"


def _compared(row: Solving, results: Results, timed: DataFrame) -> Solving:
    """The row with its p, not yet adjusted, and for now the direction of the difference."""
    sides, seeds = _exchangeable(results, row)
    if not seeds:
        return replace(row, why=f"no seed has all its trials, of it and {BASELINE.label}")
    here = timed[timed["task"].eq(row.task) & timed["length"].eq(row.length)]
    own, base = (here[here["variant"].eq(name)] for name in (row.variant, BASELINE.label))
    p = inference.log_rank(own["value"], ~own["censored"].astype(bool), base["value"], ~base["censored"].astype(bool))
    z, exchanged = fitted_log_rank(*sides, np.random.default_rng(SEED))
    why = "" if seeds >= LEAST_SEEDS else f"{seeds} {'seed' if seeds == 1 else 'seeds'} of {LEAST_SEEDS}"
    return replace(row, log_rank=p, exchanged=exchanged, finding="sooner" if z > 0 else "later" if z < 0 else "undecided", why=why)


def _exchangeable(results: Results, row: Solving) -> tuple[tuple[Steps, Steps], int]:
    """All trials of a variant and of the baseline in a cell, of the seeds that neither lost a trial of, and how many these are."""
    every = results.trials
    every = every[every["task"].eq(row.task) & every["length"].eq(row.length) & ~every["status"].isin(FAULTS)]
    never = every["steps_to_solve"].isna() | every["status"].eq("diverged")
    every = every.assign(ended=every["steps_to_solve"].where(~never, every["steps"]).astype(float), done=(~never).astype(float))
    rates = sorted(set(every["learning_rate"]))
    tables = [
        [
            every[every["variant"].eq(name)].pivot_table(index="learning_rate", columns="seed", values=part).reindex(rates)
            for part in ("validation_skill", "ended", "done")
        ]
        for name in (row.variant, BASELINE.label)
    ]
    whole = [side[1].dropna(axis=1).columns for side in tables]
    seeds = [seed for seed in whole[0] if seed in whole[1]]
    ours, theirs = (Steps(*(part.reindex(columns=seeds).to_numpy(dtype=float) for part in side)) for side in tables)
    return (ours, theirs), len(seeds)


def _adjusted(rows: list[Solving]) -> list[Solving]:
    """The rows with p adjusted by Holm over all of them, and what follows where there are seeds enough.

    Where p could not have fallen to 5 % however far apart the two are, the row says how many seeds could tell.
    """
    raw = {index: row.exchanged for index, row in enumerate(rows) if not math.isnan(row.exchanged)}
    adjusted, needed = inference.holm(raw), seeds_needed(len(raw))
    return [_judged(row, adjusted[index], needed) if index in adjusted else row for index, row in enumerate(rows)]


def _judged(row: Solving, p: float, needed: int) -> Solving:
    row = replace(row, exchanged=p)
    if row.why:  # too few seeds
        return replace(row, finding="", why=f"{row.why}; {needed} could tell")
    if p > inference.LEVEL:
        return replace(row, finding="undecided", why=f"{needed} seeds could tell" if row.rate.n < needed else "")
    return row


def seeds_needed(comparisons: int) -> int:
    """With how many seeds the least p by exchange, 2 / 2ⁿ, stays at 5 % after Holm's adjustment of so many comparisons."""
    return max(LEAST_SEEDS, math.ceil(math.log2(2 * max(comparisons, 1) / inference.LEVEL)))
