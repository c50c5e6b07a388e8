"""Asks a trained model for sequences of other lengths than it was trained on."""

from __future__ import annotations

from collections.abc import Iterator

from ..spec import Measure, Stream, Task, hookimpl
from ..training import data
from ..trial import Trial

NAME = "length"


def stream(task: Task, trial: Trial, factor: float) -> Stream:
    """The frozen test stream whose length is so many times the trained one."""
    length = round(trial.length * factor)
    return Stream(length, data.test_stream(task, trial, length))


@hookimpl
def suite_measures() -> Iterator[Measure]:
    yield Measure(NAME, axis="long_range", stream=stream, points=(1.0, 2.0, 4.0), unit="× the trained length")
