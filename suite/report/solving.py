"""Says how soon each variant solves its tasks: counts, survival curves, and whether that is sooner than the baseline."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

import numpy as np

from ..trial import BASELINE, FAULTS
from . import inference
from .counted import apart, listed, paired, steps, trials
from .exchange import Floats, Solutions, fitted_log_rank
from .inference import Survival
from .once import once
from .stats import Interval

if TYPE_CHECKING:
    from pandas import DataFrame

    from ..spec import Results

LEAST_SEEDS = 8
"""A single cell is judged by itself from so many seeds on."""

SEED = 0
"""Of the generator for exchanges, so that the same results give the same p."""

Sooner = Literal["sooner", "later", "undecided", ""]


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


def solving(results: Results) -> list[Solving]:
    """How soon each variant solves each cell, in the order of cells and variants; cells that nobody solved are left out of comparisons."""
    counted, timed = trials(results), steps(results)
    counted = counted[~counted["status"].isin(FAULTS)]
    reasons = apart(results)
    table = []
    for (task, _), rows in counted.groupby(["task", "length"], sort=False):
        for name in [name for name in listed(results) if name in set(rows["variant"])]:
            own = rows[rows["variant"] == name]
            times = timed[timed["key"].isin(own["key"])]
            survival = inference.survival(times["value"], ~times["censored"].astype(bool)) if len(times) else None
            row = Solving(name, str(task), int(rows["length"].iloc[0]), inference.solve_rate(int(own["solved"].sum()), len(own)), survival)
            why = _why_apart(name, reasons[name], rows)
            table.append(replace(row, why=why) if why else _compared(row, results, timed))
    return _adjusted(table)


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
    sides = _exchangeable(results, row)
    seeds = sides[0].shape[2]
    if not seeds:
        return replace(row, why=f"no seed has all its trials, of it and {BASELINE.label}")
    here = timed[timed["task"].eq(row.task) & timed["length"].eq(row.length)]
    own, base = (here[here["variant"].eq(name)] for name in (row.variant, BASELINE.label))
    p = inference.log_rank(own["value"], ~own["censored"].astype(bool), base["value"], ~base["censored"].astype(bool))
    z, exchanged = fitted_log_rank(Solutions(*sides[0]), Solutions(*sides[1]), np.random.default_rng(SEED))
    why = "" if seeds >= LEAST_SEEDS else f"{seeds} {'seed' if seeds == 1 else 'seeds'} of {LEAST_SEEDS}"
    return replace(row, log_rank=p, exchanged=exchanged, finding="sooner" if z > 0 else "later" if z < 0 else "undecided", why=why)


def _exchangeable(results: Results, row: Solving) -> tuple[Floats, Floats]:
    """Validation, steps and outcomes ``(3, rates, seeds)`` of a variant and of the baseline in a cell."""
    return paired(_ended(results), (row.variant, BASELINE.label), (row.task, row.length), ("ended", "done"))


@once
def _ended(results: Results) -> DataFrame:
    """All trials, with the step at which each ended, and whether in a solution."""
    every = results.trials
    never = every["steps_to_solve"].isna() | every["status"].eq("diverged")
    ended = every["steps_to_solve"].where(~never, every["steps"]).astype(float)
    return every.assign(ended=ended.where(~every["status"].isin(FAULTS)), done=(~never).astype(float))


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
