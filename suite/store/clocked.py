"""Turns stored timings into rows of the frame: times, ratios, what else a call takes, and how time grows with a shape."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from ..measures import scores
from ..trial import BASELINE, BOTH, STEP, Shape, Timed, Timing
from .store import StoredTiming

VARIED = {"T": "length", "B": "batch_size", "H": "width"}
"""The parts of a shape, by the letters of the rows that say how time grows with them."""

LEAST_SHAPES = 3
"""A growth is read from so many shapes at least."""


def timing_rows(stored: StoredTiming) -> Iterator[dict[str, Any]]:
    """One row a number: the median and its ratio to the baseline's, and what else the call takes."""
    timing, timed = stored.timing, stored.timed
    for condition, seconds in timed.seconds.items():
        baseline = timed.baseline_seconds[condition]
        if timing.variant == BASELINE:  # it is its own measure
            ratio = low = high = 1.0
        else:
            ratio, low, high = scores.time_ratio(seconds, baseline, timed.clone_seconds.get(condition, ()))
        values = {"ratio": ratio, "ratio_low": low, "ratio_high": high, "seconds": np.median(seconds), "fused": timed.fused}
        if timing.variant == BASELINE and condition in timed.clone_seconds:
            values["clone_ratio"] = scores.time_ratio(timed.clone_seconds[condition], baseline)[0]
        if condition in (BOTH, STEP):
            values |= _costs(timed)
        for metric, value in values.items():
            yield {**_identity(timing, timed), "condition": condition, "metric": metric, "value": float(value)}


def _identity(timing: Timing, timed: Timed) -> dict[str, Any]:
    """The columns that all rows of a timing share."""
    return {
        "variant": timing.variant.label,
        "task": "",
        "length": timing.shape.length,
        "status": "failed" if timed.failed else "ok",
        "axis": "speed",
        "engine": timing.engine,
        "causal": timing.causal,
        "batch_size": timing.shape.batch_size,
        "width": timing.shape.width,
        "hidden_size": timing.hidden_size,
        "parameters": timing.parameters,
        "at": timing.shape.length,
        "key": timing.key,
    }


def _costs(timed: Timed) -> dict[str, float]:
    cost, roof = timed.cost, timed.roof
    if cost is None or roof is None:
        return {}
    counted = {"peak_bytes": cost.peak_bytes, "operations": cost.operations, "moved_bytes": cost.moved_bytes}
    energy = {} if cost.joules is None else {"joules": cost.joules}
    return {**counted, **energy, "roof_operations": roof.operations, "roof_bytes": roof.bytes}


def deployed_rows(timings: Sequence[StoredTiming]) -> Iterator[dict[str, Any]]:
    """Each variant on its own fastest engine, over the baseline on its own, at the longest length of the shape that most are timed at.

    Each is compared with the baseline of its own engine in its own rounds, and that with the baseline's best by their medians.
    """
    whole = [stored for stored in timings if not stored.timed.failed and not stored.timing.shape.streaming]
    if not whole:
        return
    centre = _centre({stored.timing.shape: stored for stored in whole})
    best: dict[str, StoredTiming] = {}
    for stored in whole:
        label = stored.timing.variant.label
        if stored.timing.shape == centre and (label not in best or _median(stored) < _median(best[label])):
            best[label] = stored
    if BASELINE.label not in best:
        return
    least = _median(best[BASELINE.label])
    for stored in best.values():
        timed, ratio = stored.timed, (1.0, 1.0, 1.0)
        if stored.timing.variant != BASELINE:
            base = timed.baseline_seconds[BOTH]
            scale = float(np.median(base)) / least
            ratio = tuple(scale * value for value in scores.time_ratio(timed.seconds[BOTH], base, timed.clone_seconds.get(BOTH, ())))  # type: ignore[assignment]
        for end, value in zip(("", "_low", "_high"), ratio, strict=True):
            row = {"condition": BOTH, "metric": f"best_ratio{end}", "value": value}
            yield {**_identity(stored.timing, stored.timed), **row}


def _median(stored: StoredTiming) -> float:
    return float(np.median(stored.timed.seconds[BOTH]))


def growth_rows(timings: Sequence[StoredTiming]) -> Iterator[dict[str, Any]]:
    """How the time of each variant on each engine grows with each part of a shape: the exponent of a power law, and its interval.

    Read from the shapes that differ in that part alone from the largest of those that are timed at the first batch size and width.
    """
    series: dict[tuple[str, str], dict[Shape, StoredTiming]] = {}
    for stored in timings:
        if not stored.timed.failed and not stored.timing.shape.streaming:
            series.setdefault((stored.timing.variant.label, stored.timing.engine), {})[stored.timing.shape] = stored
    for shapes in series.values():
        centre = _centre(shapes)
        for letter, part in VARIED.items():
            along = {shape: stored for shape, stored in shapes.items() if replace(shape, **{part: getattr(centre, part)}) == centre}
            if len(along) >= LEAST_SHAPES:
                yield from _growth(letter, part, along, shapes[centre])


def _centre(shapes: Mapping[Shape, StoredTiming]) -> Shape:
    """The shape that most others differ from in one part alone, and of those the longest."""

    def neighbours(shape: Shape) -> int:
        return sum(sum(getattr(shape, part) != getattr(other, part) for part in VARIED.values()) == 1 for other in shapes)

    return max(sorted(shapes), key=lambda shape: (neighbours(shape), shape.length))


def _growth(letter: str, part: str, along: Mapping[Shape, StoredTiming], centre: StoredTiming) -> Iterator[dict[str, Any]]:
    sizes = np.log([getattr(shape, part) for shape in along])
    for condition in centre.timed.seconds:
        rounds = zip(*(stored.timed.seconds[condition] for stored in along.values()), strict=False)  # some took more rounds than others
        slopes = [float(np.polyfit(sizes, np.log(seconds), 1)[0]) for seconds in rounds]
        for end, value in zip(("", "_low", "_high"), scores.median_interval(slopes), strict=True):
            row = {"condition": condition, "metric": f"growth_{letter}{end}", "at": math.nan, "value": value}
            yield {**_identity(centre.timing, centre.timed), **row}
