"""Draws what report sections show: one theme, one look per variant, and a few kinds of figure, all frame in, figure out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from .. import palette
from . import verdict
from .canvas import PAPER, WIDTH, Look, legend, outer_labels, pdf, scales, small_multiples, svg, theme
from .curves import lines, rising
from .edges import apart, left_out
from .pareto import front
from .stats import Interval
from .vector import GROUND, LEVEL, SMALL, named

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from pandas import DataFrame

    from ..spec import Results

__all__ = [
    "MARK", "Look", "apart", "cell", "cells", "dots", "effects", "front", "heat", "left_out", "lines", "looks", "pdf", "rising", "roofline", "svg", "theme",
]  # fmt: skip

MARK = "†"
"""Follows the name of a variant that is not causal."""

MARKERS = ("o", "s", "^", "D", "v", "P", "X", "p", "<", ">", "h", "d")


def looks(results: Results, *, timed: bool = False) -> dict[str, Look]:
    """The look of each variant by label, causal ones first; colours follow the order of the variants in the results.

    timed: whether variants belong to it that were only timed, not trained
    """
    causal = verdict.variants(results)
    colours = palette.colours(causal)
    styles = {name: (colour, MARKERS[place % len(MARKERS)]) for place, (name, colour) in enumerate(colours.items())}
    labels = {name: name if causal[name] else f"{name} {MARK}" for name in causal}
    return {name: Look(name, labels[name], causal[name], *styles[name]) for name in verdict.listed(results, timed=timed)}


def cell(task: object, length: object) -> str:
    """The title of the panel of a task at a trained length."""
    return f"{task}, T\u00a0=\u00a0{length}"  # kept on one line


def cells(frame: DataFrame) -> list[str]:
    """The title of each row's panel, by its task and length."""
    return [cell(task, length) for task, length in zip(frame["task"], frame["length"], strict=True)]


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
            axis.axvline(level, color=LEVEL, linewidth=1)
        for place, name in enumerate(names):
            style = look[name]
            if points is not None:
                _seeds(axis, points[(points["panel"] == panel) & (points["variant"] == name)], place, style)
            if blank and not ((every["panel"] == panel) & (every["variant"] == name)).any():
                axis.text(0.03, place, blank, transform=axis.get_yaxis_transform(), fontsize=8, color=SMALL, va="center", bbox=PAPER)
            row = summary[(summary["panel"] == panel) & (summary["variant"] == name)].dropna(subset=["mean"])
            for mean, low, high in zip(row["mean"], row["low"], row["high"], strict=True):
                said = f"{style.label}: {Interval(mean, low, high, 2).text()}"
                (bar,) = axis.plot(
                    [low, high], [place, place], color=style.colour, linewidth=3, solid_capstyle="round", alpha=0.55, zorder=3
                )
                (mark,) = axis.plot(mean, place, markersize=8, zorder=4, **{**style.line, "linestyle": "none"})
                named(bar, name, said)
                named(mark, name, said)
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
    kinds: dict[bool, dict[str, Any]] = {
        True: {"marker": ">", "markersize": 4.5, "markerfacecolor": GROUND, "markeredgecolor": look.colour, "clip_on": False},
        False: {"marker": "o", "markersize": 3, "markerfacecolor": look.colour, "markeredgewidth": 0},
    }
    censored = list(points["censored"]) if "censored" in points else [False] * len(points)
    heights = [place + 0.3 + spread * (index - (len(points) - 1) / 2) for index in range(len(points))]
    for beyond, style in kinds.items():
        own = [(value, height) for value, height, past in zip(points["value"], heights, censored, strict=True) if bool(past) == beyond]
        if own:
            (seeds,) = axis.plot(*zip(*own, strict=True), linestyle="none", zorder=5, **style)
            named(seeds, look.name, *(f"{look.label}: {'beyond ' if beyond else ''}{value:.3g}" for value, _ in own))


STATES = {"found": "#029e73", "contradicted": "#d55e00", "open": LEVEL}
"""Colours of what was found as expected, of the contrary, and of what stays open."""


def effects(rows: DataFrame) -> Figure:
    """A difference with its interval in each row, around a line at 0; an arrow says on which side it was expected.

    rows: columns label, mean, low, high, expected (1 above 0, −1 below, 0 no worse), state (a key of `STATES`)
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(WIDTH, 0.75 + 0.36 * len(rows)), layout="constrained")
    axis = figure.subplots()
    axis.axvline(0, color=LEVEL, linewidth=1)
    span = max(0.1, *(abs(value) for column in ("low", "high") for value in rows[column]))
    columns = [rows[name] for name in ("label", "mean", "low", "high", "expected", "state")]
    for place, (label, mean, low, high, expected, state) in enumerate(zip(*columns, strict=True)):
        (bar,) = axis.plot([low, high], [place, place], color=STATES[state], linewidth=3, solid_capstyle="round", alpha=0.55, zorder=3)
        (mark,) = axis.plot(mean, place, marker="o", markersize=8, color=STATES[state], zorder=4)
        for artist in (bar, mark):
            named(artist, "", f"{label}: {Interval(mean, low, high, 2).text()}")
        if expected:
            arrow = ">" if expected == 1 else "<"
            axis.plot(1.08 * expected * span, place, marker=arrow, markersize=6, color=SMALL, clip_on=False)
    axis.set_yticks(range(len(rows)), list(rows["label"]))
    axis.set_ylim(len(rows) - 0.5, -0.5)
    axis.set_xlim(-1.12 * span, 1.12 * span)
    axis.grid(axis="y", visible=False)
    for side in ("top", "right"):
        axis.spines[side].set_visible(False)
    outer_labels(figure, "difference", "")
    return figure


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
        axis.plot([low, operations / bytes_, high], [low * bytes_ / 1e9, operations / 1e9, operations / 1e9], color=LEVEL, linewidth=1)
        rows = points[points["panel"] == panel]
        for name, intensity, rate in zip(rows["variant"], rows["intensity"], rows["rate"], strict=True):
            (mark,) = axis.plot(intensity, rate / 1e9, zorder=3, **{**look[name].line, "linestyle": "none", "markersize": 7})
            named(mark, name, f"{look[name].label}: {rate / 1e9:.3g}·10⁹ operations a second, {intensity:.3g} a byte")
        scales(axis, ["x", "y"], None)
    outer_labels(figure, "operations for each byte moved", "10⁹ operations a second")
    legend(figure, [style for name, style in look.items() if name in set(points["variant"])])
    return figure


SHADE, ON_DARK, ON_LIGHT = "#0173b1", "#fefefe", "#262627"
"""Of the fields of a heat map and what is written in them; no page gives these colours other values."""


def heat(values: DataFrame, texts: DataFrame) -> Figure:
    """A table in colours, from 0 to 1, with `texts` (of the same shape) written in its fields; missing values stay blank."""
    import seaborn
    from matplotlib.figure import Figure

    figure = Figure(figsize=(WIDTH, 1.5 + 0.42 * len(values)), layout="constrained")
    axis = figure.subplots()
    shade = seaborn.light_palette(SHADE, as_cmap=True)
    seaborn.heatmap(
        values.astype(float),
        annot=texts.to_numpy(dtype=object),
        fmt="",
        vmin=0,
        vmax=1,
        cmap=shade,
        linewidths=1.5,
        linecolor=GROUND,
        annot_kws={"fontsize": 8.5 if len(values.columns) <= 8 else 6.5},
        cbar=False,
        ax=axis,
    )
    for text in axis.texts:  # the fields keep their colours on a dark screen, and so does what is written in them
        text.set_color(ON_DARK if text.get_color() == "w" else ON_LIGHT)
    axis.set(xlabel="", ylabel="")
    axis.grid(visible=False)
    axis.tick_params(length=0)
    axis.xaxis.tick_top()
    axis.tick_params(axis="y", rotation=0)
    if len(values.columns) > 6:
        for text in axis.get_xticklabels():
            text.set(rotation=35, ha="left", rotation_mode="anchor")
    return figure
