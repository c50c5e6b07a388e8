"""Asks whether the ideal predictor itself meets a task's goal, on the very streams by which a trial is called solved."""

from __future__ import annotations

import torch

from ..spec import Task
from ..training import data, trainer
from ..trial import Trial


def is_asked(task: Task, trial: Trial) -> bool:
    """Whether the task states an ideal predictor, and training is not under damage, which the validation stream then is too."""
    return task.ideal is not None and not trial.training.corruption


def missed(task: Task, trial: Trial) -> list[str]:
    """The streams of the trial, among "validation" and "test", on which the ideal predictor misses the goal; empty where it is not asked."""
    if not is_asked(task, trial):
        return []
    goal = task.solved(trial.length, **trial.task.options)
    sizes = {"validation": trial.training.evaluation_samples, "test": trial.test_samples}
    return [split for split, samples in sizes.items() if not goal.met(scores(task, trial, split, samples))]


def scores(task: Task, trial: Trial, split: str, samples: int) -> dict[str, float]:
    """The loss and the metrics of the ideal predictor, as means over a stream of so many samples."""
    totals: dict[str, float] = {}
    options = trial.task.options
    for batch in data.stream(task, options, trial.length, split, trial.eval_seed, samples):
        outputs = torch.from_numpy(data.ideal_outputs(task, options, data.features(task, batch), batch))
        (own,) = trainer.member_scores(task, outputs.unsqueeze(0), batch)
        for name, value in own.items():
            totals[name] = totals.get(name, 0.0) + value * len(batch.y)
    return {name: total / samples for name, total in totals.items()}
