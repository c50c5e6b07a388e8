"""Answers the plan's question: every variant against the baseline on every axis, learning by differences paired by cell and seed.

What is learned is judged over all cells (a task at a trained length) and seeds at once, by exchanging what the two have of a seed; the p of
all such comparisons of the report are adjusted by Holm at 5 %. What is timed is judged by the interval of its ratio, which is no
narrower than what tells two copies of the baseline apart. A maximum of means is optimistic, so nobody is said to lead.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal, NamedTuple

import numpy as np

from ..trial import BASELINE, BOTH, FAULTS
from . import inference
from .counted import apart, at_longest, best_available, comparable, engines, kept, listed, paired, ratios, retained, times, trials
from .exchange import Scores, fitted_sign_flip
from .inference import Finding
from .once import once
from .stats import Interval

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from pandas import DataFrame, Series

    from ..spec import Results

Axis = Literal["speed", "robustness", "long_range"]

LEARNED: tuple[Axis, ...] = ("robustness", "long_range")
"""Those of learning."""

BEST = "best available"
"""Stands for an engine where each variant is on its own fastest: what one would deploy."""

SEED = 0
"""Of the generator for tests and intervals, so that the same results give the same answer."""


class Cell(NamedTuple):
    """A task at a trained length."""

    task: str
    length: int


@dataclass(frozen=True)
class Row:
    """What is found of one variant against the baseline on one axis.

    engine: on which it was timed, for speed; else empty
    effect: for speed the ratio of times, below 1 for a faster variant; else the mean difference (of test skill, or of the part of it that
        is kept under damage), above 0 for a better one
    p: adjusted for all comparisons of learning in the report; NaN where there is none
    cells, pairs: what it rests on; why: what makes it not comparable
    visible: the smallest difference that so many pairs, as far apart as these, would show in four of five such plans; infinite where none
    needed: how many seeds a cell would show a difference as large as this one in four of five such plans; None beyond a thousand
    """

    variant: str
    axis: Axis
    engine: str
    verdict: Finding | Literal["not comparable"]
    effect: Interval
    p: float = math.nan
    cells: int = 0
    pairs: int = 0
    why: str = ""
    visible: float = math.nan
    needed: int | None = None


@dataclass(frozen=True)
class Answer:
    """The rows in the order of the variants; unsolved: cells that nobody solved, which enter no comparison of learning."""

    rows: tuple[Row, ...]
    unsolved: tuple[Cell, ...]

    def row(self, variant: str, axis: Axis, engine: str = "") -> Row | None:
        for row in self.rows:
            if (row.variant, row.axis, row.engine) == (variant, axis, engine):
                return row
        return None

    @property
    def common(self) -> str:
        """The engine on which most variants compare, of equals the first; empty where none was timed."""
        compared = [row.engine for row in self.rows if row.axis == "speed" and row.engine != BEST and row.verdict != "not comparable"]
        return max((engine for engine in self.engines if engine != BEST), key=compared.count, default="")

    @property
    def engines(self) -> tuple[str, ...]:
        """The engines that speed is compared on, in their order, the best of each last."""
        return tuple(dict.fromkeys(row.engine for row in self.rows if row.axis == "speed"))


@once
def answer(results: Results) -> Answer:
    """The answer of all results."""
    names = [name for name in listed(results, timed=True) if name != BASELINE.label]
    comparisons = 2 * sum(not apart(results)[name] for name in names)
    scored = {"long_range": skills(results), "robustness": retained(results)}
    learned = adjusted([row for axis in LEARNED for row in _learning(results, names, axis, scored[axis], comparisons)])
    every = [*_speed(results, names), *learned]
    return Answer(tuple(row for name in names for row in every if row.variant == name), tuple(unsolved(results)))


def unsolved(results: Results) -> list[Cell]:
    """The cells that no trial solved, whichever its variant."""
    counted = trials(results)
    solved = counted.groupby(["task", "length"], sort=False)["solved"].any()
    return [Cell(*cell) for cell, by_anyone in solved.items() if not by_anyone]  # type: ignore[misc]


# What is learned


def skills(results: Results) -> DataFrame:
    """The test skills that count, of cells that somebody solved: columns variant, task, length, seed, condition, value."""
    counted = trials(results)
    solved = counted.groupby(["task", "length"])["solved"].transform("any") if len(counted) else counted["solved"]
    return counted[solved.astype(bool) & counted["value"].notna()].assign(condition="")


def _learning(results: Results, names: Sequence[str], axis: Axis, scored: DataFrame, comparisons: int) -> Iterator[Row]:
    """A row for each variant, its p not yet adjusted."""
    reasons, known = apart(results), set(scored["variant"])
    for name in names:
        row = None if reasons[name] else between(results, name, axis, scored, comparisons)
        why = reasons[name] or _why_unpaired(name, known, axis)
        yield row or Row(name, axis, "", "not comparable", Interval(math.nan, math.nan, math.nan, 0), why=why)


def between(results: Results, variant: str, axis: Axis, scored: DataFrame, comparisons: int, against: str = BASELINE.label) -> Row | None:
    """What the pairs of two variants say on an axis of learning, the p not yet adjusted; None where they have no pair."""
    cells = differences(scored, variant, against)
    if not cells:
        return None
    rng = np.random.default_rng(SEED)
    pairs = list(cells.values())
    effect = inference.effect(pairs, rng)
    values = kept(results) if axis == "robustness" else None
    p = fitted_sign_flip(*exchangeable(results, variant, cells, against, values), rng)
    return _with_power(Row(variant, axis, "", "undecided", effect, p), pairs, comparisons)


def _with_power(row: Row, pairs: Sequence[NDArray[np.float64]], comparisons: int) -> Row:
    """The row with what it rests on, and what so many pairs, and how many more, would show."""
    counts, spread = [len(own) for own in pairs], _spread(pairs)
    visible = spread * in_spreads(tuple(sorted(counts)), comparisons)
    needed = needed_seeds(row.effect.mean, spread, len(pairs), comparisons)
    return replace(row, cells=len(pairs), pairs=sum(counts), visible=visible, needed=needed)


def differences(scored: DataFrame, variant: str, against: str = BASELINE.label) -> dict[Cell, NDArray[np.float64]]:
    """The differences between two variants by cell, one for each seed that both have a value of; over conditions, their mean."""
    both = scored[scored["variant"].isin([variant, against])]
    index = ["task", "length", "seed", "condition"]
    wide = both.pivot_table(index=index, columns="variant", values="value", sort=True).reindex(columns=[variant, against]).dropna()
    by_seed = (wide[variant] - wide[against]).groupby(level=["task", "length", "seed"]).mean()
    return {Cell(*cell): own.to_numpy(dtype=float) for cell, own in by_seed.groupby(level=["task", "length"])}  # type: ignore[misc]


def exchangeable(
    results: Results, variant: str, cells: Collection[Cell], against: str = BASELINE.label, values: Series[float] | None = None
) -> tuple[list[Scores], list[Scores]]:
    """Validation and test skills ``(rates, seeds)`` of two variants in these cells, of the seeds that neither lost a trial of.

    values: by the trial's key, in place of test skills; NaN or absent where a trial has none
    """
    every = _tested(results)
    every = every.assign(compared=every["test"] if values is None else every["key"].map(values).astype(float))
    both = [paired(every, (variant, against), cell, ("test", "compared")) for cell in cells]
    both = [sides for sides in both if sides[0].size]
    ours, theirs = ([(validation, compared) for validation, _, compared in side] for side in ([a for a, _ in both], [b for _, b in both]))
    return ours, theirs


@once
def _tested(results: Results) -> DataFrame:
    """All trials, with the test skill that counts: 0 of one that diverged, none of one that was lost."""
    every = results.trials
    return every.assign(test=every["skill"].where(every["status"] != "diverged", 0.0).where(~every["status"].isin(FAULTS)))


def _why_unpaired(name: str, known: set[str], axis: Axis) -> str:
    kind = "that it solved" if axis == "robustness" else "with a score"
    for who, label in ((name, "it has"), (BASELINE.label, f"{BASELINE.label} has")):
        if who not in known:
            return f"{label} no trial {kind}"
    return f"no seed {'was solved' if axis == 'robustness' else 'has a score'} by both it and {BASELINE.label}"


@functools.cache
def in_spreads(counts: tuple[int, ...], comparisons: int) -> float:
    """The smallest effect that so many pairs in each cell show, in standard deviations of a difference."""
    return inference.smallest_effect(counts, 1.0, comparisons, np.random.default_rng(SEED))


def needed_seeds(difference: float, spread: float, cells: int, comparisons: int) -> int | None:
    """With how many seeds a cell so large a difference would be found; None beyond a thousand."""
    return inference.seeds_needed(difference, lambda seeds: spread * in_spreads((seeds,) * cells, comparisons))


def _spread(groups: Sequence[NDArray[np.float64]]) -> float:
    """The standard deviation of a difference within its group."""
    return float(np.sqrt(np.mean([own.var(ddof=1) if len(own) > 1 else 0.0 for own in groups])))


def adjusted(rows: Sequence[Row]) -> list[Row]:
    """The rows with adjusted p, and the verdict that follows."""
    by_holm = inference.holm({index: row.p for index, row in enumerate(rows) if not math.isnan(row.p)})
    return [
        replace(row, p=by_holm[index], verdict=inference.verdict(by_holm[index], row.effect.mean)) if index in by_holm else row
        for index, row in enumerate(rows)
    ]


# What is timed


def _speed(results: Results, names: Sequence[str]) -> Iterator[Row]:
    reasons = apart(results)
    longest = at_longest(times(results))
    longest = longest[longest["condition"] == BOTH]
    for engine in engines(results):
        timed = longest[longest["engine"] == engine.name]
        own, like = ratios(timed), ratios(comparable(timed))
        for name in names:
            why = "" if name in like else _why_untimed(name in own, BASELINE.label in own)
            yield _timed(name, engine.name, like.get(name), why or reasons[name])
    for name, ratio in ratios(best_available(results)).items():
        if name in names:
            yield _timed(name, BEST, ratio, reasons[name])


def _timed(name: str, engine: str, ratio: Interval | None, why: str) -> Row:
    """The row of a ratio of times, which is judged by its interval unless something speaks against it."""
    if ratio is None:
        return Row(name, "speed", engine, "not comparable", Interval(math.nan, math.nan, math.nan, 0), why=why)
    finding: Finding = "better" if ratio.high < 1 else "worse" if ratio.low > 1 else "undecided"
    return Row(name, "speed", engine, "not comparable" if why else finding, ratio, cells=1, why=why)


def _why_untimed(timed: bool, baseline_timed: bool) -> str:
    if not timed:
        return "it was not timed on this engine"
    return (
        f"one of it and {BASELINE.label} runs as one kernel and the other as a loop"
        if baseline_timed
        else f"{BASELINE.label} was not timed on it"
    )
