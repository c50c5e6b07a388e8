"""Checks cross-fitted choices and the tests by exchange: by hand, against other implementations, and on planted truth."""

from __future__ import annotations

import math

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import stats

from suite.report import exchange, inference
from suite.report.exchange import Solutions, fitted_log_rank, log_rank_statistic
from suite.report.stats import Interval

from .. import validate
from .test_inference import PLACEBO, RELAPSED, REMISSION

Floats = NDArray[np.float64]
BUDGET = 500.0


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


# Learning rates


def test_others_choose_the_rate() -> None:
    validation = np.array([[0.9, 0.1, 0.1], [0.2, 0.8, 0.3]])
    test = np.array([[0.7, 0.2, 0.3], [0.4, 0.5, 0.6]])
    chosen, scores = exchange.cross_fitted(validation, test)
    assert chosen.tolist() == [1, 0, 0]  # others' means: 0.1 and 0.55; 0.5 and 0.25; 0.5 and 0.5, of which the first
    assert scores.tolist() == [0.4, 0.2, 0.3]


def test_a_single_seed_chooses_for_itself_and_lost_trials_count_nothing() -> None:
    assert exchange.cross_fitted([[0.2], [0.6], [0.6]], [[1.0], [2.0], [3.0]])[1].tolist() == [2.0]
    chosen, scores = exchange.cross_fitted([[math.nan, math.nan], [0.1, 0.1]], [[0.0, 0.0], [0.5, math.nan]])
    assert chosen.tolist() == [1, 1]
    assert scores[0] == 0.5
    assert math.isnan(scores[1])
    thirds = np.array([[0.1, 0.2, 0.3], [0.3, 0.2, 0.1]])
    assert exchange.cross_fitted(thirds, thirds)[0][1] == 0  # 0.1 + 0.3 and 0.3 + 0.1
    for wrong in (np.zeros(3), np.zeros((0, 2)), np.zeros((2, 0))):
        with pytest.raises(ValueError, match="one shape"):
            exchange.cross_fitted(wrong, wrong)
    with pytest.raises(ValueError, match="one shape"):
        exchange.cross_fitted(np.zeros((2, 3)), np.zeros((3, 2)))


# Skill


def test_fitted_sign_flip_of_one_rate_is_sign_flip() -> None:
    for seeds in (3, 8):
        ours, theirs = rng().normal(0.5, 0.1, (2, 2, 1, seeds))  # (who, cell, rates, seeds)
        exchanged = exchange.fitted_sign_flip([(cell, cell) for cell in ours], [(cell, cell) for cell in theirs], rng(), 2**16)
        assert exchanged == pytest.approx(inference.sign_flip(list((ours - theirs)[:, 0]), rng()), abs=1e-12)


def test_fitted_sign_flip_chooses_anew_in_every_exchange() -> None:
    validation, test = rng().random((2, 2, 3, 4))  # (who, rates, seeds)
    statistics = []
    for flips in range(16):
        swap = np.array([flips >> seed & 1 for seed in range(4)], dtype=bool)
        ours, theirs = (
            exchange.cross_fitted(np.where(swap, validation[b], validation[a]), np.where(swap, test[b], test[a]))[1].mean()
            for a, b in ((0, 1), (1, 0))
        )
        statistics.append(abs(ours - theirs))
    by_hand = np.mean(np.array(statistics) >= statistics[0] - 1e-9)
    cells = [[(validation[who], test[who])] for who in (0, 1)]
    assert exchange.fitted_sign_flip(cells[0], cells[1], rng()) == by_hand
    assert exchange.fitted_sign_flip(cells[0] * 5, cells[1] * 5, rng(), 200) >= 1 / 201
    assert exchange.fitted_sign_flip(cells[0], cells[0], rng(), 8) == 1.0
    assert exchange.fitted_sign_flip([], [], rng()) == 1.0


def test_fitted_sign_flip_leaves_out_pairs_of_which_one_has_no_score() -> None:
    ours, theirs = rng().normal(0.5, 0.1, (2, 2, 1, 5))  # (who, cell, rates, seeds)
    holed = ours.copy()
    holed[0, 0, 1] = math.nan
    pairs = [np.delete(ours[0, 0] - theirs[0, 0], 1), ours[1, 0] - theirs[1, 0]]
    validation = np.ones((1, 5))
    exchanged = exchange.fitted_sign_flip([(validation, cell) for cell in holed], [(validation, cell) for cell in theirs], rng(), 2**16)
    assert exchanged == pytest.approx(inference.sign_flip(pairs, rng()), abs=1e-12)
    nothing = np.full((1, 5), math.nan)
    with_an_empty_cell = exchange.fitted_sign_flip([(validation, ours[0])], [(validation, theirs[0])], rng(), 2**16)
    both = [(validation, ours[0]), (validation, nothing)], [(validation, theirs[0]), (validation, theirs[1])]
    assert exchange.fitted_sign_flip(*both, rng(), 2**16) == pytest.approx(with_an_empty_cell, abs=1e-12)
    assert exchange.fitted_sign_flip([(validation, nothing)], [(validation, theirs[0])], rng()) == 1.0


def test_fitted_sign_flip_refuses_what_does_not_match() -> None:
    one, two = np.zeros((3, 2)), np.zeros((3, 3))
    for variant, baseline in ((one, two), (one, np.full((3, 2), math.inf))):
        with pytest.raises(ValueError, match=r"one shape|infinite"):
            exchange.fitted_sign_flip([(variant, variant)], [(baseline, baseline)], rng())
    with pytest.raises(ValueError, match="shorter"):
        exchange.fitted_sign_flip([(one, one)] * 2, [(one, one)], rng())


def test_chosen_rates_need_their_own_test() -> None:
    exchanged, signs = (
        validate.false_claims(validate.fitted(validate.learned_or_not, (0.5, 0.8, 0.7), 5, exchange=exchange), 800, rng(), 1)[1]
        for exchange in (True, False)
    )
    assert exchanged.high <= validate.CLAIMS
    assert signs.low > 0.07  # the fault that the exchange is there for


def test_the_choice_of_a_rate_flatters_nobody() -> None:
    def by_others(validation: NDArray[np.float64], test: NDArray[np.float64]) -> NDArray[np.float64]:
        return exchange.cross_fitted(validation, test)[1]

    fair: Interval = validate.selection_bias(by_others, 3, 1000, rng())
    naive: Interval = validate.selection_bias(validate.chosen_by_all, 3, 1000, rng())
    assert abs(fair.mean) <= 0.02
    assert naive.low > 0.03


# Steps until solved: the statistic


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


def one_rate(steps: list[float]) -> Solutions:
    """Trials at a single rate, unsolved at the budget."""
    own = np.array([steps])
    return Solutions(np.zeros_like(own), own, own < BUDGET)


def test_p_counts_the_exchanges_by_hand() -> None:
    soon, late = one_rate([100.0] * 6), one_rate([BUDGET] * 6)
    z, p = fitted_log_rank(soon, late, rng())
    assert z == pytest.approx(math.sqrt(11))
    assert p == 2 / 2**6
    z, p = fitted_log_rank(late, soon, rng())
    assert (z < 0, p) == (True, 2 / 2**6)
    assert fitted_log_rank(soon, soon, rng()) == (0.0, 1.0)
    assert fitted_log_rank(soon, late, rng(), draws=31)[1] >= 1 / 32


def test_log_rank_chooses_anew_in_every_exchange() -> None:
    validation, steps = rng(1).random((2, 3, 4)), 100.0 * rng(2).integers(1, 6, size=(2, 3, 4))
    solved = steps < BUDGET
    z = []
    for flips in range(16):
        swap = np.array([flips >> seed & 1 for seed in range(4)], dtype=bool)
        sides = []
        for a, b in ((0, 1), (1, 0)):
            rows, times = exchange.cross_fitted(np.where(swap, validation[b], validation[a]), np.where(swap, steps[b], steps[a]))
            sides.append((times[None], np.where(swap, solved[b], solved[a])[rows, range(4)][None]))
        z.append(abs(float(log_rank_statistic([side[0] for side in sides], [side[1] for side in sides])[0])))
    ours, theirs = (Solutions(validation[who], steps[who], solved[who]) for who in (0, 1))
    found = fitted_log_rank(ours, theirs, rng())
    assert abs(found[0]) == pytest.approx(z[0])
    assert found[1] == np.mean(np.array(z) >= z[0] - 1e-9)


def test_solutions_that_do_not_match_are_refused() -> None:
    for wrong in (one_rate([1.0, 2.0]), Solutions(np.zeros((0, 3)), np.zeros((0, 3)), np.zeros((0, 3)))):
        with pytest.raises(ValueError, match=r"one shape \(rates, seeds\)"):
            fitted_log_rank(one_rate([1.0, 2.0, 3.0]), wrong, rng())


def equals(draw: np.random.Generator, seeds: int) -> Solutions:
    """Trials at three rates that solve so often or not, sooner where they do better; the validation shows it."""
    ease = np.array([0.5, 0.8, 0.7])[:, None]
    steps: Floats = np.where(draw.random((3, seeds)) < ease, 50.0 * draw.integers(2, 10, size=(3, seeds)), BUDGET)
    return Solutions(1 - steps / BUDGET + 0.02 * draw.random((3, seeds)), steps, steps < BUDGET)


def test_equals_are_not_told_apart_by_their_steps() -> None:
    """Rejected at 5 % by exchange in no more than 5 % of 1,000 draws; the p as of many trials rejects more."""
    draw, exchanged, plain, seeds = rng(), 0, 0, 8
    for _ in range(1000):
        ours, theirs = equals(draw, seeds), equals(draw, seeds)
        exchanged += fitted_log_rank(ours, theirs, draw, 256)[1] <= 0.05
        sides = []
        for side in (ours, theirs):
            rows, steps = exchange.cross_fitted(side.validation, side.steps)
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
