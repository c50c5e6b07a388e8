"""Turns rows of an answer into cells of a table, each with a small bar that has its place on the scale of its column."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from ..shown import Bar
from .answer import Answer, Axis, Row
from .telling import columns, marked

LEAST = 0.1
"""A scale reaches at least so far on either side: differences of skill, or the logarithm of a ratio of times."""


def bars(answer: Answer, names: Sequence[str]) -> dict[str, list[Bar | str]]:
    """A column for each axis of the answer by its title: a cell for each variant, all columns of time on one scale."""
    places = columns(answer)
    reach = {
        axis: _reach([answer.row(name, axis, engine) for name in names for other, engine in places.values() if other == axis])
        for axis in _axes(places)
    }
    return {title: [_bar(answer.row(name, axis, engine), reach[axis]) for name in names] for title, (axis, engine) in places.items()}


def _axes(places: Mapping[str, tuple[Axis, str]]) -> list[Axis]:
    return list(dict.fromkeys(axis for axis, _ in places.values()))


def _reach(rows: Sequence[Row | None]) -> float:
    """How far the scale goes on either side of the baseline: to the farthest mean, and to the ends of intervals within twice that."""
    known = [row for row in rows if row is not None and row.effect.n]
    farthest = max((abs(_scaled(row, row.effect.mean)) for row in known), default=0.0)
    ends = [abs(_scaled(row, end)) for row in known for end in (row.effect.low, row.effect.high)]
    return max(LEAST, min(max(ends, default=0.0), 2 * farthest))


def _scaled(row: Row, value: float) -> float:
    """A value on the scale, the baseline at 0."""
    if row.axis != "speed":
        return value
    return math.log(value) if value > 0 else -math.inf


def _bar(row: Row | None, reach: float) -> Bar | str:
    if row is None or not row.effect.n:
        return marked(row) or "–"
    mean, low, high = (min(1.0, max(0.0, 0.5 + _scaled(row, value) / (2 * reach))) for value in row.effect[:3])
    return Bar(marked(row), mean, low, high, 0.5, row.verdict)
