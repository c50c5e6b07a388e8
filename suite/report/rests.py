"""Says what a number rests on: the keys of trials and timings behind it, by variant."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .counted import trials

if TYPE_CHECKING:
    from pandas import DataFrame

    from ..spec import Results


def rests(*tables: DataFrame) -> dict[str, tuple[str, ...]]:
    """The keys in tables with columns variant and key, each once and in order, by variant."""
    keys: dict[str, set[str]] = {}
    for table in tables:
        for variant, key in table[["variant", "key"]].drop_duplicates().itertuples(index=False):
            keys.setdefault(str(variant), set()).add(str(key))
    return {variant: tuple(sorted(own)) for variant, own in keys.items()}


def answered(results: Results) -> dict[str, tuple[str, ...]]:
    """The keys behind the answer: the trials that count, and all timings."""
    frame = results.frame
    return rests(trials(results), frame[frame["axis"].eq("speed")])
