"""Asks a trained model a measure's question at each of its points."""

from __future__ import annotations

import math
from collections.abc import Iterable

import torch

from ..errors import SuiteError
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
    """The measure's answers at the evaluation's points, in their order; the model is in evaluation mode.

    Raises SuiteError for an answer that is no whole Point.
    """
    return tuple(_plain(measure, measure.ask(model, task, trial, at)) for at in evaluation.at)


def _plain(measure: Measure, answer: object) -> Point:
    """The answer with Python's own numbers, which a file can hold."""
    if not isinstance(answer, Point) or "loss" not in answer.scores:
        shown = "a Point without the score 'loss'" if isinstance(answer, Point) else type(answer).__name__
        raise SuiteError(f"measure '{measure.name}': ask returned {shown}; it must return a Point with a loss")
    baseline = float(answer.baseline)
    if not math.isfinite(baseline):
        raise SuiteError(f"measure '{measure.name}': the baseline of its Point is {baseline}; it must be finite")
    scores = {str(name): float(value) for name, value in answer.scores.items()}
    return Point(float(answer.at), int(answer.length), scores, baseline, bool(answer.solved))
