"""Checks what skill a loss shows, on small numbers worked out by hand."""

from __future__ import annotations

import math

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
