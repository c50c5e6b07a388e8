"""Draws who is faster and who is better at once, with the front of those that nobody beats in both."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from .canvas import Look, scales
from .stats import Interval
from .vector import LEVEL, named

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from pandas import DataFrame

SIZE = (5.0, 4.2)
"""Of the figure in inches: it stands beside a table."""


def unbeaten(points: DataFrame) -> list[str]:
    """The variants that no other one takes less time than at as much skill, or has more skill than at as little time, the fastest first.

    points: columns variant, x (time) and y (skill)
    """
    ordered = points.sort_values(["x", "y"], ascending=[True, False], kind="stable")
    names, best = [], float("-inf")
    for name, y in zip(ordered["variant"], ordered["y"], strict=True):
        if y > best:
            names.append(str(name))
            best = y
    return names


def front(points: DataFrame, look: Mapping[str, Look], *, x_label: str, y_label: str) -> Figure:
    """A mark for each variant with its intervals in both directions, and a line through those that nobody beats in both.

    points: columns variant, x, x_low, x_high, y, y_low, y_high; only those that are causal are on the line
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=SIZE, layout="constrained")
    axis = figure.subplots()
    axis.axhline(0, color=LEVEL, linewidth=0.8)
    axis.axvline(1, color=LEVEL, linewidth=0.8)
    causal = points[[look[name].causal for name in points["variant"]]]
    on_line = causal[causal["variant"].isin(unbeaten(causal))].sort_values("x", kind="stable")
    (line,) = axis.plot(on_line["x"], on_line["y"], drawstyle="steps-post", color=LEVEL, linewidth=5, alpha=0.35, zorder=1)
    named(line, "", "the front: nobody is both faster and better")
    columns = [points[column].astype(float) for column in ("x", "x_low", "x_high", "y", "y_low", "y_high")]
    for name, x, x_low, x_high, y, y_low, y_high in zip(points["variant"], *columns, strict=True):
        style = look[name]
        title = f"{style.label}: time {Interval(x, x_low, x_high, 2).text()}, skill {Interval(y, y_low, y_high, 2).text()}"
        (across,) = axis.plot([x_low, x_high], [y, y], color=style.colour, linewidth=1.2, alpha=0.6, zorder=2)
        (up,) = axis.plot([x, x], [y_low, y_high], color=style.colour, linewidth=1.2, alpha=0.6, zorder=2)
        (mark,) = axis.plot(x, y, zorder=4, **{**style.line, "linestyle": "none", "markersize": 8})
        for artist in (across, up, mark):
            named(artist, name, title)
    scales(axis, ["x"], None)
    axis.margins(x=0.12)
    _widen(axis, LETTER * max(len(look[name].label) for name in points["variant"]))
    for side in ("top", "right"):
        axis.spines[side].set_visible(False)
    axis.set_xlabel(x_label)
    axis.set_ylabel(y_label)
    _label(axis, points, look)
    return figure


LETTER, LINE = 0.021, 0.05
"""How wide a letter and how high a line of a label is, in parts of the axes."""


def _widen(axis: Axes, part: float) -> None:
    """Leave so large a part of the axis free at its right end, for the name of the mark that lies there."""
    scale = axis.xaxis.get_transform()
    low, high = scale.transform(axis.get_xlim())
    axis.set_xlim(right=float(scale.inverted().transform(high + part * (high - low))))


def _label(axis: Axes, points: DataFrame, look: Mapping[str, Look]) -> None:
    """Write each variant's name beside its mark, where it hides no other mark or name."""
    axis.get_xlim(), axis.get_ylim()  # which sets the limits that the data ask for
    to_axes = axis.transScale + axis.transLimits
    marks = [tuple(to_axes.transform(place)) for place in zip(points["x"], points["y"], strict=True)]
    taken = [(x - 0.02, y - 0.02, x + 0.02, y + 0.02) for x, y in marks]
    for name, (x, y) in zip(points["variant"], marks, strict=True):
        width = LETTER * len(look[name].label)
        starts = [
            (x + side * 0.025 - (width if side < 0 else width / 2 if not side else 0), y + rise * LINE)
            for rise in (0.5, -0.5, 1, -1, 2, -2)
            for side in (1, -1, 0)
            if side or abs(rise) >= 1
        ]
        free = [start for start in starts if _free(_corners(start, width), taken)]
        left, middle = (free or starts)[0]
        taken.append(_corners((left, middle), width))
        text = axis.text(
            left, middle, look[name].label, transform=axis.transAxes, fontsize=8.5, color=look[name].colour, va="center", zorder=5
        )
        named(text, name)


Box = tuple[float, float, float, float]


def _corners(start: tuple[float, float], width: float) -> Box:
    left, middle = start
    return left, middle - LINE / 2, left + width, middle + LINE / 2


def _free(box: Box, taken: Sequence[Box]) -> bool:
    """Whether a box lies within the axes, a little beyond their right end apart, and on nothing that is there."""
    left, low, right, high = box
    inside = left >= 0 and right <= 1.05 and low >= 0 and high <= 1
    return inside and all(right < other[0] or left > other[2] or high < other[1] or low > other[3] for other in taken)
