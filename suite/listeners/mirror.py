"""Writes trials into an MLflow experiment: one run for each trial below a run for the invocation, and every value once."""

from __future__ import annotations

import math
import re
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from ..keys import digest
from ..measures import length
from ..measures.scores import skill_of
from ..registry.finder import discover
from ..spec import Machine
from ..store.store import Store
from ..trial import Evaluation, Invocation, Outcome, Trial
from .database import CONTENT, FOLDER, TRIAL_KEY, content_of, folder_of

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run

BATCH = 1000
"""How many metrics MLflow takes in one call."""

NOTE = "mlflow.note.content"
"""The tag whose Markdown the pages show as a description."""

ANSWER = "answer.md"
"""The file of a report that holds its answer as Markdown."""

ENDS = {"ok": "FINISHED", "timeout": "KILLED"}
"""How MLflow names the ends of trials; it calls all others failed, and the tag ``suite.status`` tells them apart."""

KIND = {"mlflow.experimentKind": "custom_model_development"}
"""A tag of the experiment, with which its pages show training runs first."""


@dataclass(frozen=True)
class Value:
    """One value of a metric, at a step of the training."""

    name: str
    value: float
    step: int


class Mirror:
    """The experiment of one plan, as one invocation writes into it.

    Whoever makes one holds the lock of the plan's store. No other run of this folder is alive then: a run in MLflow that was written
    from it and is still marked as running was left by a process that has ended. It is ended when the mirror is made, and completed when
    its trial is shown again.
    """

    def __init__(self, client: MlflowClient, invocation: Invocation) -> None:
        self._client = client
        self._invocation = invocation
        self._store = Store(invocation.runs, invocation.plan)
        self._folder = folder_of(invocation.runs)
        self._experiment = self._find_experiment()
        self._parent = ""
        self._open: list[str] = []  # ids of the runs that this invocation has still to end
        self._shown: dict[str, tuple[str, str]] = {}  # run id and content by trial key
        self.look()

    def look(self) -> None:
        """See what MLflow shows by now: when the mirror is made, and after a failure, where a call may have been carried out unanswered."""
        shown = {}
        for run in self._runs():
            tags = run.data.tags
            left_running = run.info.status == "RUNNING" and tags.get(FOLDER) == self._folder and run.info.run_id != self._parent
            if left_running:
                self._client.set_terminated(run.info.run_id, status="KILLED")
            if TRIAL_KEY in tags:
                shown[tags[TRIAL_KEY]] = (run.info.run_id, "" if left_running else tags.get(CONTENT, ""))
        self._shown, self._open = shown, [self._parent] if self._parent else []

    def show(self, trial: Trial, outcome: Outcome) -> None:
        """Bring the run of one trial up to date; a run that shows this outcome already is left alone."""
        content = content_of(outcome)
        run_id, shown = self._shown.get(trial.key, ("", ""))
        if shown == content:
            return
        parent = self._invocation_run()
        parameters, values = _parameters(trial), [value for value in _values(trial, outcome) if math.isfinite(value.value)]
        run = self._client.get_run(run_id) if run_id else None
        logged = list(self._logged(run, values)) if run else []
        if run and _contradicts(run, parameters, values, logged):
            self._client.delete_run(run_id)
            run, logged = None, []
        duration = int((outcome.train_seconds or 0.0) * 1000)
        run = run or self._create(trial, parent, int(time.time() * 1000) - duration)
        run_id, start = run.info.run_id, run.info.start_time
        self._open.append(run_id)
        steps = {(value.name, value.step) for value in logged}
        self._log(run_id, [value for value in values if (value.name, value.step) not in steps], start, duration / trial.training.steps)
        self._describe(run_id, trial, outcome, {name: value for name, value in parameters.items() if name not in run.data.params})
        self._end(run_id, ENDS.get(outcome.status, "FAILED"), start + duration)
        self._client.set_tag(run_id, CONTENT, content)  # last, so that a mirroring that breaks off is done again
        self._shown[trial.key] = (run_id, content)

    def attach(self, report: Path) -> None:
        """Keep a copy of the report with the run of this invocation, and its answer as the note of that run and of the experiment."""
        parent = self._invocation_run()
        self._client.log_artifacts(parent, str(report), "report")
        if (report / ANSWER).is_file():  # a report of an earlier version has none
            note = (report / ANSWER).read_text(encoding="utf-8")
            self._client.set_tag(parent, NOTE, note)
            self._client.set_experiment_tag(self._experiment, NOTE, note)

    @property
    def wrote(self) -> bool:
        """Whether this invocation has a run of its own, since it had something to show."""
        return bool(self._parent)

    def end(self, status: str) -> None:
        """End the run of this invocation, and those of trials whose mirroring broke off."""
        for run_id in tuple(self._open):
            self._end(run_id, status if run_id == self._parent else "KILLED")

    def _end(self, run_id: str, status: str, end_time: int | None = None) -> None:
        self._client.set_terminated(run_id, status=status, end_time=end_time)
        self._open.remove(run_id)

    def _find_experiment(self) -> str:
        """The experiment of the plan's name, made where it is not there; a deleted one comes back."""
        plan, runs = self._invocation.plan, self._invocation.runs
        experiment = self._client.get_experiment_by_name(plan)
        if experiment is None:
            local = urlsplit(self._client.tracking_uri).scheme == "sqlite"
            location = (runs.resolve() / "artifacts" / plan).as_uri() if local else None
            return str(self._client.create_experiment(plan, artifact_location=location, tags=KIND))
        if experiment.lifecycle_stage == "deleted":
            self._client.restore_experiment(experiment.experiment_id)
        return str(experiment.experiment_id)

    def _runs(self) -> Iterator[Run]:
        token = None
        while True:
            page = self._client.search_runs([self._experiment], max_results=1000, page_token=token)
            yield from page
            token = page.token
            if not token:
                return

    def _invocation_run(self) -> str:
        """The run of this invocation, made when the first thing is written below it."""
        from mlflow.entities import Param

        if not self._parent:
            invocation, name = self._invocation, f"suite run {self._invocation.plan}"
            tags = {**_machine_tags(invocation.machine), **self._origin, "mlflow.source.name": name}
            self._parent = self._client.create_run(self._experiment, run_name=name, tags=tags).info.run_id
            self._open.append(self._parent)
            counts = {"plan": invocation.plan, "trials": len(invocation.trials), "trials run": len(invocation.pending)}
            self._client.log_batch(self._parent, params=[Param(name, str(value)) for name, value in counts.items()])
        return self._parent

    @property
    def _origin(self) -> dict[str, str]:
        return {FOLDER: self._folder, "mlflow.source.type": "LOCAL"}

    def _create(self, trial: Trial, parent: str, start: int) -> Run:
        tags = {**self._origin, "mlflow.parentRunId": parent, TRIAL_KEY: trial.key}
        name = f"{trial.variant.label} · {trial.task.label} · T={trial.length} · seed {trial.seed}"
        return self._client.create_run(self._experiment, start_time=start, run_name=name, tags=tags)

    def _logged(self, run: Run, values: Iterable[Value]) -> Iterator[Value]:
        """Those of the values that a run shows already, as it shows them."""
        steps: dict[str, set[int]] = {}
        for value in values:
            steps.setdefault(value.name, set()).add(value.step)
        for name in steps.keys() & run.data.metrics.keys():
            if len(steps[name]) == 1:  # there is no history to ask for
                yield Value(name, run.data.metrics[name], *steps[name])
            else:
                history = self._client.get_metric_history(run.info.run_id, name)
                yield from (Value(name, point.value, point.step) for point in history if point.step in steps[name])

    def _log(self, run_id: str, values: Sequence[Value], start: int, milliseconds_a_step: float) -> None:
        from mlflow.entities import Metric

        metrics = [Metric(value.name, value.value, start + int(value.step * milliseconds_a_step), value.step) for value in values]
        for first in range(0, len(metrics), BATCH):
            self._client.log_batch(run_id, metrics[first : first + BATCH])

    def _describe(self, run_id: str, trial: Trial, outcome: Outcome, parameters: Mapping[str, str]) -> None:
        """Give a run its parameters, its tags, the trial's file and the sources of what was trained."""
        from mlflow.entities import Param, RunTag

        stored, accepted = self._store.standing(trial.key)
        tags = {
            "suite.status": outcome.status,
            "suite.reason": outcome.reason[:500],
            **({"suite.last_step": str(outcome.last_step)} if outcome.last_step is not None else {}),
            **({"suite.accepted": accepted.why[:500]} if accepted else {}),
            "suite.plugin_digest": digest({name: value for name, value in trial.sources.items() if ".dropins." in name}, 64),
            "mlflow.source.name": f"suite run {self._invocation.plan}",
            **_machine_tags(stored.machine if stored else self._invocation.machine),
        }
        params = [Param(name, value) for name, value in parameters.items()]
        self._client.log_batch(run_id, params=params, tags=[RunTag(name, value) for name, value in tags.items()])
        self._client.log_artifact(run_id, str(self._store.file("trials", stored.key if stored else trial.key)))
        registry = discover()
        for provided in (registry.variants.get(trial.variant.name), registry.tasks.get(trial.task.name)):
            if provided and provided.path:
                self._client.log_artifact(run_id, str(provided.path), "source")


def _contradicts(run: Run, parameters: Mapping[str, str], values: Iterable[Value], logged: Iterable[Value]) -> bool:
    """Whether a trial's run shows something else than it should, as after the trial was trained anew.

    MLflow changes neither a parameter nor a value of a metric, so that such a run must be replaced.
    """
    right = {(value.name, value.step): value.value for value in values}
    if any(run.data.params.get(name, value) != value for name, value in parameters.items()):
        return True
    return not all(math.isclose(right[value.name, value.step], value.value, rel_tol=1e-6) for value in logged)


def _machine_tags(machine: Machine) -> dict[str, str]:
    return {f"suite.{name.replace(' ', '_')}": value for name, value in machine.described().items()}


def _parameters(trial: Trial) -> dict[str, str]:
    parameters: dict[str, Any] = {
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
        **{f"variant.{name}": value for name, value in trial.variant.options.items()},
        **{f"task.{name}": value for name, value in trial.task.options.items()},
    }
    return {_permitted(name): str(value) for name, value in parameters.items()}


def _values(trial: Trial, outcome: Outcome) -> Iterator[Value]:
    """Every score of a trial: the curve by step, the final ones at the last, no name twice at one step."""
    values = {(value.name, value.step): value for value in _scores(trial, outcome)}
    return iter(values.values())


def _scores(trial: Trial, outcome: Outcome) -> Iterator[Value]:
    learning = outcome.learning
    for validation in learning.curve if learning else ():
        for name, score in validation.scores.items():
            yield Value(_permitted(name if name == "train_loss" else f"validation/{name}"), score, validation.step)
    last = learning.curve[-1].step if learning and learning.curve else 0
    if outcome.train_seconds is not None:
        yield Value("train_seconds", outcome.train_seconds, last)
    if learning and learning.steps_to_solve:
        yield Value("steps_to_solve", float(learning.steps_to_solve), last)
    for evaluation in trial.evaluations:
        for point in outcome.evaluations.get(evaluation.key, ()):
            for name, score in {**point.scores, "skill": skill_of(point)}.items():
                yield Value(_permitted(f"{_place(evaluation, point.at)}/{name}"), score, last)


def _place(evaluation: Evaluation, at: float) -> str:
    """The heading under which MLflow's pages show the scores of a measure at one of its points."""
    if evaluation.measure == length.NAME:
        return "test" if at == 1 else f"{evaluation.axis}/{at:g}x"
    return f"{evaluation.axis}/{evaluation.measure}/{at:g}"


def _permitted(name: str) -> str:
    """A name with ``_`` in place of the characters that MLflow refuses."""
    return re.sub(r"[^\w\-. :/]", "_", name)
