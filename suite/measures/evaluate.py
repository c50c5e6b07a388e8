"""Asks the trained models of a population a measure's question at each of its points."""

from __future__ import annotations

import math
from collections.abc import Sequence

from ..errors import SuiteError
from ..spec import Measure, Point, Stream, Task
from ..training import data
from ..training.members import Members
from ..training.trainer import means, together
from ..trial import Evaluation, Trial


def evaluate(members: Members, task: Task, trials: Sequence[Trial], evaluation: Evaluation, measure: Measure) -> list[tuple[Point, ...]]:
    """The measure's answers for each member at the evaluation's points, in their order; members are in evaluation mode.

    trials: the members'; a stream is the same for all of them, and a measure that asks by itself gets each model with its own

    Raises SuiteError for an answer that is no whole Point, and for a stream without batches.
    """
    by_point = [_asked(members, task, trials, measure, at) for at in evaluation.at]
    return [tuple(points) for points in zip(*by_point, strict=True)]


def _asked(members: Members, task: Task, trials: Sequence[Trial], measure: Measure, at: float) -> list[Point]:
    if measure.stream is None:
        assert measure.ask is not None
        return [_plain(measure, measure.ask(model.eval(), task, trial, at)) for model, trial in zip(members.models, trials, strict=True)]
    trial = trials[0]
    stream = measure.stream(task, trial, at)
    if not isinstance(stream, Stream):
        raise SuiteError(f"measure '{measure.name}': stream returned {type(stream).__name__}; it must return a Stream")
    options = trial.task.options
    baseline, goal = task.baseline(stream.length, **options), task.solved(stream.length, **options)
    ideal = data.Ideal(task, options)  # one for all members, which meet the same stream
    scores: Sequence[dict[str, float]] = means(together(members), task, trial, ideal.beside(stream.batches))
    if not scores:
        raise SuiteError(f"measure '{measure.name}': its stream at {at:g} has no batches; it must have one or more")
    return [_plain(measure, Point(at, stream.length, own, baseline, goal.met(own), ideal.loss)) for own in scores]


def _plain(measure: Measure, answer: object) -> Point:
    """The answer with Python's own numbers, which a file can hold."""
    if not isinstance(answer, Point) or "loss" not in answer.scores:
        shown = "a Point without the score 'loss'" if isinstance(answer, Point) else type(answer).__name__
        raise SuiteError(f"measure '{measure.name}': ask returned {shown}; it must return a Point with a loss")
    baseline, ideal = float(answer.baseline), float(answer.ideal)
    for name, loss in (("baseline", baseline), ("ideal", ideal)):
        if not math.isfinite(loss):
            raise SuiteError(f"measure '{measure.name}': the {name} of its Point is {loss}; it must be finite")
    scores = {str(name): float(value) for name, value in answer.scores.items()}
    return Point(float(answer.at), int(answer.length), scores, baseline, bool(answer.solved), ideal)
