"""Turns what a section yields into what the page's template takes: paragraphs, a grid of cells, a picture, a listing, or a part of these."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar, TypeAlias

from markupsafe import Markup

from ..shown import Bar, Listing, Part, Plot, Prose, Table
from . import figures, vector

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SHORT = 26
"""A cell of at most so many characters is not broken into lines; a column of such numbers is aligned to the right."""

FILE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,79}")
"""What a figure may be called, since its file is called so too."""

NUMBER = re.compile(r"[−-]?\d|–$|never|not |beyond ")
"""How a number begins, or the text that stands in its place where there is none."""

Rests: TypeAlias = Mapping[str, Sequence[str]]


@dataclass(frozen=True)
class Paragraphs:
    """Plain text, a paragraph each."""

    kind: ClassVar = "prose"
    paragraphs: tuple[str, ...]


@dataclass(frozen=True)
class Field:
    """A cell as text, with its bar where it has one."""

    text: str
    bar: Bar | None = None


@dataclass(frozen=True)
class Grid:
    """A table as text, with its place in the page; `numeric` says of each column whether it holds numbers."""

    kind: ClassVar = "table"
    place: str
    head: tuple[str, ...]
    rows: tuple[tuple[Field, ...], ...]
    numeric: tuple[bool, ...]
    caption: str
    finding: str
    rests: Rests = field(repr=False)


@dataclass(frozen=True)
class Picture:
    """A figure, with its place in the page: `content` is its file, `svg` the same as a part of the page; `data` what it draws, as CSV."""

    kind: ClassVar = "plot"
    place: str
    name: str
    caption: str
    finding: str
    content: bytes
    svg: Markup
    width: int
    data: bytes
    rests: Rests = field(repr=False)
    figure: Figure = field(repr=False)


@dataclass(frozen=True)
class Block:
    """Text that is shown letter by letter."""

    kind: ClassVar = "listing"
    text: str
    caption: str


@dataclass(frozen=True)
class Folded:
    """Elements under a title of their own, with their place in the page."""

    kind: ClassVar = "part"
    place: str
    title: str
    elements: tuple[Paragraphs | Grid | Picture | Block, ...]


Shown: TypeAlias = Paragraphs | Grid | Picture | Block | Folded


def flat(elements: Sequence[Shown]) -> Iterator[Paragraphs | Grid | Picture | Block]:
    """The elements in order, those of parts in the place of their part."""
    for element in elements:
        if isinstance(element, Folded):
            yield from element.elements
        else:
            yield element


def shown(element: object, taken: Collection[str], place: str) -> Shown:
    """What the page shows of an element; `taken` are the names that the section's figures have so far, `place` is the element's own in the page.

    Raises TypeError for what is no element, and ValueError for a figure whose name cannot be that of a file or is taken.
    """
    if isinstance(element, Prose):
        return Paragraphs(tuple(str(element.text).split("\n")))
    if isinstance(element, Table):
        return _grid(element, element.name or place)
    if isinstance(element, Plot):
        return _picture(element, taken)
    if isinstance(element, Listing):
        return Block(str(element.text), element.caption)
    if isinstance(element, Part):
        return _folded(element, taken)
    raise TypeError(f"draw yielded {type(element).__name__}; it must yield Prose, Plot, Table, Listing or Part")


def _folded(part: Part, taken: Collection[str]) -> Folded:
    inside: list[Paragraphs | Grid | Picture | Block] = []
    for index, element in enumerate(part.elements, 1):
        names = {*taken, *(other.name for other in inside if isinstance(other, Picture))}
        drawn = shown(element, names, f"{part.name}-{index}")
        if isinstance(drawn, Folded):
            raise TypeError(f"the part {part.name!r} holds a part; it must hold Prose, Plot, Table or Listing")
        inside.append(drawn)
    return Folded(part.name, part.title, tuple(inside))


def _picture(plot: Plot, taken: Collection[str]) -> Picture:
    if not FILE_NAME.fullmatch(plot.name):
        raise ValueError(f"the figure's name {plot.name!r} names its file; use letters, digits, '_', '-' and '.', at most 80")
    other = next((name for name in taken if name.casefold() == plot.name.casefold()), None)
    if other is not None:  # some file systems take names that differ in case alone for one
        raise ValueError(
            f"two figures are named {plot.name!r}" if other == plot.name else f"two figures are named {other!r} and {plot.name!r}"
        )
    content = figures.svg(plot.figure, plot.name)
    description = " ".join(text for text in (plot.finding, plot.caption) if text)
    svg = Markup(vector.inline(content.decode(), plot.name, description))
    width = round(plot.figure.get_figwidth() * 72)
    data = b"" if plot.data is None else plot.data.to_csv(index=False, lineterminator="\n").encode()
    return Picture(f"figure-{plot.name}", plot.name, plot.caption, plot.finding, content, svg, width, data, plot.rests, plot.figure)


def _grid(table: Table, place: str) -> Grid:
    frame = table.frame
    rows = tuple(tuple(_field(value) for value in row) for row in frame.itertuples(index=False, name=None))
    columns = list(zip(*rows, strict=True)) or [()] * len(frame.columns)
    numeric = tuple(index > 0 and _numbers(cells) for index, cells in enumerate(columns))
    return Grid(f"table-{place}", tuple(str(name) for name in frame.columns), rows, numeric, table.caption, table.finding, table.rests)


def _numbers(cells: tuple[Field, ...]) -> bool:
    texts = [cell.text for cell in cells]
    return bool(texts) and all(map(NUMBER.match, texts)) and max(map(len, texts)) <= SHORT


def _field(value: object) -> Field:
    if isinstance(value, Bar):
        return Field(value.text, value)
    if value is None or value != value or str(value) in {"<NA>", "NaT"}:
        return Field("–")
    if isinstance(value, bool):
        return Field("yes" if value else "no")
    return Field(f"{value:.4g}" if isinstance(value, float) else str(value))
