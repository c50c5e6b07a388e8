"""Checks the checks of tasks: each planted fault is caught, by the check that names it and by no other that could mislead."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Literal

import numpy as np
import pytest

from suite import Batch, Goal, Task
from suite.registry.finder import discover

from .sound import failures

ADDING, NOISY = (discover().tasks[name].noun for name in ("adding", "noisy"))


def drawing(draw: Callable[..., Batch], task: Task = ADDING) -> Task:
    return replace(task, draw=draw)


def from_a_pool(rng: np.random.Generator, batch_size: int, length: int) -> Batch:
    pool = ADDING.draw(np.random.default_rng(0), 2_000, length)
    rows = rng.integers(0, 2_000, batch_size)
    assert pool.protected is not None
    return Batch(pool.x[rows], pool.y[rows], protected=pool.protected[rows])


def values_unprotected(rng: np.random.Generator, batch_size: int, length: int) -> Batch:
    batch = ADDING.draw(rng, batch_size, length)
    assert batch.protected is not None
    return replace(batch, protected=np.stack([np.zeros(batch.x.shape[:2], dtype=bool), batch.protected[..., 1]], axis=2))


def parity_unprotected(rng: np.random.Generator, batch_size: int, length: int) -> Batch:
    bits = rng.integers(0, 2, (batch_size, length))
    return Batch(2.0 * bits[..., None] - 1, bits[:, :3].sum(axis=1) % 2, protected=np.arange(length) < np.full((batch_size, 1), 2))


def globally(_: np.random.Generator, batch_size: int, length: int) -> Batch:
    return ADDING.draw(np.random.default_rng(np.random.randint(2**31)), batch_size, length)


def one_noise(rng: np.random.Generator, batch_size: int, length: int, *, form: Literal["a", "b"] = "a", signal_steps: int = 1) -> Batch:
    batch = NOISY.draw(rng, batch_size, length, form=form, signal_steps=signal_steps)
    batch.x[:, signal_steps:] = batch.x[:1, signal_steps:]
    return batch


def wrong_shape(rng: np.random.Generator, batch_size: int, length: int) -> Batch:
    return Batch(rng.random((length, batch_size, 2)), rng.random(batch_size))


def not_from_the_task(rng: np.random.Generator, batch_size: int, length: int) -> Batch:
    batch = ADDING.draw(rng, batch_size, length)
    return replace(batch, x=np.where(batch.x > 0.999, np.nan, batch.x))


FAULTY_TASKS: dict[str, tuple[Task, set[str]]] = {
    "test data reused for training": (drawing(from_a_pool), {"splits"}),
    "too high a baseline": (replace(ADDING, baseline=lambda _length, **_: 0.1767), {"baseline"}),
    "too low a baseline": (replace(ADDING, baseline=lambda _length, **_: 0.157), {"baseline"}),
    "too high a baseline of a classification": (replace(NOISY, baseline=lambda _length, **_: 0.7), {"baseline"}),
    "marked values unprotected": (drawing(values_unprotected), {"protected"}),
    "half of a parity unprotected": (
        replace(NOISY, draw=parity_unprotected, ideal=None, solved=lambda _length: Goal("accuracy", at_least=0.9)),
        {"protected"},
    ),
    "global random numbers": (drawing(globally), {"order"}),
    "one noise for all samples": (drawing(one_noise, NOISY), {"samples"}),
    "wrong shape": (drawing(wrong_shape), {"batches"}),
    "NaN in the input": (drawing(not_from_the_task), {"batches"}),
    "goal without a metric": (replace(ADDING, solved=lambda _length, **_: Goal("accuracy", at_least=0.9)), {"goal"}),
    "goal that the baseline meets": (replace(ADDING, solved=lambda _length, **_: Goal("loss", below=0.2)), {"goal"}),
    "metric that is a sum": (replace(ADDING, metrics={"errors": lambda output, _: float((output > 0).sum())}), {"metrics"}),
    "option that baseline does not take": (replace(NOISY, baseline=lambda _length: np.log(2)), {"options"}),
}


@pytest.mark.parametrize(("task", "wanted"), FAULTY_TASKS.values(), ids=FAULTY_TASKS)
def test_a_faulty_task_is_caught(task: Task, wanted: set[str]) -> None:
    assert failures("task", task) == wanted
