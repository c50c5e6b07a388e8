"""Checks that training keeps the best weights, tells divergence, stops where asked, and repeats itself to the bit."""

from __future__ import annotations

import itertools
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from suite import Batch, Goal, SuiteError, Task, Variant
from suite.ops.engines import AUTO, REFERENCE, resolve
from suite.registry.finder import discover
from suite.spec import Plugin
from suite.training import data, model, trainer
from suite.trial import Snapshot, Trial, Validation

ADDING = discover().task("adding").noun


def change(trial: Trial, **training: Any) -> Trial:
    return replace(trial, training=replace(trial.training, **training))


def train(trial: Trial, task: Task = ADDING) -> tuple[list[Validation], list[Snapshot], model.Model]:
    variant = discover().variant(trial.variant.name).noun
    net = model.build(variant, trial.variant.options, task, trial.hidden_size, trial.engine, trainer.initial_seed(trial.seed))
    events = list(trainer.train(trial, task, net))
    return [event for event in events if isinstance(event, Validation)], [event for event in events if isinstance(event, Snapshot)], net


def test_a_gru_learns_the_adding_problem(tiny: Trial) -> None:
    trial = change(replace(tiny, hidden_size=32), steps=300, batch_size=32, validate_every=100, evaluation_samples=256)
    validations, _, _ = train(trial)
    assert validations[-1].scores["loss"] < 0.05  # the baseline is 0.167


@pytest.mark.parametrize(("steps", "every", "wanted"), [(20, 5, [5, 10, 15, 20]), (7, 3, [3, 6, 7]), (3, 5, [3]), (4, 1, [1, 2, 3, 4])])
def test_validation_comes_as_often_as_asked_and_at_the_end(tiny: Trial, steps: int, every: int, wanted: list[int]) -> None:
    validations, _, _ = train(change(tiny, steps=steps, validate_every=every))
    assert [one.step for one in validations] == wanted


@pytest.mark.parametrize("rate", [0.01, 0.3])
def test_the_last_snapshot_is_of_the_least_validation_loss(tiny: Trial, rate: float) -> None:
    trial = change(tiny, learning_rate=rate, steps=40)
    validations, snapshots, net = train(trial)
    losses = [one.scores["loss"] for one in validations]
    assert min(losses) < losses[-1] or rate < 0.1  # at the greater rate the best is not the last
    records = [one.step for one, best in zip(validations, itertools.accumulate(losses, min), strict=True) if one.scores["loss"] == best]
    assert [one.step for one in snapshots] == records
    net.load_state_dict(dict(snapshots[-1].state))
    assert trainer.score(net, ADDING, trial, "validation")["loss"] == min(losses)


def test_a_snapshot_does_not_move_with_the_model(tiny: Trial) -> None:
    _, snapshots, net = train(tiny)
    with torch.no_grad():
        before = {name: value.clone() for name, value in snapshots[-1].state.items()}
        for parameter in net.parameters():
            parameter.zero_()
    assert all(torch.equal(before[name], value) for name, value in snapshots[-1].state.items())
    assert any(not torch.equal(snapshots[0].state[name], value) for name, value in snapshots[-1].state.items())


def test_the_train_loss_is_the_mean_since_the_last_measure(tiny: Trial) -> None:
    """A model that cannot move (a rate next to nothing) has the loss of its first weights on every batch."""
    trial = change(tiny, optimizer="sgd", learning_rate=1e-30, steps=7, validate_every=3, dtype="float64")
    validations, _, net = train(trial)
    losses = []
    for step in range(1, 8):
        batch = data.draw(ADDING, {}, trial.length, "train", trial.seed, step, trial.training.batch_size)
        losses.append(data.loss(ADDING, net(data.inputs(batch.x, torch.float64, "cpu")), batch).item())
    wanted = [np.mean(losses[:3]), np.mean(losses[3:6]), losses[6]]
    assert [one.scores["train_loss"] for one in validations] == pytest.approx(wanted, abs=1e-12)


def test_the_step_is_clipped_after_the_backward_pass(tiny: Trial) -> None:
    """With plain gradient descent the first step is as long as rate times clip, and no longer."""
    for clip, rate in ((1e-3, 1.0), (2e-3, 0.5)):
        variant = discover().variant("gru").noun
        net = model.build(variant, {}, ADDING, tiny.hidden_size, "vendor", 0)
        before = torch.cat([parameter.detach().flatten().clone() for parameter in net.parameters()])
        list(trainer.train(change(tiny, optimizer="sgd", learning_rate=rate, clip=clip, steps=1), ADDING, net))
        after = torch.cat([parameter.detach().flatten() for parameter in net.parameters()])
        assert (after - before).norm().item() == pytest.approx(clip * rate, rel=1e-3)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_weights_are_of_the_dtype_asked(tiny: Trial, dtype: str) -> None:
    _, snapshots, _ = train(change(tiny, dtype=dtype, steps=2))
    assert {value.dtype for value in snapshots[-1].state.values()} == {getattr(torch, dtype)}


def test_divergence_is_told_with_its_step_after_what_was_measured(tiny: Trial) -> None:
    trial = change(tiny, optimizer="sgd", learning_rate=1e30, steps=20)
    variant = discover().variant("gru").noun
    net = model.build(variant, {}, ADDING, tiny.hidden_size, "vendor", 0)
    with pytest.raises(trainer.Diverged, match="not finite by step 5"):
        list(trainer.train(trial, ADDING, net))


def test_solved_stops_only_where_the_plan_says(tiny: Trial) -> None:
    easy = replace(ADDING, solved=lambda _length: Goal("loss", below=10))
    assert [one.step for one in train(change(tiny, stop="solved"), easy)[0]] == [5]
    assert [one.step for one in train(change(tiny, stop="budget"), easy)[0]] == [5, 10, 15, 20]
    hard = replace(ADDING, solved=lambda _length: Goal("loss", below=0))
    assert [one.step for one in train(change(tiny, stop="solved"), hard)[0]] == [5, 10, 15, 20]


@pytest.mark.parametrize("name", discover().variants)
def test_the_same_trial_is_the_same_to_the_bit(tiny: Trial, name: str) -> None:
    one, two = (train(replace(tiny, variant=Plugin(name), engine=resolve(discover().variant(name).noun, AUTO))) for _ in range(2))
    assert one[0] == two[0]
    assert all(torch.equal(value, two[1][-1].state[key]) for key, value in one[1][-1].state.items())


@pytest.mark.gpu
@pytest.mark.filterwarnings("ignore:RNN module weights are not part of single contiguous chunk")  # the equations have one bias a gate
@pytest.mark.parametrize("name", discover().variants)
def test_the_same_trial_is_the_same_to_the_bit_on_cuda(tiny: Trial, name: str) -> None:
    trial = replace(tiny, variant=Plugin(name), engine=resolve(discover().variant(name).noun, AUTO), device="cuda")
    one, two = (train(trial) for _ in range(2))
    assert one[0] == two[0]
    assert all(torch.equal(value, two[1][-1].state[key]) for key, value in one[1][-1].state.items())
    assert {value.device.type for value in one[1][-1].state.values()} == {"cpu"}


def test_another_seed_is_another_trial(tiny: Trial) -> None:
    one, two = train(tiny), train(replace(tiny, seed=1))
    assert one[0] != two[0]


def test_seeds_of_weights_and_data_are_apart() -> None:
    seeds = [trainer.initial_seed(seed) for seed in range(100)]
    assert len(set(seeds)) == 100
    assert not set(seeds) & set(range(100))


def test_training_leaves_the_global_generator(tiny: Trial) -> None:
    before = torch.get_rng_state()
    train(tiny)
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("samples", [64, 128, 200])
def test_a_score_is_the_mean_over_samples_not_over_batches(tiny: Trial, samples: int) -> None:
    trial = change(tiny, evaluation_samples=samples, dtype="float64")
    net = model.build(discover().variant("gru").noun, {}, ADDING, 4, "vendor", 0).double()
    found = trainer.score(net, ADDING, trial, "validation")
    batches = list(data.stream(ADDING, {}, trial.length, "validation", trial.eval_seed, samples))
    whole = Batch(np.concatenate([batch.x for batch in batches]), np.concatenate([batch.y for batch in batches]))
    with torch.no_grad():
        output = net(data.inputs(whole.x, torch.float64, "cpu"))
    error = output.squeeze(1).numpy() - whole.y
    assert found == pytest.approx({"loss": (error**2).mean(), "within_0.08": (np.abs(error) < 0.08).mean()}, abs=1e-12)


def test_trials_that_share_the_eval_seed_meet_the_same_validation(tiny: Trial) -> None:
    net = model.build(discover().variant("gru").noun, {}, ADDING, 4, "vendor", 0)
    one, same, other, test = (
        trainer.score(net, ADDING, trial, split)
        for trial, split in (
            *((tiny, "validation"), (replace(tiny, seed=7), "validation")),
            *((replace(tiny, eval_seed=7), "validation"), (tiny, "test")),
        )
    )
    assert one == same
    assert one != other
    assert one != test


@pytest.mark.parametrize("baseline", [0.0, float("inf"), float("nan"), -1.0])
def test_a_baseline_that_no_skill_can_be_made_of_is_refused(tiny: Trial, baseline: float) -> None:
    with pytest.raises(SuiteError, match=r"its baseline at length 10 is .*; it must be finite and above 0"):
        train(tiny, replace(ADDING, baseline=lambda _length: baseline))


def test_a_loss_far_beyond_the_baseline_is_diverged(tiny: Trial) -> None:
    tight = replace(ADDING, baseline=lambda _length: 1e-9)
    with pytest.raises(trainer.Diverged, match=r"the training loss was .* by step 5, more than 1e\+06 times the baseline"):
        train(tiny, tight)


def test_what_diverges_keeps_its_curve_and_tells_it(tiny: Trial, monkeypatch: pytest.MonkeyPatch) -> None:
    real, calls, heard = trainer.score, itertools.count(1), list[int]()
    monkeypatch.setattr(trainer, "score", lambda *words: {"loss": float("nan")} if next(calls) == 3 else real(*words))
    net = model.build(discover().variant("gru").noun, {}, ADDING, 4, REFERENCE.name, 0)
    trained = trainer.learn(tiny, ADDING, net, lambda validation: heard.append(validation.step))
    assert trained.diverged == "the validation loss was not finite by step 15"
    assert [validation.step for validation in trained.learning.curve] == heard == [5, 10]
    assert trained.learning.best_step in heard


def test_complex_weights_stay_complex(tiny: Trial) -> None:
    class Rotation(torch.nn.Module):
        def __init__(self, input_size: int, hidden_size: int) -> None:
            super().__init__()
            self.weight = torch.nn.Parameter(torch.randn(hidden_size, input_size, dtype=torch.complex64))
            self.register_buffer("phase", torch.full((hidden_size,), 1j, dtype=torch.complex64))
            self.register_buffer("count", torch.zeros(1, dtype=torch.int64))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            phase: torch.Tensor = self.phase  # type: ignore[assignment]
            return (phase * (x.to(self.weight.dtype) @ self.weight.T)).real

    for dtype, complex_dtype in (("float32", torch.complex64), ("float64", torch.complex128)):
        net = model.build(Variant("rotation", Rotation), {}, ADDING, 4, REFERENCE.name, 0)
        before = net.core.weight.detach().clone()  # type: ignore[operator]
        list(trainer.train(change(tiny, dtype=dtype, steps=3), ADDING, net))
        state = net.state_dict()
        assert (state["core.weight"].dtype, state["core.phase"].dtype, state["core.count"].dtype) == (
            complex_dtype,
            complex_dtype,
            torch.int64,
        )
        assert state["core.phase"].imag.eq(1).all()
        assert not torch.equal(state["core.weight"].imag.float(), before.imag)  # the imaginary part learns, too
