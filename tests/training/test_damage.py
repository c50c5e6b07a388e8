"""Checks what models meet in training where a plan trains them under damage."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from suite import SuiteError
from suite.plan import schema, trials
from suite.registry.finder import discover
from suite.spec import Corruption, Task
from suite.training import trainer
from suite.trial import Trial

REGISTRY = discover()
ADDING, DROP = REGISTRY.task("adding").noun, REGISTRY.corruption("step_drop").noun


def damaged(trial: Trial, severity: float) -> Trial:
    return replace(trial, training=replace(trial.training, corruption=DROP.name, severity=severity))


def first_step(trial: Trial, corruption: Corruption | None, task: Task = ADDING) -> np.ndarray:
    x, _ = next(trainer.drawn([trial], task, corruption))
    return x.numpy()


def validation(trial: Trial, corruption: Corruption | None) -> np.ndarray:
    return np.concatenate([x for x, _ in trainer.validation_stream(ADDING, trial, corruption)()])


def test_training_and_validation_are_damaged_and_the_marked_values_are_not(tiny: Trial) -> None:
    trial = damaged(tiny, 0.9)
    for plain, hurt in ((first_step(tiny, None)[0], first_step(trial, DROP)[0]), (validation(tiny, None), validation(trial, DROP))):
        marked = plain[..., 1] == 1
        assert np.array_equal(hurt[marked], plain[marked])
        assert np.array_equal(hurt[..., 1], plain[..., 1])
        lost = (hurt[..., 0] == 0)[~marked]
        assert abs(lost.mean() - 0.9) < 5 * 0.3 / np.sqrt(lost.size)


def test_every_step_and_seed_has_damage_of_its_own(tiny: Trial) -> None:
    trial = replace(damaged(tiny, 0.5), length=40)
    steps = [x.numpy() for x, _ in trainer.drawn([trial, replace(trial, seed=trial.seed + 1)], ADDING, DROP)]
    patterns = [(x[0, ..., 0] == 0).tobytes() for x in steps] + [(x[1, ..., 0] == 0).tobytes() for x in steps]
    assert len(set(patterns)) == len(patterns)
    again = next(trainer.drawn([trial], ADDING, DROP))[0].numpy()
    assert np.array_equal(again[0], steps[0][0])


def test_the_constant_channel_is_not_damaged(tiny: Trial) -> None:
    assert (first_step(damaged(tiny, 0.9), DROP)[..., -1] == 1).all()


def test_who_trains_under_damage_learns_something_else(tiny: Trial) -> None:
    variant = REGISTRY.variant("gru").noun
    states = []
    for trial, corruption in ((tiny, None), (damaged(tiny, 0.5), DROP)):
        members = trainer.gather(trainer.build([trial], variant, ADDING), trial.engine)
        (trained,) = trainer.learn([trial], ADDING, members, lambda *_: None, corruption)
        states.append(torch.cat([value.flatten() for value in trained.state.values()]))
    assert not torch.equal(*states)


def planned(**training: object) -> list[Trial]:
    raw = {"variants": ["lstm"], "tasks": ["adding", "noisy"], "training": training}
    return trials.trials(schema.check(raw, "mine.toml"), REGISTRY, "cpu")


def test_a_task_to_which_it_is_no_damage_is_trained_without() -> None:
    plain, hurt = planned(), planned(corruption="step_drop", severity=0.5)
    for before, after in zip(plain, hurt, strict=True):
        assert (before.key == after.key) == (after.task.name == "noisy")
        assert (DROP.name in str(after.sources)) == (after.task.name == "adding")


@pytest.mark.parametrize("half", [{"corruption": "step_drop"}, {"severity": 0.5}])
def test_a_corruption_needs_its_severity(half: dict[str, object]) -> None:
    with pytest.raises(SuiteError, match=r"mine.toml: training: corruption and severity go together"):
        planned(**half)


def test_a_corruption_that_is_none_is_told_with_the_nearest_name() -> None:
    with pytest.raises(SuiteError, match="gaussian_noise"):
        planned(corruption="gausian_noise", severity=1.0)
