"""Checks the arithmetic of the report on small numbers worked out by hand."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest

from suite import stats
from suite.report.stats import Interval


def rng() -> np.random.Generator:
    return np.random.default_rng(0)


def test_skill_is_one_at_no_loss_and_zero_from_the_baseline_on() -> None:
    assert stats.skill([0.0, 0.5, 1.0, 2.0, math.inf], 1.0).tolist() == [1.0, 0.5, 0.0, 0.0, 0.0]
    assert math.isnan(float(stats.skill(math.nan, 1.0)))
    assert stats.skill([0.25, 0.25], [0.5, 1.0]).tolist() == [0.5, 0.75]


def test_a_spread_is_the_mean_and_the_range() -> None:
    assert stats.spread([3.0, 1.0, 2.0]) == (2.0, 1.0, 3.0, 3)
    assert stats.spread([3.0, math.nan, 1.0]) == (2.0, 1.0, 3.0, 2)
    nothing = stats.spread([math.nan])
    assert nothing.n == 0
    assert math.isnan(nothing.mean)


@pytest.mark.parametrize(
    ("interval", "text"),
    [
        (Interval(0.724, 0.701, 0.75, 3), "0.72 (0.70–0.75)"),
        (Interval(-0.5, -1.0, 2.0, 3), "−0.50 (−1.00 to 2.00)"),
        (Interval(0.724, 0.724, 0.724, 1), "0.72"),
        (Interval(math.nan, math.nan, math.nan, 0), "–"),
    ],
)
def test_interval_reads_as_a_person_would_write_it(interval: Interval, text: str) -> None:
    assert interval.text() == text


def test_pooled_gives_every_group_the_same_weight() -> None:
    assert stats.pooled([[0.0, 1.0], [0.5, math.nan, 0.5, 0.5, 0.5]], rng()) == (0.5, 0.25, 0.75, 6)
    assert stats.pooled([[math.nan], [1.0, 3.0]], rng()) == (2.0, 1.0, 3.0, 2)
    assert stats.pooled([[], [math.nan]], rng()).n == 0
    assert stats.pooled([], rng()).n == 0


def test_pooled_skills_have_an_interval_that_covers() -> None:
    """Of zeros and ones in one cell, that of Clopper and Pearson: 1 of 5 is compatible with 0.005 to 0.716."""
    assert stats.pooled([[0.0, 0.0, 0.0, 0.0, 1.0]], rng()) == pytest.approx((0.2, 0.005, 0.716, 5), abs=0.01)
    assert stats.pooled([[0.0, 0.0, 0.0, 0.0, 7.0]], rng()) == (1.4, 0.0, 7.0, 5)  # no skills: the range


def test_spreads_keep_the_order_of_groups() -> None:
    frame = pd.DataFrame({"who": ["b", "a", "b", "a"], "value": [1.0, 5.0, 3.0, math.nan]})
    table = stats.spreads(frame, ["who"])
    assert table.columns.tolist() == ["who", "mean", "low", "high", "n"]
    assert table.to_numpy().tolist() == [["b", 2.0, 1.0, 3.0, 2], ["a", 5.0, 5.0, 5.0, 1]]
    assert stats.spreads(frame[:0], ["who"]).empty


def test_area_is_the_mean_height() -> None:
    assert stats.area(1.0, [1.0, 1.0]) == 1.0
    assert stats.area(1.0, [0.0]) == 0.5
    assert stats.area(1.0, [0.5, 0.0]) == 0.5
    assert stats.area(0.8, [0.8, 0.4, 0.0]) == pytest.approx((0.8 + 0.6 + 0.2) / 3)


def test_half_point_is_linear_between_severities() -> None:
    assert stats.half_point(1.0, [1, 2, 3], [0.9, 0.7, 0.3]) == pytest.approx(2.5)
    assert stats.half_point(0.8, [20, 10], [0.6, 0.2]) == pytest.approx(15)
    assert stats.half_point(1.0, [1, 2], [0.5, 0.1]) == 1.0
    assert stats.half_point(1.0, [1, 2], [0.1, 0.9]) == 1.0
    assert math.isnan(stats.half_point(1.0, [1, 2], [0.9, 0.6]))
    assert math.isnan(stats.half_point(0.0, [1, 2], [0.0, 0.0]))


def test_least_p_of_a_paired_sign_flip_test() -> None:
    assert [stats.least_p(seeds) for seeds in (0, 1, 2, 3, 8)] == [1.0, 1.0, 0.5, 0.25, 2 / 256]
