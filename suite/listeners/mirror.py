"""Writes a plan into an MLflow experiment: a run for the invocation, and one for each variant with its trials below it, every value once."""

from __future__ import annotations

import contextlib
import getpass
import math
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from .. import palette
from ..keys import digest
from ..registry.finder import discover
from ..spec import Machine
from ..store.store import Store
from ..trial import Invocation, Outcome, Trial
from . import shown, summary, views
from .database import CONTENT, FOLDER, LAID_OUT, REPORTED, TRIAL_KEY, content_of, folder_of
from .shown import Value
from .views import KIND

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

EXPERIMENT_KIND = {"mlflow.experimentKind": "custom_model_development"}
"""A tag of the experiment, with which its pages show training runs first."""

LAYOUT, VARIANT, COLOUR = "suite.layout", "suite.variant", "mlflow.runColor"
"""Tags of a run: how its metrics are laid out, the variant that it sums up, and its colour in charts."""


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
        self._unreported = ""  # the folder's last invocation, where its report is not attached whole
        self._open: list[str] = []  # ids of the runs that this invocation has still to end
        self._shown: dict[str, tuple[str, str]] = {}  # run id and content by trial key
        self._variants: dict[str, str] = {}  # id of the run that sums up a variant, by label
        self._colours = palette.colours(trial.variant.label for trial in invocation.trials)
        self.look()

    def look(self) -> None:
        """See what MLflow shows by now: when the mirror is made, and after a failure, where a call may have been carried out unanswered."""
        own, seen = {self._parent, *self._variants.values()}, {}
        ranks: dict[str, tuple[bool, bool]] = {}
        last = -1
        for run in self._runs():
            run_id, tags = run.info.run_id, run.data.tags
            if VARIANT in tags and tags.get(FOLDER) == self._folder:
                self._variants[tags[VARIANT]] = run_id
            left_running = run.info.status == "RUNNING" and tags.get(FOLDER) == self._folder and run_id not in own
            if left_running and TRIAL_KEY in tags:
                self._break_off(run_id)
            elif left_running:
                self._client.set_terminated(run_id, status="KILLED")
            if REPORTED in tags and tags.get(FOLDER) == self._folder and run.info.start_time > last:
                last, self._unreported = run.info.start_time, run_id if tags[REPORTED] == "no" else ""
            if key := tags.get(TRIAL_KEY):
                unfinished = run.info.status == "RUNNING"  # whoever began it: its content is written before its files
                rank = (tags.get(FOLDER) == self._folder, not unfinished)  # another folder's run stands where there is none of this one's
                if rank >= ranks.get(key, rank):
                    seen[key], ranks[key] = (run_id, "" if unfinished else tags.get(CONTENT, "")), rank
        self._shown, self._open = seen, [run_id for run_id in self._open if run_id in own]

    def show(self, trial: Trial, outcome: Outcome) -> None:
        """Bring the run of one trial up to date; a run that shows this outcome already is left alone."""
        content = content_of(outcome)
        run_id, shown_before = self._shown.get(trial.key, ("", ""))
        if shown_before == content:
            return
        parent = self._variant_run(trial.variant.label)
        parameters, values = shown.parameters(trial), [value for value in shown.values(trial, outcome) if math.isfinite(value.value)]
        run = self._client.get_run(run_id) if run_id else None
        logged = list(self._logged(run, values)) if run else []
        if run and (run.data.tags.get(LAYOUT) != str(LAID_OUT) or _contradicts(run, parameters, values, logged)):
            if run.data.tags.get(FOLDER) == self._folder:  # another folder's run is its own to replace
                self._client.delete_run(run_id)
            run, logged = None, []
        duration = int((outcome.train_seconds or 0.0) * 1000)
        new = run is None  # and marked as running up to its end, so that nobody takes it for whole before
        run = run or self._create(trial, parent, int(time.time() * 1000) - duration)
        run_id, start = run.info.run_id, run.info.start_time
        self._open.append(run_id)
        steps = {(value.name, value.step) for value in logged}
        missing = [value for value in values if (value.name, value.step) not in steps]
        params = {name: value for name, value in parameters.items() if name not in run.data.params}
        tags = self._tags(trial, outcome) | ({CONTENT: content} if new else {})
        self._log(run_id, missing, start, duration / trial.training.steps, params, tags)
        self._keep_files(run, trial)
        self._end(run_id, ENDS.get(outcome.status, "FAILED"), start + duration)
        if not new:
            self._client.set_tag(run_id, CONTENT, content)  # last, so that a mirroring that breaks off is done again
        self._shown[trial.key] = (run_id, content)

    def attach(self, report: Path) -> None:
        """Keep a copy of the report with the run of this invocation, and its answer as notes and as the metrics of each variant."""
        parent = self._invocation_run()
        self._client.log_artifacts(parent, str(report), "report")
        if (report / ANSWER).is_file():  # a report of an earlier version has none
            note = (report / ANSWER).read_text(encoding="utf-8")
            self._client.set_tag(parent, NOTE, note)
            self._client.set_experiment_tag(self._experiment, NOTE, note)
        summaries = summary.of(report)
        for label, of_variant in summaries.items():
            run_id, now = self._variant_run(label), int(time.time() * 1000)
            before = self._client.get_run(run_id).data.metrics
            changed = {name: value for name, value in of_variant.scores.items() if before.get(name) != value}
            self._log(run_id, [Value(name, value, shown.CLEAN) for name, value in changed.items()], now, 0.0)
            self._client.set_tag(run_id, NOTE, of_variant.note)
        scores = dict.fromkeys(name for of_variant in summaries.values() for name in of_variant.scores)
        for tag, view in views.views(scores, shown.charts(self._invocation.trials)).items():
            self._client.set_experiment_tag(self._experiment, tag, view)
        self._client.set_tag(parent, REPORTED, "yes")  # last, so that what breaks off is done again

    def owes_report(self) -> bool:
        """Whether a report is to be attached: to this invocation's run, or to that of the last one, where it broke off in doing so."""
        self._parent = self._parent or self._unreported
        return bool(self._parent)

    def end(self, status: str) -> None:
        """End the run of this invocation, those of the variants, and those of trials whose mirroring broke off."""
        whole = {self._parent, *self._variants.values()}
        for run_id in tuple(self._open):
            if run_id in whole:
                self._end(run_id, status)
            else:
                self._break_off(run_id)
                self._open.remove(run_id)

    def _break_off(self, run_id: str) -> None:
        """End the run of a trial that is not whole."""
        self._client.set_tag(run_id, CONTENT, "")  # first: once it has ended, its content is believed
        self._client.set_terminated(run_id, status="KILLED")

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
            return str(self._client.create_experiment(plan, artifact_location=location, tags=EXPERIMENT_KIND))
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
            tags = {
                **self._origin,
                KIND: "plan",
                REPORTED: "no",
                "mlflow.source.name": name,
                **_git_tags(invocation.machine),
                **_machine_tags(invocation.machine),
            }
            self._parent = self._client.create_run(self._experiment, run_name=name, tags=tags).info.run_id
            self._open.append(self._parent)
            counts = {"plan": invocation.plan, "trials": len(invocation.trials), "trials run": len(invocation.pending)}
            self._client.log_batch(self._parent, params=[Param(name, str(value)) for name, value in counts.items()])
        return self._parent

    def _variant_run(self, label: str) -> str:
        """The run that sums up a variant, made when the first thing is written of it or below it.

        It stands below no other, since charts show nothing of what is folded away.
        """
        from mlflow.entities import Param

        self._invocation_run()
        if label not in self._variants:
            name = f"suite run {self._invocation.plan}"
            tags = {**self._origin, KIND: "variant", VARIANT: label, COLOUR: self._colour(label), "mlflow.source.name": name}
            self._variants[label] = self._client.create_run(self._experiment, run_name=label, tags=tags).info.run_id
        if self._variants[label] not in self._open:
            self._open.append(self._variants[label])
            self._client.log_batch(self._variants[label], params=[Param("variant", label)])  # by which pages group it with its trials
        return self._variants[label]

    def _colour(self, label: str) -> str:
        return self._colours.get(label, palette.COLOURS[-1])

    @property
    def _origin(self) -> dict[str, str]:
        return {FOLDER: self._folder, "mlflow.source.type": "LOCAL"}

    def _create(self, trial: Trial, parent: str, start: int) -> Run:
        tags = {**self._origin, KIND: "trial", LAYOUT: str(LAID_OUT), "mlflow.parentRunId": parent, TRIAL_KEY: trial.key}
        tags |= {COLOUR: self._colour(trial.variant.label)}
        return self._client.create_run(self._experiment, start_time=start, run_name=shown.name(trial), tags=tags)

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

    def _log(
        self,
        run_id: str,
        values: Sequence[Value],
        start: int,
        milliseconds_a_step: float,
        params: Mapping[str, str] | None = None,
        tags: Mapping[str, str] | None = None,
    ) -> None:
        """Write values, parameters and tags in as few calls as MLflow takes them in, each of which costs several transactions."""
        from mlflow.entities import Metric, Param, RunTag

        metrics = [Metric(value.name, value.value, start + int(value.step * milliseconds_a_step), value.step) for value in values]
        named = [Param(name, value) for name, value in (params or {}).items()]
        tagged = [RunTag(name, value) for name, value in (tags or {}).items()]
        first = BATCH - len(named) - len(tagged)
        self._client.log_batch(run_id, metrics[:first], named, tagged)
        for place in range(first, len(metrics), BATCH):
            self._client.log_batch(run_id, metrics[place : place + BATCH])

    def _tags(self, trial: Trial, outcome: Outcome) -> dict[str, str]:
        _, accepted = self._store.standing(trial.key)
        return {
            "suite.status": outcome.status,
            "suite.reason": outcome.reason[: shown.LONGEST],
            **({"suite.last_step": str(outcome.last_step)} if outcome.last_step is not None else {}),
            **({"suite.accepted": accepted.why[: shown.LONGEST]} if accepted else {}),
            "suite.plugin_digest": digest({name: value for name, value in trial.sources.items() if ".dropins." in name}, 64),
            "mlflow.source.name": f"suite run {self._invocation.plan}",
            NOTE: shown.note(trial, outcome),
        }

    def _keep_files(self, run: Run, trial: Trial) -> None:
        """Keep the trial's file and the sources of what was trained."""
        from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

        # as the client does, which asks for the run once more to learn its address
        kept: Any = get_artifact_repository(run.info.artifact_uri, tracking_uri=self._client.tracking_uri)
        stored, _ = self._store.standing(trial.key)
        files: list[tuple[Path, str | None]] = [(self._store.file("trials", stored.key if stored else trial.key), None)]
        registry = discover()
        sources = (registry.variants.get(trial.variant.name), registry.tasks.get(trial.task.name))
        files += [(provided.path, "source") for provided in sources if provided and provided.path]
        for file, folder in files:
            kept.log_artifact(str(file), folder)


def _contradicts(run: Run, parameters: Mapping[str, str], values: Iterable[Value], logged: Iterable[Value]) -> bool:
    """Whether a trial's run shows something else than it should, as after the trial was trained anew.

    MLflow changes neither a parameter nor a value of a metric, so that such a run must be replaced.
    """
    right = {(value.name, value.step): value.value for value in values}
    if any(run.data.params.get(name, value) != value for name, value in parameters.items()):
        return True
    return not all(math.isclose(right[value.name, value.step], value.value, rel_tol=1e-6) for value in logged)


def _git_tags(machine: Machine) -> dict[str, str]:
    """The tags by which MLflow's pages show a commit."""
    commit, _, changes = machine.commit.partition("+")
    known = {} if commit == "unknown" else {"mlflow.source.git.commit": commit, "mlflow.source.git.dirty": str(bool(changes)).lower()}
    with contextlib.suppress(KeyError, OSError):  # a container may know no name
        known["mlflow.user"] = getpass.getuser()
    return known


def _machine_tags(machine: Machine) -> dict[str, str]:
    return {f"suite.{name.replace(' ', '_')}": value for name, value in machine.described().items()}
