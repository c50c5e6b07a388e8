"""Gives each variant its colour, the same one in the report and in MLflow."""

from __future__ import annotations

from collections.abc import Iterable

from .trial import BASELINE

COLOURS = ("#0173b2", "#de8f05", "#029e73", "#d55e00", "#cc78bc", "#56b4e9", "#ca9161", "#7f7f7f")
"""Colours that differ for any kind of colour vision: seaborn's "colorblind" palette without its two palest."""

OF_BASELINE = "#000000"
"""Black, since all others are compared with it."""


def colours(labels: Iterable[str]) -> dict[str, str]:
    """A colour for each variant by label, in their order."""
    others = [label for label in dict.fromkeys(labels) if label != BASELINE.label]
    return {BASELINE.label: OF_BASELINE, **{label: COLOURS[place % len(COLOURS)] for place, label in enumerate(others)}}
