"""Checks tests and estimates of paired differences against scipy, statsmodels' definitions by hand, and planted truth."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import stats as oracle

from suite.measures.scores import chosen_by_others
from suite.report import paired

Draw = Callable[[np.random.Generator, int], NDArray[np.float64]]

NORMAL: Draw = lambda rng, count: rng.normal(0.5, 0.1, count)  # noqa: E731
BIMODAL: Draw = lambda rng, count: np.where(rng.random(count) < 0.8, rng.normal(0.97, 0.01, count), rng.normal(0.05, 0.02, count))  # noqa: E731


def rng() -> np.random.Generator:
    return np.random.default_rng(0)


@pytest.mark.parametrize("seed", range(5))
def test_one_cell_is_scipys_exact_test(seed: int) -> None:
    values = np.random.default_rng(seed).normal(0.3, 1, size=9)
    wanted = oracle.permutation_test((values,), np.mean, permutation_type="samples", n_resamples=np.inf).pvalue
    assert paired.sign_flip([values], rng()) == pytest.approx(wanted, abs=1e-12)


def test_cells_weigh_the_same_whatever_their_size() -> None:
    cells = [[1.0, 2.0], [0.5, -0.5, 0.5, 0.5]]
    flipped = [
        abs(np.mean([np.mean(signs[:2] * np.array(cells[0])), np.mean(signs[2:] * np.array(cells[1]))]))
        for signs in map(np.array, itertools.product((1, -1), repeat=6))
    ]
    assert paired.sign_flip(cells, rng()) == pytest.approx(np.mean(np.array(flipped) >= flipped[0] - 1e-12))


def test_drawn_flips_come_near_to_all_of_them() -> None:
    values = np.random.default_rng(1).normal(0.5, 1, size=12)
    exact, drawn = paired.sign_flip([values], rng()), paired.sign_flip([values], rng(), draws=4000)
    assert exact < 0.2
    assert drawn == pytest.approx(exact, abs=0.02)


@pytest.mark.parametrize(("values", "p"), [([0.0] * 6, 1.0), ([0.1] * 6, 2 / 64), ([0.3], 1.0), ([0.1 + 1e-17, 0.1, 0.1], 2 / 8)])
def test_ties_and_few_pairs(values: list[float], p: float) -> None:
    assert paired.sign_flip([values], rng()) == pytest.approx(p)


@pytest.mark.parametrize("cells", [[], [[]], [[0.1], []], [[math.nan]]])
def test_what_is_no_pair_is_refused(cells: list[list[float]]) -> None:
    with pytest.raises(ValueError, match="every cell takes one finite difference or more"):
        paired.sign_flip(cells, rng())


def test_the_interval_holds_what_the_test_does_not_refute() -> None:
    values = np.random.default_rng(2).normal(0.2, 0.1, size=10)
    mean, low, high, count = paired.effect([values], rng())
    assert mean == pytest.approx(values.mean())
    assert count == 10
    for theta, refuted in ((low + 1e-4, False), (low - 1e-3, True), (high - 1e-4, False), (high + 1e-3, True)):
        assert (paired.sign_flip([values - theta], rng()) <= 0.05) == refuted
    student = oracle.t.interval(0.95, 9, values.mean(), oracle.sem(values))
    assert (low, high) == pytest.approx(student, abs=0.02)


def test_few_pairs_refute_nothing() -> None:
    assert paired.effect([[0.1, 0.1, 0.1], [0.2, 0.1]], rng())[1:3] == (-1.0, 1.0)


def test_holm_is_the_step_down() -> None:
    assert paired.holm({"a": 0.01, "b": 0.04, "c": 0.03, "d": 0.005}) == pytest.approx({"d": 0.02, "a": 0.03, "c": 0.06, "b": 0.06})
    assert paired.holm({"a": 0.6, "b": 0.7}) == {"a": 1.0, "b": 1.0}
    assert paired.holm({}) == {}


def test_a_finding_needs_a_small_p_and_a_difference() -> None:
    assert [paired.finding(p, d) for p, d in ((0.01, 0.1), (0.01, -0.1), (0.05, 0.1), (0.01, 0.0))] == [
        "better",
        "worse",
        "undecided",
        "undecided",
    ]


def wrong(draw: Draw, equals: int, seeds: int, cells: int, draws: int) -> float:
    """In what part of such reports any of so many variants that equal the baseline is called better or worse."""
    source, count = np.random.default_rng(3), 0
    for _ in range(draws):
        base = [draw(source, seeds) for _ in range(cells)]
        p = {each: paired.sign_flip([draw(source, seeds) - own for own in base], source, draws=2000) for each in range(equals)}
        count += any(paired.finding(value, 1.0) != "undecided" for value in paired.holm(p).values())
    return count / draws


@pytest.mark.parametrize("draw", [NORMAL, BIMODAL], ids=["normal", "solved or not"])
@pytest.mark.parametrize(("equals", "seeds"), [(2, 5), (6, 3)])
def test_equal_variants_are_seldom_called_different(draw: Draw, equals: int, seeds: int) -> None:
    assert wrong(draw, equals, seeds, cells=4, draws=150) <= 0.10  # 5 % in truth; `make validate` draws enough to tell


def found(effect: float, counts: list[int], comparisons: int, draws: int = 150) -> float:
    """How often a true difference of so many standard deviations is found."""
    source = np.random.default_rng(4)
    return float(
        np.mean(
            [
                paired.sign_flip([source.normal(effect, 1, count) for count in counts], source, draws=4000) < 0.05 / comparisons
                for _ in range(draws)
            ]
        )
    )


@pytest.mark.parametrize(("counts", "comparisons"), [([10], 1), ([5] * 4, 12), ([10] * 4, 12)])
def test_the_smallest_effect_is_found_four_times_of_five(counts: list[int], comparisons: int) -> None:
    smallest = paired.smallest_effect(counts, 1.0, comparisons)
    assert 0.68 <= found(smallest, counts, comparisons) <= 0.92


def test_too_few_pairs_find_nothing_and_more_seeds_find_less() -> None:
    assert paired.smallest_effect([3], 1.0, 1) == math.inf
    assert paired.smallest_effect([3, 3, 3, 3], 1.0, 12) < math.inf
    assert paired.smallest_effect([1] * 4, 1.0, 1) == math.inf
    sizes = [paired.smallest_effect([seeds] * 4, 1.0, 6) for seeds in (3, 5, 10, 20)]
    assert sizes == sorted(sizes, reverse=True)


def test_seeds_needed_are_those_that_would_do() -> None:
    seeds = paired.seeds_needed(0.5, 1.0, cells=4, comparisons=6)
    assert seeds is not None
    assert paired.smallest_effect([seeds] * 4, 1.0, 6) <= 0.5 < paired.smallest_effect([seeds - 1] * 4, 1.0, 6)
    assert paired.seeds_needed(0.0, 1.0, 4, 6) is None
    assert paired.seeds_needed(1e-6, 1.0, 4, 6) is None


def test_a_choice_by_others_does_not_flatter() -> None:
    """Three equal rates, three seeds, and validation and test that rest on the same weights."""
    source, others, own = np.random.default_rng(5), [], []
    for _ in range(2000):
        luck = source.random((3, 3)) < 0.5  # whether a trial solved, which both streams show
        rates = chosen_by_others(luck)
        others.append(np.mean([luck[rate, seed] for seed, rate in enumerate(rates)]))
        own.append(luck[luck.mean(axis=1).argmax()].mean())
    assert abs(np.mean(others) - 0.5) <= 0.02
    assert np.mean(own) > 0.6


def test_a_choice_by_others_takes_the_first_of_equals_and_what_is_there() -> None:
    assert chosen_by_others([[0.5, 0.5], [0.5, 0.5]]) == [0, 0]
    assert chosen_by_others([[0.1], [0.9]]) == [1]
    assert chosen_by_others([[0.9, 0.0, 0.0], [0.1, 0.5, 0.5]]) == [1, 0, 0]
    assert chosen_by_others([[math.nan, 0.2, 0.2], [0.3, 0.1, 0.1]]) == [0, 0, 0]  # by 0.2 alone, over the mean of 0.3 and 0.1
