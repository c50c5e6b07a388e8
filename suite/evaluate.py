"""Asks a trained model its questions: other lengths and corrupted inputs become scores."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from . import data
from .model import Model
from .spec import Corruption, Evaluation, Task, Trial
from .trainer import scores


@torch.no_grad()
def evaluate(model: Model, trial: Trial, task: Task, evaluation: Evaluation, corruption: Corruption | None) -> list[dict[str, Any]]:
    """Scores on the plan's frozen test stream at each of the evaluation's points.

    A "length" evaluation draws at `factor · length`; a "corruption" damages the test stream of the trained length, its
    draws keyed by corruption, severity and batch, so that every model meets the same damage.
    """
    return [_at(model, trial, task, evaluation, corruption, at) for at in evaluation.at]


def _at(model: Model, trial: Trial, task: Task, evaluation: Evaluation, corruption: Corruption | None, at: float) -> dict[str, Any]:
    dtype = getattr(torch, trial.training.dtype)
    samples = trial.training.evaluation_samples
    length = round(trial.length * at) if evaluation.kind == "length" else trial.length
    totals: Mapping[str, float] = {}
    for index, batch in enumerate(data.stream(task, trial.task_options, length, "test", trial.eval_seed, samples)):
        if corruption is None:
            x = data.features(task, batch)
        else:
            rng = data.generator("corruption", corruption.name, at, task.name, dict(trial.task_options), length, trial.eval_seed, index)
            x = data.corrupt(task, batch, corruption, at, rng)
        found = scores(task, model(data.inputs(x, dtype, trial.device)), batch)
        totals = {name: totals.get(name, 0.0) + value * len(batch.y) / samples for name, value in found.items()}
    return {
        "at": at,
        "length": length,
        "scores": totals,
        "baseline": task.baseline(length, **trial.task_options),
        "solved": task.solved(length, **trial.task_options).met(totals),
    }
