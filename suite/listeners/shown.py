"""Says what MLflow shows of a trial: its name, its note, its parameters, and its values by metric and step."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from ..measures import length
from ..measures.scores import skill_of
from ..spec import Point
from ..trial import Evaluation, Outcome, Trial

CLEAN = 0
"""The step of the score without damage on a curve over severities, and of all that has one value: MLflow draws that as a bar."""

LONGEST = 500
"""Of a text that may be of any length, so many characters are shown."""


@dataclass(frozen=True)
class Value:
    """One value of a metric: at a step of the training, a tested length, or the place of a severity."""

    name: str
    value: float
    step: int


def name(trial: Trial) -> str:
    """Short enough for a column: ``adding50·s0·lstm·0.01``."""
    return f"{trial.task.label}{trial.length}·s{trial.seed}·{trial.variant.label}·{trial.training.learning_rate:g}"


def note(trial: Trial, outcome: Outcome) -> str:
    """What a person would want to know of a trial, in a line of Markdown."""
    what = f"**{trial.variant.label}** on {trial.task.label}, T = {trial.length}, seed {trial.seed}, rate {trial.training.learning_rate:g}"
    if outcome.status not in {"ok", "diverged"}:
        return f"{what}: {outcome.status}, {outcome.reason[:LONGEST]}"
    learning = outcome.learning
    solved = f"solved at step {learning.steps_to_solve}" if learning and learning.steps_to_solve else "not solved"
    skill = next((value.value for value in values(trial, outcome) if value.name == "test/skill"), None)
    return f"{what}: {solved}{'' if skill is None else f', test skill {skill:.3f}'}{', diverged' if outcome.status == 'diverged' else ''}"


def parameters(trial: Trial) -> dict[str, str]:
    """What a trial was trained with."""
    plain: dict[str, Any] = {
        "variant": trial.variant.label,
        "task": trial.task.label,
        "length": trial.length,
        "seed": trial.seed,
        "eval_seed": trial.eval_seed,
        "hidden_size": trial.hidden_size,
        "parameters": trial.parameters,
        "engine": trial.engine,
        "causal": trial.causal,
        **asdict(trial.training),
        **{f"variant.{option}": value for option, value in trial.variant.options.items()},
        **{f"task.{option}": value for option, value in trial.task.options.items()},
    }
    return {permitted(key): str(value) for key, value in plain.items()}


def values(trial: Trial, outcome: Outcome) -> Iterator[Value]:
    """Every score of a trial, no name twice at one step."""
    by_place = {(value.name, value.step): value for value in _scores(trial, outcome)}
    return iter(by_place.values())


def _scores(trial: Trial, outcome: Outcome) -> Iterator[Value]:
    learning = outcome.learning
    for validation in learning.curve if learning else ():
        for score, value in validation.scores.items():
            yield Value(permitted(score if score == "train_loss" else f"validation/{score}"), value, validation.step)
    if outcome.train_seconds is not None:
        yield Value("train_seconds", outcome.train_seconds, CLEAN)
    if learning and learning.steps_to_solve:
        yield Value("steps_to_solve", float(learning.steps_to_solve), CLEAN)
    clean: Point | None = None
    for evaluation in sorted(trial.evaluations, key=lambda evaluation: evaluation.measure != length.NAME):
        points = outcome.evaluations.get(evaluation.key, ())
        if evaluation.measure == length.NAME:
            clean = next((point for point in points if point.at == 1), None)
            yield from _tested(evaluation, points, clean)
        else:
            yield from _asked(evaluation, points, clean)


def _tested(evaluation: Evaluation, points: Sequence[Point], clean: Point | None) -> Iterator[Value]:
    """The scores on the test stream, and the skill as a curve over tested lengths."""
    if clean is not None:
        for score, value in {**clean.scores, "skill": skill_of(clean)}.items():
            yield Value(permitted(f"test/{score}"), value, CLEAN)
    if len(points) > 1:
        yield from (Value(f"{evaluation.axis}/skill", skill_of(point), point.length) for point in points)


def _asked(evaluation: Evaluation, points: Sequence[Point], clean: Point | None) -> Iterator[Value]:
    """A measure as curves over its points, whose steps are their places, since MLflow's steps are whole numbers.

    Of a measure with scores of its own these are shown, those that are the same at each point once; of another the skill, from the clean
    one on.
    """
    known = set(clean.scores) if clean is not None else {"loss"}
    own = [score for score in (points[0].scores if points else ()) if score not in known]
    for score in own:
        curve = [point.scores[score] for point in points]
        for place, value in enumerate(curve if len(set(curve)) > 1 else curve[:1]):
            yield Value(permitted(f"{evaluation.axis}/{score}"), value, place)
    if not own:
        metric = permitted(f"{evaluation.axis}/{evaluation.measure}/skill")
        damaged = [skill_of(point) for point in points]
        for place, value in enumerate([*([skill_of(clean)] if clean is not None else [math.nan]), *damaged]):
            yield Value(metric, value, place)


def charts(trials: Iterable[Trial]) -> list[str]:
    """The metrics of trials that say how well they did: the skill on the test stream, at other lengths, and under each damage."""
    asked = {evaluation.measure: evaluation.axis for trial in trials for evaluation in trial.evaluations}
    damaged = [permitted(f"{axis}/{measure}/skill") for measure, axis in asked.items() if axis == "robustness"]
    return ["test/skill", *(f"{axis}/skill" for measure, axis in asked.items() if measure == length.NAME), *damaged]


def permitted(metric: str) -> str:
    """A name with ``_`` in place of the characters that MLflow refuses."""
    return re.sub(r"[^\w\-. :/]", "_", metric)
