"""Turns what a section yields into what the page's template takes: paragraphs, a grid of cells, or a picture."""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, TypeAlias

from markupsafe import Markup

from ..spec import Plot, Prose, Table
from . import figures

if TYPE_CHECKING:
    from pandas import DataFrame

SHORT = 26
"""A cell of at most so many characters is not broken into lines; a column of such numbers is aligned to the right."""

FILE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,79}")
"""What a figure may be called, since its file is called so too."""

NUMBER = re.compile(r"[−-]?\d|–$|never|not |beyond ")
"""How a number begins, or the text that stands in its place where there is none."""


@dataclass(frozen=True)
class Paragraphs:
    """Plain text, a paragraph each."""

    kind: ClassVar = "prose"
    paragraphs: tuple[str, ...]


@dataclass(frozen=True)
class Grid:
    """A table as text; `numeric` says of each column whether it holds numbers."""

    kind: ClassVar = "table"
    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    numeric: tuple[bool, ...]
    caption: str


@dataclass(frozen=True)
class Picture:
    """A figure: `content` is its file, `svg` the same as a part of the page."""

    kind: ClassVar = "plot"
    name: str
    caption: str
    content: bytes
    svg: Markup


Shown: TypeAlias = Paragraphs | Grid | Picture


def shown(element: object, taken: Collection[str]) -> Shown:
    """What the page shows of an element; `taken` are the names that the section's figures have so far.

    Raises TypeError for what is no element, and ValueError for a figure whose name cannot be that of a file or is taken.
    """
    if isinstance(element, Prose):
        return Paragraphs(tuple(str(element.text).split("\n")))
    if isinstance(element, Table):
        return _grid(element.frame, element.caption)
    if isinstance(element, Plot):
        return _picture(element, taken)
    raise TypeError(f"draw yielded {type(element).__name__}; it must yield Prose, Plot or Table")


def _picture(plot: Plot, taken: Collection[str]) -> Picture:
    if not FILE_NAME.fullmatch(plot.name):
        raise ValueError(f"the figure's name {plot.name!r} names its file; use letters, digits, '_', '-' and '.', at most 80")
    other = next((name for name in taken if name.casefold() == plot.name.casefold()), None)
    if other is not None:  # some file systems take names that differ in case alone for one
        raise ValueError(
            f"two figures are named {plot.name!r}" if other == plot.name else f"two figures are named {other!r} and {plot.name!r}"
        )
    content = figures.svg(plot.figure, plot.name)
    return Picture(plot.name, plot.caption, content, _inline(content.decode(), plot))


def _inline(svg: str, plot: Plot) -> Markup:
    """The figure as part of the page: without its own header, and with ids that no other figure has."""
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<!--.*?-->\n?|<metadata>.*?</metadata>\n?", "", svg, flags=re.DOTALL)
    svg = re.sub(r'\b(id="|url\(#|href="#)', rf"\g<1>{plot.name}-", svg)
    return Markup(svg.replace("<svg ", Markup('<svg role="img" aria-label="{}" ').format(plot.caption), 1))


def _grid(frame: DataFrame, caption: str) -> Grid:
    rows = tuple(tuple(_cell(value) for value in row) for row in frame.itertuples(index=False, name=None))
    columns = list(zip(*rows, strict=True)) or [()] * len(frame.columns)
    numeric = tuple(index > 0 and _numbers(cells) for index, cells in enumerate(columns))
    return Grid(tuple(str(name) for name in frame.columns), rows, numeric, caption)


def _numbers(cells: tuple[str, ...]) -> bool:
    return bool(cells) and all(map(NUMBER.match, cells)) and max(map(len, cells)) <= SHORT


def _cell(value: object) -> str:
    if value is None or value != value or str(value) in {"<NA>", "NaT"}:
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:.4g}" if isinstance(value, float) else str(value)
