"""Checks that streams are keyed and pinned, and that inputs, damage and loss are what they say."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from suite import Batch, Corruption, SuiteError, Task
from suite.registry.finder import discover
from suite.training import data
from suite.trial import Trial

TASKS = {name: provided.noun for name, provided in discover().tasks.items()}

plain = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=4,
)


def task(loss: str = "mse", output_size: int = 1, per_step: bool = False, input_size: int = 1) -> Task:
    return Task("mine", lambda: None, input_size, output_size, loss, lambda: 1.0, lambda: None, per_step=per_step)  # type: ignore[arg-type, return-value]


# Streams


def test_the_stream_is_the_same_on_every_platform() -> None:
    """Numbers that stood here when the streams were first made: a change of them is a change of all data."""
    rng = data.generator("golden", 1, {"form": "b"})
    assert rng.integers(0, 2**32, size=3).tolist() == [522578426, 121855490, 358046546]
    assert rng.random(2).tolist() == [0.8190347472731009, 0.8777720675822327]
    assert rng.standard_normal(2).tolist() == pytest.approx([-1.059440990390069, -0.14663714032293865], rel=1e-15)


@given(st.lists(plain, max_size=3))
def test_equal_keys_give_equal_streams(key: list[Any]) -> None:
    one, two = data.generator(*key), data.generator(*json.loads(json.dumps(key)))
    assert one.random(4).tolist() == two.random(4).tolist()


@given(st.lists(plain, max_size=3), st.lists(plain, max_size=3))
def test_other_keys_give_other_streams(one: list[Any], two: list[Any]) -> None:
    same = json.dumps(one, sort_keys=True) == json.dumps(two, sort_keys=True)
    assert (data.generator(*one).random(4).tolist() == data.generator(*two).random(4).tolist()) == same


def test_neighbouring_seeds_are_independent() -> None:
    draws = np.stack([data.generator("data", seed, 0).standard_normal(1_000) for seed in range(20)])
    correlations = np.asarray(np.corrcoef(draws))[np.triu_indices(20, 1)]
    assert np.abs(correlations).max() < 4.5 / math.sqrt(1_000)


def test_a_training_batch_needs_no_replay() -> None:
    adding = TASKS["adding"]
    for step in (1, 7, 1_000_000):
        one, two = (data.draw(adding, {}, 10, "train", 3, step, 4) for _ in range(2))
        assert np.array_equal(one.x, two.x)


@pytest.mark.parametrize(
    "other",
    [
        ("noisy", {}, 10, "train", 3, 1),
        ("adding", {}, 11, "train", 3, 1),
        ("adding", {}, 10, "test", 3, 1),
        ("adding", {}, 10, "train", 4, 1),
        ("adding", {}, 10, "train", 3, 2),
    ],
    ids=["task", "length", "split", "seed", "step"],
)
def test_each_part_of_the_key_counts(other: tuple[str, dict[str, Any], int, str, int, int]) -> None:
    name, options, length, split, seed, step = other
    one, two = data.draw(TASKS["adding"], {}, 10, "train", 3, 1, 4), data.draw(TASKS[name], options, length, split, seed, step, 4)
    assert one.x[0, 0, 0] != two.x[0, 0, 0]


def test_options_count() -> None:
    one, two = (data.draw(TASKS["noisy"], options, 10, "train", 3, 1, 4) for options in ({}, {"form": "b"}))
    assert one.x[0, 5, 0] != two.x[0, 5, 0]


@pytest.mark.parametrize(("samples", "sizes"), [(1, [1]), (128, [128]), (129, [128, 1]), (300, [128, 128, 44])])
def test_a_stream_holds_as_many_samples_as_asked(samples: int, sizes: list[int]) -> None:
    batches = list(data.stream(TASKS["adding"], {}, 5, "test", 0, samples))
    assert [len(batch.y) for batch in batches] == sizes
    assert len({row.tobytes() for batch in batches for row in batch.x}) == samples
    again = list(data.stream(TASKS["adding"], {}, 5, "test", 0, samples))
    assert all(np.array_equal(one.x, two.x) for one, two in zip(batches, again, strict=True))


# Inputs


def test_tokens_become_one_hot() -> None:
    found = data.features(task(input_size=3), Batch(np.array([[2, 0], [1, 1]]), np.zeros(2)))
    assert found.tolist() == [[[0, 0, 1], [1, 0, 0]], [[0, 1, 0], [0, 1, 0]]]


def test_values_stay_as_they_are() -> None:
    x = np.random.default_rng(0).random((2, 3, 1))
    assert data.features(task(), Batch(x, np.zeros(2))) is x


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_inputs_take_any_layout(dtype: torch.dtype) -> None:
    x = np.broadcast_to(np.arange(3.0)[None, ::-1, None], (2, 3, 1))
    found = data.inputs(x, dtype, "cpu")
    assert found.dtype == dtype
    assert found.tolist() == [[[2, 1], [1, 1], [0, 1]]] * 2  # with a constant channel


def test_what_a_model_gets_has_one_channel_more_than_the_task() -> None:
    """It comes last and is added to what the corruption gave back, so that nothing can damage it."""
    noun = task(input_size=2)
    damaged = data.corrupt(noun, Batch(np.ones((1, 3, 2)), np.zeros(1)), Corruption("spoil", spoil, (1,)), 9, np.random.default_rng(0))
    assert damaged.shape[2] == noun.input_size
    found = data.inputs(damaged, torch.float32, "cpu")
    assert found.shape[2] == noun.width
    assert found.tolist() == [[[9, 9, 1]] * 3]


# Damage


def spoil(_rng: np.random.Generator, x: Any, _protected: Any, severity: float) -> Any:
    """A corruption that does not keep its word: it spares nothing."""
    return np.full_like(x, severity)


@pytest.mark.parametrize(
    ("protected", "wanted"),
    [
        (None, [[9, 9], [9, 9]]),
        (np.array([[True, False]]), [[1, 2], [9, 9]]),
        (np.array([[[True, False], [False, True]]]), [[1, 9], [9, 4]]),
    ],
    ids=["nothing", "a step", "elements"],
)
def test_protected_elements_are_kept_whatever_the_corruption_does(protected: Any, wanted: list[list[int]]) -> None:
    batch = Batch(np.array([[[1.0, 2.0], [3.0, 4.0]]]), np.zeros(1), protected=protected)
    found = data.corrupt(task(input_size=2), batch, Corruption("spoil", spoil, (1, 2, 3, 4, 5)), 9, np.random.default_rng(0))
    assert found.tolist() == [wanted]


def test_damage_to_tokens_is_damage_to_their_one_hot_form() -> None:
    batch = Batch(np.array([[1, 0]]), np.zeros(1), protected=np.array([[True, False]]))
    found = data.corrupt(task(input_size=2), batch, Corruption("spoil", spoil, (1, 2, 3, 4, 5)), 9, np.random.default_rng(0))
    assert found.tolist() == [[[0, 1], [9, 9]]]


# Loss, by hand


def test_mean_squared_error_of_one_answer() -> None:
    found = data.loss(task(), torch.tensor([[1.0], [4.0]]), Batch(np.zeros((2, 1, 1)), np.array([0.0, 2.0])))
    assert found.item() == (1 + 4) / 2


@pytest.mark.parametrize("kind", [np.int64, np.int32, np.int8])
def test_cross_entropy_of_one_answer(kind: type[np.integer[Any]]) -> None:
    output = torch.tensor([[0.0, math.log(3)], [math.log(4), 0.0]], dtype=torch.float64)
    found = data.loss(task("cross_entropy", 2), output, Batch(np.zeros((2, 1, 1)), np.array([1, 1], dtype=kind)))
    assert found.item() == pytest.approx((-math.log(3 / 4) - math.log(1 / 5)) / 2, abs=1e-12)


def test_cross_entropy_of_every_step_weighted() -> None:
    chances = np.array([[[0.5, 0.5], [0.9, 0.1]], [[0.2, 0.8], [0.3, 0.7]]])
    y, weight = np.array([[0, 1], [1, 0]]), np.array([[1.0, 0.0], [2.0, 0.5]])
    output = torch.from_numpy(np.log(chances))
    noun = task("cross_entropy", 2, per_step=True)
    wanted = -(math.log(0.5) + 2 * math.log(0.8) + 0.5 * math.log(0.3)) / 3.5
    assert data.loss(noun, output, Batch(np.zeros((2, 2, 1)), y, weight)).item() == pytest.approx(wanted, abs=1e-12)
    unweighted = -(math.log(0.5) + math.log(0.1) + math.log(0.8) + math.log(0.3)) / 4
    assert data.loss(noun, output, Batch(np.zeros((2, 2, 1)), y)).item() == pytest.approx(unweighted, abs=1e-12)


def test_mean_squared_error_of_every_step_weighted() -> None:
    output = torch.tensor([[[1.0], [2.0]], [[3.0], [5.0]]])
    batch = Batch(np.zeros((2, 2, 1)), np.array([[0.0, 0.0], [1.0, 1.0]]), np.array([[1.0, 3.0], [0.0, 1.0]]))
    assert data.loss(task(per_step=True), output, batch).item() == pytest.approx((1 + 3 * 4 + 16) / 5)


MEMBERS = 3


@pytest.mark.parametrize("kind", ["mse", "cross_entropy"])
@pytest.mark.parametrize("weighted", [(), (0, 1, 2), (1,)], ids=["no weights", "weights", "weights of one batch alone"])
def test_each_members_loss_is_that_of_its_own_outputs_on_its_own_batch(kind: str, weighted: tuple[int, ...]) -> None:
    rng = np.random.default_rng(0)
    classes = 4 if kind == "cross_entropy" else 1
    noun = task(kind, classes, per_step=True)
    outputs = torch.from_numpy(rng.standard_normal((MEMBERS, 5, 6, classes)))
    weights = [rng.random((5, 6)) if row in weighted else None for row in range(MEMBERS)]
    batches = [Batch(np.zeros((5, 6, 1)), rng.integers(classes, size=(5, 6)), weight) for weight in weights]
    losses = data.losses(noun, outputs, data.targets(noun, batches, outputs.dtype, "cpu"))
    assert losses.tolist() == pytest.approx([data.loss(noun, outputs[row], batches[row]).item() for row in range(MEMBERS)], abs=1e-12)
    shared = data.losses(noun, outputs, data.targets(noun, batches[1:2], outputs.dtype, "cpu"))
    assert shared.tolist() == pytest.approx([data.loss(noun, outputs[row], batches[1]).item() for row in range(MEMBERS)], abs=1e-12)


def test_the_test_stream_is_shared_by_trials_of_one_eval_seed(tiny: Trial) -> None:
    tokens = TASKS["copy"]
    streams = [list(data.test_stream(tokens, trial, 4)) for trial in (tiny, replace(tiny, seed=7), replace(tiny, eval_seed=7))]
    (x, batch), (same_x, _), (other_x, _) = (batches[0] for batches in streams)
    assert np.array_equal(x, data.features(tokens, batch))
    assert np.array_equal(x, same_x)
    assert not np.array_equal(x, other_x)
    assert sum(len(batch.y) for _, batch in streams[0]) == tiny.test_samples


# The ideal predictor


def told(noun: Task, outputs: Any) -> Task:
    return replace(noun, ideal=lambda _x, batch, **_options: outputs(batch))


def test_a_task_without_an_ideal_predictor_has_none_that_loses() -> None:
    assert data.ideal_loss(task(), {}, [(np.ones((2, 3, 1)), Batch(np.ones((2, 3, 1)), np.ones(2)))]) == 0.0


def test_the_ideal_loss_is_the_mean_over_samples_not_over_batches() -> None:
    batches = [Batch(np.zeros((size, 1, 1)), np.full(size, error)) for size, error in ((3, 1.0), (1, 3.0))]
    noun = told(task(), lambda batch: np.zeros((len(batch.y), 1)))
    assert data.ideal_loss(noun, {}, [(batch.x, batch) for batch in batches]) == (3 * 1 + 1 * 9) / 4


def test_the_ideal_predictor_meets_the_very_input_and_the_options() -> None:
    seen: list[Any] = []

    def ideal(x: Any, batch: Batch, **options: Any) -> Any:
        seen.append((x, batch, options))
        return np.zeros((len(batch.y), 1))

    x, batch = np.full((2, 3, 1), 7.0), Batch(np.zeros((2, 3, 1)), np.zeros(2))
    stream = data.Ideal(replace(task(), ideal=ideal), {"form": "b"}).beside([(x, batch)])
    assert seen == []
    assert next(stream) == (x, batch)  # as they came, and not before they are asked for
    assert seen == [(x, batch, {"form": "b"})]


@pytest.mark.parametrize(
    ("per_step", "outputs", "message"),
    [
        (False, np.zeros(2), r"task 'mine': ideal gave shape \(2,\); it must give a model's raw outputs, \(2, 1\)"),
        (True, np.zeros((2, 1)), r"task 'mine': ideal gave shape \(2, 1\); it must give a model's raw outputs, \(2, 3, 1\)"),
        (False, np.array([[1.0], [math.inf]]), "task 'mine': ideal gave NaN or infinity"),
    ],
)
def test_outputs_that_no_model_gives_are_the_tasks_own_failure(per_step: bool, outputs: Any, message: str) -> None:
    noun = told(task(per_step=per_step), lambda _batch: outputs)
    batch = Batch(np.zeros((2, 3, 1)), np.zeros((2, 3) if per_step else 2))
    with pytest.raises(SuiteError, match=message):
        data.ideal_loss(noun, {}, [(batch.x, batch)])
