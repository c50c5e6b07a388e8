"""Finds the panels of a figure in which there is nothing to see, since every mark lies at one end of the scale."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pandas import DataFrame

WITHIN = 0.02
"""What lies so near to an end of a scale from 0 to 1 lies at it."""


def apart(rows: DataFrame, columns: Sequence[str] = ("low", "high")) -> tuple[DataFrame, list[str], list[str]]:
    """The rows of panels in which something is to be seen, and the panels in which all is at 0, and all at 1.

    rows: columns panel and `columns`, of values from 0 to 1
    """
    nothing, everything = (list(_panels(rows, columns, end)) for end in (0.0, 1.0))
    return rows[~rows["panel"].isin([*nothing, *everything])], nothing, everything


def _panels(rows: DataFrame, columns: Sequence[str], end: float) -> Iterator[str]:
    for panel, own in rows.groupby("panel", sort=False):
        if bool(((own[list(columns)] - end).abs() <= WITHIN).to_numpy().all()):
            yield str(panel)


def left_out(nothing: Sequence[str], everything: Sequence[str], what: str) -> str:
    """What is said in place of the panels that are not drawn: ``Not drawn, since all are at 1 (skill): copy, T = 20.``"""
    texts = [f"all {what} are at {end}: {'; '.join(panels)}" for end, panels in ((0, nothing), (1, everything)) if panels]
    return f" Not drawn, since {', and since '.join(texts)}." if texts else ""
