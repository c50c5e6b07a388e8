"""Checks that each member of a population learns what it would learn by itself, whatever company it has."""

from __future__ import annotations

import copy
import functools
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.optim import lr_scheduler

from suite import Batch, Goal, Task, Variant
from suite.ops.engines import AUTO, BATCHED, DERIVED, REFERENCE, VENDOR, engine, resolve
from suite.registry.finder import discover
from suite.spec import Plugin
from suite.training import data, trainer
from suite.training.members import InTurn, Members, Stacked
from suite.training.optimizer import OPTIMIZERS, Optimizer, factor
from suite.training.trainer import Trained
from suite.trial import Trial, Validation

REGISTRY = discover()
ADDING, COPY, GRU = REGISTRY.task("adding").noun, REGISTRY.task("copy").noun, REGISTRY.variant("gru").noun
ODD, STEPS, LENGTH = 7, 6, 6

SEEDS_AND_RATES = ((0, 0.01), (0, 0.03), (1, 0.01), (1, 0.1), (2, 0.02))
COMPANIES = ((2,), (2, 4), (2, 0, 1, 3, 4), (4, 3, 2, 1, 0))
"""Places of `SEEDS_AND_RATES`: one that is always there, with 0, 1 and 4 others, first or among them."""


def silent(_trial: Trial, _validation: Validation) -> None:
    """Hears of validations and does nothing."""


def change(trial: Trial, **training: Any) -> Trial:
    return replace(trial, training=replace(trial.training, **training))


def population(tiny: Trial, engine_name: str, **training: Any) -> list[Trial]:
    """Five trials of two or one learning rates a seed, of an odd hidden size."""
    plain = replace(change(tiny, **{"steps": STEPS, "validate_every": 3, **training}), hidden_size=ODD, length=LENGTH, engine=engine_name)
    return [change(replace(plain, seed=seed), learning_rate=rate) for seed, rate in SEEDS_AND_RATES]


def gathered(trials: Sequence[Trial], variant: Variant, task: Task = ADDING) -> Members:
    return trainer.gather(trainer.build(trials, variant, task), trials[0].engine)


def train(trials: Sequence[Trial], variant: Variant, task: Task = ADDING) -> list[Trained]:
    return trainer.learn(trials, task, gathered(trials, variant, task), silent)


def assert_same(trained: Trained, again: Trained) -> None:
    assert trained.learning == again.learning
    assert trained.diverged == again.diverged
    assert trained.state.keys() == again.state.keys()
    assert all(torch.equal(value, again.state[name]) for name, value in trained.state.items())


def assert_company_does_not_matter(trials: Sequence[Trial], variant: Variant, task: Task = ADDING) -> None:
    models = trainer.build(trials, variant, task)
    stacks = engine(trials[0].engine).stacks
    for batch_size in (13, 32):
        known: dict[int, Trained] = {}
        for company in COMPANIES:
            own = [change(trials[place], batch_size=batch_size) for place in company]
            # members that run in turn train their models themselves; stacked ones leave them, so that each is traced once
            nets = [models[place] if stacks else copy.deepcopy(models[place]) for place in company]
            for place, trained in zip(company, trainer.learn(own, task, trainer.gather(nets, own[0].engine), silent), strict=True):
                assert len(trained.learning.curve) == 2
                assert_same(trained, known.setdefault(place, trained))
        assert len({repr(trained.learning) for trained in known.values()}) == len(trials)


# Company


CELLS = [
    (name, engine_name)
    for name in REGISTRY.variants
    for engine_name in dict.fromkeys([DERIVED.name, BATCHED.name, resolve(REGISTRY.variant(name).noun, {}, AUTO, STEPS * LENGTH, "cpu")])
]


@pytest.mark.parametrize(("name", "engine_name"), CELLS)
def test_a_members_bits_do_not_depend_on_its_company(tiny: Trial, name: str, engine_name: str) -> None:
    trials = [replace(trial, variant=Plugin(name)) for trial in population(tiny, engine_name)]
    assert_company_does_not_matter(trials, REGISTRY.variant(name).noun)


@pytest.mark.parametrize(
    "training",
    [
        {"optimizer": "adamw", "weight_decay": 0.1, "warmup": 3, "schedule": "cosine"},
        {"dtype": "float64"},
        {"optimizer": "rmsprop"},
        {"optimizer": "sgd"},
        {"evaluation_samples": 200},
    ],
)
def test_company_does_not_matter_however_one_trains(tiny: Trial, training: dict[str, Any]) -> None:
    assert_company_does_not_matter(population(tiny, BATCHED.name, **training), GRU)


def test_company_does_not_matter_where_pieces_are_done_again(tiny: Trial) -> None:
    assert_company_does_not_matter(population(tiny, DERIVED.name, recompute=3), GRU)


def weighted(rng: np.random.Generator, batch_size: int, length: int) -> Batch:
    """One answer a step, some steps weighted; some batches have no weights at all."""
    x = rng.standard_normal((batch_size, length, 2))
    return Batch(x, x.sum(axis=2), rng.random((batch_size, length)) if rng.random() < 0.7 else None)


@pytest.mark.parametrize("task", [COPY, replace(ADDING, draw=weighted, per_step=True, metrics={}, ideal=None)], ids=["copy", "weighted"])
def test_company_does_not_matter_where_each_step_has_an_answer(tiny: Trial, task: Task) -> None:
    assert_company_does_not_matter(population(tiny, BATCHED.name), GRU, task)


class DropsOut(nn.Module):
    def __init__(self, input_size: int, hidden_size: int) -> None:
        super().__init__()
        self.linear = nn.Linear(input_size, hidden_size)

    def forward(self, x: Tensor) -> Tensor:  # (B, T, D) -> (B, T, H)
        return nn.functional.dropout(self.linear(x), 0.5, self.training)


def test_dropout_is_drawn_as_if_a_member_were_alone(tiny: Trial) -> None:
    trials, known = population(tiny, REFERENCE.name), dict[int, Trained]()
    for company in COMPANIES:
        trainer.prepare("cpu")  # which a worker does before each job
        for place, trained in zip(company, train([trials[place] for place in company], Variant("drops", DropsOut)), strict=True):
            assert_same(trained, known.setdefault(place, trained))


@pytest.mark.parametrize(("engine_name", "form"), [(DERIVED.name, Stacked), (BATCHED.name, Stacked), (VENDOR.name, InTurn)])
def test_a_member_alone_has_the_loss_and_gradients_of_its_model(tiny: Trial, engine_name: str, form: type[Members]) -> None:
    trials = population(tiny, engine_name, batch_size=13, dtype="float64")
    models = trainer.build(trials, GRU, ADDING)
    plain = [copy.deepcopy(net) for net in models]
    members = trainer.gather(models, engine_name)
    assert isinstance(members, form)
    x, wanted = next(trainer.drawn(trials, ADDING))
    losses = members.learn(x, lambda output, row: trainer.member_loss(ADDING, output, wanted, row))
    for row, net in enumerate(plain):
        loss = data.losses(ADDING, net(x[row]).unsqueeze(0), wanted.row(row))[0]
        loss.backward()  # type: ignore[no-untyped-call]
        torch.testing.assert_close(losses[row], loss.detach(), rtol=0, atol=1e-12)
        for name, parameter in net.named_parameters():
            assert parameter.grad is not None
            torch.testing.assert_close(members.weight(members.gradients, name, False)[row], parameter.grad, rtol=0, atol=1e-12)


# Members that end before the others


@pytest.mark.parametrize("engine_name", [DERIVED.name, VENDOR.name])
def test_a_member_that_diverges_does_not_touch_the_others(tiny: Trial, engine_name: str) -> None:
    trials = population(tiny, engine_name, optimizer="sgd")
    trials[1], trials[3] = change(trials[1], learning_rate=1e30), change(trials[3], learning_rate=0.0)
    wanted = train(trials, GRU)
    members = gathered(trials, GRU)
    members.block[3] = float("nan")
    trained = trainer.learn(trials, ADDING, members, silent)
    for place in (1, 3):
        assert trained[place].diverged == "the training loss was not finite by step 3"
        assert trained[place].learning.curve == ()
    for place in (0, 2, 4):
        assert not trained[place].diverged
        assert_same(trained[place], wanted[place])


@pytest.mark.parametrize("engine_name", [BATCHED.name, VENDOR.name])
def test_a_member_that_has_solved_does_not_move_while_others_go_on(tiny: Trial, engine_name: str) -> None:
    trials = [replace(trial, engine=engine_name) for trial in (change(tiny, learning_rate=0.03), change(tiny, learning_rate=1e-5))]
    fast, slow = ([validation.scores["loss"] for validation in trained.learning.curve] for trained in train(trials, GRU))
    reached = min(slow) - 1e-3
    solved_at = next(place for place in range(1, len(fast)) if max(fast[place - 1 : place + 1]) < reached)
    assert solved_at + 1 < len(fast)
    task = replace(ADDING, solved=lambda _length: Goal("loss", below=reached))
    stopping = [change(trial, stop="solved") for trial in trials]
    members = gathered(stopping, GRU, task)
    solved, going_on = trainer.learn(stopping, task, members, silent)
    assert [validation.scores["loss"] for validation in solved.learning.curve] == fast[: solved_at + 1]
    assert [validation.scores["loss"] for validation in going_on.learning.curve] == slow
    last = members.state(0, members.block[0])
    assert all(torch.equal(last[name], value) for name, value in solved.state.items())


# The optimizer


TORCHS: dict[str, Callable[..., Any]] = {
    "adam": torch.optim.Adam,
    "adamw": functools.partial(torch.optim.AdamW, weight_decay=0.5),
    "rmsprop": torch.optim.RMSprop,
    "sgd": torch.optim.SGD,
}


def torchs_schedule(optimizer: Any, training: Mapping[str, Any]) -> Any:
    """The learning rate of 20 steps, from torch's own schedulers."""
    warm = training.get("warmup", 0)
    cosine = (
        lr_scheduler.CosineAnnealingLR(optimizer, T_max=20 - warm) if "schedule" in training else lr_scheduler.ConstantLR(optimizer, 1.0)
    )
    if not warm:
        return cosine
    rising = lr_scheduler.LinearLR(optimizer, start_factor=1 / warm, total_iters=warm - 1)
    return lr_scheduler.SequentialLR(optimizer, [rising, cosine], milestones=[warm])


def test_every_optimizer_has_its_like_in_torch() -> None:
    assert TORCHS.keys() == OPTIMIZERS.keys()


@pytest.mark.filterwarnings("ignore:The epoch parameter in `scheduler.step")  # of torch's own call, in chained schedulers
@pytest.mark.parametrize(
    ("name", "training"),
    [
        *((name, {"weight_decay": 0.5} if name == "adamw" else {}) for name in TORCHS),
        ("adamw", {"weight_decay": 0.5, "schedule": "cosine", "warmup": 4}),
        ("sgd", {"schedule": "cosine"}),
        ("adam", {"warmup": 4}),
    ],
    ids=str,
)
@pytest.mark.parametrize("clip", [0.02, 100.0])
def test_a_step_is_that_of_torchs_optimizer(tiny: Trial, name: str, training: dict[str, Any], clip: float) -> None:
    """Also where the gradient is clipped in most steps, and for the member that is not the first."""
    trials = population(tiny, BATCHED.name, optimizer=name, clip=clip, dtype="float64", steps=20, **training)
    optimizer = TORCHS[name]
    models = trainer.build(trials, GRU, ADDING)
    net = copy.deepcopy(models[3])
    members = trainer.gather(models, BATCHED.name)
    ours = Optimizer(members, trials)
    theirs = optimizer(net.parameters(), lr=trials[3].training.learning_rate)
    schedule = torchs_schedule(theirs, training)
    clipped = 0
    for step, (x, wanted) in enumerate(trainer.drawn(trials, ADDING), 1):
        ours.begin(step)
        members.learn(x, lambda output, row, wanted=wanted: trainer.member_loss(ADDING, output, wanted, row))  # type: ignore[misc]
        ours.step()
        theirs.zero_grad()
        data.losses(ADDING, net(x[3]).unsqueeze(0), wanted.row(3)).backward()  # type: ignore[no-untyped-call]
        clipped += bool(nn.utils.clip_grad_norm_(net.parameters(), clip) > clip)
        theirs.step()
        schedule.step()
    assert (clipped > 10) == (clip < 1)
    state = members.state(3, members.block[3])
    for parameter, value in net.state_dict().items():
        torch.testing.assert_close(state[parameter], value, rtol=0, atol=1e-6)


@pytest.mark.parametrize(
    ("warmup", "schedule", "factors"),
    [
        (0, "constant", [1, 1, 1, 1]),
        (2, "constant", [0.5, 1, 1, 1]),
        (0, "cosine", [1, (1 + math.sqrt(0.5)) / 2, 0.5, (1 - math.sqrt(0.5)) / 2]),
        (2, "cosine", [0.5, 1, 1, 0.5]),
        (3, "cosine", [1 / 3, 2 / 3, 1, 1]),
    ],
)
def test_the_rate_rises_and_falls_as_its_closed_form(tiny: Trial, warmup: int, schedule: str, factors: list[float]) -> None:
    training = change(tiny, steps=4, warmup=warmup, schedule=schedule).training
    assert [factor(training, step) for step in range(1, 5)] == pytest.approx(factors)


def test_decay_alone_shrinks_every_weight_by_the_product_of_its_rates(tiny: Trial) -> None:
    """Without gradients nothing but decay moves a weight, of each member by its own learning rate."""
    used = {"optimizer": "adamw", "weight_decay": 0.5, "schedule": "cosine", "warmup": 2, "steps": 4, "dtype": "float64"}
    trials = population(tiny, BATCHED.name, **used)
    members = trainer.gather(trainer.build(trials, GRU, ADDING), BATCHED.name)
    before, optimizer = members.block.clone(), Optimizer(members, trials)
    for step in range(1, 5):
        members.gradients.zero_()
        optimizer.begin(step)
        optimizer.step()
    for row, trial in enumerate(trials):
        left = math.prod(1 - trial.training.learning_rate * part * 0.5 for part in (0.5, 1, 1, 0.5))
        torch.testing.assert_close(members.block[row], before[row] * left, rtol=1e-12, atol=0)


def test_who_has_ended_is_moved_by_no_later_rate(tiny: Trial) -> None:
    trials = population(tiny, BATCHED.name, optimizer="adamw", weight_decay=0.5, schedule="cosine", steps=4)
    members = trainer.gather(trainer.build(trials, GRU, ADDING), BATCHED.name)
    optimizer, before = Optimizer(members, trials), members.block.clone()
    optimizer.end(1)
    for step in range(1, 4):
        optimizer.begin(step)
        members.gradients.fill_(1.0)
        optimizer.step()
    moved = (members.block != before).any(dim=1)
    assert moved.tolist() == [row != 1 for row in range(len(trials))]


# What a model holds


class Mixture(nn.Module):
    """A core with weights and buffers of several types, one of them frozen."""

    def __init__(self, input_size: int, hidden_size: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(hidden_size, input_size, dtype=torch.complex64))
        self.bias = nn.Parameter(torch.randn(hidden_size))
        self.frozen = nn.Parameter(torch.randn(hidden_size), requires_grad=False)
        self.phase: Tensor
        self.register_buffer("phase", torch.full((hidden_size,), 0.6 + 0.8j, dtype=torch.complex64))
        self.scale: Tensor
        self.register_buffer("scale", torch.randn(hidden_size))
        self.order: Tensor
        self.register_buffer("order", torch.randperm(hidden_size))

    def forward(self, x: Tensor) -> Tensor:  # (B, T, D) -> (B, T, H)
        y = (self.phase * (x.to(self.weight.dtype) @ self.weight.T)).real
        return torch.tanh(self.scale * y + self.bias + self.frozen)[..., self.order]


MIXTURE = Variant("mixture", Mixture)


@pytest.mark.parametrize("engine_name", [BATCHED.name, REFERENCE.name])
@pytest.mark.parametrize(("dtype", "complex_dtype"), [("float32", torch.complex64), ("float64", torch.complex128)])
def test_a_model_keeps_its_types_and_what_is_frozen(tiny: Trial, engine_name: str, dtype: str, complex_dtype: torch.dtype) -> None:
    trials = population(tiny, engine_name, dtype=dtype)
    before = [{name: value.clone() for name, value in net.state_dict().items()} for net in trainer.build(trials, MIXTURE, ADDING)]
    wanted = {"weight": complex_dtype, "bias": getattr(torch, dtype), "frozen": getattr(torch, dtype)}
    wanted |= {"phase": complex_dtype, "scale": getattr(torch, dtype), "order": torch.int64}
    members = gathered(trials, MIXTURE)
    for trained, first in zip(trainer.learn(trials, ADDING, members, silent), before, strict=True):
        state = trained.state
        assert state.keys() == first.keys()
        assert {name: state[f"core.{name}"].dtype for name in wanted} == wanted
        for name in ("frozen", "phase", "scale", "order"):
            assert torch.equal(state[f"core.{name}"], first[f"core.{name}"])
        weight, drawn = state["core.weight"], first["core.weight"]
        assert not torch.equal(weight.real, drawn.real)
        assert not torch.equal(weight.imag, drawn.imag)  # the imaginary part learns, too
    assert {name for name, _ in members.models[0].named_parameters()} - {"core.frozen"} == set(members._places)


def test_stacked_members_with_buffers_of_their_own_learn_what_they_learn_in_turn(tiny: Trial) -> None:
    stacked, in_turn = (train(population(tiny, engine_name, dtype="float64"), MIXTURE) for engine_name in (BATCHED.name, REFERENCE.name))
    for trained, wanted in zip(stacked, in_turn, strict=True):
        for name, value in wanted.state.items():
            torch.testing.assert_close(trained.state[name], value, rtol=0, atol=1e-9)


# Batches


def test_trials_of_one_seed_share_their_batch(tiny: Trial) -> None:
    sizes: list[int] = []

    def draw(rng: np.random.Generator, batch_size: int, length: int) -> Batch:
        sizes.append(batch_size)
        return ADDING.draw(rng, batch_size, length)

    trials = population(tiny, BATCHED.name)
    train(trials, GRU, replace(ADDING, draw=draw))
    seeds = {trial.seed for trial in trials}
    assert sizes.count(tiny.training.batch_size) == len(seeds) * STEPS


def test_each_member_gets_the_batch_of_its_seed(tiny: Trial) -> None:
    trials = population(tiny, BATCHED.name)
    for step, (x, wanted) in enumerate(trainer.drawn(trials, ADDING), 1):
        for row, trial in enumerate(trials):
            batch = data.draw(ADDING, {}, LENGTH, "train", trial.seed, step, trial.training.batch_size)
            assert torch.equal(x[row], data.inputs(batch.x, torch.float32, "cpu"))
            assert torch.equal(wanted.y[row], torch.from_numpy(batch.y).float())


def test_what_a_task_raises_reaches_the_caller(tiny: Trial) -> None:
    """Although batches are drawn in a thread."""
    draws: list[int] = []

    def draw(rng: np.random.Generator, batch_size: int, length: int) -> Batch:
        draws.append(batch_size)
        if draws.count(tiny.training.batch_size) == 4:
            raise ZeroDivisionError("no such luck")
        return ADDING.draw(rng, batch_size, length)

    heard: list[int] = []
    task, trial = replace(ADDING, draw=draw), change(tiny, validate_every=1)
    with pytest.raises(ZeroDivisionError, match="no such luck"):
        trainer.learn([trial], task, gathered([trial], GRU), lambda _trial, validation: heard.append(validation.step))
    assert heard == [1, 2, 3]
