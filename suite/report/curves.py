"""Draws curves over severities, lengths and steps: small multiples with an interval or the seeds, and steps from 0 to 1."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from ..trial import BASELINE
from .canvas import PAPER, WIDTH, Look, ends_labelled, label_ends, legend, outer_labels, scales, small_multiples
from .stats import RANGE_BELOW, Interval
from .vector import LEVEL, SMALL, named, panelled

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from pandas import DataFrame

FEW = 12
"""Up to so many positions a curve has a mark at each."""

ABREAST = 6
"""A row of step curves has at most so many panels."""

PANEL = 2.35
"""The height of a panel in inches; its titles and ticks take `FRAME` of it."""

FRAME = 0.6


def lines(
    frame: DataFrame,
    look: Mapping[str, Look],
    *,
    x_label: str,
    y_label: str,
    ticks: Mapping[float, str] | None = None,
    log: Iterable[str] = (),
    y_range: tuple[float, float] | None = (-0.04, 1.04),
    level: float | None = None,
    notes: Mapping[str, str] | None = None,
    points: DataFrame | None = None,
) -> Figure:
    """A line for each variant, small multiples by panel, with its interval as a band; where the points of few seeds are given, a thin line each.

    frame: columns panel, variant, x, mean, low, high, and n where it is known; panels stand in their order there
    points: columns panel, variant, x, seed, value
    ticks: labels by position on the x axis; log: which of the axes "x" and "y" are logarithmic (x then has its ticks at the data)
    level: where a grey line is drawn for comparison; notes: small print by panel
    """
    panels = list(dict.fromkeys(frame["panel"]))
    figure, axes = small_multiples(panels, height=PANEL)
    shown = [style for name, style in look.items() if name in set(frame["variant"])]
    seeds = points if points is not None and points["seed"].nunique() < RANGE_BELOW else None
    for panel, axis in zip(panels, axes, strict=True):
        rows = frame[frame["panel"] == panel]
        if level is not None:
            axis.axhline(level, color=LEVEL, linewidth=1)
        ends = []
        for style in shown:
            curve = rows[rows["variant"] == style.name].sort_values("x", kind="stable")
            if len(curve):
                _curve(axis, curve, style, None if seeds is None else seeds[(seeds["panel"] == panel) & (seeds["variant"] == style.name)])
                ends.append((style, float(curve["mean"].iloc[-1])))
        positions = sorted(set(rows["x"]))
        scales(axis, log, ticks or ({x: f"{x:g}" for x in positions} if "x" in log and len(positions) <= 8 else None))
        if y_range:
            axis.set_ylim(*y_range)
        if notes and notes.get(panel):
            axis.text(0.03, 0.1, notes[panel], transform=axis.transAxes, fontsize=8, color=SMALL, va="bottom", zorder=5, bbox=PAPER)
        if ends_labelled(shown):
            label_ends(axis, ends, PANEL - FRAME)
    outer_labels(figure, x_label, y_label)
    if not ends_labelled(shown):
        legend(figure, shown)
    return figure


def _curve(axis: Axes, curve: DataFrame, look: Look, seeds: DataFrame | None) -> None:
    """Draw a variant's line with its band, or with thin lines of its seeds, and marks that tell their values."""
    front = 4 if look.name == BASELINE.label else 3
    if seeds is None:
        band = axis.fill_between(curve["x"], curve["low"], curve["high"], color=look.colour, alpha=0.13, linewidth=0)
        named(band, look.name)
    else:
        for _, own in seeds.sort_values("x", kind="stable").groupby("seed", sort=True):
            (thin,) = axis.plot(own["x"], own["value"], color=look.colour, linewidth=0.6, alpha=0.45, zorder=2)
            named(thin, look.name)
    values = [
        f"{look.label} at {x:g}: {Interval(mean, low, high, 2).text()}{f', n = {n:.0f}' if n == n else ''}"
        for x, mean, low, high, n in zip(*(curve[name] for name in ("x", "mean", "low", "high")), _counts(curve), strict=True)
    ]
    marked = list(range(len(curve))) if len(curve) <= FEW else [len(curve) - 1]
    (line,) = axis.plot(curve["x"], curve["mean"], zorder=front, markevery=marked, **look.line)
    named(line, look.name, *(values[place] for place in marked))


def _counts(curve: DataFrame) -> list[float]:
    """How many values are behind each point of a curve, NaN where that is unknown."""
    return [float(n) for n in curve["n"]] if "n" in curve else [float("nan")] * len(curve)


def rising(
    frame: DataFrame, look: Mapping[str, Look], *, x_label: str, y_label: str, notes: Mapping[tuple[str, str], str] | None = None
) -> Figure:
    """Step curves from 0 to 1, a row of panels for each panel and a column for each variant, the baseline's thin and black beside it.

    frame: columns panel, variant, x, mean, low, high, where each value holds from x on
    notes: small print by panel and variant
    """
    from matplotlib.figure import Figure

    drawn = set(frame["variant"])
    names = [name for name in look if name in drawn and name != BASELINE.label] or [BASELINE.label]
    columns = min(len(names), ABREAST)
    blocks = [names[start : start + columns] for start in range(0, len(names), columns)]
    rows = [(panel, block) for panel in dict.fromkeys(frame["panel"]) for block in blocks]
    figure = Figure(figsize=(WIDTH if columns > 2 else WIDTH * 0.72, 1.45 * len(rows) + 1.1), layout="constrained")
    grid = figure.subplots(len(rows), columns, squeeze=False, sharey=True, sharex="row")
    for line, (panel, block) in zip(grid, rows, strict=True):
        own = frame[frame["panel"] == panel]
        for axis, name in zip(line, block, strict=False):
            title = look[name].label if len(blocks) > 1 or panel == rows[0][0] else ""
            axis.set_title(title, loc="left", color=look[name].colour)
            panelled(axis, panel)
            _rising(axis, own, look, name, (notes or {}).get((panel, name), ""))
        line[0].set_ylabel(panel)
        for axis in line[len(block) :]:
            axis.remove()
    outer_labels(figure, x_label, y_label)
    if BASELINE.label in drawn and names != [BASELINE.label]:
        legend(figure, [look[BASELINE.label]], marker="")
    return figure


def _rising(axis: Axes, rows: DataFrame, look: Mapping[str, Look], name: str, note: str) -> None:
    """Draw one variant's steps with their interval, and the baseline's beside."""
    if name != BASELINE.label and BASELINE.label in look:
        thin = {"color": look[BASELINE.label].colour, "linewidth": 1}
        _step(axis, rows[rows["variant"] == BASELINE.label], thin, BASELINE.label, "")
    style, curve = look[name], rows[rows["variant"] == name]
    band = axis.fill_between(curve["x"], curve["low"], curve["high"], step="post", color=style.colour, alpha=0.15, linewidth=0)
    named(band, name)
    _step(axis, curve, {"color": style.colour, "linewidth": 2.2, "linestyle": style.line["linestyle"]}, name, f"{style.label}: {note}")
    axis.set_ylim(-0.04, 1.04)
    axis.set_yticks([0, 0.5, 1])
    axis.set_xlim(0, rows["x"].max())
    for side in ("top", "right"):
        axis.spines[side].set_visible(False)
    scales(axis, [], None, most=3)
    if note:
        axis.text(0.04, 0.97, note, transform=axis.transAxes, fontsize=7.5, color=SMALL, va="top")


def _step(axis: Axes, curve: DataFrame, style: Mapping[str, Any], variant: str, title: str) -> None:
    (line,) = axis.plot(curve["x"], curve["mean"], drawstyle="steps-post", **style)
    named(line, variant, title)
