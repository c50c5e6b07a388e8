"""Checks that every model meets the same questions: the test stream, longer ones, and the same damage."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from suite import Corruption, Measure, Point, SuiteError
from suite.measures import length, robustness, scores
from suite.measures.evaluate import evaluate
from suite.ops.engines import DERIVED, VENDOR
from suite.registry.finder import discover
from suite.spec import Array, Batch, Plugin, Stream, Task
from suite.training import data, model, trainer
from suite.training.members import Members
from suite.trial import Evaluation, Trial

REGISTRY = discover()
ADDING = REGISTRY.task("adding").noun
NOISE, DROP = (REGISTRY.corruption(name).noun for name in ("gaussian_noise", "step_drop"))


@pytest.fixture
def net() -> model.Model:
    return model.build(REGISTRY.variant("gru").noun, {}, ADDING, 4, VENDOR.name, 0)


def ask_all(members: Members, trial: Trial, measure: Measure, *at: float, task: Task = ADDING) -> list[tuple[Point, ...]]:
    members.train(False)
    return evaluate(members, task, [trial] * len(members), Evaluation(measure.name, measure.axis, at, trial.key, {}), measure)


def ask(net: model.Model, trial: Trial, measure: Measure, *at: float, task: Task = ADDING) -> tuple[Point, ...]:
    (points,) = ask_all(trainer.gather([net], VENDOR.name), trial, measure, *at, task=task)
    return points


def damage(corruption: Corruption) -> Measure:
    (measure,) = robustness.suite_measures({corruption.name: corruption})
    return measure


(LENGTH,) = length.suite_measures()


def test_factor_one_is_the_test_stream_of_the_trained_length(net: model.Model, tiny: Trial) -> None:
    (point,) = ask(net, tiny, LENGTH, 1.0)
    (scores,) = trainer.score(trainer.gather([net], VENDOR.name), ADDING, tiny, data.test_stream(ADDING, tiny, tiny.length))
    assert point == Point(1.0, 10, scores, 1 / 6, False)


def test_lengths_are_factors_of_the_trained_length(net: model.Model, tiny: Trial) -> None:
    points = ask(net, tiny, LENGTH, 1.0, 1.5, 4.0)
    assert [(point.at, point.length) for point in points] == [(1.0, 10), (1.5, 15), (4.0, 40)]
    assert len({point.scores["loss"] for point in points}) == 3


def test_each_length_has_its_own_baseline(tiny: Trial) -> None:
    copy = REGISTRY.task("copy").noun
    net = model.build(REGISTRY.variant("gru").noun, {}, copy, 4, VENDOR.name, 0)
    points = ask(net, replace(tiny, task=Plugin("copy")), LENGTH, 1.0, 2.0, task=copy)
    assert [point.baseline for point in points] == pytest.approx([10 * np.log(8) / 30, 10 * np.log(8) / 40])


def test_a_corruption_is_asked_at_its_severities() -> None:
    measure = damage(NOISE)
    assert (measure.name, measure.axis, measure.points, measure.unit) == ("gaussian_noise", "robustness", (20, 10, 0, -10, -20), "dB SNR")


def test_damage_is_the_same_for_every_model(net: model.Model, tiny: Trial) -> None:
    """What a corruption draws depends on severity and batch, not on the model, its seed or how often it was asked."""
    seen: list[np.ndarray[Any, Any]] = []

    def apply(rng: np.random.Generator, x: Any, protected: Any, severity: float) -> Any:
        seen.append(rng.random(4))
        return NOISE.apply(rng, x, protected, severity)

    other = model.build(REGISTRY.variant("lstm").noun, {}, ADDING, 4, VENDOR.name, 1)
    watched = damage(replace(NOISE, apply=apply))
    trial = replace(tiny, test_samples=200)
    for asked, by in ((net, trial), (other, replace(trial, seed=5, variant=Plugin("lstm"))), (net, trial)):
        ask(asked, by, watched, 20.0, -5.0)
    assert len(seen) == 3 * 2 * 2  # models, severities, batches
    for again in (seen[4:8], seen[8:]):
        assert all(np.array_equal(one, two) for one, two in zip(seen[:4], again, strict=True))
    assert len({one.tobytes() for one in seen[:4]}) == 4


def test_harsher_damage_is_a_worse_score(tiny: Trial) -> None:
    """A trained model, so that there is something to lose."""
    trial = replace(
        tiny, hidden_size=32, training=replace(tiny.training, steps=250, batch_size=32, validate_every=250, evaluation_samples=512)
    )
    net = model.build(REGISTRY.variant("gru").noun, {}, ADDING, 32, VENDOR.name, 0)
    trainer.learn([trial], ADDING, trainer.gather([net], VENDOR.name), lambda _trial, _validation: None)
    clean = ask(net, trial, LENGTH, 1.0)[0].scores["loss"]
    losses = [point.scores["loss"] for point in ask(net, trial, damage(NOISE), 20.0, 5.0, -5.0)]
    assert clean < losses[1] < losses[2]


def test_evaluating_changes_nothing(net: model.Model, tiny: Trial) -> None:
    before, state = {name: value.clone() for name, value in net.state_dict().items()}, torch.get_rng_state()
    ask(net, tiny, damage(NOISE), 0.0)
    assert all(torch.equal(value, net.state_dict()[name]) for name, value in before.items())
    assert torch.equal(torch.get_rng_state(), state)


def test_the_test_stream_is_not_the_validation_stream() -> None:
    one, two = (next(data.stream(ADDING, {}, 10, split, 0, 64)) for split in ("validation", "test"))
    assert not np.array_equal(one.x, two.x)


# The ideal predictor


@pytest.mark.parametrize("engine", [VENDOR.name, DERIVED.name])
def test_the_ideal_predictor_is_asked_once_a_stream_for_all_members_on_their_own_input(tiny: Trial, engine: str) -> None:
    seen: list[Array] = []

    def ideal(x: Array, batch: Batch, **_options: Any) -> Array:
        seen.append(x)
        return np.full((len(batch.y), 1), 1.0 + len(seen))

    trials = [replace(tiny, engine=engine, seed=seed, test_samples=200) for seed in range(3)]
    members = trainer.gather(trainer.build(trials, REGISTRY.variant("gru").noun, ADDING), engine)
    by_member = ask_all(members, trials[0], damage(NOISE), 20.0, -20.0, task=replace(ADDING, ideal=ideal))
    assert [len(x) for x in seen] == [128, 72] * 2  # the batches of two streams
    wanted = [x for at in (20.0, -20.0) for x, _ in robustness.damaged(ADDING, trials[0], at, NOISE)]
    assert all(np.array_equal(one, two) for one, two in zip(seen, wanted, strict=True))
    answers = np.split(np.repeat([2.0, 3.0, 4.0, 5.0], [128, 72] * 2), 2)
    y = np.concatenate([batch.y for _, batch in data.test_stream(ADDING, trials[0], tiny.length)])
    for points in by_member:
        assert [point.ideal for point in points] == pytest.approx([np.mean((answer - y) ** 2) for answer in answers])


def test_without_an_ideal_predictor_no_loss_at_all_is_ideal(net: model.Model, tiny: Trial) -> None:
    (point,) = ask(net, tiny, LENGTH, 1.0, task=replace(ADDING, ideal=None))
    assert point.ideal == 0.0


@pytest.mark.parametrize(
    ("name", "options"), [("adding", {}), ("adding", {"markers": "anywhere"}), ("copy", {}), ("noisy", {}), ("noisy", {"form": "b"})]
)
def test_who_answers_as_the_ideal_predictor_has_skill_one_on_every_stream(tiny: Trial, name: str, options: dict[str, Any]) -> None:
    task = REGISTRY.task(name).noun
    trial = replace(tiny, task=Plugin(name, options), test_samples=200)
    net = model.build(REGISTRY.variant("gru").noun, {}, task, 4, VENDOR.name, 0)
    for measure, at in ((LENGTH, 1.0), (LENGTH, 2.0), (damage(NOISE), -20.0), (damage(DROP), 0.9)):
        (point,) = ask(net, trial, measure, at, task=task)
        assert point.ideal < point.baseline
        assert scores.skill_of(replace(point, scores={"loss": point.ideal})) == 1.0
        assert scores.skill_of(replace(point, scores={"loss": point.baseline})) == 0.0


# Measures that give a stream, and measures that ask themselves


def stream(task: Task, trial: Trial, at: float) -> Stream:
    """Two batches of sizes apart, whose samples are not as many as the plan's."""

    def batches() -> Iterator[tuple[Array, Batch]]:
        for size in (48, 16):
            batch = data.draw(task, trial.task.options, trial.length, "mine", 0, size, size)
            yield at * batch.x, batch

    return Stream(trial.length, batches())


def error(net: model.Model, task: Task, trial: Trial, at: float) -> Point:
    """The measure's own way to the same answer."""
    (x, batch), (more_x, more) = stream(task, trial, at).batches
    y = np.concatenate([batch.y, more.y])
    with torch.no_grad():
        output = net(data.inputs(np.concatenate([x, more_x]), torch.float32, "cpu")).squeeze(1).numpy()
    return Point(at, trial.length, {"loss": ((output - y) ** 2).mean()}, 1 / 6, False)


@pytest.mark.parametrize("engine", [VENDOR.name, DERIVED.name])
def test_each_member_is_asked_at_each_point_by_either_kind_of_measure(tiny: Trial, engine: str) -> None:
    trials = [replace(tiny, engine=engine, seed=seed) for seed in range(3)]
    models = trainer.build(trials, REGISTRY.variant("gru").noun, ADDING)
    members = trainer.gather(models, engine)
    by_stream = ask_all(members, tiny, Measure("mine", "mine", stream=stream), 1.0, 2.0)
    by_asking = ask_all(members, tiny, Measure("mine", "mine", ask=error), 1.0, 2.0)
    assert [[(point.at, point.length) for point in points] for points in by_stream] == [[(1.0, 10), (2.0, 10)]] * 3
    for points, own in zip(by_stream, by_asking, strict=True):
        assert [point.scores["loss"] for point in points] == pytest.approx([point.scores["loss"] for point in own], rel=1e-5)
    assert len({point.scores["loss"] for points in by_stream for point in points}) == 6


def test_the_models_answer_is_scored_in_its_own_row_whatever_its_company(tiny: Trial) -> None:
    trials = [replace(tiny, engine=DERIVED.name, seed=seed) for seed in range(3)]
    models = trainer.build(trials, REGISTRY.variant("gru").noun, ADDING)
    whole = ask_all(trainer.gather(models, DERIVED.name), tiny, LENGTH, 1.0, 2.0)
    assert whole == [points for net in models for points in ask_all(trainer.gather([net], DERIVED.name), tiny, LENGTH, 1.0, 2.0)]


def test_a_measure_takes_one_of_stream_and_ask() -> None:
    with pytest.raises(ValueError, match="measure 'mine': takes one of stream= and ask="):
        Measure("mine", "mine")
    with pytest.raises(ValueError, match="measure 'mine': takes one of stream= and ask="):
        Measure("mine", "mine", stream=stream, ask=error)


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (0.3, "measure 'mine': stream returned float; it must return a Stream"),
        (Stream(10, []), "measure 'mine': its stream at 1 has no batches; it must have one or more"),
    ],
)
def test_a_stream_that_nothing_can_be_scored_on_is_the_measures_own_failure(
    net: model.Model, tiny: Trial, answer: Any, message: str
) -> None:
    with pytest.raises(SuiteError, match=message):
        ask(net, tiny, Measure("mine", "mine", stream=lambda *_: answer), 1.0)


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (0.3, "measure 'mine': ask returned float; it must return a Point with a loss"),
        (Point(1.0, 10, {"skill": 1.0}, 0.5, True), "a Point without the score 'loss'"),
        (Point(1.0, 10, {"loss": 1.0}, math.inf, True), "the baseline of its Point is inf; it must be finite"),
        (Point(1.0, 10, {"loss": 1.0}, 0.5, True, math.nan), "the ideal of its Point is nan; it must be finite"),
    ],
)
def test_an_answer_that_no_file_could_hold_is_the_measures_own_failure(net: model.Model, tiny: Trial, answer: Any, message: str) -> None:
    with pytest.raises(SuiteError, match=message):
        ask(net, tiny, Measure("mine", "mine", ask=lambda *_: answer), 1.0)


def test_numpys_numbers_become_pythons(net: model.Model, tiny: Trial) -> None:
    answer = Point(np.float32(1.0), np.int64(10), {"loss": np.float32(0.5)}, np.float64(0.5), np.bool_(True))  # type: ignore[arg-type, dict-item]
    (point,) = ask(net, tiny, Measure("mine", "mine", ask=lambda *_: answer), 1.0)
    assert [type(value) for value in (point.at, point.length, point.scores["loss"], point.baseline, point.solved)] == [
        float,
        int,
        float,
        float,
        bool,
    ]
