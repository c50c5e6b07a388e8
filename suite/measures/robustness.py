"""Asks a trained model for its test stream after each corruption that was found, from mild to harsh."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping

from ..spec import Array, Batch, Corruption, Measure, Stream, Task, hookimpl
from ..training import data
from ..trial import Trial


def stream(task: Task, trial: Trial, severity: float, *, corruption: Corruption) -> Stream:
    """The frozen test stream of the trained length after the corruption.

    Its draws are keyed by corruption, severity and batch, so that every model meets the same damage.
    """
    return Stream(trial.length, damaged(task, trial, severity, corruption))


def damaged(task: Task, trial: Trial, severity: float, corruption: Corruption) -> Iterator[tuple[Array, Batch]]:
    options, length, seed = dict(trial.task.options), trial.length, trial.eval_seed
    for index, (_, batch) in enumerate(data.test_stream(task, trial, length)):
        rng = data.generator("corruption", corruption.name, severity, task.name, options, length, seed, index)
        yield data.corrupt(task, batch, corruption, severity, rng), batch


@hookimpl
def suite_measures(corruptions: Mapping[str, Corruption]) -> Iterator[Measure]:
    for name, corruption in corruptions.items():
        points = tuple(map(float, corruption.severities))
        after = functools.partial(stream, corruption=corruption)
        yield Measure(name, axis="robustness", stream=after, points=points, unit=corruption.unit, corruption=name)
