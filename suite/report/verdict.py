"""Applies the protocol of the report: what counts, what is found against the baseline, and how far to trust it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING

import numpy as np

from .. import trial
from ..ops.engines import ENGINES
from ..plan import state
from ..plan.fairness import Aspect, Fairness, Given, compare
from . import stats
from .answer import Answer, Row, answer
from .bars import bars
from .claims import QUANTITIES, Evidence, Ruled, rulings
from .counted import (
    apart,
    at_longest,
    best_available,
    comparable,
    engines,
    growth,
    listed,
    lost,
    pooled,
    ratios,
    retained,
    scores,
    steps,
    streamed,
    times,
    trials,
    variants,
    vendor_sizes,
)
from .horizon import REACHES, GradientHorizon, Lag, MemoryHorizon, gradient_horizons, gradients, memory_horizons, over_seeds
from .rests import answered, rests
from .solving import LEAST_SEEDS, Solving, solving
from .stats import Interval
from .telling import MARKS, columns, marked, signed
from .worth import Worth, worth

if TYPE_CHECKING:
    from pandas import DataFrame, Series

    from ..spec import Results

__all__ = [
    "BASELINE",
    "BOTH",
    "ENDS",
    "LEAST_SEEDS",
    "MARKS",
    "QUANTITIES",
    "REACHES",
    "TOLERANCE",
    "Answer",
    "Aspect",
    "Evidence",
    "Fairness",
    "GradientHorizon",
    "Lag",
    "Losses",
    "MemoryHorizon",
    "Row",
    "Ruled",
    "Solved",
    "Solving",
    "Summary",
    "Trust",
    "Worth",
    "answer",
    "answered",
    "apart",
    "at_longest",
    "bars",
    "best_available",
    "columns",
    "comparable",
    "engines",
    "fairness",
    "gradient_horizons",
    "gradients",
    "growth",
    "listed",
    "longest_solved",
    "losses",
    "lost",
    "marked",
    "memory_horizons",
    "noise",
    "over_seeds",
    "pooled",
    "ratios",
    "rests",
    "retained",
    "rulings",
    "scores",
    "signed",
    "solving",
    "speed",
    "steps",
    "streamed",
    "summaries",
    "times",
    "trials",
    "trust",
    "variants",
    "vendor_sizes",
    "worth",
]

BASELINE = trial.BASELINE.label
"""The variant that every other is compared with."""

BOTH = trial.BOTH
"""What is compared of times: forward with backward."""

STILL = 0.9
"""Who is best after so much of the steps is still learning."""

TOLERANCE = trial.TOLERANCE
"""Parameters that differ from the budget by more than this part of it are flagged."""

ENDS: Mapping[str, str] = {
    "diverged": "diverged",
    "failed": "failed (their plugin raised)",
    "crashed": "crashed (their process died)",
    "oom": "ran out of memory (oom)",
    "timeout": "went beyond their time (timeout)",
}
"""What became of trials that did not end well, in words, by status."""


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
    state: how many numbers it carries from step to step, as a table shows it
    off_budget: whether its parameters differ by more than the tolerance from the budget of a task
    solved: how many of its trials solved their task; skill: on the test stream
    steps: the median of the steps to solve, NaN where no trial ever did; never: how many trials never did
    robustness: the part of its skill that a solved trial keeps under damage
    times: ratios to the baseline by engine; lost: trials that did not end well, at any learning rate
    """

    parameters: tuple[int, ...]
    hidden_sizes: tuple[int, ...]
    state: str
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
    rates: the learning rates that were tried; at_edge: how many of the chosen trials have one that stands at an end of the grid
    learning: how many of those had not solved their task and were best in the last tenth of their steps
    chosen: how many trials there are at the rates that were chosen
    """

    seeds: int
    least_p: float
    rates: tuple[float, ...]
    at_edge: int
    learning: int
    chosen: int

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

    well: that ended well; ends: how many diverged, failed, …, by status, those alone that there are; missing: that have no result
    stale: results (of trials, measures and timings) left out, since the code behind them has changed; changed: that code, by name
    """

    well: int
    ends: Mapping[str, int]
    missing: int
    stale: int
    changed: tuple[str, ...]

    @property
    def lost(self) -> int:
        return sum(self.ends.values()) + self.missing

    @property
    def asked(self) -> int:
        return self.well + self.lost


# What was equal


def fairness(results: Results) -> list[Fairness]:
    """In what each variant that was trained is like the baseline and in what it is not, the baseline first; empty where it was not trained."""
    rows = results.trials[[field.name for field in fields(Given)]]
    timed = results.frame.loc[results.frame["axis"].eq("speed"), ["variant", "engine"]].drop_duplicates()
    used = {(str(variant), str(engine)) for variant, engine in timed.itertuples(index=False)}
    by_variant = {name: [engine.name for engine in ENGINES if (name, engine.name) in used] for name, _ in sorted(used)}
    return compare([Given(*values) for values in rows.itertuples(index=False, name=None)], by_variant)


# What was timed


def speed(results: Results, engine: str) -> dict[str, Interval]:
    """The time of forward and backward on an engine at its longest timed length, as a multiple of the baseline's there, by variant.

    Like is compared with like: a recurrence that runs as one kernel with a baseline that does, and a loop with a loop.
    """
    longest = comparable(at_longest(times(results)))
    return ratios(longest[(longest["engine"] == engine) & (longest["condition"] == BOTH)])


def noise(results: Results) -> float:
    """By what part a copy of the baseline was slower or faster than it at most: no smaller difference is one. NaN where none was timed."""
    frame = results.frame
    clones = frame.loc[frame["axis"].eq("speed") & frame["metric"].eq("clone_ratio"), "value"]
    return float((clones - 1).abs().max()) if len(clones) else math.nan


# What was solved


def longest_solved(results: Results) -> dict[tuple[str, str], Solved]:
    """The longest length that a variant solved, by task and variant; without those that solved none."""
    longest = {}
    for (task, variant), rows in trials(results).groupby(["task", "variant"], sort=False):
        if rows["solved"].any():
            length = rows.loc[rows["solved"], "length"].max()
            at_length = rows.loc[rows["length"] == length, "solved"]
            longest[str(task), str(variant)] = Solved(int(length), int(at_length.sum()), len(at_length))
    return longest


# Summaries


def summaries(results: Results) -> dict[str, Summary]:
    """What there is to say of each variant, those included that were only timed."""
    counted, solving, kept = trials(results), steps(results), retained(results)
    speeds = {engine.name: speed(results, engine.name) for engine in engines(results)}
    gone = lost(results)["variant"].value_counts()
    return {
        name: _summary(
            counted[counted["variant"] == name],
            solving[solving["variant"] == name],
            kept[kept["variant"] == name],
            {engine: ratios[name] for engine, ratios in speeds.items() if name in ratios},
            int(gone.get(name, 0)),
        )
        for name in listed(results, timed=True)
    }


def _summary(counted: DataFrame, solving: DataFrame, kept: DataFrame, ratios: Mapping[str, Interval], gone: int) -> Summary:
    sized = counted[(counted["budget"] > 0) & (counted["parameters"] > 0)]
    off_budget = (sized["parameters"] / sized["budget"] - 1).to_numpy(dtype=float)
    return Summary(
        parameters=_distinct(sized["parameters"]),
        hidden_sizes=_distinct(counted["hidden_size"]),
        state=state.text(_distinct(counted["state_size"]), bool(counted["causal"].all())),
        off_budget=bool((np.abs(off_budget) > TOLERANCE).any()),
        trials=len(counted),
        solved=int(counted["solved"].sum()),
        skill=pooled(counted, ["task", "length"]),
        steps=float(solving.loc[~solving["censored"].astype(bool), "value"].median()),
        never=int(solving["censored"].sum()),
        robustness=pooled(kept, ["task", "length", "condition"]),
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
        ends={end: int((status == end).sum()) for end in ENDS if (status == end).any()},
        missing=len(results.provenance.missing),
        stale=len(stale),
        changed=tuple(sorted({name for result in stale for name in result.changed})),
    )


def trust(results: Results) -> Trust:
    """What limits the trust in what is said of the chosen trials."""
    counted = trials(results)
    seeds = int(counted["seed"].nunique())
    rates = tuple(sorted(results.plan["training"]["learning_rates"]))
    learning = ~counted["solved"] & (counted["best_step"] > STILL * counted["steps"])
    return Trust(seeds, stats.least_p(seeds), rates, int(counted["edge"].sum()), int(learning.sum()), len(counted))
