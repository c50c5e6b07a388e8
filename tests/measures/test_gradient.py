"""Checks how far a gradient reaches against decay rates that are known: a spectral radius, and a Lyapunov exponent found another way."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from suite import Batch, Measure, Point
from suite.execution.worker import Job, work
from suite.measures import gradient
from suite.measures.gradient import horizon, log_norms, read_at
from suite.ops.engines import DERIVED, REFERENCE, VENDOR
from suite.registry.finder import discover
from suite.spec import Plugin, Task
from suite.training import data, trainer
from suite.training.model import Model
from suite.trial import Evaluation, Trial

REGISTRY = discover()
ADDING, COPY = REGISTRY.task("adding").noun, REGISTRY.task("copy").noun
MEASURE = REGISTRY.measure(gradient.NAME).noun

Floats = NDArray[np.float64]
H, D = 12, 2


class Recurrence(nn.Module):
    """h_t = φ(W h_{t−1} + U x_t), read at its last step."""

    def __init__(self, weight_h: Floats, weight_x: Floats, activation: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.W, self.U, self.activation = torch.from_numpy(weight_h), torch.from_numpy(weight_x), activation

    def forward(self, x: Tensor) -> Tensor:  # (B, T, D) -> (B, H)
        h = x.new_zeros(len(x), len(self.W))
        for x_t in x.unbind(1):
            h = self.activation(h @ self.W.T + x_t @ self.U.T)
        return h


def planted(radius: float, seed: int) -> tuple[Floats, Floats]:
    """W of a spectral radius and U, from a seed."""
    rng = np.random.default_rng(seed)
    W = rng.normal(size=(H, H))
    return radius * W / np.abs(np.linalg.eigvals(W)).max(), rng.normal(size=(H, D))


def slope(logs: Floats, begin: int, end: int) -> float:
    """The growth of the mean logarithm with the lag, by least squares."""
    return float(np.polyfit(np.arange(begin, end), logs.mean(axis=0)[begin:end], 1)[0])


# The norms, against truth that is not ours


@pytest.mark.parametrize("radius", [0.9, 1.0, 1.05])
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_a_linear_recurrence_decays_by_its_spectral_radius(radius: float, seed: int) -> None:
    W, U = planted(radius, seed)
    assert np.abs(np.linalg.eigvals(W)).max() == pytest.approx(radius, rel=1e-12)
    x = torch.from_numpy(np.random.default_rng(9).normal(size=(3, 900, D)))
    logs = log_norms(Recurrence(W, U, lambda a: a), x, lambda h: h[:, 0].sum(), [899] * 3)
    assert logs.shape == (3, 900)
    assert slope(logs, 200, 900) == pytest.approx(math.log(radius), abs=5e-4)


def test_a_linear_recurrences_norms_are_those_of_the_closed_form() -> None:
    W, U = planted(0.8, 3)
    a = np.random.default_rng(4).normal(size=H)
    logs = log_norms(Recurrence(W, U, lambda h: h), torch.zeros(2, 20, D).double(), lambda h: (h @ torch.from_numpy(a)).sum(), [19, 19])
    wanted = [np.linalg.norm(U.T @ np.linalg.matrix_power(W.T, lag) @ a) for lag in range(20)]
    assert np.exp(logs) == pytest.approx(np.array([wanted, wanted]), rel=1e-10)


def lyapunov(weight_h: Floats, weight_x: Floats, x: Floats, skipped: int) -> float:
    """The largest Lyapunov exponent of h_t = tanh(W_h h_{t−1} + W_x x_t) driven by x (T, D): Benettin's method, by QR in forward time."""
    W, h, Q, logs = weight_h, np.zeros(len(weight_h)), np.eye(len(weight_h)), []
    for x_t in x:
        h = np.tanh(W @ h + weight_x @ x_t)
        Q, R = np.linalg.qr((1 - h**2)[:, None] * (W @ Q))
        logs.append(np.log(np.abs(np.diag(R))))
    return float(np.mean(logs[skipped:], axis=0).max())


@pytest.mark.parametrize(("radius", "seed"), [(0.9, 0), (1.2, 1), (1.5, 2), (0.7, 3), (4.0, 5)])
def test_a_tanh_recurrence_decays_by_its_lyapunov_exponent(radius: float, seed: int) -> None:
    W, U = planted(radius, seed)
    x = np.random.default_rng(seed).normal(0, 0.7, size=(8, 500, D))
    exponent = float(np.mean([lyapunov(W, U, sample, 100) for sample in x]))
    logs = log_norms(Recurrence(W, U, torch.tanh), torch.from_numpy(x), lambda h: h[:, 0].sum(), [499] * 8)
    assert abs(exponent) > 0.05
    assert slope(logs, 50, 400) == pytest.approx(exponent, rel=0.1)


def test_a_sample_has_its_own_gradient_and_its_own_last_step() -> None:
    x = torch.randn(3, 7, D, dtype=torch.float64)
    weights = torch.arange(1.0, 8.0, dtype=torch.float64)  # the gradient at step t is t + 1, times the sample's own factor

    def model(x: Tensor) -> Tensor:
        return (x[..., 0] * weights).sum(dim=1) * torch.tensor([1.0, 10.0, 100.0])

    logs = log_norms(model, x, torch.sum, [6, 4, 5])
    assert np.exp(logs) == pytest.approx(np.array([[7, 6, 5, 4, 3], [50, 40, 30, 20, 10], [600, 500, 400, 300, 200]]))


def test_what_is_too_small_for_its_type_counts_as_the_least_number() -> None:
    logs = log_norms(lambda x: 0 * x[:, :1] + 1e-30 * x[:, 1:2], torch.ones(1, 3, D), torch.sum, [2])
    tiny = math.log(torch.finfo(torch.float32).tiny)
    assert logs == pytest.approx(np.array([[tiny, math.log(1e-30 * math.sqrt(D)), tiny]]))  # whose square would be 0
    assert log_norms(lambda _x: torch.ones(1, requires_grad=True), torch.ones(1, 2, D), torch.sum, [1]) == pytest.approx(tiny)


def test_the_horizon_is_the_largest_lag_with_the_share() -> None:
    assert horizon(np.array([1.0, 0.5, 0.02, 0.009])) == 2
    assert horizon(np.array([1.0, 0.001, 0.01, 0.001])) == 2, "a gradient that comes back reaches"
    assert horizon(np.array([1.0, 2.0, 3.0])) == 2
    assert horizon(np.array([1.0])) == 0
    assert horizon(np.array([1.0, 0.5, 0.1]), share=0.3) == 1
    assert horizon(np.exp(math.log(0.5) * np.arange(30))) == 6  # 0.5⁶ = 0.016, 0.5⁷ = 0.008


def test_the_loss_is_read_at_the_last_step_that_counts() -> None:
    weight = np.array([[0, 1, 1, 0, 0], [1, 0, 0, 0, 2], [0, 0, 0, 0, 0.5]])
    batch = Batch(np.zeros((3, 5), dtype=int), np.zeros((3, 5), dtype=int), weight)
    assert read_at(COPY, batch, 5).tolist() == [2, 4, 4]
    assert read_at(COPY, replace(batch, weight=None), 5).tolist() == [4, 4, 4]
    assert read_at(ADDING, batch, 5).tolist() == [4, 4, 4]


# The measure


def asked(trial: Trial, variant: str, task: Task, engine: str = REFERENCE.name) -> list[Point]:
    """The points of a model that was not trained."""
    trial = replace(trial, variant=Plugin(variant), task=Plugin(task.name), engine=engine)
    (net,) = trainer.build([trial], REGISTRY.variant(variant).noun, task)
    assert MEASURE.ask is not None
    return [MEASURE.ask(net.eval(), task, trial, at) for at in MEASURE.points]


@pytest.mark.parametrize("task", [ADDING, COPY], ids=lambda task: task.name)
@pytest.mark.parametrize("variant", REGISTRY.variants)
def test_every_variant_has_a_gradient_by_lag(tiny: Trial, variant: str, task: Task) -> None:
    points = asked(tiny, variant, task)
    steps = tiny.length + (20 if task is COPY else 0)
    assert [point.scores["lag"] for point in points] == [round(at * (steps - 1)) for at in MEASURE.points]
    for point in points:
        assert point.length == tiny.length
        assert point.scores["gradient"] == point.scores["gradient_at_start"] > 0, "without training nothing has changed"
        assert {"loss", *task.metrics} <= set(point.scores)
        assert 0 <= point.scores["horizon"] <= point.scores["longest_lag"] == steps - 1
        assert point.baseline == task.baseline(tiny.length)
        assert not point.solved


def test_a_point_has_the_norm_of_the_task_s_own_channels(tiny: Trial) -> None:
    trial = replace(tiny, training=replace(tiny.training, dtype="float64", batch_size=16))
    (net,) = trainer.build([trial], REGISTRY.variant("gru").noun, ADDING)
    ((x, batch), *_) = list(gradient.first_samples(ADDING, trial))
    norms = gradient.mean_norms(net, ADDING, trial, [(x, batch)])
    whole = torch.from_numpy(np.concatenate([x, np.ones((*x.shape[:2], 1))], axis=2)).requires_grad_()
    ((net(whole)[:, 0] - torch.from_numpy(batch.y)) ** 2).sum().backward()
    assert whole.grad is not None
    wanted = np.exp(np.log(whole.grad[..., :2].norm(dim=2).numpy()).mean(axis=0))[::-1]
    assert norms == pytest.approx(wanted, rel=1e-10)


def test_of_an_answer_a_step_only_the_last_is_asked(tiny: Trial) -> None:
    trial = replace(tiny, task=Plugin("copy"), training=replace(tiny.training, dtype="float64"))
    (net,) = trainer.build([trial], REGISTRY.variant("gru").noun, COPY)
    samples = list(gradient.first_samples(COPY, trial))
    x, batch = samples[0]
    whole = torch.from_numpy(np.concatenate([x, np.ones((*x.shape[:2], 1))], axis=2)).double().requires_grad_()
    nn.functional.cross_entropy(net(whole)[:, -1], torch.from_numpy(batch.y[:, -1]), reduction="sum").backward()  # type: ignore[no-untyped-call]
    assert whole.grad is not None
    wanted = np.exp(np.log(whole.grad[..., :10].norm(dim=2).numpy()).mean(axis=0))[::-1]
    assert gradient.mean_norms(net, COPY, trial, samples[:1]) == pytest.approx(wanted, rel=1e-10)


@pytest.mark.parametrize(("samples", "batch_size", "wanted"), [(256, 24, [24, 24, 16]), (256, 500, [64]), (40, 16, [16, 16, 8])])
def test_the_first_samples_of_the_test_stream_are_asked(tiny: Trial, samples: int, batch_size: int, wanted: list[int]) -> None:
    trial = replace(tiny, test_samples=samples, training=replace(tiny.training, batch_size=batch_size))
    drawn = list(gradient.first_samples(ADDING, trial))
    assert [len(x) for x, _ in drawn] == [len(batch.y) for _, batch in drawn] == wanted
    whole = next(iter(data.test_stream(ADDING, trial, trial.length)))[0]
    assert np.array_equal(np.concatenate([x for x, _ in drawn]), whole[: sum(wanted)])


def test_the_pass_back_is_shared_by_the_points_and_follows_the_weights(tiny: Trial, monkeypatch: pytest.MonkeyPatch) -> None:
    passes: list[Model] = []
    whole = gradient.mean_norms

    def counted(net: Model, *arguments: Any) -> Floats:
        passes.append(net)
        return whole(net, *arguments)

    monkeypatch.setattr(gradient, "mean_norms", counted)
    (net,) = trainer.build([replace(tiny, seed=77)], REGISTRY.variant("gru").noun, ADDING)
    trial, ask = replace(tiny, seed=77), MEASURE.ask
    assert ask is not None
    before = [ask(net, ADDING, trial, at).scores["gradient"] for at in (0.0, 1.0)]
    assert len(passes) == 2  # of the trained weights, and of the first
    with torch.no_grad():
        net.readout.weight.mul_(2)
    after = ask(net, ADDING, trial, 0.0).scores
    assert len(passes) == 4
    assert after["gradient"] != before[0] == after["gradient_at_start"]


def test_engines_agree(tiny: Trial) -> None:
    points = [asked(tiny, "lstm", ADDING, engine.name) for engine in (REFERENCE, VENDOR, DERIVED)]
    assert points[0] == points[1] == points[2]


@pytest.mark.parametrize("engine", [DERIVED.name, VENDOR.name])
def test_each_model_of_a_population_is_asked_with_its_own_trial(tiny: Trial, tmp_path: Path, engine: str) -> None:
    """Its first weights are those of its own seed, and in evaluation mode it is what it would be alone."""

    def trial_of(seed: int) -> Trial:
        trial = replace(tiny, seed=seed, engine=engine)
        return replace(trial, evaluations=(Evaluation(gradient.NAME, gradient.NAME, (0.0, 1.0), trial.key, {}),))

    trials = tuple(trial_of(seed) for seed in range(3))
    channel = tmp_path / "events"
    channel.touch()

    def outcomes(group: tuple[Trial, ...], place: str) -> dict[str, tuple[Point, ...]]:
        checkpoints = tuple(tmp_path / f"{place}{index}.pt" for index in range(len(group)))
        done = work(Job(group, True, checkpoints, channel))
        assert [outcome.reason for outcome in done] == [""] * len(group)
        return {key: points for outcome in done for key, points in outcome.evaluations.items()}

    together = outcomes(trials, "all")
    alone = {key: points for trial in trials for key, points in outcomes((trial,), f"one{trial.seed}").items()}
    assert together == alone
    for trial in trials:
        (net,) = trainer.build([trial], REGISTRY.variant("gru").noun, ADDING)
        assert MEASURE.ask is not None
        first = MEASURE.ask(net, ADDING, trial, 0.0).scores["gradient"]
        found = together[trial.evaluations[0].key][0].scores
        assert found["gradient_at_start"] == first != found["gradient"]


def test_the_measure_is_found_by_being_there() -> None:
    assert isinstance(MEASURE, Measure)
    assert MEASURE.axis == gradient.NAME
    assert MEASURE.points[0] == 0
    assert MEASURE.points[-1] == 1
