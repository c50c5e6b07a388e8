"""Draws what report sections show: one theme, one look per variant, and a few kinds of figure, all frame in, figure out."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from . import verdict
from .canvas import PAPER, WIDTH, Look, legend, outer_labels, scales, small_multiples, svg, theme

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from pandas import DataFrame

    from ..spec import Results

__all__ = ["MARK", "Look", "cell", "cells", "dots", "effects", "heat", "lines", "looks", "rising", "roofline", "svg", "theme"]

MARK = "†"
"""Follows the name of a variant that is not causal."""

COLOURS = ("#0173b2", "#de8f05", "#029e73", "#d55e00", "#cc78bc", "#56b4e9", "#ca9161", "#7f7f7f")
"""Colours that differ for any kind of colour vision: seaborn's "colorblind" palette without its two palest."""

MARKERS = ("s", "^", "D", "v", "P", "X", "p", "<", ">", "h", "d")

ABREAST = 6
"""A row of step curves has at most so many panels."""


def looks(results: Results, *, timed: bool = False) -> dict[str, Look]:
    """The look of each variant by label, causal ones first; colours follow the order of the variants in the results.

    timed: whether variants belong to it that were only timed, not trained
    """
    causal = verdict.variants(results)
    styles = {verdict.BASELINE: ("#000000", "o")}  # black, since all others are compared with it
    others = [name for name in causal if name != verdict.BASELINE]
    styles |= {name: (COLOURS[index % len(COLOURS)], MARKERS[index % len(MARKERS)]) for index, name in enumerate(others)}
    labels = {name: name if causal[name] else f"{name} {MARK}" for name in causal}
    return {name: Look(name, labels[name], causal[name], *styles[name]) for name in verdict.listed(results, timed=timed)}


def cell(task: object, length: object) -> str:
    """The title of the panel of a task at a trained length."""
    return f"{task}, T\u00a0=\u00a0{length}"  # kept on one line


def cells(frame: DataFrame) -> list[str]:
    """The title of each row's panel, by its task and length."""
    return [cell(task, length) for task, length in zip(frame["task"], frame["length"], strict=True)]


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
) -> Figure:
    """A line with its interval as a band for each variant, small multiples by panel.

    frame: columns panel, variant, x, mean, low, high; panels stand in their order there
    ticks: labels by position on the x axis; log: which of the axes "x" and "y" are logarithmic (x then has its ticks at the data)
    level: where a grey line is drawn for comparison; notes: small print by panel
    """
    panels = list(dict.fromkeys(frame["panel"]))
    figure, axes = small_multiples(panels, height=2.35)
    few = len(set(frame["x"])) <= 12
    for panel, axis in zip(panels, axes, strict=True):
        rows = frame[frame["panel"] == panel]
        if level is not None:
            axis.axhline(level, color="#8a8a8a", linewidth=1)
        for name, style in look.items():
            curve = rows[rows["variant"] == name].sort_values("x", kind="stable")
            if len(curve):
                front = 4 if name == verdict.BASELINE else 3
                axis.fill_between(curve["x"], curve["low"], curve["high"], color=style.colour, alpha=0.13, linewidth=0)
                axis.plot(curve["x"], curve["mean"], markevery=1 if few else [len(curve) - 1], zorder=front, **style.line)
        positions = sorted(set(rows["x"]))
        scales(axis, log, ticks or ({x: f"{x:g}" for x in positions} if "x" in log and len(positions) <= 8 else None))
        if y_range:
            axis.set_ylim(*y_range)
        if notes and notes.get(panel):
            axis.text(0.03, 0.1, notes[panel], transform=axis.transAxes, fontsize=8, color="#555555", va="bottom", zorder=5, bbox=PAPER)
    outer_labels(figure, x_label, y_label)
    legend(figure, [style for name, style in look.items() if name in set(frame["variant"])])
    return figure


def dots(
    summary: DataFrame,
    look: Mapping[str, Look],
    *,
    x_label: str,
    points: DataFrame | None = None,
    log: bool = False,
    level: float | None = None,
    x_range: tuple[float | None, float | None] = (None, None),
    columns: int | None = None,
    blank: str = "",
) -> Figure:
    """One row a variant: a large mark at the mean, a bar for its interval, and a small mark for each seed.

    summary: columns panel, variant, mean, low, high
    points: columns panel, variant, value, and censored for what lies beyond the value by an unknown distance (drawn as a hollow ▷)
    columns: panels side by side; blank: small print in a row that has no mark
    """
    import pandas as pd

    every = summary[["panel", "variant"]] if points is None else pd.concat([summary[["panel", "variant"]], points[["panel", "variant"]]])
    panels = list(dict.fromkeys(every["panel"]))
    names = [name for name in look if name in set(every["variant"])]
    figure, axes = small_multiples(panels, height=0.6 + 0.25 * len(names), share_y=True, columns=columns)
    for panel, axis in zip(panels, axes, strict=True):
        if level is not None:
            axis.axvline(level, color="#8a8a8a", linewidth=1)
        for place, name in enumerate(names):
            style = look[name]
            if points is not None:
                _seeds(axis, points[(points["panel"] == panel) & (points["variant"] == name)], place, style)
            if blank and not ((every["panel"] == panel) & (every["variant"] == name)).any():
                axis.text(0.03, place, blank, transform=axis.get_yaxis_transform(), fontsize=8, color="#6b6b6b", va="center", bbox=PAPER)
            row = summary[(summary["panel"] == panel) & (summary["variant"] == name)].dropna(subset=["mean"])
            for mean, low, high in zip(row["mean"], row["low"], row["high"], strict=True):
                axis.plot([low, high], [place, place], color=style.colour, linewidth=3, solid_capstyle="round", alpha=0.55, zorder=3)
                axis.plot(mean, place, markersize=8, zorder=4, **{**style.line, "linestyle": "none"})
        axis.set_yticks(range(len(names)), [look[name].label for name in names])
        axis.set_ylim(len(names) - 0.4, -0.6)
        axis.grid(axis="y", visible=False)
        scales(axis, ["x"] if log else [], None)
        axis.set_xlim(*x_range)
    outer_labels(figure, x_label, "")
    return figure


def _seeds(axis: Axes, points: DataFrame, place: int, look: Look) -> None:
    """Draw the values of the seeds below the row's mean, spread a little in height so that equal values do not hide one another."""
    spread = 0.28 / max(len(points), 4)
    hollow: dict[str, Any] = {
        "marker": ">",
        "markersize": 4.5,
        "markerfacecolor": "white",
        "markeredgecolor": look.colour,
        "clip_on": False,
    }
    full: dict[str, Any] = {"marker": "o", "markersize": 3, "markerfacecolor": look.colour, "markeredgewidth": 0}
    censored = list(points["censored"]) if "censored" in points else [False] * len(points)
    for index, (value, beyond) in enumerate(zip(points["value"], censored, strict=True)):
        height = place + 0.3 + spread * (index - (len(points) - 1) / 2)
        axis.plot(value, height, linestyle="none", zorder=5, **(hollow if beyond else full))


STATES = {"found": "#029e73", "contradicted": "#d55e00", "open": "#8a8a8a"}
"""Colours of what was found as expected, of the contrary, and of what stays open."""


def effects(rows: DataFrame) -> Figure:
    """A difference with its interval in each row, around a line at 0; an arrow says on which side it was expected.

    rows: columns label, mean, low, high, expected (1 above 0, −1 below, 0 no worse), state (a key of `STATES`)
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(WIDTH, 0.75 + 0.36 * len(rows)), layout="constrained")
    axis = figure.subplots()
    axis.axvline(0, color="#8a8a8a", linewidth=1)
    span = max(0.1, *(abs(value) for column in ("low", "high") for value in rows[column]))
    columns = [rows[name] for name in ("mean", "low", "high", "expected", "state")]
    for place, (mean, low, high, expected, state) in enumerate(zip(*columns, strict=True)):
        axis.plot([low, high], [place, place], color=STATES[state], linewidth=3, solid_capstyle="round", alpha=0.55, zorder=3)
        axis.plot(mean, place, marker="o", markersize=8, color=STATES[state], zorder=4)
        if expected:
            arrow = ">" if expected == 1 else "<"
            axis.plot(1.08 * expected * span, place, marker=arrow, markersize=6, color="#555555", clip_on=False)
    axis.set_yticks(range(len(rows)), list(rows["label"]))
    axis.set_ylim(len(rows) - 0.5, -0.5)
    axis.set_xlim(-1.12 * span, 1.12 * span)
    axis.grid(axis="y", visible=False)
    for side in ("top", "right"):
        axis.spines[side].set_visible(False)
    outer_labels(figure, "difference", "")
    return figure


def rising(
    frame: DataFrame, look: Mapping[str, Look], *, x_label: str, y_label: str, notes: Mapping[tuple[str, str], str] | None = None
) -> Figure:
    """Step curves from 0 to 1, a row of panels for each panel and a column for each variant, the baseline's thin and black beside it.

    frame: columns panel, variant, x, mean, low, high, where each value holds from x on
    notes: small print by panel and variant
    """
    from matplotlib.figure import Figure

    drawn = set(frame["variant"])
    names = [name for name in look if name in drawn and name != verdict.BASELINE] or [verdict.BASELINE]
    columns = min(len(names), ABREAST)
    blocks = [names[start : start + columns] for start in range(0, len(names), columns)]
    rows = [(panel, block) for panel in dict.fromkeys(frame["panel"]) for block in blocks]
    figure = Figure(figsize=(WIDTH if columns > 2 else WIDTH * 0.72, 1.45 * len(rows) + 1.1), layout="constrained")
    grid = figure.subplots(len(rows), columns, squeeze=False, sharey=True, sharex="row")
    for line, (panel, block) in zip(grid, rows, strict=True):
        own = frame[frame["panel"] == panel]
        for axis, name in zip(line, block, strict=False):
            if name != verdict.BASELINE:
                _step(
                    axis,
                    own[own["variant"] == verdict.BASELINE],
                    {"color": look[verdict.BASELINE].colour, "linewidth": 1} if verdict.BASELINE in look else {},
                )
            style = look[name]
            curve = own[own["variant"] == name]
            axis.fill_between(curve["x"], curve["low"], curve["high"], step="post", color=style.colour, alpha=0.15, linewidth=0)
            _step(axis, curve, {"color": style.colour, "linewidth": 2.2, "linestyle": style.line["linestyle"]})
            axis.set_ylim(-0.04, 1.04)
            axis.set_yticks([0, 0.5, 1])
            axis.set_xlim(0, own["x"].max())
            axis.set_title(style.label if len(blocks) > 1 or panel == rows[0][0] else "", loc="left", color=style.colour)
            for side in ("top", "right"):
                axis.spines[side].set_visible(False)
            scales(axis, [], None, most=3)
            if notes and notes.get((panel, name)):
                axis.text(0.04, 0.97, notes[panel, name], transform=axis.transAxes, fontsize=7.5, color="#555555", va="top")
        line[0].set_ylabel(panel)
        for axis in line[len(block) :]:
            axis.remove()
    outer_labels(figure, x_label, y_label)
    if verdict.BASELINE in drawn and names != [verdict.BASELINE]:
        legend(figure, [look[verdict.BASELINE]], marker="")
    return figure


def _step(axis: Axes, curve: DataFrame, style: Mapping[str, Any]) -> None:
    axis.plot(curve["x"], curve["mean"], drawstyle="steps-post", **style)


def roofline(points: DataFrame, look: Mapping[str, Look], operations: float, bytes_: float) -> Figure:
    """Each variant on each engine under the device's roof: the operations a second that it reaches, against those for each byte moved.

    points: columns panel, variant, intensity (operations a byte), rate (operations a second)
    operations, bytes_: what the device reaches a second
    """
    panels = list(dict.fromkeys(points["panel"]))
    figure, axes = small_multiples(panels, height=2.6)
    low = min(points["intensity"].min() / 3, operations / bytes_ / 3)
    high = max(points["intensity"].max() * 3, 3 * operations / bytes_)
    for panel, axis in zip(panels, axes, strict=True):
        axis.plot([low, operations / bytes_, high], [low * bytes_ / 1e9, operations / 1e9, operations / 1e9], color="#8a8a8a", linewidth=1)
        rows = points[points["panel"] == panel]
        for name, intensity, rate in zip(rows["variant"], rows["intensity"], rows["rate"], strict=True):
            axis.plot(intensity, rate / 1e9, zorder=3, **{**look[name].line, "linestyle": "none", "markersize": 7})
        scales(axis, ["x", "y"], None)
    outer_labels(figure, "operations for each byte moved", "10⁹ operations a second")
    legend(figure, [style for name, style in look.items() if name in set(points["variant"])])
    return figure


def heat(values: DataFrame, texts: DataFrame) -> Figure:
    """A table in colours, from 0 to 1, with `texts` (of the same shape) written in its fields; missing values stay blank."""
    import seaborn
    from matplotlib.figure import Figure

    figure = Figure(figsize=(WIDTH, 1.5 + 0.42 * len(values)), layout="constrained")
    axis = figure.subplots()
    shade = seaborn.light_palette(COLOURS[0], as_cmap=True)
    seaborn.heatmap(
        values.astype(float),
        annot=texts.to_numpy(dtype=object),
        fmt="",
        vmin=0,
        vmax=1,
        cmap=shade,
        linewidths=1.5,
        linecolor="white",
        annot_kws={"fontsize": 8.5 if len(values.columns) <= 8 else 6.5},
        cbar=False,
        ax=axis,
    )
    axis.set(xlabel="", ylabel="")
    axis.grid(visible=False)
    axis.tick_params(length=0)
    axis.xaxis.tick_top()
    axis.tick_params(axis="y", rotation=0)
    if len(values.columns) > 6:
        for text in axis.get_xticklabels():
            text.set(rotation=35, ha="left", rotation_mode="anchor")
    return figure
