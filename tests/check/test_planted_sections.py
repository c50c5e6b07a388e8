"""Checks the checks of sections: each planted fault is caught, by the check that names it and by no other that could mislead."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from typing import Any

import pandas as pd
import pytest

from suite import Prose, Section, Table

from .sound import failures


def needs_rows(results: Any) -> Iterator[Prose]:
    yield Prose(str(results.trials["variant"].iloc[0]))


def needs_scores(results: Any) -> Iterator[Prose]:
    values = results.frame["value"].dropna()
    yield Prose(f"the best is {values.tolist()[0]:.2f}" if len(results.frame) else "nothing")


def differs(_: Any) -> Iterator[Table]:
    yield Table(pd.DataFrame({"number": [int.from_bytes(os.urandom(4), "big")]}))


def spoils(results: Any) -> Iterator[Prose]:
    results.frame["value"] = 0.0
    yield Prose("all are equal now")


def yields_a_word(_: Any) -> Iterator[Any]:
    yield "a word"


FAULTY_SECTIONS: dict[str, tuple[Callable[..., Any], set[str]]] = {
    "raises without results": (needs_rows, {"empty"}),
    "raises without scores": (needs_scores, {"all_failed"}),
    "differs from time to time": (differs, {"determinism"}),
    "changes the results": (spoils, {"input"}),
    "yields something else": (yields_a_word, {"empty", "one_trial", "all_failed", "many", "determinism", "input"}),
}


@pytest.mark.parametrize(("draw", "wanted"), FAULTY_SECTIONS.values(), ids=FAULTY_SECTIONS)
def test_a_faulty_section_is_caught(draw: Callable[..., Any], wanted: set[str]) -> None:
    assert failures("section", Section("s", "S", draw)) == wanted
