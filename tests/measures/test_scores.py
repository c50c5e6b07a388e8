"""Checks what skill a loss shows, on small numbers worked out by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from suite import Point
from suite.measures import scores

losses = st.floats(0, 10)


@pytest.mark.parametrize(
    ("loss", "baseline", "ideal", "wanted"),
    [
        (0.25, 0.25, 0.0, 0.0),  # not looking
        (0.0, 0.25, 0.0, 1.0),
        (0.0625, 0.25, 0.0, 0.75),
        (0.125, 0.25, 0.125, 1.0),  # as good as can be, though not without loss
        (0.1875, 0.25, 0.125, 0.5),
        (0.5, 0.25, 0.125, 0.0),  # worse than not looking
        (0.0625, 0.25, 0.125, 1.0),  # luckier than the ideal
        (math.inf, 0.25, 0.125, 0.0),
        (math.nan, 0.25, 0.125, 0.0),
    ],
)
def test_skill_is_zero_for_not_looking_and_one_for_the_ideal(loss: float, baseline: float, ideal: float, wanted: float) -> None:
    assert scores.skill_shown(loss, baseline, ideal) == wanted
    assert scores.skill_of(Point(1.0, 10, {"loss": loss}, baseline, False, ideal)) == wanted


@pytest.mark.parametrize("ideal", [0.25, 0.3])
@pytest.mark.parametrize("loss", [0.0, 0.25, 0.5, math.inf])
def test_where_even_the_ideal_gains_nothing_nobody_shows_skill(loss: float, ideal: float) -> None:
    assert scores.skill_shown(loss, 0.25, ideal) == 0.0


def test_skills_of_many_losses_are_computed_at_once() -> None:
    assert scores.skill([1.0, 0.5, 0.0], [1.0, 1.0, 0.5], [0.5, 0.0, 0.25]).tolist() == [0.0, 0.5, 1.0]


@given(losses, losses, losses)
def test_less_loss_is_no_less_skill(one: float, other: float, ideal: float) -> None:
    better, worse = sorted((one, other))
    assert 0 <= scores.skill_shown(worse, 5.0, ideal) <= scores.skill_shown(better, 5.0, ideal) <= 1


def test_no_difference_that_a_copy_shows_is_called_one() -> None:
    seconds, baseline = np.array([1.1, 1.2, 1.3]), np.ones(3)
    assert scores.time_ratio(seconds, baseline) == (1.2, 1.1, 1.3)
    assert scores.time_ratio(seconds, baseline, np.array([0.8, 1.0, 1.0])) == pytest.approx((1.2, 1.1 / 1.25, 1.3 * 1.25))
    assert scores.time_ratio(seconds, baseline, np.array([1.05, 1.1, 1.15])) == pytest.approx((1.2, 1.1 / 1.15, 1.3 * 1.15))


@pytest.mark.parametrize("rounds", [3, 7, 15])
def test_a_copy_that_is_slower_by_luck_is_hardly_ever_called_slower(rounds: int) -> None:
    """Where what one model has of its place in memory lasts for a whole invocation, rounds alone cannot tell that from a difference."""
    rng, called = np.random.default_rng(0), 0
    for _ in range(2000):
        of_place = rng.normal(0, 0.01, (3, 1))
        baseline, clone, twin = np.exp(of_place + rng.gamma(0.5, 0.05, (3, rounds)))
        _, low, high = scores.time_ratio(twin, baseline, clone)
        called += not low <= 1 <= high
    assert called / 2000 < 0.03
