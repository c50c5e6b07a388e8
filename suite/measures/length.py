"""Asks a trained model for sequences of other lengths than it was trained on."""

from __future__ import annotations

from collections.abc import Iterator

from ..spec import Measure, Point, Task, hookimpl
from ..training import data
from ..training.model import Model
from ..trial import Trial
from .evaluate import tested

NAME = "length"


def ask(model: Model, task: Task, trial: Trial, factor: float) -> Point:
    """Scores on the frozen test stream whose length is so many times the trained one."""
    length = round(trial.length * factor)
    batches = data.stream(task, trial.task.options, length, "test", trial.eval_seed, trial.training.evaluation_samples)
    return tested(model, task, trial, factor, length, ((data.features(task, batch), batch) for batch in batches))


@hookimpl
def suite_measures() -> Iterator[Measure]:
    yield Measure(NAME, axis="long_range", ask=ask, points=(1.0, 2.0, 4.0), unit="× the trained length")
