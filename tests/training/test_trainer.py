"""Checks that training keeps the best weights, tells divergence, stops where asked, and repeats itself to the bit."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from suite import Batch, Goal, SuiteError, Task, Variant
from suite.ops.engines import AUTO, DERIVED, GRAPH, REFERENCE, VENDOR, resolve
from suite.ops.replay import WARM_UP, Replay
from suite.registry.finder import discover
from suite.spec import Plugin
from suite.training import data, trainer
from suite.training.members import Members
from suite.training.trainer import Trained
from suite.trial import Trial, Validation

REGISTRY = discover()
ADDING = REGISTRY.task("adding").noun


def change(trial: Trial, **training: Any) -> Trial:
    return replace(trial, training=replace(trial.training, **training))


def members_of(*trials: Trial, task: Task = ADDING) -> Members:
    variant = REGISTRY.variant(trials[0].variant.name).noun
    return trainer.gather(trainer.build(trials, variant, task), trials[0].engine)


def train(trial: Trial, task: Task = ADDING) -> Trained:
    (trained,) = trainer.learn([trial], task, members_of(trial, task=task), lambda _trial, _validation: None)
    return trained


def steps_of(curve: Sequence[Validation]) -> list[int]:
    return [validation.step for validation in curve]


def losses_of(curve: Sequence[Validation], name: str = "loss") -> list[float]:
    return [validation.scores[name] for validation in curve]


def assert_same(trained: Trained, again: Trained) -> None:
    assert trained.learning == again.learning
    assert trained.diverged == again.diverged
    assert trained.state.keys() == again.state.keys()
    assert all(torch.equal(value, again.state[name]) for name, value in trained.state.items())


# What is learned and kept


def test_a_gru_learns_the_adding_problem(tiny: Trial) -> None:
    trial = change(replace(tiny, hidden_size=32), steps=300, batch_size=32, validate_every=100, evaluation_samples=256)
    assert losses_of(train(trial).learning.curve)[-1] < 0.05  # the baseline is 0.167


@pytest.mark.parametrize(("steps", "every", "wanted"), [(20, 5, [5, 10, 15, 20]), (7, 3, [3, 6, 7]), (3, 5, [3]), (4, 1, [1, 2, 3, 4])])
def test_validation_comes_as_often_as_asked_and_at_the_end(tiny: Trial, steps: int, every: int, wanted: list[int]) -> None:
    assert steps_of(train(change(tiny, steps=steps, validate_every=every)).learning.curve) == wanted


def test_each_validation_is_told_with_its_trial_as_it_is_made(tiny: Trial) -> None:
    trials = [change(tiny, learning_rate=rate) for rate in (0.01, 0.02)]
    heard: list[tuple[str, Validation]] = []
    trained = trainer.learn(trials, ADDING, members_of(*trials), lambda trial, validation: heard.append((trial.key, validation)))
    curves = [[(trial.key, validation) for validation in each.learning.curve] for trial, each in zip(trials, trained, strict=True)]
    assert heard == [pair for step in zip(*curves, strict=True) for pair in step]


@pytest.mark.parametrize("engine", [VENDOR.name, DERIVED.name])
@pytest.mark.parametrize("rate", [0.01, 0.3])
def test_the_weights_kept_are_those_of_the_least_validation_loss(tiny: Trial, rate: float, engine: str) -> None:
    trial = change(replace(tiny, engine=engine), learning_rate=rate, steps=40)
    trained = train(trial)
    losses = losses_of(trained.learning.curve)
    assert min(losses) < losses[-1] or rate < 0.1  # at the greater rate the best is not the last
    assert trained.learning.best_step == steps_of(trained.learning.curve)[losses.index(min(losses))]
    (net,) = trainer.build([trial], REGISTRY.variant("gru").noun, ADDING)
    net.load_state_dict(dict(trained.state))
    (scores,) = trainer.score(trainer.gather([net], engine), ADDING, trial, trainer.validation_stream(ADDING, trial)())
    assert scores["loss"] == min(losses)


@pytest.mark.parametrize("engine", [VENDOR.name, DERIVED.name])
def test_the_weights_kept_do_not_move_with_the_members(tiny: Trial, engine: str) -> None:
    trial = change(replace(tiny, engine=engine), learning_rate=0.3, steps=40)
    members = members_of(trial)
    (trained,) = trainer.learn([trial], ADDING, members, lambda _trial, _validation: None)
    assert trained.learning.best_step != trial.training.steps
    last = members.state(0, members.block[0])
    assert any(not torch.equal(last[name], value) for name, value in trained.state.items())
    before = {name: value.clone() for name, value in trained.state.items()}
    members.block.zero_()
    for parameter in members.models[0].parameters():
        parameter.data.zero_()
    assert all(torch.equal(before[name], value) for name, value in trained.state.items())


def test_the_train_loss_is_the_mean_since_the_last_validation(tiny: Trial) -> None:
    """A model that cannot move (a rate next to nothing) has the loss of its first weights on every batch."""
    trial = change(tiny, optimizer="sgd", learning_rate=1e-30, steps=7, validate_every=3, dtype="float64")
    (net,) = trainer.build([trial], REGISTRY.variant("gru").noun, ADDING)
    losses = []
    for step in range(1, 8):
        batch = data.draw(ADDING, {}, trial.length, "train", trial.seed, step, trial.training.batch_size)
        losses.append(data.loss(ADDING, net(data.inputs(batch.x, torch.float64, "cpu")), batch).item())
    wanted = [np.mean(losses[:3]), np.mean(losses[3:6]), losses[6]]
    assert losses_of(train(trial).learning.curve, "train_loss") == pytest.approx(wanted, abs=1e-12)


@pytest.mark.parametrize("engine", [VENDOR.name, DERIVED.name])
@pytest.mark.parametrize("clip", [1e-3, 2e-3])
def test_each_members_step_is_clipped_by_its_own_norm_after_the_backward_pass(tiny: Trial, clip: float, engine: str) -> None:
    """With plain gradient descent a member's first step is as long as its rate times the clip, and no longer."""
    rates = (1.0, 0.5, 0.25)
    plain = change(replace(tiny, engine=engine), optimizer="sgd", clip=clip, steps=1)
    trials = [change(replace(plain, seed=seed), learning_rate=rate) for seed, rate in enumerate(rates)]
    members = members_of(*trials)
    before = members.block.clone()
    trainer.learn(trials, ADDING, members, lambda _trial, _validation: None)
    assert (members.block - before).norm(dim=1).tolist() == pytest.approx([clip * rate for rate in rates], rel=1e-3)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_weights_are_of_the_dtype_asked(tiny: Trial, dtype: str) -> None:
    assert {value.dtype for value in train(change(tiny, dtype=dtype, steps=2)).state.values()} == {getattr(torch, dtype)}


class Rotation(torch.nn.Module):
    """A core whose weights are complex, beside complex and integer buffers."""

    def __init__(self, input_size: int, hidden_size: int) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.randn(hidden_size, input_size, dtype=torch.complex64))
        self.register_buffer("phase", torch.full((hidden_size,), 1j, dtype=torch.complex64))
        self.register_buffer("count", torch.zeros(1, dtype=torch.int64))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        phase: torch.Tensor = self.phase  # type: ignore[assignment]
        return (phase * (x.to(self.weight.dtype) @ self.weight.T)).real


@pytest.mark.parametrize(("dtype", "complex_dtype"), [("float32", torch.complex64), ("float64", torch.complex128)])
def test_complex_weights_stay_complex(tiny: Trial, dtype: str, complex_dtype: torch.dtype) -> None:
    trial = change(replace(tiny, engine=REFERENCE.name), dtype=dtype, steps=3)
    models = trainer.build([trial], Variant("rotation", Rotation), ADDING)
    before = models[0].state_dict()["core.weight"].clone()
    (trained,) = trainer.learn([trial], ADDING, trainer.gather(models, trial.engine), lambda _trial, _validation: None)
    state = trained.state
    dtypes = [state[f"core.{name}"].dtype for name in ("weight", "phase", "count")]
    assert dtypes == [complex_dtype, complex_dtype, torch.int64]
    assert state["core.phase"].imag.eq(1).all()
    assert not torch.equal(state["core.weight"].imag, before.imag)  # the imaginary part learns, too


# How training ends


def test_divergence_is_told_with_its_step(tiny: Trial) -> None:
    trained = train(change(tiny, optimizer="sgd", learning_rate=1e30, steps=20))
    assert trained.diverged == "the training loss was not finite by step 5"
    assert (trained.learning.curve, trained.learning.best_step, trained.state) == ((), None, {})


def test_a_loss_far_beyond_the_baseline_is_diverged(tiny: Trial) -> None:
    trained = train(tiny, replace(ADDING, baseline=lambda _length: 1e-9))
    assert trained.diverged.startswith("the training loss was ")
    assert trained.diverged.endswith(" by step 5, more than 1e+06 times the baseline")


def test_what_diverges_keeps_its_curve_and_tells_it(tiny: Trial, monkeypatch: pytest.MonkeyPatch) -> None:
    score, calls, heard = trainer.score, itertools.count(1), list[int]()
    monkeypatch.setattr(trainer, "score", lambda *asked: [{"loss": float("nan")}] if next(calls) == 3 else score(*asked))
    (trained,) = trainer.learn([tiny], ADDING, members_of(tiny), lambda _trial, validation: heard.append(validation.step))
    assert trained.diverged == "the validation loss was not finite by step 15"
    assert steps_of(trained.learning.curve) == heard == [5, 10]
    assert trained.learning.best_step in heard
    assert trained.state


def test_solved_stops_only_where_the_plan_says(tiny: Trial) -> None:
    easy = replace(ADDING, solved=lambda _length: Goal("loss", below=10))
    hard = replace(ADDING, solved=lambda _length: Goal("loss", below=0))
    for task, stop, steps, solved in (
        (easy, "solved", [5, 10], 5),
        (easy, "budget", [5, 10, 15, 20], 5),
        (hard, "solved", [5, 10, 15, 20], None),
    ):
        learning = train(change(tiny, stop=stop), task).learning
        assert (steps_of(learning.curve), learning.steps_to_solve) == (steps, solved)


MET = 0.005
"""A validation loss that meets the adding problem's goal."""


@pytest.mark.parametrize(
    ("losses", "stop", "steps", "solved"),
    [
        ([0.1, MET, MET, 0.1], "budget", [5, 10, 15, 20], 10),
        ([0.1, MET, MET, 0.1], "solved", [5, 10, 15], 10),  # it stops at the second
        ([MET, 0.1, MET, 0.1], "solved", [5, 10, 15, 20], None),  # two that are lucky, and not in succession
        ([0.1, 0.1, 0.1, MET], "solved", [5, 10, 15, 20], None),  # one that is left at the end does not count
        ([0.1, 0.1, MET, MET], "solved", [5, 10, 15, 20], 15),
        ([MET, 0.1, MET, MET], "budget", [5, 10, 15, 20], 15),
        ([MET, MET, MET, MET], "budget", [5, 10, 15, 20], 5),
    ],
)
def test_solved_takes_two_successive_validations(
    tiny: Trial, monkeypatch: pytest.MonkeyPatch, losses: list[float], stop: str, steps: list[int], solved: int | None
) -> None:
    scores = iter(losses)
    monkeypatch.setattr(trainer, "score", lambda *_asked: [{"loss": next(scores)}])
    learning = train(change(tiny, stop=stop)).learning
    assert (steps_of(learning.curve), learning.steps_to_solve) == (steps, solved)


def test_members_solve_by_their_own_validations(tiny: Trial, monkeypatch: pytest.MonkeyPatch) -> None:
    trials = [change(replace(tiny, seed=seed), stop="solved") for seed in range(3)]
    scores = iter(zip([0.1, 0.1, MET, 0.1], [MET, MET, 0.1, 0.1], [MET, 0.1, MET, MET], strict=True))
    monkeypatch.setattr(trainer, "score", lambda *_asked: [{"loss": loss} for loss in next(scores)])
    trained = trainer.learn(trials, ADDING, members_of(*trials), lambda _trial, _validation: None)
    assert [each.learning.steps_to_solve for each in trained] == [None, 5, 15]
    assert [len(each.learning.curve) for each in trained] == [4, 2, 4]


def test_the_ideal_predictors_loss_on_the_validation_stream_stands_beside_the_baseline(tiny: Trial) -> None:
    asked: list[Any] = []

    def ideal(x: Any, batch: Batch, **_options: Any) -> Any:
        asked.append(x)
        return np.ones((len(batch.y), 1))

    learning = train(tiny, replace(ADDING, ideal=ideal)).learning
    y = np.concatenate([batch.y for batch in data.stream(ADDING, {}, tiny.length, "validation", tiny.eval_seed, 64)])
    assert learning.ideal == pytest.approx(np.mean((1 - y) ** 2))
    assert len(asked) == 1  # once, however many validations there are
    assert train(tiny, replace(ADDING, ideal=None)).learning.ideal == 0.0


@pytest.mark.parametrize("baseline", [0.0, float("inf"), float("nan"), -1.0])
def test_a_baseline_that_no_skill_can_be_made_of_is_refused(tiny: Trial, baseline: float) -> None:
    with pytest.raises(SuiteError, match=r"its baseline at length 10 is .*; it must be finite and above 0"):
        train(tiny, replace(ADDING, baseline=lambda _length: baseline))


# Seeds and repeatability


def resolved(trial: Trial, name: str, device: str) -> Trial:
    """The trial with another variant, on the engine that a plan would give it."""
    engine = resolve(REGISTRY.variant(name).noun, {}, AUTO, trial.training.steps * trial.length, device)
    return replace(trial, variant=Plugin(name), engine=engine, device=device)


@pytest.mark.parametrize("name", REGISTRY.variants)
def test_the_same_trial_is_the_same_to_the_bit(tiny: Trial, name: str) -> None:
    trial = resolved(tiny, name, "cpu")
    assert_same(train(trial), train(trial))


@pytest.mark.gpu
@pytest.mark.filterwarnings("ignore:RNN module weights are not part of single contiguous chunk")  # the equations have one bias a gate
@pytest.mark.parametrize("name", REGISTRY.variants)
def test_the_same_trial_is_the_same_to_the_bit_on_cuda(tiny: Trial, name: str) -> None:
    trial = resolved(tiny, name, "cuda")
    trained = train(trial)
    assert_same(trained, train(trial))
    assert {value.device.type for value in trained.state.values()} == {"cpu"}


def test_another_seed_is_another_trial(tiny: Trial) -> None:
    assert train(tiny).learning != train(replace(tiny, seed=1)).learning


def test_seeds_of_weights_and_data_are_apart_and_each_cell_has_its_own(tiny: Trial) -> None:
    seeds = [trainer.initial_seed(replace(tiny, seed=seed, length=length)) for seed in range(100) for length in (5, 6)]
    assert len(set(seeds)) == 200
    assert not set(seeds) & set(range(100))
    assert trainer.initial_seed(replace(tiny, variant=Plugin("lstm"))) == trainer.initial_seed(tiny)  # all variants begin alike


@pytest.mark.parametrize("engine", [VENDOR.name, DERIVED.name])
def test_training_leaves_the_global_generator(tiny: Trial, engine: str) -> None:
    before = torch.get_rng_state()
    train(replace(tiny, engine=engine))
    assert torch.equal(torch.get_rng_state(), before)


# Scores


@pytest.mark.parametrize("samples", [64, 128, 200])
def test_a_score_is_the_mean_over_samples_not_over_batches(tiny: Trial, samples: int) -> None:
    trial = change(tiny, evaluation_samples=samples, dtype="float64")
    members = members_of(trial)
    (scores,) = trainer.score(members, ADDING, trial, trainer.validation_stream(ADDING, trial)())
    batches = list(data.stream(ADDING, {}, trial.length, "validation", trial.eval_seed, samples))
    whole = Batch(np.concatenate([batch.x for batch in batches]), np.concatenate([batch.y for batch in batches]))
    with torch.no_grad():
        output = members.models[0](data.inputs(whole.x, torch.float64, "cpu"))
    error = output.squeeze(1).numpy() - whole.y
    assert scores == pytest.approx({"loss": (error**2).mean(), "within_0.08": (np.abs(error) < 0.08).mean()}, abs=1e-12)


def test_a_score_is_taken_in_evaluation_mode_and_training_goes_on(tiny: Trial) -> None:
    members = members_of(tiny)
    (net,) = members.models
    modes: list[bool] = []
    net.register_forward_hook(lambda *_: modes.append(net.training))
    trainer.score(members, ADDING, tiny, data.test_stream(ADDING, tiny, tiny.length))
    assert set(modes) == {False}
    assert net.training


def test_trials_that_share_the_eval_seed_meet_the_same_validation(tiny: Trial) -> None:
    members = members_of(tiny)
    moved = replace(tiny, eval_seed=7)
    scores, same, other = (
        trainer.score(members, ADDING, trial, trainer.validation_stream(ADDING, trial)()) for trial in (tiny, replace(tiny, seed=7), moved)
    )
    assert scores == same
    assert scores != other
    assert scores != trainer.score(members, ADDING, tiny, data.test_stream(ADDING, tiny, tiny.length))


def test_a_validation_stream_is_the_same_whether_it_is_kept_or_drawn_anew(tiny: Trial, monkeypatch: pytest.MonkeyPatch) -> None:
    trial = change(tiny, evaluation_samples=200)
    kept = trainer.validation_stream(ADDING, trial)
    monkeypatch.setattr(trainer, "KEPT", 0)
    drawn = trainer.validation_stream(ADDING, trial)
    for _ in range(2):
        for (x, batch), (same_x, same) in zip(kept(), drawn(), strict=True):
            assert np.array_equal(x, same_x)
            assert np.array_equal(batch.y, same.y)


def test_a_step_that_is_replayed_learns_the_same(tiny: Trial, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a GPU: what stands for a recording reads its inputs from where a recording would."""
    replayed: list[None] = []

    class Pretended:
        def __init__(self, call: Callable[[], object]) -> None:
            self.call = call

        def replay(self) -> None:
            replayed.append(None)
            self.call()

    monkeypatch.setattr(trainer, "Replay", lambda call: Replay(call, Pretended))
    trials = [replace(change(tiny, steps=12, validate_every=4, learning_rate=rate), engine=GRAPH.name, seed=seed) for seed in (0, 1) for rate in (0.01, 0.02)]  # fmt: skip
    plain = [replace(trial, engine=DERIVED.name) for trial in trials]
    again, wanted = (trainer.learn(each, ADDING, members_of(*each), lambda *_: None) for each in (trials, plain))
    assert len(replayed) == 12 - WARM_UP
    for own, other in zip(again, wanted, strict=True):
        assert_same(own, other)
