"""Mirrors finished trials into MLflow, once each, through one client in the parent process."""

from __future__ import annotations

import logging
import math
import os
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pluggy

from . import stats
from .manager import discover
from .matrix import digest
from .spec import Invocation, Outcome, Trial
from .store import Store

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Metric

hookimpl = pluggy.HookimplMarker("suite")

ENVIRONMENT = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_LOGGING_LEVEL": "WARNING",
    # with MLflow's own defaults a server that is gone blocks each call for about four minutes
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",
    "MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR": "1",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "10",
}
BATCH = 1000
"""MLflow takes so many metrics in one call."""


def database(runs: Path) -> str:
    """The tracking URI: MLFLOW_TRACKING_URI, or a database in the runs folder."""
    return os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{runs.resolve() / 'mlflow.db'}"


class Tracking:
    """A listener that keeps an MLflow experiment per plan, a parent run per invocation, and a run per trial.

    A tracking server that fails stops the mirroring and not the run: `problem` then says why, and the next invocation
    mirrors what is missing from the trial files.
    """

    def __init__(self) -> None:
        self.problem = ""
        self._invocation: Invocation | None = None
        self._client: MlflowClient | None = None
        self._experiment = self._parent = ""
        self._known: dict[str, tuple[str, str]] = {}  # run id and content digest by trial key
        self._finished: dict[str, tuple[Trial, Outcome]] = {}
        self._complete = False

    @hookimpl
    def suite_plan_started(self, invocation: Invocation) -> None:
        self._invocation = invocation

    @hookimpl
    def suite_trial_finished(self, trial: Trial, outcome: Outcome) -> None:
        self._finished[trial.key] = (trial, outcome)
        self._try(lambda: self._mirror(trial, outcome))

    @hookimpl
    def suite_report_written(self, folder: Path) -> None:
        self._complete = True
        self._try(lambda: self._finish(folder))

    @hookimpl
    def suite_plan_finished(self) -> None:
        if self._client is not None and self._parent:
            self._try(lambda: self._end(self._parent, "FINISHED" if self._complete else "KILLED", None))

    def _try(self, action: Callable[[], None]) -> None:
        """Do one thing with the server; its failure is kept in `problem` and ends the mirroring."""
        if self.problem:
            return
        try:
            if self._client is None:
                self._connect()
            action()
        except Exception as error:  # whatever a server or its client raises: the results are safe in the store
            text = " ".join(str(error).split())
            self.problem = f"MLflow at {database(self._run.runs)}: {type(error).__name__}: {text[:300]}"

    @property
    def _run(self) -> Invocation:
        assert self._invocation is not None
        return self._invocation

    def _connect(self) -> None:
        import filelock

        for name, value in ENVIRONMENT.items():
            os.environ.setdefault(name, value)
        from mlflow import MlflowClient

        logging.getLogger("alembic").setLevel(logging.WARNING)
        uri = database(self._run.runs)
        local = urlsplit(uri).scheme == "sqlite"
        self._run.runs.mkdir(parents=True, exist_ok=True)
        # several processes that open an absent database at once spoil its migrations
        with filelock.FileLock(self._run.runs / ".mlflow.lock"):
            client = MlflowClient(tracking_uri=uri)
            experiment = client.get_experiment_by_name(self._run.plan)
            if experiment is None:
                location = (self._run.runs / "artifacts" / self._run.plan).as_uri() if local else None
                kind = {"mlflow.experimentKind": "custom_model_development"}  # its pages then show training runs first
                self._experiment = client.create_experiment(self._run.plan, artifact_location=location, tags=kind)
            else:
                self._experiment = experiment.experiment_id
        self._known = dict(self._mirrored(client))
        self._parent = client.create_run(self._experiment, run_name=f"suite run {self._run.plan}", tags=self._tags).info.run_id
        client.log_param(self._parent, "plan", self._run.plan)
        client.log_param(self._parent, "trials", len(self._run.trials))
        client.log_param(self._parent, "trials run", len(self._run.pending))
        self._client = client

    @property
    def _tags(self) -> dict[str, str]:
        own = {f"suite.{name}": value for name, value in self._run.provenance.items()}
        return {**own, "mlflow.source.name": f"suite run {self._run.plan}", "mlflow.source.type": "LOCAL"}

    def _mirrored(self, client: MlflowClient) -> Iterator[tuple[str, tuple[str, str]]]:
        token = None
        while True:
            page = client.search_runs([self._experiment], max_results=1000, page_token=token)
            for run in page:
                if key := run.data.tags.get("suite.trial_key"):
                    yield key, (run.info.run_id, run.data.tags.get("suite.content", ""))
            token = page.token
            if not token:
                return

    def _finish(self, folder: Path) -> None:
        """Mirror what earlier invocations left out, and attach the report."""
        assert self._client is not None
        outcomes = {**{key: outcome for key, outcome in self._run.finished.items() if key not in self._run.pending}}
        for trial in self._run.trials:
            if trial.key in outcomes:
                self._mirror(trial, outcomes[trial.key])
        self._client.log_artifacts(self._parent, str(folder), "report")

    def _mirror(self, trial: Trial, outcome: Outcome) -> None:
        """Bring one trial's run up to date; a run that shows this outcome already is left alone."""
        assert self._client is not None
        content = digest([outcome.status, sorted(outcome.evaluations), outcome.measured])
        run_id, shown = self._known.get(trial.key, ("", ""))
        if shown == content:
            return
        seconds = outcome.measured.get("train_seconds", 0.0)
        end = int(time.time() * 1000)
        start = end - int(seconds * 1000)
        if not run_id:
            tags = {"mlflow.parentRunId": self._parent, "suite.trial_key": trial.key}
            name = f"{trial.variant_label} · {trial.task_label} · T={trial.length} · seed {trial.seed}"
            run_id = self._client.create_run(self._experiment, start_time=start, run_name=name, tags=tags).info.run_id
        self._log(run_id, trial, outcome, start, end)
        store = Store(self._run.runs, self._run.plan)
        self._client.log_artifact(run_id, str(store.trial_file(trial.key)))
        registry = discover()
        for provided in (registry.variants.get(trial.variant), registry.tasks.get(trial.task)):
            if provided and provided.path:
                self._client.log_artifact(run_id, str(provided.path), "source")
        self._client.set_tag(run_id, "suite.content", content)  # last, so that a broken-off mirroring is done again
        self._end(run_id, "FINISHED" if outcome.status == "ok" else "FAILED", end)
        self._known[trial.key] = (run_id, content)

    def _end(self, run_id: str, status: str, end: int | None) -> None:
        assert self._client is not None
        self._client.set_terminated(run_id, status=status, end_time=end)

    def _log(self, run_id: str, trial: Trial, outcome: Outcome, start: int, end: int) -> None:
        from mlflow.entities import Metric, Param, RunTag

        assert self._client is not None
        own = {name: value for name, value in trial.ingredients.items() if name.startswith("suite.dropins.plugins")}
        tags = {
            "suite.status": outcome.status,
            "suite.reason": outcome.reason[:500],
            "suite.plugin_digest": own.get(f"suite.dropins.plugins.{trial.variant}", digest(own, 64)),
            **self._tags,
        }

        def metric(name: str, value: float, step: int) -> Metric:
            share = step / trial.training.steps
            return Metric(name, value, start + int(share * (end - start)), step)

        metrics = [metric(name, value, step) for name, value, step in _metrics(trial, outcome) if math.isfinite(value)]
        params = [Param(name, str(value)) for name, value in _params(trial).items()]
        self._client.log_batch(run_id, metrics[:BATCH], params, [RunTag(name, value) for name, value in tags.items()])
        for first in range(BATCH, len(metrics), BATCH):
            self._client.log_batch(run_id, metrics[first : first + BATCH])


def _params(trial: Trial) -> dict[str, Any]:
    return {
        "variant": trial.variant_label,
        "task": trial.task_label,
        "length": trial.length,
        "seed": trial.seed,
        "eval_seed": trial.eval_seed,
        "hidden_size": trial.hidden_size,
        "parameters": trial.parameters,
        "engine": trial.engine,
        "causal": trial.causal,
        **{name: getattr(trial.training, name) for name in trial.training.__dataclass_fields__},
        **{f"variant.{name}": value for name, value in trial.variant_options.items()},
        **{f"task.{name}": value for name, value in trial.task_options.items()},
    }


def _metrics(trial: Trial, outcome: Outcome) -> Iterator[tuple[str, float, int]]:
    """Every score as (name, value, step): the curve by step, the final ones at the last."""
    curve = outcome.learning.get("curve", [])
    for point in curve:
        for name, value in point["scores"].items():
            yield (name if name == "train_loss" else f"validation/{name}"), _number(value), point["step"]
    last = curve[-1]["step"] if curve else 0
    for name, value in outcome.measured.items():
        yield name, value, last
    if outcome.learning.get("steps_to_solve"):
        yield "steps_to_solve", float(outcome.learning["steps_to_solve"]), last
    for evaluation in trial.evaluations:
        for point in outcome.evaluations.get(evaluation.key, []):
            scores: Mapping[str, Any] = {**point["scores"], "skill": float(stats.skill(point["scores"]["loss"], point["baseline"]))}
            if evaluation.kind == "corruption":
                prefix = f"robustness/{evaluation.name}/{point['at']:g}"
            else:
                prefix = "test" if point["at"] == 1 else f"long_range/{point['at']:g}x"
            for name, value in scores.items():
                yield f"{prefix}/{name}", _number(value), last


def _number(value: float | None) -> float:
    return math.nan if value is None else float(value)
