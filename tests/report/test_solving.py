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
from scipy import stats

from suite import Plot, Results, verdict
from suite.check.imagined import CURVE, fill
from suite.report import inference
from suite.report.solving import LEAST_SEEDS, Steps, fitted_log_rank, log_rank_statistic, seeds_needed
from suite.store import frame

from .drawing import elements_of, tables_of
from .test_inference import PLACEBO, RELAPSED, REMISSION

Floats = NDArray[np.float64]
BUDGET = 500.0


@pytest.fixture(autouse=True)
def _quick_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "fsync", lambda _file: None)


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


# The statistic


def test_the_statistic_is_that_of_scipy() -> None:
    for seed in range(20):
        steps = [rng(seed).integers(1, 12, size=size).astype(float) for size in (7, 9)]
        solved = [rng(seed + 99).random(size) < 0.7 for size in (7, 9)]
        z = float(log_rank_statistic([own[None] for own in steps], [own[None] for own in solved])[0])
        sides = [stats.CensoredData(uncensored=own[done], right=own[~done]) for own, done in zip(steps, solved, strict=True)]
        assert z == pytest.approx(float(stats.logrank(*sides).statistic), abs=1e-9)


def test_the_statistic_of_a_textbooks_data() -> None:
    sides = [np.array([REMISSION], dtype=float), np.array([PLACEBO], dtype=float)]
    z = log_rank_statistic(sides, [np.array([RELAPSED]), np.ones((1, 21), dtype=bool)])
    assert z[0] ** 2 == pytest.approx(16.793, abs=0.001)
    assert z[0] < 0, "the first group relapses later"


def test_the_statistic_is_zero_where_the_data_cannot_tell() -> None:
    at = np.full((1, 3), 10.0)
    assert log_rank_statistic([at, at], [np.zeros((1, 3), dtype=bool)] * 2).tolist() == [0.0]
    assert log_rank_statistic([at, at], [np.ones((1, 3), dtype=bool)] * 2).tolist() == [0.0]


# Its p


def one_rate(steps: list[float]) -> Steps:
    """Trials at a single rate, unsolved at the budget."""
    own = np.array([steps])
    return Steps(np.zeros_like(own), own, own < BUDGET)


def test_p_counts_the_exchanges_by_hand() -> None:
    soon, late = one_rate([100.0] * 6), one_rate([BUDGET] * 6)
    z, p = fitted_log_rank(soon, late, rng())
    assert z == pytest.approx(math.sqrt(11))
    assert p == 2 / 2**6
    z, p = fitted_log_rank(late, soon, rng())
    assert (z < 0, p) == (True, 2 / 2**6)
    assert fitted_log_rank(soon, soon, rng()) == (0.0, 1.0)
    assert fitted_log_rank(soon, late, rng(), draws=31)[1] >= 1 / 32


def test_rates_are_chosen_anew_in_every_exchange() -> None:
    validation, steps = rng(1).random((2, 3, 4)), 100.0 * rng(2).integers(1, 6, size=(2, 3, 4))
    solved = steps < BUDGET
    z = []
    for flips in range(16):
        swap = np.array([flips >> seed & 1 for seed in range(4)], dtype=bool)
        sides = []
        for a, b in ((0, 1), (1, 0)):
            rows, times = inference.cross_fitted(np.where(swap, validation[b], validation[a]), np.where(swap, steps[b], steps[a]))
            sides.append((times[None], np.where(swap, solved[b], solved[a])[rows, range(4)][None]))
        z.append(abs(float(log_rank_statistic([side[0] for side in sides], [side[1] for side in sides])[0])))
    ours, theirs = (Steps(validation[who], steps[who], solved[who]) for who in (0, 1))
    found = fitted_log_rank(ours, theirs, rng())
    assert abs(found[0]) == pytest.approx(z[0])
    assert found[1] == np.mean(np.array(z) >= z[0] - 1e-9)


def test_what_does_not_match_is_refused() -> None:
    for wrong in (one_rate([1.0, 2.0]), Steps(np.zeros((0, 3)), np.zeros((0, 3)), np.zeros((0, 3)))):
        with pytest.raises(ValueError, match=r"one shape \(rates, seeds\)"):
            fitted_log_rank(one_rate([1.0, 2.0, 3.0]), wrong, rng())


def equals(draw: np.random.Generator, seeds: int) -> Steps:
    """Trials at three rates that solve so often or not, sooner where they do better; the validation shows it."""
    ease = np.array([0.5, 0.8, 0.7])[:, None]
    steps: Floats = np.where(draw.random((3, seeds)) < ease, 50.0 * draw.integers(2, 10, size=(3, seeds)), BUDGET)
    return Steps(1 - steps / BUDGET + 0.02 * draw.random((3, seeds)), steps, steps < BUDGET)


def test_equals_are_not_told_apart() -> None:
    """Rejected at 5 % by exchange in no more than 5 % of 1,000 draws; the p as of many trials rejects more."""
    draw, exchanged, plain, seeds = rng(), 0, 0, 8
    for _ in range(1000):
        ours, theirs = equals(draw, seeds), equals(draw, seeds)
        exchanged += fitted_log_rank(ours, theirs, draw, 256)[1] <= 0.05
        sides = []
        for side in (ours, theirs):
            rows, steps = inference.cross_fitted(side.validation, side.steps)
            sides += [steps, np.asarray(side.solved)[rows, range(seeds)]]
        plain += inference.log_rank(*sides) <= 0.05
    assert inference.solve_rate(exchanged, 1000).low <= 0.05
    assert inference.solve_rate(exchanged, 1000).high <= 0.07
    assert plain > 70, "the fault that the exchange is there for"


def test_a_variant_that_is_sooner_is_found() -> None:
    draw, found = rng(), 0
    for _ in range(100):
        soon, late = (one_rate(list(np.minimum(50 * draw.integers(low, low + 5, size=10), BUDGET))) for low in (2, 6))
        z, p = fitted_log_rank(soon, late, draw, 1024)
        found += z > 0 and p <= 0.05
    assert found >= 95


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
