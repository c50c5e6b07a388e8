"""Checks in what variants are said to be alike, and in what they are not."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from suite.ops.engines import REFERENCE, VENDOR
from suite.plan import fairness as fair
from suite.plan.fairness import Fairness, Given

from .planned import REGISTRY, trials

LSTM = Given("lstm", "adding", 20, 0, 0.01, 500, 32, 1000, 1000, 64, True, VENDOR.name, "1", "")
SAME = replace(LSTM, variant="mine")


def compared(*own: Given, engines: dict[str, list[str]] | None = None) -> Fairness:
    """Of trials at one seed and length, unless the trials are of others."""
    theirs = [replace(LSTM, task=given.task, length=given.length, seed=given.seed, learning_rate=given.learning_rate) for given in own]
    baseline, other = fair.compare([*own, *theirs], engines or {})
    assert (baseline.variant, other.variant) == ("lstm", "mine")
    assert not baseline.unequal
    return other


def test_what_is_given_alike_is_equal() -> None:
    assert compared(SAME).unequal == compared(SAME).unknown == ()


@pytest.mark.parametrize(
    ("changes", "name", "own", "baseline"),
    [
        ({"steps": 400}, fair.BUDGET, "400 × 32", "500 × 32"),
        ({"batch_size": 16}, fair.BUDGET, "500 × 16", "500 × 32"),
        ({"parameters": 1031}, fair.PARAMETERS, "× 1.03", "× 1.00"),
        ({"parameters": 900}, fair.PARAMETERS, "× 0.90", "× 1.00"),
        ({"state_size": 37}, fair.STATE, "37", "64"),
        ({"causal": False}, fair.CAUSALITY, "sees the whole sequence", "causal"),
        ({"engine": REFERENCE.name}, fair.TRAINED_ON, "reference", "vendor"),
        ({"initial_memory": fair.GATELESS}, fair.MEMORY, "own: it has no such gate", "1"),
        ({"damage": "gaussian_noise 10"}, fair.DAMAGE, "gaussian_noise 10", "–"),
    ],
)
def test_what_differs_is_named_with_both_sides(changes: dict[str, Any], name: str, own: str, baseline: str) -> None:
    (aspect,) = compared(replace(SAME, **changes)).unequal
    assert (aspect.name, aspect.own, aspect.baseline) == (name, own, baseline)
    assert aspect.text() == f"{name} ({own}; lstm {baseline})"


@pytest.mark.parametrize("changes", [{"parameters": 1029}, {"parameters": 971}, {"state_size": 65}], ids=str)
def test_what_differs_by_less_than_the_tolerance_is_equal(changes: dict[str, Any]) -> None:
    assert compared(replace(SAME, **changes)).unequal == ()


@pytest.mark.parametrize(
    ("changes", "name"), [({"state_size": 0}, fair.STATE), ({"parameters": 0}, fair.PARAMETERS), ({"initial_memory": ""}, fair.MEMORY)]
)
def test_what_is_not_known_is_neither(changes: dict[str, Any], name: str) -> None:
    found = compared(replace(SAME, **changes))
    assert found.unequal == ()
    assert [aspect.name for aspect in found.unknown] == [name]


def test_a_memory_of_ones_own_is_not_the_same_as_another_ones() -> None:
    baseline, mine = fair.compare([replace(LSTM, initial_memory="own"), replace(SAME, initial_memory="own")], {})
    assert [aspect.name for aspect in mine.unequal] == [fair.MEMORY]
    assert baseline.unequal == ()


def test_a_trial_that_is_missing_is_data_that_is_missing_and_nothing_else() -> None:
    longer = replace(SAME, length=40, state_size=64)
    given = [SAME, LSTM, replace(LSTM, seed=1), replace(LSTM, length=40, steps=900), replace(longer, variant="other", steps=900)]
    _, mine, other = fair.compare(given, {})
    for found in (mine, other):
        (aspect,) = found.unequal
        assert (aspect.name, aspect.own) == (fair.DATA, "1 of 3 streams")


def test_a_state_is_compared_at_each_length() -> None:
    grows = compared(replace(SAME, state_size=64), replace(SAME, length=40, state_size=84))
    assert [aspect.own for aspect in grows.unequal] == ["64–84"]
    assert compared(replace(SAME, causal=False, state_size=88)).aspect(fair.STATE) == fair.Aspect(
        fair.STATE, "88, whole sequence", "64", False
    )


def test_engines_are_compared_where_something_is_timed() -> None:
    assert compared(SAME).aspect(fair.TIMED_ON) is None
    aspect = compared(SAME, engines={"lstm": [VENDOR.name, REFERENCE.name], "mine": [REFERENCE.name]}).aspect(fair.TIMED_ON)
    assert aspect == fair.Aspect(fair.TIMED_ON, "reference", "vendor, reference", False)


def test_without_the_baseline_nothing_is_compared() -> None:
    assert fair.compare([SAME], {}) == []


def test_planned_trials_say_what_they_are_given() -> None:
    damage = {"corruption": "step_drop", "severity": 0.5, "initial_memory": "chrono"}
    planned = trials(variants=["lstm", "rnn"], tasks=["noisy", {"name": "adding", "lengths": [6]}], training=damage)
    given = [fair.given_to(trial, REGISTRY.variant(trial.variant.name).noun) for trial in planned]
    assert {(each.variant, each.initial_memory) for each in given} == {("lstm", "chrono"), ("rnn", fair.GATELESS)}
    assert {(each.task, each.damage) for each in given} == {("noisy", ""), ("adding", "step_drop 0.5")}
    _, rnn = fair.compare(given, {})
    assert [aspect.name for aspect in rnn.unequal][:3] == [fair.PARAMETERS, fair.STATE, fair.MEMORY]
