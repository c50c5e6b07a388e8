"""Checks memory and gradient horizons on ladders worked out by hand, and their intervals on planted truth."""

from __future__ import annotations

import functools
import math
import os
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from suite import Prose, Results, verdict
from suite.check.imagined import fill
from suite.report import inference
from suite.report.horizon import MemoryHorizon, lag_over, memory_horizon
from suite.store import frame

from .drawing import elements_of, section_of, tables_of, write

LADDER = (20, 40, 80, 160)


@pytest.fixture(autouse=True)
def _quick_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "fsync", lambda _file: None)


def found(*solved: int, seeds: int = 10) -> MemoryHorizon:
    return memory_horizon({length: (count, seeds) for length, count in zip(LADDER, solved, strict=False)})


def ends(horizon: MemoryHorizon) -> tuple[str, str, str]:
    return horizon.text(horizon.estimate), horizon.text(horizon.low), horizon.text(horizon.high)


@pytest.mark.parametrize(
    ("solved", "wanted"),
    [
        ((10, 10, 10, 10), ("≥ 160", "≥ 160", "≥ 160")),
        ((0, 0, 0, 0), ("< 20", "< 20", "< 20")),
        ((10, 9, 5, 0), ("80", "40", "80")),  # 9 of 10 is sure, from .55; 5 of 10 is not
        ((10, 8, 2, 1), ("40", "20", "80")),  # 8 of 10 begins at .44, and 2 of 10 ends at .56
        ((10, 4, 10, 0), ("80", "20", "80")),  # the lower end stops at the first length that is not sure
        ((4, 4, 4, 4), ("< 20", "< 20", "≥ 160")),
    ],
)
def test_the_horizon_is_the_longest_length_that_half_of_the_seeds_solve(solved: tuple[int, ...], wanted: tuple[str, str, str]) -> None:
    assert ends(found(*solved)) == wanted


def test_half_of_the_seeds_is_enough_and_less_is_not() -> None:
    assert found(5, 0, 0, 0).estimate == 20
    assert found(4, 0, 0, 0).estimate is None


def test_of_fewer_than_six_seeds_no_length_is_sure() -> None:
    for seeds in (1, 3, 5):
        assert ends(found(seeds, seeds, 0, 0, seeds=seeds)) == ("40", "< 20", "≥ 160")
    assert ends(found(6, 6, 0, 0, seeds=6)) == ("40", "40", "40")


def test_lengths_may_come_in_any_order_and_some_without_seeds() -> None:
    horizon = memory_horizon({40: (0, 10), 20: (10, 10), 80: (0, 0)})
    assert (horizon.ladder, horizon.solved, horizon.seeds) == ((20, 40), (10, 0), (10, 10))
    assert ends(horizon) == ("20", "20", "20")
    with pytest.raises(ValueError, match="at least one length with at least one seed"):
        memory_horizon({20: (0, 0)})


@pytest.mark.parametrize("seeds", [5, 8, 10, 20])
@pytest.mark.parametrize(
    "p", [(0.95, 0.8, 0.55, 0.1), (0.99, 0.5, 0.45, 0.0), (0.9, 0.3, 0.6, 0.4), (0.45, 0.4, 0.3, 0.2), (1.0, 1.0, 0.9, 0.5)]
)
def test_the_interval_holds_the_true_horizon(p: tuple[float, ...], seeds: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Over 2,000 plans, whether or not the probabilities fall with the length."""
    monkeypatch.setattr(inference, "solve_rate", functools.cache(inference.solve_rate))
    rng = np.random.default_rng(0)
    truth = max((length for length, own in zip(LADDER, p, strict=True) if own >= 0.5), default=0)
    drawn: NDArray[np.int64] = rng.binomial(seeds, p, size=(2000, len(p)))
    kinds, times = np.unique(drawn, axis=0, return_counts=True)
    horizons = [found(*map(int, solved), seeds=seeds) for solved in kinds]
    held = sum(int(count) for horizon, count in zip(horizons, times, strict=True) if (horizon.low or 0) <= truth <= (horizon.high or 0))
    assert held / 2000 >= 0.95 - 3 * math.sqrt(0.05 * 0.95 / 2000)


def test_a_lag_over_seeds_is_marked_where_it_may_lie_beyond() -> None:
    assert lag_over([3, 5, 9], 19).text() == "5 (3 to 9)"
    assert lag_over([3, 19, 19], 19).text() == "≥ 19 (3 to ≥ 19)"
    assert lag_over([19, 19], 19).text() == "≥ 19"
    assert lag_over([4, 6], 19).text() == "4 (4 to 6)"
    assert lag_over([math.nan, 4], 19).text() == "4"
    assert lag_over([], 19).text() == "–"


# In a report


def ladder(runs: Path, lengths: tuple[int, ...] = (10, 20, 40)) -> Results:
    """lstm solves 10 and 20, gru 10 in half of its seeds, and nobody 40; one seed of lstm fails there, and one diverges."""

    def skill(variant: str, _task: str, length: int, seed: int) -> float | str | None:
        if length == 40:
            return "failed" if variant == "lstm" and seed == 0 else None if seed == 1 else 0.2
        return 0.95 if variant == "lstm" or (length == 10 and seed % 2 == 0) else 0.3

    return frame.read(fill(runs, skill, variants=["lstm", "gru"], tasks=["adding"], lengths=lengths, seeds=8))


def test_horizons_are_of_the_trials_that_count(tmp_path: Path) -> None:
    horizons = verdict.memory_horizons(ladder(tmp_path))
    assert horizons["adding", "lstm"] == MemoryHorizon((10, 20, 40), (8, 8, 0), (8, 8, 7), 20, 20, 20)
    assert horizons["adding", "gru"] == MemoryHorizon((10, 20, 40), (4, 0, 0), (8, 8, 8), 10, None, 10)


def test_the_section_shows_them_and_names_what_nobody_solved(tmp_path: Path) -> None:
    results = ladder(tmp_path)
    (table,) = (table.frame for table in tables_of("long_range", results) if "Memory horizon" in table.caption)
    assert table.to_dict("records") == [
        {"Variant": "lstm", "adding": "20 (20 to 20); 10: 8 of 8, 20: 8 of 8, 40: 0 of 7"},
        {"Variant": "gru", "adding": "10 (< 10 to 10); 10: 4 of 8, 20: 0 of 8, 40: 0 of 8"},
    ]
    (said,) = (element.text for element in elements_of("long_range", results) if isinstance(element, Prose))
    assert said.startswith("Nobody solved adding, T\u00a0=\u00a040: ")


# Gradients


def with_gradients(runs: Path) -> Results:
    """Gradients that fall by a half a step at first, and do not fall after training."""
    return frame.read(fill(runs, variants=["lstm", "gru"], tasks=["adding"], lengths=[10], seeds=3, gradients=lambda lag: (2.0, 0.5**lag)))


def test_gradients_are_shares_of_that_at_lag_0(tmp_path: Path) -> None:
    results = with_gradients(tmp_path)
    shares = verdict.over_seeds(verdict.gradients(results, "gradient_at_start"))
    assert set(shares["variant"]) == {"lstm", "gru"}
    assert shares["mean"].to_numpy() == pytest.approx(0.5 ** shares["x"].to_numpy())
    assert (shares["low"] == shares["high"]).all()
    assert verdict.over_seeds(verdict.gradients(results, "gradient"))["mean"].to_numpy() == pytest.approx(1.0)
    (lstm, gru) = verdict.gradient_horizons(results)
    assert (lstm.variant, lstm.task, lstm.length, gru.variant) == ("lstm", "adding", 10, "gru")
    assert (lstm.start.text(), lstm.trained.text()) == ("6", "≥ 9")


def test_the_section_shows_gradients_where_they_were_asked(tmp_path: Path) -> None:
    (table,) = (table.frame for table in tables_of("long_range", with_gradients(tmp_path / "a")) if "Gradient horizon" in table.caption)
    assert table.to_dict("records") == [{"Variant": name, "adding, T\u00a0=\u00a010": "6 → ≥ 9"} for name in ("lstm", "gru")]
    store = fill(tmp_path / "b", variants=["lstm"], tasks=["adding"], lengths=[10])
    assert verdict.gradient_horizons(frame.read(store)) == []
    assert "Gradient horizon" not in section_of(write(store), "long_range")
