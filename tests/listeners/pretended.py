"""Runs a plan as `suite.api.execute` does, with outcomes that nobody trained for, and reads what MLflow shows of it."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import pluggy

from suite.listeners import database
from suite.listeners.announce import Audience
from suite.listeners.tracking import Tracking
from suite.listeners.views import KIND
from suite.registry import hookspecs
from suite.registry.registry import Provided, Registry
from suite.spec import Listener, Machine, Point
from suite.store.store import Store
from suite.trial import Evaluation, Invocation, Learning, Outcome, Trial, Validation

if TYPE_CHECKING:
    from mlflow.entities import Run

PLAN = "tiny"

Pair: TypeAlias = tuple[Trial, Outcome]


def registry(*plugins: object, **starts: Callable[..., object | None]) -> Registry:
    """A registry of plugins with event hooks, and of listeners by name."""
    hooks = pluggy.PluginManager("suite")
    hooks.add_hookspecs(hookspecs)
    for plugin in plugins:
        hooks.register(plugin)
    listeners = {name: Provided(Listener(name, start), "here", None, {}) for name, start in starts.items()}
    return Registry({}, {}, {}, {}, listeners, {}, {}, {}, broken=(), unavailable=(), notes=(), hooks=hooks)


def asked(trial: Trial, *corruptions: str, **changes: object) -> Trial:
    """A changed trial that is asked for the trained length and twice that, and for each corruption at two severities."""
    trial = replace(trial, **changes)  # type: ignore[arg-type]
    length = Evaluation("length", "long_range", (1.0, 2.0), trial.key, {})
    damages = (Evaluation(corruption, "robustness", (10.0, 20.0), trial.key, {}) for corruption in corruptions)
    return replace(trial, evaluations=(length, *damages))


def learned(trial: Trial, train_seconds: float = 2.0) -> Outcome:
    """An outcome with everything that the trial asks for."""
    curve = tuple(Validation(5 * n, {"loss": 1 / n, "accuracy": n / 10, "train_loss": 2 / n}) for n in range(1, 5))
    evaluations = {
        evaluation.key: tuple(Point(at, round(10 * at), {"loss": 0.01 * at, "accuracy": 0.5}, 0.2, False) for at in evaluation.at)
        for evaluation in trial.evaluations
    }
    learning = Learning("loss < 0.01", 0.2, curve, best_step=20, steps_to_solve=15)
    return Outcome(trial.key, "ok", learning=learning, evaluations=evaluations, train_seconds=train_seconds)


def pair(trial: Trial, *corruptions: str, **changes: Any) -> Pair:
    trial = asked(trial, *corruptions, **changes)
    return trial, learned(trial)


def alter(database_file: Path, statement: str) -> None:
    """Change a database behind MLflow's back."""
    with sqlite3.connect(database_file) as connection:
        connection.execute(statement)
    connection.close()


@dataclass(frozen=True)
class Pretended:
    """A plan's store and its tracking; `problems` gathers what the listener had to say in all runs."""

    runs: Path
    machine: Machine
    problems: list[str] = field(default_factory=list)

    @property
    def store(self) -> Store:
        return Store(self.runs, PLAN)

    def invocation(self, done: tuple[Pair, ...], before: tuple[Pair, ...]) -> Invocation:
        return Invocation(
            plan=PLAN,
            runs=self.runs,
            device="cpu",
            trials=tuple(trial for trial, _ in (*before, *done)),
            pending=frozenset(trial.key for trial, _ in done),
            finished={trial.key: outcome for trial, outcome in before},
            machine=self.machine,
        )

    def run(
        self, *done: Pair, before: tuple[Pair, ...] = (), report: bool = True, during: Callable[[Trial], None] = lambda _: None
    ) -> None:
        """One run that finishes trials, after those that were finished `before`; `during` is called with each before it is told of.

        Without `done` and `report` it has nothing to do, and holds no lock.
        """
        invocation = self.invocation(done, before)
        audience = Audience(registry(), {}, [Tracking()])
        try:
            if done or report:
                with self.store.writing():
                    self._carry_out(audience, invocation, done, report, during)
            else:
                audience.tell("suite_plan_started", invocation=invocation)
                audience.tell("suite_plan_finished", invocation=invocation)
        finally:
            self.problems.extend(audience.problems.values())

    def _carry_out(
        self, audience: Audience, invocation: Invocation, done: tuple[Pair, ...], report: bool, during: Callable[[Trial], None]
    ) -> None:
        audience.tell("suite_plan_started", invocation=invocation)
        try:
            for trial, outcome in done:
                self.store.put(trial, outcome, self.machine)
                during(trial)
                audience.tell("suite_trial_finished", trial=trial, outcome=outcome)
            if report:
                self.store.report.mkdir(parents=True, exist_ok=True)
                (self.store.report / "index.html").write_text("<p>answer</p>")
                audience.tell("suite_report_written", invocation=invocation, folder=self.store.report)
        finally:
            audience.tell("suite_plan_finished", invocation=invocation)

    # What MLflow shows

    def shown(self) -> list[Run]:
        client = database.client(database.uri(self.runs))
        experiment = client.get_experiment_by_name(PLAN)
        return list(client.search_runs([experiment.experiment_id])) if experiment else []

    def children(self) -> dict[str, Run]:
        """The runs of trials, by trial key; each has one."""
        runs = [run for run in self.shown() if database.TRIAL_KEY in run.data.tags]
        keyed = {run.data.tags[database.TRIAL_KEY]: run for run in runs}
        assert len(keyed) == len(runs)
        return keyed

    def parents(self) -> list[Run]:
        """The runs of invocations, the latest first."""
        return [run for run in self.shown() if run.data.tags[KIND] == "plan"]

    def variants(self) -> dict[str, Run]:
        """The runs that sum up variants, by label; each has one."""
        runs = [run for run in self.shown() if run.data.tags[KIND] == "variant"]
        labelled = {run.info.run_name: run for run in runs}
        assert len(labelled) == len(runs)
        return labelled

    def histories(self, run: Run) -> Mapping[str, tuple[int, ...]]:
        """The steps at which each metric of a run has a value, as often as it has one."""
        client = database.client(database.uri(self.runs))
        return {name: tuple(sorted(point.step for point in client.get_metric_history(run.info.run_id, name))) for name in run.data.metrics}

    def artifacts(self, run: Run) -> list[str]:
        client = database.client(database.uri(self.runs))
        return sorted(artifact.path for artifact in client.list_artifacts(run.info.run_id))
