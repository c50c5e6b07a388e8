"""Asks a trained model a measure's question at each of its points."""

from __future__ import annotations

from collections.abc import Iterable

import torch

from ..spec import Array, Batch, Measure, Point, Task
from ..training.model import Model
from ..training.trainer import means
from ..trial import Evaluation, Trial


@torch.no_grad()
def tested(model: Model, task: Task, trial: Trial, at: float, length: int, batches: Iterable[tuple[Array, Batch]]) -> Point:
    """The point of a model's means over test batches of a length, which come with their input ``(B, T, D)``."""
    scores = means(model, task, trial, batches)
    baseline = task.baseline(length, **trial.task.options)
    solved = task.solved(length, **trial.task.options).met(scores)
    return Point(at, length, scores, baseline, solved)


def evaluate(model: Model, task: Task, trial: Trial, evaluation: Evaluation, measure: Measure) -> tuple[Point, ...]:
    """The measure's answers at the evaluation's points, in their order; the model is in evaluation mode."""
    return tuple(measure.ask(model, task, trial, at) for at in evaluation.at)
