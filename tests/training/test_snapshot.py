"""Checks that a training which goes on from a snapshot ends with the same bits as one that was never interrupted."""

from __future__ import annotations

import io
import pickle
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from suite import Goal, Task, Variant
from suite.ops.engines import BATCHED, DERIVED, REFERENCE, VENDOR
from suite.registry.finder import discover
from suite.training import trainer
from suite.training.snapshot import Snapshot, Take, from_bytes, to_bytes
from suite.training.trainer import Trained
from suite.trial import Trial

REGISTRY = discover()
ADDING, GRU = REGISTRY.task("adding").noun, REGISTRY.variant("gru").noun
STEPS, EVERY = 11, 3


class DropsOut(nn.Module):
    def __init__(self, input_size: int, hidden_size: int) -> None:
        super().__init__()
        self.linear = nn.Linear(input_size, hidden_size)

    def forward(self, x: Tensor) -> Tensor:  # (B, T, D) -> (B, T, H)
        return nn.functional.dropout(self.linear(x), 0.5, self.training)


class Averages(nn.Module):
    """Uses a running mean of what it has seen, which is a buffer, beside a weight that is not trained."""

    mean: Tensor

    def __init__(self, input_size: int, hidden_size: int) -> None:
        super().__init__()
        self.linear = nn.Linear(input_size, hidden_size)
        self.scale = nn.Parameter(torch.ones(hidden_size), requires_grad=False)
        self.register_buffer("mean", torch.zeros(hidden_size))

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.linear(x)
        if self.training:
            self.mean = 0.9 * self.mean + 0.1 * y.detach().mean((0, 1))
            self.scale.data *= 1.01
        return (y - self.mean) * self.scale


DROPS, AVERAGES = Variant("drops", DropsOut), Variant("averages", Averages)


def population(tiny: Trial, engine: str, count: int = 3, **training: Any) -> list[Trial]:
    changed = replace(tiny.training, **{"steps": STEPS, "validate_every": EVERY, **training})
    plain = replace(tiny, length=6, hidden_size=7, engine=engine)
    return [replace(plain, seed=seed, training=replace(changed, learning_rate=0.01 * (seed + 1))) for seed in range(count)]


class Course:
    """A training with a snapshot after each of its steps, as its file holds it."""

    def __init__(
        self, trials: Sequence[Trial], variant: Variant, task: Task = ADDING, begun: Snapshot | None = None, keeps: bool = False
    ) -> None:
        self.files: dict[int, bytes] = {}
        self.told: list[int] = []
        members = trainer.gather(trainer.build(trials, variant, task), trials[0].engine)

        def keep(take: Take) -> None:
            if keeps:
                snapshot = take()
                self.files[snapshot.step] = to_bytes(snapshot)

        self.trained = trainer.learn(
            trials, task, members, lambda _trial, validation: self.told.append(validation.step), begun=begun, keep=keep
        )
        self.weights = members.block.clone()


def assert_same(trained: Sequence[Trained], again: Sequence[Trained]) -> None:
    assert len(trained) == len(again)
    for one, two in zip(trained, again, strict=True):
        assert (one.learning, one.diverged) == (two.learning, two.diverged)
        assert one.state.keys() == two.state.keys()
        assert all(torch.equal(value, two.state[name]) for name, value in one.state.items())


@pytest.mark.parametrize(
    ("variant", "engine", "training"),
    [
        (GRU, VENDOR.name, {}),
        (GRU, DERIVED.name, {"optimizer": "rmsprop"}),
        (GRU, DERIVED.name, {"optimizer": "adamw", "weight_decay": 0.1, "warmup": 3, "schedule": "cosine"}),
        (GRU, BATCHED.name, {"optimizer": "sgd", "dtype": "float64"}),
        (DROPS, REFERENCE.name, {}),
        (AVERAGES, REFERENCE.name, {}),
    ],
    ids=["vendor", "derived", "scheduled", "batched", "dropout", "buffers"],
)
def test_from_any_step_it_ends_with_the_same_bits(tiny: Trial, variant: Variant, engine: str, training: dict[str, Any]) -> None:
    trials = population(tiny, engine, **training)
    plain, whole = Course(trials, variant), Course(trials, variant, keeps=True)
    assert_same(plain.trained, whole.trained)  # taking snapshots moves nothing
    assert sorted(whole.files) == list(range(1, STEPS + 1))
    for step, file in whole.files.items():
        torch.manual_seed(step)  # another process
        again = Course(trials, variant, begun=from_bytes(file))
        assert_same(whole.trained, again.trained)
        assert torch.equal(whole.weights, again.weights)
        assert again.told == [at for at in whole.told if at > step]


@pytest.mark.parametrize(
    ("variant", "engine"), [(GRU, VENDOR.name), (GRU, DERIVED.name), (DROPS, REFERENCE.name)], ids=["vendor", "derived", "dropout"]
)
def test_a_member_goes_on_in_other_company(tiny: Trial, variant: Variant, engine: str) -> None:
    trials = population(tiny, engine)
    whole = Course(trials, variant, keeps=True)
    for company in ((2,), (2, 0)):
        some = [trials[place] for place in company]
        begun = from_bytes(whole.files[4]).of({trial.key for trial in some})
        assert len(begun.members) == len(company)
        assert_same([whole.trained[place] for place in company], Course(some, variant, begun=begun).trained)
        assert_same([whole.trained[place] for place in company], Course(some, variant).trained)  # as from the beginning


def test_what_ended_before_stays_ended(tiny: Trial) -> None:
    """One goes on, one has diverged, and one has solved its task and moves no more."""
    trials = population(tiny, VENDOR.name, stop="solved", validate_every=2)
    trials[1] = replace(trials[1], training=replace(trials[1].training, learning_rate=1e12))
    task = replace(ADDING, solved=lambda _length: Goal("loss", below=0.21))
    whole = Course(trials, GRU, task, keeps=True)
    going_on, diverged, solved = whole.trained
    assert (len(going_on.learning.curve), bool(diverged.diverged), len(solved.learning.curve)) == (6, True, 3)
    for step in (3, 5, 8):
        assert_same(whole.trained, Course(trials, GRU, task, begun=from_bytes(whole.files[step])).trained)


def test_a_training_that_is_over_takes_no_further_step(tiny: Trial) -> None:
    trials = population(tiny, VENDOR.name)
    whole = Course(trials, GRU, keeps=True)
    again = Course(trials, GRU, begun=from_bytes(whole.files[STEPS]), keeps=True)
    assert_same(whole.trained, again.trained)
    assert (again.files, again.told) == ({}, [])


def test_a_file_that_would_run_code_is_refused() -> None:
    buffer = io.BytesIO()
    torch.save({"step": 1, "members": print}, buffer)
    with pytest.raises(pickle.UnpicklingError):
        from_bytes(buffer.getvalue())
