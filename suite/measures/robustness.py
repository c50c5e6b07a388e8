"""Asks a trained model for its test stream after each corruption that was found, from mild to harsh."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping

from ..spec import Array, Batch, Corruption, Measure, Point, Task, hookimpl
from ..training import data
from ..training.model import Model
from ..trial import Trial
from .evaluate import tested


def ask(model: Model, task: Task, trial: Trial, severity: float, *, corruption: Corruption) -> Point:
    """Scores on the frozen test stream of the trained length after the corruption.

    Its draws are keyed by corruption, severity and batch, so that every model meets the same damage.
    """
    return tested(model, task, trial, severity, trial.length, damaged(task, trial, severity, corruption))


def damaged(task: Task, trial: Trial, severity: float, corruption: Corruption) -> Iterator[tuple[Array, Batch]]:
    options, length, seed = dict(trial.task.options), trial.length, trial.eval_seed
    for index, batch in enumerate(data.stream(task, options, length, "test", seed, trial.training.evaluation_samples)):
        rng = data.generator("corruption", corruption.name, severity, task.name, options, length, seed, index)
        yield data.corrupt(task, batch, corruption, severity, rng), batch


@hookimpl
def suite_measures(corruptions: Mapping[str, Corruption]) -> Iterator[Measure]:
    for name, corruption in corruptions.items():
        points = tuple(map(float, corruption.severities))
        ask_after = functools.partial(ask, corruption=corruption)
        yield Measure(name, axis="robustness", ask=ask_after, points=points, unit=corruption.unit, corruption=name)
