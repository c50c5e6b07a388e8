"""Checks how soon variants solve their tasks: the log-rank statistic against another implementation, and its p on planted truth."""

from __future__ import annotations

import math
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from suite import Plot, Results, verdict
from suite.check.imagined import CURVE, fill
from suite.report import inference
from suite.report.solving import LEAST_SEEDS, seeds_needed
from suite.store import frame

from .drawing import elements_of, tables_of

Floats = NDArray[np.float64]
BUDGET = 500.0


@pytest.fixture(autouse=True)
def _quick_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "fsync", lambda _file: None)


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def test_the_seeds_that_could_tell() -> None:
    assert [seeds_needed(comparisons) for comparisons in (0, 1, 6, 7, 24)] == [LEAST_SEEDS, LEAST_SEEDS, 8, 9, 10]
    assert 2 / 2 ** seeds_needed(24) * 24 <= 0.05 < 2 / 2 ** (seeds_needed(24) - 1) * 24


# In a report


def imagined(runs: Path, steps: Callable[[str, int], float | None], **options: Any) -> Results:
    """Trials on one cell whose steps to solve are given by variant and seed; None for one that never did."""
    settings: dict[str, Any] = {"variants": ["lstm", "gru"], "tasks": ["adding"], "lengths": [10], **options}
    results = frame.read(fill(runs, **settings))
    values = [steps(variant, seed) for variant, seed in zip(results.trials["variant"], results.trials["seed"], strict=True)]
    known = [math.nan if value is None else float(value) for value in values]
    solved = [value is not None for value in values]
    return replace(results, trials=results.trials.assign(steps_to_solve=known, solved=solved))


def test_a_cell_is_judged_from_eight_seeds_on(tmp_path: Path) -> None:
    for seeds, finding, why in ((8, "sooner", ""), (7, "", "7 seeds of 8; 8 could tell")):
        results = imagined(tmp_path / str(seeds), lambda name, _: 10 if name == "gru" else None, seeds=seeds)
        lstm, gru = verdict.solving(results)
        assert (lstm.variant, lstm.finding, lstm.why) == ("lstm", "", "the baseline")
        assert (gru.finding, gru.why) == (finding, why)
        assert gru.exchanged == 2 / 2**seeds
        assert gru.log_rank == pytest.approx(inference.log_rank([10] * seeds, [True] * seeds, [30] * seeds, [False] * seeds))
        assert (lstm.rate.mean, gru.rate.mean, gru.rate.n) == (0, 1, seeds)
        assert gru.rate.low == pytest.approx(0.025 ** (1 / seeds))
        assert gru.survival is not None
        assert lstm.survival is not None
        assert (gru.survival.median, lstm.survival.median) == (10, math.inf)


def test_holm_counts_every_comparison_of_the_section(tmp_path: Path) -> None:
    results = imagined(
        tmp_path,
        lambda name, _: None if name == "lstm" else 10,
        seeds=8,
        lengths=[10, 20],
        variants=["lstm", "gru", "rnn", "attention", "residual"],
    )
    others = [row for row in verdict.solving(results) if row.variant != "lstm"]
    assert len(others) == 8
    assert {row.exchanged for row in others} == {8 * 2 / 2**8}
    assert {(row.finding, row.why) for row in others} == {("undecided", "9 seeds could tell")}


def test_one_that_diverged_never_solves_and_one_that_failed_has_no_say(tmp_path: Path) -> None:
    ways: dict[str, tuple[float | str | None, ...]] = {"lstm": (0.95, None), "gru": ("failed", 0.95)}
    results = frame.read(fill(tmp_path, lambda v, _t, _n, s: ways[v][s], variants=list(ways), tasks=["adding"], lengths=[10]))
    lstm, gru = verdict.solving(results)
    assert (lstm.rate.mean, lstm.rate.n, gru.rate.mean, gru.rate.n) == (0.5, 2, 1.0, 1)
    assert lstm.survival is not None
    assert lstm.survival.probability.tolist() == [1, 0.5, 0.5]
    assert lstm.survival.steps[-1] == CURVE[-1]
    assert gru.why == "1 seed of 8; 8 could tell"


def test_who_sees_the_future_is_shown_and_not_compared(tmp_path: Path) -> None:
    rows = verdict.solving(imagined(tmp_path, lambda *_: 10, variants=["lstm", "bilstm"]))
    assert [(row.variant, row.why, math.isnan(row.exchanged)) for row in rows] == [
        ("lstm", "the baseline", True),
        ("bilstm", "it sees the future of the sequence", True),
    ]


def test_a_cell_that_nobody_solved_enters_no_comparison(tmp_path: Path) -> None:
    results = imagined(tmp_path, lambda *_: None, seeds=8)
    assert [row.why for row in verdict.solving(results)] == ["the baseline", "nobody solved it"]
    assert not [element for element in elements_of("solving", results) if isinstance(element, Plot)]
    assert any("Nobody solved adding" in getattr(element, "text", "") for element in elements_of("solving", results))


def test_the_section_shows_counts_medians_and_what_is_missing(tmp_path: Path) -> None:
    results = imagined(tmp_path, lambda name, seed: 20 if name == "gru" and seed else None, seeds=5)
    (table,) = (table.frame for table in tables_of("solving", results))
    assert table["Solved"].tolist() == ["0 of 5 (0–52 %)", "4 of 5 (28–99 %)"]
    assert table["Median steps"].tolist() == ["> 30 (0 to > 30)", "20 (0 to > 30)"]
    assert table["Against lstm"].tolist() == ["– (the baseline)", "– (5 seeds of 8; 8 could tell)"]
