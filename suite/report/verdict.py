"""Applies the protocol of the report: what counts, what is compared with what, who leads, and how far to trust it."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from .. import trial
from . import stats
from .counted import at_longest, comparable, engines, growth, listed, lost, pooled, scores, steps, streamed, times, trials, variants
from .stats import Interval

if TYPE_CHECKING:
    from pandas import DataFrame, Series

    from ..spec import Results

__all__ = [
    "BASELINE",
    "BOTH",
    "TOLERANCE",
    "Cell",
    "Comparison",
    "Losses",
    "Solved",
    "Summary",
    "Trust",
    "at_longest",
    "best_available",
    "comparable",
    "compare",
    "engines",
    "growth",
    "listed",
    "long_range",
    "longest_solved",
    "losses",
    "lost",
    "noise",
    "pooled",
    "robustness",
    "scores",
    "solvers_of_longest",
    "speed",
    "steps",
    "streamed",
    "summaries",
    "times",
    "trials",
    "trust",
    "variants",
]

BASELINE = trial.BASELINE.label
"""The variant that every other is compared with."""

BOTH = trial.BOTH
"""What is compared of times: forward with backward."""

TOLERANCE = trial.TOLERANCE
"""Parameters that differ from the budget by more than this part of it are flagged."""


class Cell(NamedTuple):
    """A task at a trained length; for speed no task, and the timed length."""

    task: str
    length: int


@dataclass(frozen=True)
class Comparison:
    """The scores of variants over the same cells.

    scores: by variant, of those that have one
    ranked: the causal variants, the leader first; apart: those that are not causal, which are never ranked
    level: the ranked variants whose interval overlaps the leader's, both rounded as they are shown
    left_out: the variants that are not compared, since they lack scores for some of the cells
    """

    scores: Mapping[str, Interval]
    ranked: tuple[str, ...]
    level: tuple[str, ...]
    apart: tuple[str, ...]
    left_out: tuple[str, ...]
    cells: tuple[Cell, ...]

    @property
    def leader(self) -> str | None:
        return self.ranked[0] if self.ranked else None

    @property
    def nothing_learned(self) -> bool:
        """For skills and areas: whether even the leader does no better than not looking at the input."""
        return self.leader is not None and self.scores[self.leader].rounded().high == 0


@dataclass(frozen=True)
class Solved:
    """The longest trained length at which a variant solved a task, with how many of its trials there did."""

    length: int
    solved: int
    trials: int


@dataclass(frozen=True)
class Summary:
    """What there is to say of one variant, over all its tasks and lengths.

    parameters, hidden_sizes: each number that it was given, once, in order
    off_budget: whether its parameters differ by more than the tolerance from the budget of a task
    solved: how many of its trials solved their task; skill: on the test stream
    steps: the median of the steps to solve, NaN where no trial ever did; never: how many trials never did
    robustness: the area under the skill curve of the solved trials
    times: ratios to the baseline by engine; lost: trials that failed or diverged, at any learning rate
    """

    parameters: tuple[int, ...]
    hidden_sizes: tuple[int, ...]
    off_budget: bool
    trials: int
    solved: int
    skill: Interval
    steps: float
    never: int
    robustness: Interval
    times: Mapping[str, Interval]
    lost: int


@dataclass(frozen=True)
class Trust:
    """What limits the trust in a comparison.

    seeds: of a cell, at most; least_p: what a paired test of so many could give
    rates: the learning rates that were tried; at_edge: how many trials have a chosen rate that stands at an end of the grid
    """

    seeds: int
    least_p: float
    rates: tuple[float, ...]
    at_edge: int

    @property
    def few_seeds(self) -> bool:
        """Whether intervals are plain ranges, since there are too few seeds for a bootstrap."""
        return self.seeds < stats.RANGE_BELOW

    @property
    def untuned(self) -> bool:
        return len(self.rates) == 1


@dataclass(frozen=True)
class Losses:
    """How many trials there are at all learning rates, and what became of them.

    stale: results (of trials, measures and timings) left out, since the code behind them has changed; changed: that code, by name
    """

    well: int
    failed: int
    diverged: int
    missing: int
    stale: int
    changed: tuple[str, ...]

    @property
    def lost(self) -> int:
        return self.failed + self.diverged + self.missing

    @property
    def asked(self) -> int:
        return self.well + self.lost


# Comparisons


def compare(results: Results, known: Mapping[str, Interval], cells: Collection[Cell], *, timed: bool = False) -> Comparison:
    """Rank what is known of the variants: causal ones by their mean, and those that are not causal apart, in the order of `listed`.

    timed: whether these are times: less of them is better, and variants may have them that were not trained
    """
    causal, names = variants(results), listed(results, timed=timed)
    finite = {name: known[name] for name in names if name in known and math.isfinite(known[name].mean)}
    ranked = sorted((name for name in finite if causal[name]), key=lambda name: finite[name].mean * (1 if timed else -1))
    return Comparison(
        scores=finite,
        ranked=tuple(ranked),
        level=tuple(name for name in ranked[1:] if stats.overlap(finite[ranked[0]].rounded(), finite[name].rounded())),
        apart=tuple(name for name in finite if not causal[name]),
        left_out=tuple(name for name in names if name not in known),
        cells=tuple(cells),
    )


def speed(results: Results, engine: str) -> Comparison:
    """The time of forward and backward on an engine at its longest timed length, as a multiple of the baseline's there.

    Like is compared with like: a recurrence that runs as one kernel with a baseline that does, and a loop with a loop.
    """
    longest = comparable(at_longest(times(results)))
    rows = longest[(longest["engine"] == engine) & (longest["condition"] == BOTH)]
    ratios = {
        # of the baseline there is but one value: itself
        str(row.variant): Interval(float(row.mean), float(row.low), float(row.high), 1 if row.variant == BASELINE else 2)  # type: ignore[arg-type]
        for row in rows.itertuples(index=False)
    }
    return compare(results, ratios, [Cell("", int(length)) for length in rows["x"].unique()], timed=True)


def noise(results: Results) -> float:
    """By what part a copy of the baseline was slower or faster than it at most: no smaller difference is one. NaN where none was timed."""
    frame = results.frame
    clones = frame.loc[frame["axis"].eq("speed") & frame["metric"].eq("clone_ratio"), "value"]
    return float((clones - 1).abs().max()) if len(clones) else math.nan


def best_available(results: Results) -> DataFrame:
    """The engine on which each variant is fastest, forward and backward at the longest timed length: what one would deploy.

    Columns variant, engine, fused, seconds, and ratio to the baseline on its own fastest engine.
    """
    longest = at_longest(times(results))
    rows = longest[longest["condition"] == BOTH]
    rows = rows[rows["x"] == rows["x"].max()]
    if rows.empty:
        empty: DataFrame = rows.assign(ratio=rows["mean"])
        return empty
    best = rows.loc[rows.groupby("variant", sort=False)["seconds"].idxmin(), ["variant", "engine", "fused", "seconds"]]
    baseline = best.loc[best["variant"] == BASELINE, "seconds"]
    ratios = best["seconds"] / (baseline.iloc[0] if len(baseline) else math.nan)
    table: DataFrame = best.assign(ratio=ratios).sort_values("ratio", kind="stable")
    return table


def robustness(results: Results) -> Comparison:
    """The area under the skill curve, over the cells that the same variants solved with every seed.

    These are the cells that the largest group of causal variants solved together. A variant that lacks one of them is left out.
    """
    areas = scores(results, "robustness", "area", solved=True)
    solvers = _solvers_with_every_seed(results, areas)
    if not solvers:
        return compare(results, {}, ())
    causal = {name for name, value in variants(results).items() if value}
    most = max((names & causal for names in solvers.values()), key=len)
    cells = [cell for cell, names in solvers.items() if names >= most]
    compared = frozenset.intersection(*(solvers[cell] for cell in cells))
    rows = _rows_in(areas, cells)
    known = {name: pooled(rows[rows["variant"] == name], ["task", "length", "condition"]) for name in compared}
    return compare(results, known, cells)


def _solvers_with_every_seed(results: Results, areas: DataFrame) -> dict[Cell, frozenset[str]]:
    """The variants that solved a cell with every seed that did not fail, and have an area under each of the cell's corruptions."""
    counted = trials(results)
    unsolved = counted[~counted["solved"] & counted["value"].notna()]
    solvers = {}
    for cell in _cells(areas):
        conditions = _rows_in(areas, [cell]).groupby("condition")["variant"]
        solvers[cell] = frozenset.intersection(*(frozenset(names) for _, names in conditions)) - set(_rows_in(unsolved, [cell])["variant"])
    return {cell: names for cell, names in solvers.items() if names}


def long_range(results: Results) -> Comparison:
    """The skill on the test stream at each task's longest trained length, over the tasks that most variants have there."""
    rows = _at_longest_length(trials(results))
    scored = rows[rows["value"].notna()]
    held = {str(name): frozenset(_cells(own)) for name, own in scored.groupby("variant")}
    common: frozenset[Cell] = max(
        held.values(), key=lambda cells: (sum(cells <= others for others in held.values()), len(cells)), default=frozenset()
    )
    rows = _rows_in(rows, common)
    known = {name: pooled(rows[rows["variant"] == name], ["task"]) for name in listed(results) if common <= held.get(name, frozenset())}
    return compare(results, known, _cells(rows))


def solvers_of_longest(results: Results) -> dict[Cell, tuple[str, ...]]:
    """Who solved each task at its longest trained length, with at least one seed."""
    rows = _at_longest_length(trials(results))
    solved = rows[rows["solved"]]
    names = {cell: set(_rows_in(solved, [cell])["variant"]) for cell in _cells(rows)}
    return {cell: tuple(name for name in listed(results) if name in solvers) for cell, solvers in names.items()}


def longest_solved(results: Results) -> dict[tuple[str, str], Solved]:
    """The longest length that a variant solved, by task and variant; without those that solved none."""
    longest = {}
    for (task, variant), rows in trials(results).groupby(["task", "variant"], sort=False):
        if rows["solved"].any():
            length = rows.loc[rows["solved"], "length"].max()
            at_length = rows.loc[rows["length"] == length, "solved"]
            longest[str(task), str(variant)] = Solved(int(length), int(at_length.sum()), len(at_length))
    return longest


def _at_longest_length(rows: DataFrame) -> DataFrame:
    return rows[rows["length"] == rows.groupby("task")["length"].transform("max")] if len(rows) else rows


def _cells(rows: DataFrame) -> list[Cell]:
    """The cells of the rows, each once, in their order."""
    return [Cell(str(task), int(length)) for task, length in rows[["task", "length"]].drop_duplicates().itertuples(index=False)]


def _rows_in(rows: DataFrame, cells: Collection[Cell]) -> DataFrame:
    inside = [(task, length) in cells for task, length in zip(rows["task"], rows["length"], strict=True)]
    return rows[np.array(inside, dtype=bool)]


# Summaries


def summaries(results: Results) -> dict[str, Summary]:
    """What there is to say of each variant, those included that were only timed."""
    counted, solving, areas = trials(results), steps(results), scores(results, "robustness", "area", solved=True)
    speeds = {engine.name: speed(results, engine.name).scores for engine in engines(results)}
    failed_or_diverged = lost(results)["variant"].value_counts()
    return {
        name: _summary(
            counted[counted["variant"] == name],
            solving[solving["variant"] == name],
            areas[areas["variant"] == name],
            {engine: ratios[name] for engine, ratios in speeds.items() if name in ratios},
            int(failed_or_diverged.get(name, 0)),
        )
        for name in listed(results, timed=True)
    }


def _summary(counted: DataFrame, solving: DataFrame, areas: DataFrame, ratios: Mapping[str, Interval], gone: int) -> Summary:
    sized = counted[(counted["budget"] > 0) & (counted["parameters"] > 0)]
    off_budget = (sized["parameters"] / sized["budget"] - 1).to_numpy(dtype=float)
    return Summary(
        parameters=_distinct(sized["parameters"]),
        hidden_sizes=_distinct(counted["hidden_size"]),
        off_budget=bool((np.abs(off_budget) > TOLERANCE).any()),
        trials=len(counted),
        solved=int(counted["solved"].sum()),
        skill=pooled(counted, ["task", "length"]),
        steps=float(solving.loc[~solving["censored"].astype(bool), "value"].median()),
        never=int(solving["censored"].sum()),
        robustness=pooled(areas, ["task", "length", "condition"]),
        times=ratios,
        lost=gone,
    )


def _distinct(values: Series[int]) -> tuple[int, ...]:
    return tuple(sorted({int(value) for value in values}))


def losses(results: Results) -> Losses:
    """Counts what was lost, what is missing and what is stale."""
    status, stale = results.trials["status"], results.provenance.stale
    return Losses(
        well=int((status == "ok").sum()),
        failed=int((status == "failed").sum()),
        diverged=int((status == "diverged").sum()),
        missing=len(results.provenance.missing),
        stale=len(stale),
        changed=tuple(sorted({name for result in stale for name in result.changed})),
    )


def trust(results: Results) -> Trust:
    """What limits the trust in what is said of the chosen trials."""
    counted = trials(results)
    seeds = int(counted["seed"].nunique())
    rates = tuple(sorted(results.plan["training"]["learning_rates"]))
    return Trust(seeds, stats.least_p(seeds), rates, int(counted["edge"].sum()))
