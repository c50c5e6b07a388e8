"""Checks what a plan asks of its models: on how many samples, and by which corruptions."""

from __future__ import annotations

from dataclasses import replace

import pytest

from suite.trial import TEST_SAMPLES

from .planned import REGISTRY, trials, with_task


def test_the_size_of_the_test_stream_is_in_the_evaluations_keys_alone() -> None:
    before, after = trials(), trials(evaluations={"samples": 99})
    assert {trial.test_samples for trial in after} == {asked.samples for trial in after for asked in trial.evaluations} == {99}
    assert [trial.key for trial in before] == [trial.key for trial in after]
    asked = [{asked.key for trial in planned for asked in trial.evaluations} for planned in (before, after)]
    assert not set.intersection(*asked)


def test_the_size_of_the_validation_stream_leaves_the_test_stream() -> None:
    assert {trial.test_samples for trial in trials(training={"evaluation_samples": 99})} == {TEST_SAMPLES}


@pytest.mark.parametrize(
    ("harmless", "wanted"),
    [
        ((), ["length", "gaussian_noise", "step_drop"]),
        (("gaussian_noise",), ["length", "step_drop"]),
        (("step_drop", "gaussian_noise"), ["length"]),
    ],
)
def test_a_corruption_that_is_no_damage_to_a_task_is_not_asked_of_its_models(harmless: tuple[str, ...], wanted: list[str]) -> None:
    registry = with_task(replace(REGISTRY.task("adding").noun, name="mine", harmless=harmless))
    planned = trials(registry, tasks=["mine", "adding"], evaluations={"corruptions": ["gaussian_noise", "step_drop"]})
    asked = {trial.task.name: [evaluation.measure for evaluation in trial.evaluations] for trial in planned}
    assert asked == {"mine": wanted, "adding": ["length", "gaussian_noise", "step_drop"]}
