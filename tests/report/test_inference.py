"""Checks the statistics of the report on small numbers worked out by hand, on other implementations, and on planted truth."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
from scipy import stats
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.proportion import proportion_confint

from suite.report import inference

from .. import validate

REMISSION = [6, 6, 6, 7, 10, 13, 16, 22, 23, 6, 9, 10, 11, 17, 19, 20, 25, 32, 32, 34, 35]
RELAPSED = [True] * 9 + [False] * 12
PLACEBO = [1, 1, 2, 2, 3, 4, 4, 5, 5, 8, 8, 8, 8, 11, 11, 12, 12, 15, 17, 22, 23]
"""Weeks of remission under 6-mercaptopurine and under placebo (Freireich et al. 1963), of which textbooks print curve and test."""


def rng() -> np.random.Generator:
    return np.random.default_rng(0)


# Tests


def test_sign_flip_counts_the_signs_by_hand() -> None:
    assert inference.sign_flip([[1.0, 2.0, 3.0]], rng()) == 2 / 8
    assert inference.sign_flip([[1.0, 2.0, -3.0]], rng()) == 1.0  # a mean of zero, and nothing lies nearer
    assert inference.sign_flip([[-1.0, 2.0, 3.0]], rng()) == 4 / 8  # sums of 4 and 6, of either sign
    assert inference.sign_flip([[0.5], [0.5]], rng()) == 2 / 4
    assert inference.sign_flip([[0.1] * 4, [0.2] * 6], rng()) == 2 / 2**10


def test_sign_flip_gives_every_cell_the_same_weight() -> None:
    assert inference.sign_flip([[1.0], [-1.0, -1.0, -1.0]], rng()) == 1.0  # the cells' means cancel; of one cell it would be 10 / 16
    assert inference.sign_flip([[1.0, 1.0, 1.0, -1.0]], rng()) == 10 / 16


def test_sign_flip_without_a_difference_finds_none() -> None:
    assert inference.sign_flip([], rng()) == 1.0
    assert inference.sign_flip([[]], rng()) == 1.0
    assert inference.sign_flip([[0.0] * 5, [0.0] * 3], rng()) == 1.0
    assert inference.sign_flip([[1e-16] * 8], rng()) == 1.0  # rounding
    assert inference.sign_flip([[0.3, 0.0, 0.0, 0.0, 0.1, 0.2]], rng()) == inference.sign_flip([[0.1, 0.2, 0.3]], rng())


def test_sign_flip_takes_ties_for_ties() -> None:
    third = [1 / 3, 1 / 3, 1 / 3, 0.1 + 0.2, 0.3]
    assert inference.sign_flip([third], rng()) == 2 / 32
    assert inference.sign_flip([[0.3, -0.1, -0.2]], rng()) == 1.0  # 0.3 - 0.1 - 0.2 is 2.8e-17 in floating point
    assert inference.sign_flip([[0.1 + 0.2, 0.3, -0.3]], rng()) == 1.0
    assert inference.sign_flip([[0.1, 0.2, -0.3, 1e-13]], rng()) == 1.0


def test_sign_flip_refuses_what_is_not_a_number() -> None:
    with pytest.raises(ValueError, match="not finite"):
        inference.sign_flip([[0.1, math.nan]], rng())
    with pytest.raises(ValueError, match="not finite"):
        inference.effect([[0.1, math.inf]], rng())


@pytest.mark.parametrize("pairs", [3, 6, 10])
def test_sign_flip_is_scipys_permutation_test(pairs: int) -> None:
    for _ in range(5):
        x, y = np.random.default_rng(pairs).normal(0.2, 1, (2, pairs))
        other = stats.permutation_test((x, y), lambda a, b: np.mean(a - b), permutation_type="samples", n_resamples=np.inf)
        assert inference.sign_flip([x - y], rng()) == pytest.approx(float(other.pvalue), abs=1e-12)


def test_sign_flip_draws_what_it_does_not_enumerate() -> None:
    differences = [rng().normal(0.3, 1, 6), rng().normal(0.2, 1, 8)]
    exact = inference.sign_flip(differences, rng())
    drawn = inference.sign_flip(differences, rng(), draws=16_000)
    assert exact == pytest.approx(drawn, abs=3 * math.sqrt(exact / 16_000))
    assert inference.sign_flip([[1.0] * 30], rng(), draws=999) == 1 / 1000
    many = inference.sign_flip([[0.01] * 600] * 2, rng(), draws=99)
    assert many == 1 / 100


def test_holm_steps_down() -> None:
    assert inference.holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert inference.holm([0.9, 0.8]) == [1.0, 1.0]
    assert inference.holm({"gru": 0.02, "rnn": 0.5}) == {"gru": 0.04, "rnn": 0.5}
    assert inference.holm([]) == []
    assert inference.holm({}) == {}
    for wrong in (math.nan, -0.1, 1.1):
        with pytest.raises(ValueError, match="lie in"):
            inference.holm([0.5, wrong])


def test_holm_is_that_of_statsmodels() -> None:
    for size in (1, 2, 7, 20):
        p = rng().random(size).round(2)  # with ties
        assert inference.holm(list(p)) == pytest.approx(multipletests(p, method="holm")[1], abs=1e-12)


def test_verdict_needs_a_small_p_and_a_direction() -> None:
    assert inference.verdict(0.01, 0.1) == "better"
    assert inference.verdict(0.05, -0.1) == "worse"
    assert inference.verdict(0.051, 0.9) == "undecided"
    assert inference.verdict(0.02, 0.1, level=0.01) == "undecided"
    assert inference.verdict(0.0, 0.0) == "undecided"
    assert inference.verdict(1.0, math.nan) == "undecided"
    for p, effect in ((math.nan, 0.1), (0.01, math.nan)):
        with pytest.raises(ValueError, match="nothing can be said"):
            inference.verdict(p, effect)


# Intervals


@pytest.mark.parametrize(("solved", "trials"), [(0, 3), (5, 5), (4, 5), (9, 10), (17, 20)])
def test_of_counts_every_interval_is_clopper_and_pearsons(solved: int, trials: int) -> None:
    low, high = proportion_confint(solved, trials, method="beta")
    assert inference.solve_rate(solved, trials) == pytest.approx((solved / trials, low, high, trials), abs=1e-12)
    values = [1.0] * solved + [0.0] * (trials - solved)
    assert inference.skill_interval(values, rng(), 200_000) == pytest.approx((solved / trials, low, high, trials), abs=0.005)
    halves = [values, values]  # two cells of one size are one sample
    low, high = proportion_confint(2 * solved, 2 * trials, method="beta")
    assert inference.pooled_skill(halves, rng(), 200_000) == pytest.approx((solved / trials, low, high, 2 * trials), abs=0.005)


def test_solve_rate_refuses_impossible_counts() -> None:
    assert inference.solve_rate(0, 0).n == 0
    for solved, trials in ((3, 2), (-1, 2)):
        with pytest.raises(ValueError, match="cannot have solved"):
            inference.solve_rate(solved, trials)


def test_wilsons_interval_would_not_hold() -> None:
    low, high = proportion_confint(np.arange(11), 10, method="wilson")
    held = stats.binom.pmf(np.arange(11), 10, 0.95)[(low <= 0.95) & (high >= 0.95)].sum()
    assert held == pytest.approx(0.914, abs=0.001)


def test_an_effect_of_one_pair_is_worked_out_by_hand() -> None:
    # the value and one unseen share the weight evenly: -1 + 1.4 U for the lower end, 1 - 0.6 U for the upper
    assert inference.effect([[0.4]], rng(), 200_000) == pytest.approx((0.4, -1 + 1.4 * 0.025, 1 - 0.6 * 0.025, 1), abs=0.005)
    assert inference.skill_interval([0.4], rng(), 200_000) == pytest.approx((0.4, 0.4 * 0.025, 1 - 0.6 * 0.025, 1), abs=0.005)


def test_an_interval_depends_on_no_order_and_keeps_its_bounds() -> None:
    values = [0.3, -0.2, 0.9, 0.1]
    assert inference.effect([values], rng()) == inference.effect([values[::-1], []], rng())
    bounds = inference.effect([[1.0] * 20, [1.0] * 3], rng())
    assert bounds.high == 1.0
    assert -1 <= bounds.low < bounds.mean == pytest.approx(1.0)
    assert inference.effect([[0.1, 0.3], [0.6]], rng()).mean == pytest.approx(0.4)
    assert inference.effect([], rng()).n == 0
    assert math.isnan(inference.skill_interval([], rng()).low)
    with pytest.raises(ValueError, match="must lie in"):
        inference.effect([[1.1]], rng())
    with pytest.raises(ValueError, match="must lie in"):
        inference.skill_interval([-0.1], rng())


def test_an_interval_narrows_with_seeds() -> None:
    widths = [bounds.high - bounds.low for seeds in (3, 5, 10, 20) if (bounds := inference.effect([[0.1, 0.2, 0.3] * seeds], rng()))]
    assert widths == sorted(widths, reverse=True)


# Steps


def by_hand(steps: list[float], solved: list[bool]) -> list[tuple[float, float, float, float]]:
    """Kaplan and Meier's product with its log-log interval, one step at a time."""
    rows, probability, spread = [], 1.0, 0.0
    for step in sorted(set(steps)):
        at_risk = sum(other >= step for other in steps)
        events = sum(other == step and done for other, done in zip(steps, solved, strict=True))
        probability *= 1 - events / at_risk
        spread += events / (at_risk * (at_risk - events)) if at_risk > events else math.inf
        if 0 < probability < 1:
            half = 1.959964 * math.sqrt(spread) / abs(math.log(probability))
            low, high = (probability ** math.exp(sign * half) for sign in (1, -1))
            rows.append((step, probability, low, high))
    return rows


def test_survival_is_worked_out_by_hand() -> None:
    steps, solved = [100.0, 200.0, 200.0, 300.0, 400.0], [True, True, False, True, False]
    curve = inference.survival(steps, solved)
    assert curve.steps.tolist() == [0, 100, 200, 300, 400]
    assert curve.probability == pytest.approx([1, 0.8, 0.6, 0.3, 0.3])
    assert (curve.low[0], curve.high[0]) == pytest.approx((1 - inference.solve_rate(0, 5).high, 1))
    rows = by_hand(steps, solved)
    assert np.column_stack([curve.steps, curve.probability, curve.low, curve.high])[1:] == pytest.approx(np.array(rows), abs=1e-6)
    assert curve.median == 300
    assert (curve.median_low, curve.median_high) == (0, math.inf)


def test_survival_of_a_textbooks_data() -> None:
    curve = inference.survival(REMISSION, RELAPSED)
    printed = {6: 0.857, 7: 0.807, 10: 0.753, 13: 0.690, 16: 0.627, 22: 0.538, 23: 0.448}
    assert {int(step): round(float(p), 3) for step, p in zip(curve.steps, curve.probability, strict=True) if step in printed} == printed
    rows = {step: (low, high) for step, _, low, high in by_hand([float(step) for step in REMISSION], RELAPSED)}
    for step, low, high in zip(curve.steps[1:], curve.low[1:], curve.high[1:], strict=True):
        assert (low, high) == pytest.approx(rows[float(step)], abs=1e-6)
    assert (curve.median, curve.median_low, curve.median_high) == (23, 13, math.inf)


def test_survival_where_all_or_none_solved() -> None:
    every = inference.survival([10, 20, 30, 40], [True] * 4)
    assert (every.median, every.probability[-1], every.low[-1]) == (20, 0, 0)
    assert every.high[-1] == pytest.approx(1 - inference.solve_rate(4, 4).low)
    none = inference.survival([50] * 10, [False] * 10)
    assert (none.median, none.median_low, none.median_high) == (math.inf,) * 3
    assert none.low[-1] == pytest.approx(0.692, abs=0.001)
    at_once = inference.survival([50, 50, 50], [True] * 3)
    assert at_once.probability.tolist() == [1, 0]


def test_steps_that_mean_nothing_are_refused() -> None:
    for steps, solved in (([], []), ([1.0], [True, False]), ([math.nan], [False]), ([0.0], [True]), ([math.inf], [False])):
        with pytest.raises(ValueError, match=r"must be"):
            inference.survival(steps, solved)


def test_log_rank_of_a_textbooks_data() -> None:
    p = inference.log_rank(REMISSION, RELAPSED, PLACEBO, [True] * 21)
    assert p == pytest.approx(float(stats.chi2.sf(16.793, 1)), rel=1e-3)


def test_log_rank_is_one_where_data_cannot_tell() -> None:
    assert inference.log_rank([10, 10], [False] * 2, [10, 10], [False] * 2) == 1.0
    assert inference.log_rank([10, 10], [True] * 2, [10, 10], [True] * 2) == 1.0
    assert inference.log_rank([10], [False], [20], [True]) == 1.0


# Power


def test_too_few_pairs_find_nothing() -> None:
    for pairs, comparisons in (([], 1), ([5], 1), ([6], 2), ([4, 4], 7)):
        assert inference.smallest_effect(pairs, 0.1, comparisons, rng()) == math.inf
    assert inference.smallest_effect([6], 0.0, 1, rng()) == 0.0


def test_six_pairs_find_what_all_of_them_show() -> None:
    # the least p, 2 / 64, is the only one below 5 %: all six must have one sign, with probability Φ(δ)⁶
    assert inference.smallest_effect([6], 1.0, 1, rng()) == pytest.approx(float(stats.norm.ppf(0.8 ** (1 / 6))), rel=0.03)


@pytest.mark.parametrize(("sizes", "comparisons"), [([16, 16], 1), ([16, 16], 7), ([3] * 12, 2), ([10, 20, 20], 1)])
def test_students_t_is_near_enough_to_simulation_where_it_stands_in(sizes: list[int], comparisons: int) -> None:
    approximated = inference.smallest_effect(sizes, 1.0, comparisons, rng())
    simulated = inference._simulated(inference._weights(sizes), 0.05 / comparisons, 0.8, rng())
    assert approximated == pytest.approx(simulated, rel=0.06)


def test_smallest_effect_grows_with_the_spread_and_falls_with_pairs() -> None:
    effects = [inference.smallest_effect([seeds] * 4, 1.0, 3, rng()) for seeds in (3, 5, 10, 20)]
    assert effects == sorted(effects, reverse=True)
    assert inference.smallest_effect([3] * 4, 0.2, 3, rng()) == pytest.approx(0.2 * effects[0])
    assert inference.smallest_effect([3, 0, 3, 3, 3], 1.0, 3, rng()) == effects[0]


def test_seeds_needed_is_the_inverse() -> None:
    def smallest(spread: float, cells: int, comparisons: int) -> Callable[[int], float]:
        return lambda seeds: inference.smallest_effect([seeds] * cells, spread, comparisons, rng())

    needed = inference.seeds_needed(-0.1, smallest(0.2, 4, 7))
    assert needed is not None
    assert smallest(0.2, 4, 7)(needed) <= 0.1 < smallest(0.2, 4, 7)(needed - 1)
    assert inference.seeds_needed(0.5, smallest(0.01, 1, 1)) == 6
    assert inference.seeds_needed(0.001, smallest(1.0, 1, 1)) is None
    assert inference.seeds_needed(0.0, smallest(0.0, 1, 1)) is None


def test_plans_that_mean_nothing_are_refused() -> None:
    wrong: list[Callable[[], object]] = [
        lambda: inference.smallest_effect([5], -1.0, 1, rng()),
        lambda: inference.smallest_effect([5], math.nan, 1, rng()),
        lambda: inference.smallest_effect([5], 1.0, 0, rng()),
        lambda: inference.smallest_effect([5], 1.0, 1, rng(), power=1.0),
        lambda: inference.seeds_needed(math.nan, lambda _: 0.0),
    ]
    for call in wrong:
        with pytest.raises(ValueError, match=r"must be"):
            call()


# Planted truth; tests/validate.py has the whole of it


@pytest.mark.parametrize("seeds", [3, 5])
@pytest.mark.parametrize("kind", ["normal", "solved or not"])
def test_equals_are_not_told_apart(kind: str, seeds: int) -> None:
    rates = validate.false_claims(validate.plain(kind, seeds), 1000, rng())
    for variants in range(2, 8):
        assert rates[variants].low <= 0.05
        assert rates[variants].high <= validate.CLAIMS


def test_a_better_variant_is_found() -> None:
    assert validate.power(1, 3, 1, 300, rng()).mean > 0.8
    assert validate.power(2, 3, 7, 300, rng()).mean > 0.97
    assert validate.power(3, 3, 7, 100, rng()).mean > 0.99


@pytest.mark.parametrize(("cells", "seeds"), [(1, 5), (1, 10), (4, 5), (4, 10)])
def test_intervals_hold_the_truth(cells: int, seeds: int) -> None:
    for drawn in validate.SCORES.values():
        assert validate.covered(inference.pooled_skill, drawn, cells, seeds, 200, rng())[0].mean >= 0.93
    for drawn in validate.DIFFERENCES.values():
        assert validate.covered(inference.effect, drawn, cells, seeds, 200, rng())[0].mean >= 0.93


def test_counts_hold_the_truth_exactly() -> None:
    assert all(row.kept for row in validate.measure_counts(rng()))
