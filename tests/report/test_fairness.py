"""Checks what a report says of how alike the variants were."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path

import pytest

from suite import Prose, verdict
from suite.check.imagined import MISSING, even, fill
from suite.ops.engines import REFERENCE, VENDOR
from suite.plan import fairness as fair
from suite.store import frame
from suite.store.store import Store

from .drawing import TIMES, elements_of, tables_of


@pytest.fixture(autouse=True)
def _quick_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "fsync", lambda _file: None)


def test_a_variant_is_compared_with_what_the_baseline_was_given(tmp_path: Path) -> None:
    lstm, gru, bilstm = verdict.fairness(frame.read(fill(tmp_path, times=TIMES)))
    assert lstm.unequal == ()
    assert [aspect.text() for aspect in gru.unequal] == [
        "parameters (× 1.10; lstm × 1.00)",
        "state size (32; lstm 64)",
        f"timed on ({REFERENCE.name}; lstm {VENDOR.name}, {REFERENCE.name})",
    ]
    assert [aspect.name for aspect in bilstm.unequal] == [fair.STATE, fair.TIMED_ON, fair.CAUSALITY]


def test_the_table_marks_what_was_not_equal(tmp_path: Path) -> None:
    (table,) = tables_of("fairness", frame.read(fill(tmp_path, variants=["lstm", "gru", "attention"])))
    rows = {row["Variant"]: row for row in table.frame.to_dict("records")}
    assert rows["lstm"]["Data"] == "the same streams"
    assert rows["gru"] == {
        "Variant": "gru",
        "Data": "=",
        "Steps × batch": "=",
        "Learning rates": "=",
        "Parameters": "× 1.10 ⚑",
        "State size": "32 ⚑",
        "Initial memory": "=",
        "Trained on": "=",
        "Causality": "=",
    }
    assert rows["attention"]["State size"] == "384–704 ⚑"
    assert "⚑ is not" in table.caption


def test_trials_that_are_missing_are_data_that_was_not_the_same(tmp_path: Path) -> None:
    store = fill(tmp_path, lambda v, t, n, s: MISSING if v == "gru" and s else even(v, t, n, s), variants=["lstm", "gru"])
    _, gru = verdict.fairness(frame.read(store))
    assert [aspect.own for aspect in gru.unequal if aspect.name == fair.DATA] == ["4 of 8 streams"]


def test_what_an_older_store_does_not_say_is_not_known_until_the_plan_is_entered_again(tmp_path: Path) -> None:
    store = fill(tmp_path, variants=["lstm", "gru"])
    ledger = store.ledger()
    assert ledger is not None
    bare = {cell: replace(entry, state_size=0, initial_memory="") for cell, entry in ledger.cells.items()}
    store.keep(replace(ledger, cells=bare))
    for file in (store.folder / "trials").iterdir():
        plain = {name: value for name, value in json.loads(file.read_text()).items() if name not in {"form", "kind", "sha256"}}
        plain["trial"]["state_size"] = 0
        file.write_text(json.dumps(plain))  # as files were before they had a seal
    _, gru = verdict.fairness(frame.read(Store(tmp_path, "synthetic")))
    assert [aspect.name for aspect in gru.unknown] == [fair.STATE, fair.MEMORY]
    store.keep(ledger)
    _, gru = verdict.fairness(frame.read(Store(tmp_path, "synthetic")))
    assert gru.unknown == ()


@pytest.mark.parametrize(
    ("variants", "told"),
    [
        (["gru"], "Nothing is compared: lstm was not trained."),
        (["lstm"], "Nothing is compared: no other variant was trained."),
    ],
)
def test_a_report_that_compares_nobody_says_so(variants: list[str], told: str, tmp_path: Path) -> None:
    assert elements_of("fairness", frame.read(fill(tmp_path, variants=variants))) == [Prose(told)]


def test_states_stand_in_the_scoreboard(tmp_path: Path) -> None:
    (board, *_) = tables_of("scoreboard", frame.read(fill(tmp_path, variants=["lstm", "attention", "bilstm"])))
    assert dict(zip(board.frame["Variant"], board.frame["State"], strict=True)) == {
        "lstm": "64",
        "attention": "384–704",
        "bilstm †": "128, whole sequence",
    }
