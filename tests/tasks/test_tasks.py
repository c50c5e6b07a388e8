"""Holds every discovered task and corruption to the contract, and the packaged ones to their papers' numbers."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from statistics import NormalDist
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from suite import Batch, Corruption, Goal, Task, check
from suite.registry.finder import discover
from suite.spec import Options
from suite.training import data

from ..contract import SUBJECTS, each_check, hold

TASKS = {name: provided.noun for name, provided in discover().tasks.items()}
CORRUPTIONS = {name: provided.noun for name, provided in discover().corruptions.items()}
STANDARD_ERRORS = 4


CASES = {subject.label: (subject.noun, subject.options) for subject in SUBJECTS if subject.kind == "task"}

each = pytest.mark.parametrize(("task", "options"), CASES.values(), ids=CASES)
each_corruption = pytest.mark.parametrize("corruption", CORRUPTIONS.values(), ids=CORRUPTIONS)


def draw(
    task: Task, options: Options, size: int = 64, length: int | None = None, split: str = "train", seed: int = 0, step: int = 1
) -> Batch:
    return data.draw(task, options, length or task.lengths[0], split, seed, step, size)


def assert_near(values: NDArray[Any], wanted: float) -> None:
    """The mean of independent values is within four of its standard errors."""
    assert abs(values.mean() - wanted) <= STANDARD_ERRORS * values.std(ddof=1) / math.sqrt(len(values))


def each_loss(task: Task, output: NDArray[Any], batch: Batch) -> NDArray[Any]:
    """The loss of each sample, by the harness's own loss."""
    rows = [Batch(batch.x[i : i + 1], batch.y[i : i + 1]) for i in range(len(batch.y))]
    return np.array([float(data.loss(task, torch.from_numpy(output[i : i + 1]), row)) for i, row in enumerate(rows)])


# The contract


def test_the_three_tasks_and_the_corruptions_are_there() -> None:
    assert set(TASKS) >= {"copy", "adding", "noisy"}
    assert set(CORRUPTIONS) >= {
        "gaussian_noise",
        "multiplicative_noise",
        "impulse_noise",
        "step_drop",
        "step_hold",
        "token_substitution",
        "distractors",
    }


@each_check("task", "corruption")
def test_contract(subject: check.Subject[Any], promise: check.Check) -> None:
    hold(subject, promise)


# Copy memory, Arjovsky et al., 2016


def test_copy_layout() -> None:
    batch = draw(TASKS["copy"], {}, size=100, length=3)
    symbols = batch.x[:, :10]
    assert batch.x.shape == batch.y.shape == (100, 3 + 20)
    assert set(np.unique(symbols)) == set(range(1, 9))
    for x, y, symbol in zip(batch.x, batch.y, symbols, strict=True):
        assert x.tolist() == [*symbol, 0, 0, 9, *[0] * 10]  # ten symbols, T − 1 blanks, the marker, ten blanks
        assert y.tolist() == [*[0] * 13, *symbol]  # T + 10 blanks, the symbols


def perfect(batch: Batch) -> NDArray[np.float64]:
    """Logits that say the right class with near certainty."""
    return np.asarray(50 * np.eye(9)[batch.y])


def test_copy_metrics() -> None:
    task, batch = TASKS["copy"], draw(TASKS["copy"], {}, size=4, length=3)
    output = perfect(batch)
    assert {name: metric(output, batch) for name, metric in task.metrics.items()} == pytest.approx(
        {"recall_loss": 0, "recall_accuracy": 1, "exact_sequence": 1}, abs=1e-12
    )
    output[0, -1] = 50 * np.eye(9)[batch.y[0, -1] % 8 + 1]  # one wrong symbol among forty
    output[:, 0] = -output[:, 0]  # before the recall nothing counts
    assert task.metrics["recall_accuracy"](output, batch) == 39 / 40
    assert task.metrics["exact_sequence"](output, batch) == 3 / 4
    assert task.metrics["recall_loss"](np.zeros_like(output), batch) == pytest.approx(math.log(9))


def test_copy_baseline_by_the_harness_loss() -> None:
    """Blank for T + 10 steps, then one of eight alike, gets exactly 10 ln 8 / (T + 20)."""
    task, length = TASKS["copy"], 7
    batch = draw(task, {}, length=length)
    chances = np.zeros((*batch.y.shape, 9))
    chances[:, : length + 10, 0] = 1
    chances[:, length + 10 :, 1:] = 1 / 8
    loss = float(data.loss(task, torch.from_numpy(chances).clamp_min(1e-300).log(), batch))
    assert loss == pytest.approx(10 * math.log(8) / (length + 20), abs=1e-12)
    assert task.baseline(length) == pytest.approx(loss, abs=1e-12)


# Adding, Hochreiter & Schmidhuber, 1997


@given(length=st.integers(2, 30), seed=st.integers(0, 100))
def test_adding_marks_one_step_in_each_half_and_asks_for_their_sum(length: int, seed: int) -> None:
    batch = draw(TASKS["adding"], {}, size=8, length=length, seed=seed)
    values, markers = batch.x[..., 0], batch.x[..., 1]
    assert set(np.unique(markers)) <= {0, 1}
    assert (markers[:, : length // 2].sum(axis=1) == 1).all()
    assert (markers[:, length // 2 :].sum(axis=1) == 1).all()
    np.testing.assert_allclose(batch.y, (values * markers).sum(axis=1), rtol=0, atol=1e-15)


@given(length=st.integers(2, 30), seed=st.integers(0, 100))
def test_adding_may_mark_any_two_steps(length: int, seed: int) -> None:
    batch = draw(TASKS["adding"], {"markers": "anywhere"}, size=8, length=length, seed=seed)
    values, markers = batch.x[..., 0], batch.x[..., 1]
    assert set(np.unique(markers)) <= {0, 1}
    assert (markers.sum(axis=1) == 2).all()
    np.testing.assert_allclose(batch.y, (values * markers).sum(axis=1), rtol=0, atol=1e-15)


def test_adding_anywhere_marks_every_pair_alike() -> None:
    markers = draw(TASKS["adding"], {"markers": "anywhere"}, size=20_000, length=5).x[..., 1]
    for first, second in itertools.combinations(range(5), 2):
        assert_near(markers[:, first] * markers[:, second], 1 / 10)


def test_adding_marks_every_step_alike() -> None:
    markers = draw(TASKS["adding"], {}, size=20_000, length=9).x[..., 1]
    for step in range(9):
        assert_near(markers[:, step], 1 / 4 if step < 4 else 1 / 5)


def test_adding_values_are_uniform() -> None:
    values = draw(TASKS["adding"], {}, size=20_000, length=4).x[:, 0, 0]
    assert 0 <= values.min() <= values.max() < 1
    for power in (1, 2, 3):
        assert_near(values**power, 1 / (power + 1))


def test_adding_the_answer_one_gets_a_sixth() -> None:
    batch = draw(TASKS["adding"], {}, size=100_000)
    losses = (1 - batch.y) ** 2
    assert_near(losses, 1 / 6)
    assert abs(losses.mean() - 0.1767) > STANDARD_ERRORS * losses.std() / math.sqrt(len(losses))  # the figure often copied
    assert TASKS["adding"].baseline(20) == 1 / 6


def test_adding_within() -> None:
    batch = Batch(np.zeros((4, 2, 2)), np.array([1.0, 1.0, 1.0, 1.0]))
    output = np.array([[1.0], [1.079], [0.921], [1.081]])
    assert TASKS["adding"].metrics["within_0.08"](output, batch) == 3 / 4


# Noisy sequences, Hochreiter & Schmidhuber, 1997, experiment 3


@pytest.mark.parametrize("signal_steps", [1, 3])
def test_noisy_form_a_tells_the_class_plainly(signal_steps: int) -> None:
    batch = draw(TASKS["noisy"], {"signal_steps": signal_steps}, size=5_000, length=6)
    signal, noise = batch.x[:, :signal_steps, 0], batch.x[:, signal_steps:, 0]
    assert (signal == np.where(batch.y == 1, 1, -1)[:, None]).all()
    assert_near(batch.y.astype(float), 1 / 2)
    assert_near(noise.ravel(), 0)
    assert_near(noise.ravel() ** 2, 0.2)
    assert_near(noise.ravel() ** 4, 3 * 0.2**2)  # Gaussian
    assert_near(noise[:, 0] * noise[:, 1], 0)


@pytest.mark.parametrize("signal_steps", [1, 3])
def test_noisy_form_b_adds_noise_to_the_signal_too(signal_steps: int) -> None:
    batch = draw(TASKS["noisy"], {"form": "b", "signal_steps": signal_steps}, size=20_000, length=6)
    error = batch.x[:, :signal_steps, 0] - np.where(batch.y == 1, 1, -1)[:, None]
    assert_near(error.ravel(), 0)
    assert_near(error.ravel() ** 2, 0.2)


@pytest.mark.parametrize(("signal_steps", "published"), [(1, 0.01267), (2, 0.000783)])
def test_noisy_form_b_the_best_rule_errs_as_computed(signal_steps: int, published: float) -> None:
    bayes = NormalDist().cdf(-math.sqrt(signal_steps / 0.2))
    assert bayes == pytest.approx(published, abs=5e-6)
    size = 200_000
    batch = draw(TASKS["noisy"], {"form": "b", "signal_steps": signal_steps}, size=size, length=signal_steps + 1)
    errors = (batch.x[:, :signal_steps, 0].sum(axis=1) > 0) != (batch.y == 1)
    assert abs(errors.mean() - bayes) <= 3 * math.sqrt(bayes * (1 - bayes) / size)


def test_noisy_is_solved_within_a_point_of_the_best_rule() -> None:
    solved = TASKS["noisy"].solved
    assert solved(20) == Goal("accuracy", at_least=0.99)
    assert solved(20, form="b").at_least == pytest.approx(1 - 0.01267 - 0.01, abs=5e-6)
    assert solved(20, form="b", signal_steps=4).at_least == pytest.approx(0.99, abs=1e-5)


@pytest.mark.parametrize(("task", "options"), [("adding", {}), ("copy", {}), ("noisy", {}), ("noisy", {"form": "b"})])
def test_the_stated_baseline_equals_the_simplest_predictor(task: str, options: Options) -> None:
    """By the harness's own loss, sample by sample, against the number the task states."""
    noun, length = TASKS[task], 10
    batch = draw(noun, options, size=4_000, length=length)
    output = {
        "adding": np.ones((4_000, 1)),
        "noisy": np.zeros((4_000, 2)),
        "copy": np.where((np.arange(length + 20) < length + 10)[:, None] == (np.arange(9) == 0), 0, -1e3) * np.ones((4_000, 1, 1)),
    }[task]
    losses = each_loss(noun, output, batch)
    standard_error = losses.std(ddof=1) / math.sqrt(len(losses))
    assert abs(losses.mean() - noun.baseline(length, **options)) <= STANDARD_ERRORS * standard_error + 1e-9


@pytest.mark.parametrize(
    ("task", "options", "length", "message"),
    [("adding", {}, 1, "at least 2"), ("noisy", {"signal_steps": 6}, 5, "signal_steps"), ("noisy", {"signal_steps": 0}, 5, "signal_steps")],
)
def test_a_length_without_room_is_refused(task: str, options: Options, length: int, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        draw(TASKS[task], options, length=length)


# What is protected suffices for the answer

ANSWERS: dict[str, Callable[[NDArray[Any]], NDArray[Any]]] = {
    "adding": lambda x: np.asarray((x[..., 0] * x[..., 1]).sum(axis=1)),
    "copy": lambda x: np.asarray(x[:, :10].argmax(axis=2)),
    "noisy": lambda x: np.asarray(x.sum(axis=(1, 2)) > 0),
}


@pytest.mark.parametrize(
    ("task", "options"), [("adding", {}), ("copy", {}), ("noisy", {}), ("noisy", {"signal_steps": 3}), ("noisy", {"form": "b"})]
)
@each_corruption
def test_protected_elements_hold_the_answer_under_the_harshest_damage(task: str, options: Options, corruption: Corruption) -> None:
    noun = TASKS[task]
    batch = draw(noun, options, size=500)
    assert batch.protected is not None
    protected = batch.protected if batch.protected.ndim == 3 else batch.protected[..., None]
    damaged = data.corrupt(noun, batch, corruption, corruption.severities[-1], np.random.default_rng(0))
    answer = ANSWERS[task](np.where(protected, damaged, 0))
    if task == "noisy" and options.get("form") == "b":  # even the best rule errs, at a rate 0.0127; and by the signal alone
        assert (answer == (batch.x[:, 0, 0] > 0)).all()
    else:
        np.testing.assert_allclose(answer, batch.y[:, -10:] if task == "copy" else batch.y, rtol=0, atol=1e-12)


# Corruptions


@each_corruption
@each
def test_corruption_leaves_protected_elements_to_the_bit(task: Task, options: Options, corruption: Corruption) -> None:
    batch = draw(task, options)
    x, kept = data.features(task, batch), batch.x.copy()
    protected = np.zeros(x.shape[:2], dtype=bool) if batch.protected is None else batch.protected
    mask = np.broadcast_to(protected if protected.ndim == 3 else protected[..., None], x.shape)
    for severity in corruption.severities:
        for output in (
            data.corrupt(task, batch, corruption, severity, np.random.default_rng(0)),
            corruption.apply(np.random.default_rng(0), x, mask, severity),
        ):
            assert output.shape == x.shape
            assert np.array_equal(output[mask], x[mask])
            assert corruption.name in task.harmless or not np.array_equal(output[~mask], x[~mask])
    assert np.array_equal(batch.x, kept)


@each
@pytest.mark.parametrize("snr", CORRUPTIONS["gaussian_noise"].severities)
def test_noise_has_the_power_its_ratio_says(task: Task, options: Options, snr: float) -> None:
    batch = draw(task, options, size=2_000)
    x = data.features(task, batch).astype(np.float64)
    mask = np.zeros(x.shape[:2], dtype=bool) if batch.protected is None else batch.protected
    free = ~np.broadcast_to(mask if mask.ndim == 3 else mask[..., None], x.shape)
    noise = (data.corrupt(task, batch, CORRUPTIONS["gaussian_noise"], snr, np.random.default_rng(0)) - x)[free]
    delivered = 10 * math.log10(x[free].var() / (noise**2).mean())
    tolerance = STANDARD_ERRORS * 10 / math.log(10) * math.sqrt(2 / noise.size)  # of a variance's estimate, in dB
    assert abs(delivered - snr) <= tolerance
    assert abs(noise.mean()) <= STANDARD_ERRORS * noise.std() / math.sqrt(noise.size)


@pytest.mark.parametrize("probability", CORRUPTIONS["step_drop"].severities)
def test_steps_are_dropped_whole_and_at_their_rate(probability: float) -> None:
    x = np.random.default_rng(0).standard_normal((500, 40, 3))
    output = CORRUPTIONS["step_drop"].apply(np.random.default_rng(1), x, np.zeros(x.shape, dtype=bool), probability)
    lost = (output == 0).all(axis=2)
    assert np.array_equal(output[~lost], x[~lost])
    assert abs(lost.mean() - probability) <= STANDARD_ERRORS * math.sqrt(probability * (1 - probability) / lost.size)
    assert (lost.mean(axis=0) < 1).all()  # each sample loses its own steps
    assert (lost.mean(axis=0) > 0).all()


def test_a_lost_step_reads_as_the_last_that_arrived() -> None:
    x = np.random.default_rng(0).standard_normal((50, 40, 3))
    kept = np.zeros(x.shape, dtype=bool)
    kept[:, 7] = True
    output = CORRUPTIONS["step_hold"].apply(np.random.default_rng(1), x, kept, 0.5)
    for row, held in zip(x, output, strict=True):
        last = np.zeros(3)
        for x_t, held_t in zip(row, held, strict=True):
            last = x_t if np.array_equal(x_t, held_t) else last
            assert np.array_equal(held_t, last)
    lost = (output != x).any(axis=2)
    assert not lost[:, 7].any()
    assert abs(lost[:, 8:].mean() - 0.5) <= STANDARD_ERRORS * 0.5 / math.sqrt(lost[:, 8:].size)


@pytest.mark.parametrize("name", ["impulse_noise", "token_substitution", "distractors"])
def test_damage_strikes_at_its_rate(name: str) -> None:
    corruption = CORRUPTIONS[name]
    tokens = np.random.default_rng(0).integers(0, 4, size=(400, 50))
    x = np.eye(4)[tokens] if name == "token_substitution" else np.random.default_rng(0).standard_normal((400, 50, 4))
    for probability in corruption.severities:
        output = corruption.apply(np.random.default_rng(1), x, np.zeros(x.shape, dtype=bool), probability)
        struck = (output != x) if name == "impulse_noise" else (output != x).any(axis=2)
        rate = struck.mean()
        assert abs(rate - probability) <= STANDARD_ERRORS * math.sqrt(probability * (1 - probability) / struck.size) + 1 / tokens.size
        if name == "token_substitution":
            others = (output.argmax(axis=2) - tokens)[struck] % 4
            assert set(others) == {1, 2, 3}
            assert (output.sum(axis=2) == 1).all()


def test_impulses_stand_five_deviations_off() -> None:
    x = np.random.default_rng(0).standard_normal((200, 50, 1)) * 2 + 3
    output = CORRUPTIONS["impulse_noise"].apply(np.random.default_rng(1), x, np.zeros(x.shape, dtype=bool), 0.4)
    heights = (output[output != x] - x.mean()) / x.std()
    np.testing.assert_allclose(np.abs(heights), 5)
    assert abs(np.sign(heights).mean()) <= STANDARD_ERRORS / math.sqrt(heights.size)


def test_gain_noise_leaves_zeros_and_scales_with_the_input() -> None:
    x = np.stack([np.zeros((500, 40)), np.ones((500, 40)), np.full((500, 40), -3.0)], axis=2)
    change = CORRUPTIONS["multiplicative_noise"].apply(np.random.default_rng(1), x, np.zeros(x.shape, dtype=bool), 0.5) - x
    assert not change[..., 0].any()
    for channel, size in ((1, 0.5), (2, 1.5)):
        assert abs(change[..., channel].std() / size - 1) <= STANDARD_ERRORS / math.sqrt(2 * 20_000)


def test_a_false_signal_shows_what_the_answers_of_other_sequences_rest_on() -> None:
    batch = draw(TASKS["noisy"], {}, size=1_000)
    x = data.features(TASKS["noisy"], batch)
    output = data.corrupt(TASKS["noisy"], batch, CORRUPTIONS["distractors"], 0.5, np.random.default_rng(0))
    false = output[output != x]
    assert set(false) == {-1.0, 1.0}
    assert abs(false.mean()) <= STANDARD_ERRORS / math.sqrt(1_000)  # of either class, whatever the sequence's own


# The ideal predictor


@pytest.mark.parametrize(("name", "options", "loss"), [("adding", {}, 0.0), ("copy", {}, 0.0), ("noisy", {"form": "a"}, 0.0)])
@pytest.mark.parametrize("corruption", [None, *CORRUPTIONS])
def test_who_sees_all_loses_nothing_damaged_or_not(name: str, options: Options, loss: float, corruption: str | None) -> None:
    """What the answer rests on is protected."""
    task = TASKS[name]
    batch = draw(task, options, size=200, length=12)
    x = data.features(task, batch)
    if corruption:
        x = data.corrupt(task, batch, CORRUPTIONS[corruption], CORRUPTIONS[corruption].severities[-1], np.random.default_rng(0))
    assert data.ideal_loss(task, options, [(x, batch)]) == pytest.approx(loss, abs=1e-9)


@pytest.mark.parametrize("steps", [1, 2])
def test_the_posterior_of_noisy_sequences_is_that_of_bayes(steps: int) -> None:
    """By its error rate, Φ(−√(N/0.2)), and by calibration: of those said to be of class 1 with probability p, a part p is."""
    options: dict[str, str | int] = {"form": "b", "signal_steps": steps}
    batch = draw(TASKS["noisy"], options, size=200_000, length=4)
    assert TASKS["noisy"].ideal is not None
    output = TASKS["noisy"].ideal(batch.x, batch, **options)
    error = output.argmax(axis=1) != batch.y
    assert_near(error.astype(float), NormalDist().cdf(-math.sqrt(steps / 0.2)))
    probability = 1 / (1 + np.exp(output[:, 0] - output[:, 1]))
    assert_near(batch.y - probability, 0.0)
    unsure = (probability > 0.2) & (probability < 0.8)
    assert_near((batch.y - probability)[unsure], 0.0)


def test_sparing_a_model_distractors_is_no_damage() -> None:
    """A task says which corruptions are none to it; any other, a user's own too, is asked of its models."""
    assert "step_drop" in TASKS["noisy"].harmless
    assert "step_drop" not in (*TASKS["adding"].harmless, *TASKS["copy"].harmless)
