"""Names what a report section shows: paragraphs, figures, tables, listings, and parts of these."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from pandas import DataFrame


@dataclass(frozen=True)
class Prose:
    """A paragraph of plain text in a report section."""

    text: str


@dataclass(frozen=True)
class Plot:
    """A figure in a report section; `name` is its file name, `caption` tells how it was made.

    finding: what it shows, in a sentence that stands above it; data: what is drawn, as a table beside the figure's file
    rests: the keys of the trials and timings behind what is drawn, by variant
    """

    name: str
    figure: Figure
    caption: str
    finding: str = ""
    data: DataFrame | None = None
    rests: Mapping[str, Sequence[str]] = field(default_factory=dict)


@dataclass(frozen=True)
class Bar:
    """A cell of a table with a small bar beside its text: where a value and its interval lie, from 0 to 1 along the width of the column.

    level: where lies what it is compared with; verdict: ``better``, ``worse``, ``undecided`` or ``not comparable``, which colours it
    """

    text: str
    mean: float
    low: float
    high: float
    level: float
    verdict: str = ""

    def __str__(self) -> str:
        return self.text


@dataclass(frozen=True)
class Table:
    """A table in a report section, cells shown as they are, a `Bar` with its bar.

    name: of its place in the page, given by the section where it is empty; finding and rests: as of a `Plot`
    """

    frame: DataFrame
    caption: str = ""
    name: str = ""
    finding: str = ""
    rests: Mapping[str, Sequence[str]] = field(default_factory=dict)


@dataclass(frozen=True)
class Listing:
    """Text in a report section that is shown letter by letter and can be copied, such as a command; `caption` says what it is."""

    text: str
    caption: str = ""


@dataclass(frozen=True)
class Part:
    """Elements of a report section under a title of their own, folded until a reader opens them; `name` is its place in the page."""

    name: str
    title: str
    elements: tuple[Prose | Plot | Table | Listing, ...]


Element: TypeAlias = Prose | Plot | Table | Listing | Part
"""What a report section may yield."""
