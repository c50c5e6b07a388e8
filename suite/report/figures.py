"""Draws what report sections show: one theme, one look per variant, and a few kinds of figure, all frame in, figure out."""

from __future__ import annotations

import contextlib
import io
import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from . import verdict

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from pandas import DataFrame

    from ..spec import Results

# matplotlib and seaborn are imported inside the functions: every section file imports this module, and listing them must be quick.

MARK = "†"
"""Follows the name of a variant that is not causal."""

COLOURS = ("#0173b2", "#de8f05", "#029e73", "#d55e00", "#cc78bc", "#56b4e9", "#ca9161", "#7f7f7f")
"""Colours that differ for any kind of colour vision: seaborn's "colorblind" palette without its two palest."""

MARKERS = ("s", "^", "D", "v", "P", "X", "p", "<", ">", "h", "d")

PAPER: dict[str, Any] = {"facecolor": "white", "edgecolor": "none", "alpha": 0.85, "pad": 1.5}
"""The box behind small print that lines may cross."""

ABREAST = 6
"""A row of step curves has at most so many panels."""

WIDTH = 9.4
"""The width of a figure in inches: it fills the page's column, and its text is then as large as the page's."""

RC: dict[str, Any] = {
    "font.family": "DejaVu Sans",
    "font.size": 9.5,
    "axes.titlesize": 10,
    "axes.titleweight": "bold",
    "axes.labelsize": 9.5,
    "axes.edgecolor": "#9a9a9a",
    "axes.linewidth": 0.8,
    "xtick.labelsize": 9,
    "ytick.labelsize": 9,
    "legend.fontsize": 9.5,
    "legend.frameon": False,
    "grid.color": "#e4e4e4",
    "lines.linewidth": 1.6,
    "lines.markersize": 5.5,
    "text.parse_math": False,  # a plugin's name may hold a dollar sign
    "svg.fonttype": "path",
    "axes.unicode_minus": True,
}


@dataclass(frozen=True)
class Look:
    """How a variant is drawn, the same in every figure of a report."""

    name: str
    label: str
    causal: bool
    colour: str
    marker: str

    @property
    def line(self) -> dict[str, Any]:
        """Keywords for a matplotlib line; a variant that is not causal is dashed and hollow."""
        face = self.colour if self.causal else "white"
        dash = "-" if self.causal else (0, (4, 2))
        return {"color": self.colour, "marker": self.marker, "markerfacecolor": face, "markeredgecolor": self.colour, "linestyle": dash}


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


@contextlib.contextmanager
def theme() -> Iterator[None]:
    """Draw everything inside in the report's theme, whatever a user's matplotlibrc sets."""
    import matplotlib
    import matplotlib.style
    import seaborn

    with matplotlib.rc_context():
        matplotlib.style.use("default")
        seaborn.set_theme(style="whitegrid", color_codes=False, rc=RC)
        yield


def svg(figure: Figure, name: str) -> bytes:
    """The figure as SVG, the same bytes each time; `name` keeps its internal names apart from other figures'."""
    import matplotlib

    buffer = io.BytesIO()
    with theme(), matplotlib.rc_context({"svg.hashsalt": name}):
        figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None})
    return buffer.getvalue()


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
    figure, axes = _small_multiples(panels, height=2.35)
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
        _scales(axis, log, ticks or ({x: f"{x:g}" for x in positions} if "x" in log and len(positions) <= 8 else None))
        if y_range:
            axis.set_ylim(*y_range)
        if notes and notes.get(panel):
            axis.text(0.03, 0.1, notes[panel], transform=axis.transAxes, fontsize=8, color="#555555", va="bottom", zorder=5, bbox=PAPER)
    _outer_labels(figure, x_label, y_label)
    _legend(figure, [style for name, style in look.items() if name in set(frame["variant"])])
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
    figure, axes = _small_multiples(panels, height=0.6 + 0.25 * len(names), share_y=True, columns=columns)
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
        _scales(axis, ["x"] if log else [], None)
        axis.set_xlim(*x_range)
    _outer_labels(figure, x_label, "")
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
            _scales(axis, [], None, most=3)
            if notes and notes.get((panel, name)):
                axis.text(0.04, 0.97, notes[panel, name], transform=axis.transAxes, fontsize=7.5, color="#555555", va="top")
        line[0].set_ylabel(panel)
        for axis in line[len(block) :]:
            axis.remove()
    _outer_labels(figure, x_label, y_label)
    if verdict.BASELINE in drawn and names != [verdict.BASELINE]:
        _legend(figure, [look[verdict.BASELINE]], marker="")
    return figure


def _step(axis: Axes, curve: DataFrame, style: Mapping[str, Any]) -> None:
    axis.plot(curve["x"], curve["mean"], drawstyle="steps-post", **style)


def roofline(points: DataFrame, look: Mapping[str, Look], operations: float, bytes_: float) -> Figure:
    """Each variant on each engine under the device's roof: the operations a second that it reaches, against those for each byte moved.

    points: columns panel, variant, intensity (operations a byte), rate (operations a second)
    operations, bytes_: what the device reaches a second
    """
    panels = list(dict.fromkeys(points["panel"]))
    figure, axes = _small_multiples(panels, height=2.6)
    low = min(points["intensity"].min() / 3, operations / bytes_ / 3)
    high = max(points["intensity"].max() * 3, 3 * operations / bytes_)
    for panel, axis in zip(panels, axes, strict=True):
        axis.plot([low, operations / bytes_, high], [low * bytes_ / 1e9, operations / 1e9, operations / 1e9], color="#8a8a8a", linewidth=1)
        rows = points[points["panel"] == panel]
        for name, intensity, rate in zip(rows["variant"], rows["intensity"], rows["rate"], strict=True):
            axis.plot(intensity, rate / 1e9, zorder=3, **{**look[name].line, "linestyle": "none", "markersize": 7})
        _scales(axis, ["x", "y"], None)
    _outer_labels(figure, "operations for each byte moved", "10⁹ operations a second")
    _legend(figure, [style for name, style in look.items() if name in set(points["variant"])])
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


def _small_multiples(panels: list[str], height: float, share_y: bool = False, columns: int | None = None) -> tuple[Figure, list[Axes]]:
    from matplotlib.figure import Figure

    columns = min(len(panels), columns or (2 if len(panels) == 4 else 3))
    rows = math.ceil(len(panels) / columns)
    figure = Figure(figsize=(WIDTH if columns > 1 else WIDTH * 0.72, rows * height + 0.75), layout="constrained")
    grid = figure.subplots(rows, columns, squeeze=False, sharey=share_y or "row", sharex=False)
    axes = list(grid.flat)
    for axis, panel in zip(axes, panels, strict=False):
        axis.set_title(panel, loc="left")
        for side in ("top", "right"):
            axis.spines[side].set_visible(False)
    for axis in axes[len(panels) :]:
        axis.remove()
    return figure, axes[: len(panels)]


def _scales(axis: Axes, log: Iterable[str], ticks: Mapping[float, str] | None, most: int = 6) -> None:
    from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter

    for name in log:
        (axis.set_xscale if name == "x" else axis.set_yscale)("log")
        scale = axis.xaxis if name == "x" else axis.yaxis
        low, high = scale.get_view_interval()
        subs = (1, 1.5, 2, 3, 5, 7) if high < 8 * low else (1, 2, 5) if high < 200 * low else (1,)
        scale.set_major_locator(LogLocator(base=10, subs=subs))
        scale.set_major_formatter(FuncFormatter(lambda value, _place: _tick(value)))
        scale.set_minor_formatter(NullFormatter())
    if ticks:
        axis.set_xticks(list(ticks), list(ticks.values()), minor=False)
        axis.set_xticks([], minor=True)
    elif "x" not in log:
        axis.xaxis.set_major_locator(MaxNLocator(most, steps=(1, 2, 2.5, 5, 10), prune="upper" if most < 6 else None))


def _tick(value: float) -> str:
    """A number on a logarithmic axis; a small power of ten as such, since 1e-05 reads badly."""
    exponent = round(math.log10(value)) if value > 0 else 0
    if exponent < -3 and math.isclose(value, 10.0**exponent):
        return "10" + str(exponent).translate(str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹"))
    return f"{value:g}"


def _outer_labels(figure: Figure, x_label: str, y_label: str) -> None:
    figure.supxlabel(x_label, fontsize=RC["axes.labelsize"])
    if y_label:
        figure.supylabel(y_label, fontsize=RC["axes.labelsize"])


def _legend(figure: Figure, shown: list[Look], **style: Any) -> None:
    from matplotlib.lines import Line2D

    handles = [Line2D([], [], label=look.label, **{**look.line, **style}) for look in shown]
    longest = max((len(look.label) for look in shown), default=1)
    columns = max(1, min(len(handles), int(115 / (longest + 7))))
    figure.legend(handles=handles, loc="outside upper left", ncols=columns, columnspacing=1.4, handlelength=2.4, borderaxespad=0.2)
