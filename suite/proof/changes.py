"""Says what changed from one store to another: each variant against itself on every axis, by the tests that a report uses."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike

from ..errors import SuiteError
from ..measures.scores import median_interval, time_ratio
from ..report import verdict
from ..report.answer import LEARNED, Axis, Cell, Row, adjusted, between, differences, skills
from ..report.counted import retained, unsound
from ..report.inference import Finding
from ..report.stats import Interval
from ..store.store import StoredTiming
from ..trial import BASELINE, BOTH
from .pairing import Apart, Pairing, sided
from .sides import Side

FAIL_ON = re.compile(r"worse|speed>(?P<percent>\d+(?:\.\d+)?)%")
"""What may be named to fail on."""


@dataclass(frozen=True)
class Change:
    """What is found of one variant in B against the same in A.

    where: the cell, or the engine of a time; empty for all cells of an axis together
    effect: for speed the ratio of times, above 1 where B is slower; else the mean difference, below 0 where B is worse
    verdict: ``same`` where every number of the two is the same; p: adjusted; pairs: what it rests on; why: what makes it not comparable
    """

    variant: str
    axis: Axis
    where: str
    verdict: Finding | Literal["same", "not comparable"]
    effect: Interval
    p: float = math.nan
    pairs: int = 0
    why: str = ""

    @property
    def percent(self) -> float:
        """By how much longer a call takes."""
        return 100 * (self.effect.mean - 1)


def changes_between(a: Side, b: Side, paired: Pairing) -> tuple[tuple[Change, ...], tuple[Change, ...]]:
    """What changed over all cells of an axis and on each engine, which is what counts, and then by cell.

    Holm's adjustment is over all variants and axes for the former, over all cells of them for the latter.
    """
    pooled, by_cell = learned(paired)
    clocked = timed(a, b) if paired.timed else ()
    return (*clocked, *pooled), by_cell


# What was learned


def learned(paired: Pairing) -> tuple[tuple[Change, ...], tuple[Change, ...]]:
    """Each variant of B against itself in A on each axis of learning, over all cells and in each."""
    results = paired.learned
    scored = {"long_range": skills(results), "robustness": retained(results)}
    whole: dict[tuple[str, Axis, Cell | None], Row] = {}
    refused = []
    for variant in paired.variants:
        b, a = sided(variant, "B"), sided(variant, "A")
        for axis in LEARNED:
            reason = unsound(results, a) or unsound(results, b)
            cells = {} if reason else differences(scored[axis], b, a)
            if not cells:
                refused.append(_refused(variant, axis, reason or _why_unpaired(axis)))
                continue
            for cell in (None, *cells):
                rows = scored[axis]
                rows = rows if cell is None else rows[rows["task"].eq(cell.task) & rows["length"].eq(cell.length)]
                row = between(results, b, axis, rows, 1, a)
                assert row is not None
                whole[variant, axis, cell] = row
    return (*_told(paired, whole, cells=False), *refused), tuple(_told(paired, whole, cells=True))


def _why_unpaired(axis: Axis) -> str:
    return "no pair of trials solved its task" if axis == "robustness" else "no cell that anybody solved has a pair of trials"


def _refused(variant: str, axis: Axis, why: str) -> Change:
    return Change(variant, axis, "", "not comparable", Interval(math.nan, math.nan, math.nan, 0), why=why)


def _told(paired: Pairing, rows: dict[tuple[str, Axis, Cell | None], Row], *, cells: bool) -> Iterator[Change]:
    """The rows of single cells, or those of all cells together, adjusted among themselves."""
    chosen = {place: row for place, row in rows.items() if (place[2] is not None) == cells}
    for (variant, axis, cell), row in zip(chosen, adjusted(list(chosen.values())), strict=True):
        where = "" if cell is None else f"{cell.task}, T = {cell.length}"
        same = _same(paired, variant, axis, cell)
        yield Change(variant, axis, where, "same" if same else row.verdict, row.effect, row.p, row.pairs)


def _same(paired: Pairing, variant: str, axis: Axis, cell: Cell | None) -> bool:
    """Whether every score of the axis that one side has is the other's too, at all learning rates."""
    rows = paired.learned.frame
    rows = rows[rows["axis"].eq(axis)]
    if cell is not None:
        rows = rows[rows["task"].eq(cell.task) & rows["length"].eq(cell.length)]
    columns = ["task", "length", "seed", "learning_rate", "metric", "condition", "at", "value", "status"]
    tables = [
        rows.loc[rows["variant"].eq(sided(variant, side)), columns].sort_values(columns[:-2], kind="stable").reset_index(drop=True)
        for side in ("A", "B")
    ]
    return bool(tables[0].equals(tables[1]))


# What was timed


def timed(a: Side, b: Side) -> Iterator[Change]:
    """Each variant on each engine: how its ratio to the baseline changed; and the baseline, by its seconds."""
    times_a, times_b = (verdict.times(side.results) for side in (a, b))
    keys = ["variant", "engine", "condition", "x"]
    both = times_a[times_a["condition"].eq(BOTH)].merge(times_b, on=keys, suffixes=("_a", "_b"))
    both = both[both["x"].eq(both.groupby("engine")["x"].transform("max"))] if len(both) else both
    clocked = [_clocked(side) for side in (a, b)]
    columns = [[f"{end}_{side}" for end in ("mean", "low", "high")] for side in ("b", "a")]
    upper, lower = (both[names].to_numpy(dtype=float) for names in columns)
    for index, (variant, engine, x) in enumerate(zip(both["variant"], both["engine"], both["x"].astype(int), strict=True)):
        before, after = (records[str(variant), str(engine), int(x)] for records in clocked)
        if before.timing.key == after.timing.key and before.timed == after.timed:
            yield Change(str(variant), "speed", str(engine), "same", Interval(1.0, 1.0, 1.0, 2), pairs=1)
        elif variant == BASELINE.label:
            yield _baseline(str(engine), before, after)
        else:
            ratio = quotient(upper[index], lower[index])
            yield Change(str(variant), "speed", str(engine), _found(ratio), ratio, pairs=1)


def quotient(upper: ArrayLike, lower: ArrayLike) -> Interval:
    """The quotient of two numbers that were measured apart, each given with the ends of its interval at 95 %, with its own.

    On the scale of logarithms the distances to the ends add as the sides of a right angle do (Zou & Donner, 2008).
    """
    (u, u_low, u_high), (v, v_low, v_high) = (np.log(np.asarray(values, dtype=np.float64)) for values in (upper, lower))
    low, high = u - v - math.hypot(u - u_low, v_high - v), u - v + math.hypot(u_high - u, v - v_low)
    return Interval(math.exp(u - v), math.exp(low), math.exp(high), 2)


def _found(ratio: Interval) -> Finding:
    return "worse" if ratio.low > 1 else "better" if ratio.high < 1 else "undecided"


def _clocked(side: Side) -> dict[tuple[str, str, int], StoredTiming]:
    """The timings at the plan's own batch and hidden size, by variant, engine and length."""
    shape, clocked = side.ledger.plan["timing"], {}
    for key in side.ledger.timings.values():
        stored = side.store.timing(key)
        own = stored.timing.shape if stored else None
        if stored and own and (own.batch_size, own.width, own.streaming) == (shape["batch_size"], shape["hidden_size"], False):
            clocked[stored.timing.variant.label, stored.timing.engine, own.length] = stored
    return clocked


def _baseline(engine: str, a: StoredTiming, b: StoredTiming) -> Change:
    """The baseline in B against the baseline in A, by the seconds of each, which were measured apart."""
    ratio = quotient(_seconds(b), _seconds(a))
    if a.timing.surroundings != b.timing.surroundings:
        return Change(BASELINE.label, "speed", engine, "not comparable", ratio, why="it was timed on another processor or other versions")
    if a.timing.sources == b.timing.sources:
        why = "it is the same code on the same processor, so that what differs is what else the machine did; the others are ratios to it"
        return Change(BASELINE.label, "speed", engine, "not comparable", ratio, why=why)
    return Change(BASELINE.label, "speed", engine, _found(ratio), ratio, pairs=1)


def _seconds(stored: StoredTiming) -> tuple[float, float, float]:
    """The median of the seconds with its interval, no narrower than what tells a copy of the baseline from it."""
    seconds = stored.timed.seconds[BOTH]
    middle, low, high = median_interval(seconds)
    _, least, most = time_ratio(seconds, seconds, stored.timed.clone_seconds.get(BOTH, ()))
    return middle, low * least, high * most


def noise(a: Side, b: Side) -> float:
    """By what part a copy of the baseline differed from it at most, on either side; NaN where none was timed."""
    differences = [value for side in (a, b) if not math.isnan(value := verdict.noise(side.results))]
    return float(np.max(differences)) if differences else math.nan


# What to fail on


def failing(changes: Sequence[Change], conditions: Sequence[str]) -> list[Change]:
    """The changes over all cells that one of the conditions names.

    Raises SuiteError for a condition that is none, and where nothing was compared, which would meet any.
    """
    if conditions and not any(change.verdict != "not comparable" for change in changes):
        raise SuiteError("--fail-on: nothing of the two compares, so that nothing could fail; see above what is apart, and why")
    return [change for change in changes if any(_meets(change, condition) for condition in conditions)]


def check_conditions(conditions: Sequence[str]) -> None:
    """Raises SuiteError for a condition that is none."""
    for condition in conditions:
        if not FAIL_ON.fullmatch(condition):
            raise SuiteError(f'--fail-on {condition}: use worse, or a part of time such as "speed>10%"')


def _meets(change: Change, condition: str) -> bool:
    match = FAIL_ON.fullmatch(condition)
    if change.verdict != "worse" or match is None:
        return False
    return match["percent"] is None or (change.axis == "speed" and change.percent > float(match["percent"]))


def unmatched(a: Side, b: Side) -> Iterator[Apart]:
    """A line for each variant that was timed on one side alone, or there on other engines."""
    tables = [verdict.times(side.results) for side in (a, b)]
    ours, theirs = (set(zip(table["variant"], table["engine"], strict=True)) for table in tables)
    for letter, alone in (("A", ours - theirs), ("B", theirs - ours)):
        yield from (Apart(f"the time of {variant} on {engine}", f"it is in {letter} alone") for variant, engine in sorted(alone))
