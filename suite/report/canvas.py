"""Sets the theme of figures, the look of a variant in them, and their common parts: panels, axes, labels, legend, and the file."""

from __future__ import annotations

import contextlib
import io
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from .vector import GRID, GROUND, INK, LEVEL, marked, named, panelled

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# matplotlib and seaborn are imported inside the functions: every section file imports this module, and listing them must be quick.

PAPER: dict[str, Any] = {"facecolor": GROUND, "edgecolor": "none", "alpha": 0.85, "pad": 1.5}
"""The box behind small print that lines may cross."""

WIDTH = 9.4
"""The width of a figure in inches: it fills the page's column, and its text is then as large as the page's."""

RC: dict[str, Any] = {
    "font.family": "DejaVu Sans",
    "font.size": 9.5,
    "text.color": INK,
    "axes.labelcolor": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "figure.facecolor": GROUND,
    "axes.facecolor": GROUND,
    "axes.titlesize": 10,
    "axes.titleweight": "bold",
    "axes.labelsize": 9.5,
    "axes.edgecolor": LEVEL,
    "axes.linewidth": 0.8,
    "xtick.labelsize": 9,
    "ytick.labelsize": 9,
    "legend.fontsize": 9.5,
    "legend.frameon": False,
    "grid.color": GRID,
    "lines.linewidth": 1.6,
    "lines.markersize": 5.5,
    "text.parse_math": False,  # a plugin's name may hold a dollar sign
    "svg.fonttype": "none",
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
        face = self.colour if self.causal else GROUND
        dash = "-" if self.causal else (0, (4, 2))
        return {"color": self.colour, "marker": self.marker, "markerfacecolor": face, "markeredgecolor": self.colour, "linestyle": dash}


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
    from matplotlib.backends.backend_svg import FigureCanvasSVG

    buffer, dpi, canvas = io.BytesIO(), figure.dpi, figure.canvas
    with theme(), matplotlib.rc_context({"svg.hashsalt": name}):
        # `savefig` draws twice, first for the layout alone, which drawing once makes all the same
        FigureCanvasSVG(figure).print_svg(buffer, metadata={"Date": None, "Creator": None})  # type: ignore[no-untyped-call]
    figure.dpi = dpi
    figure.set_canvas(canvas)
    return marked(buffer.getvalue().decode()).encode()


def pdf(figure: Figure) -> bytes:
    """The figure as PDF, the same bytes each time."""
    buffer = io.BytesIO()
    with theme():
        figure.savefig(buffer, format="pdf", metadata={"CreationDate": None, "Creator": None, "Producer": None})
    return buffer.getvalue()


def small_multiples(panels: list[str], height: float, share_y: bool = False, columns: int | None = None) -> tuple[Figure, list[Axes]]:
    from matplotlib.figure import Figure

    columns = min(len(panels), columns or (2 if len(panels) == 4 else 3))
    rows = math.ceil(len(panels) / columns)
    figure = Figure(figsize=(WIDTH if columns > 1 else WIDTH * 0.72, rows * height + 0.75), layout="constrained")
    grid = figure.subplots(rows, columns, squeeze=False, sharey=share_y or "row", sharex=False)
    axes = list(grid.flat)
    for axis, panel in zip(axes, panels, strict=False):
        axis.set_title(panel, loc="left")
        panelled(axis, panel)
        for side in ("top", "right"):
            axis.spines[side].set_visible(False)
    for axis in axes[len(panels) :]:
        axis.remove()
    return figure, axes[: len(panels)]


def scales(axis: Axes, log: Iterable[str], ticks: Mapping[float, str] | None, most: int = 6) -> None:
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


def outer_labels(figure: Figure, x_label: str, y_label: str) -> None:
    figure.supxlabel(x_label, fontsize=RC["axes.labelsize"])
    if y_label:
        figure.supylabel(y_label, fontsize=RC["axes.labelsize"])


AT_ENDS = 9
"""Of more variants than these, or labels of more than `LONGEST` characters, a legend above says which line is whose."""

LONGEST = 18


def ends_labelled(shown: Sequence[Look]) -> bool:
    """Whether the lines of these variants are labelled at their ends."""
    return len(shown) <= AT_ENDS and all(len(look.label) <= LONGEST for look in shown)


def label_ends(axis: Axes, ends: Sequence[tuple[Look, float]], height: float) -> None:
    """Write each variant's name beside the end of its line, at the height given in data, moved apart where two are close.

    height: of the panel in inches
    """
    (left, _), _ = axis.get_xlim(), axis.get_ylim()  # which sets the limits that the data ask for
    size, to_axes = 8.0, axis.transScale + axis.transLimits
    places = [float(to_axes.transform((left, value))[1]) for _, value in ends]
    wanted = sorted((min(1.0, max(0.0, value)), place) for place, value in enumerate(places))
    for level, place in spread_out(wanted, 1.2 * size / (72 * height)):
        look = ends[place][0]
        named(axis.text(1.015, level, look.label, transform=axis.transAxes, fontsize=size, color=look.colour, va="center"), look.name)


def spread_out(wanted: Sequence[tuple[float, int]], step: float) -> list[tuple[float, int]]:
    """Heights from 0 to 1 in ascending order, at least `step` apart, as near to those wanted as that allows: neighbours that touch share their middle."""
    groups: list[tuple[float, list[int]]] = []
    for height, place in wanted:
        centre, members = height, [place]
        while groups and centre - step * len(members) / 2 < groups[-1][0] + step * len(groups[-1][1]) / 2:
            other, before = groups.pop()
            centre = (other * len(before) + centre * len(members)) / (len(before) + len(members))
            members = [*before, *members]
            centre = _within(centre, step * (len(members) - 1) / 2)
        groups.append((centre, members))
    return [(centre + step * (rank - (len(members) - 1) / 2), place) for centre, members in groups for rank, place in enumerate(members)]


def _within(centre: float, half: float) -> float:
    """The centre moved so that what reaches so far on either side stays between 0 and 1, where it can."""
    return min(max(centre, half), 1 - half) if half <= 0.5 else 0.5


def legend(figure: Figure, shown: list[Look], **style: Any) -> None:
    from matplotlib.lines import Line2D

    handles = [Line2D([], [], label=look.label, **{**look.line, **style}) for look in shown]
    longest = max((len(look.label) for look in shown), default=1)
    columns = max(1, min(len(handles), int(115 / (longest + 7))))
    figure.legend(handles=handles, loc="outside upper left", ncols=columns, columnspacing=1.4, handlelength=2.4, borderaxespad=0.2)
