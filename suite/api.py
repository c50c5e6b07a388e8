"""Runs plans, writes reports and loads trained models: what the command line and Python call."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from . import machine, matrix
from . import plan as plans
from .manager import Registry, changed, discover
from .plan import Plan
from .spec import Invocation, Outcome, SuiteError, Timing, Trial
from .store import Store

if TYPE_CHECKING:
    import pandas as pd

    from .model import Model


@dataclass(frozen=True)
class Prepared:
    """A plan made ready to run on this machine."""

    plan: Plan
    registry: Registry
    store: Store
    device: str
    trials: list[Trial]
    outcomes: dict[str, Outcome]

    @property
    def pending(self) -> list[Trial]:
        return [trial for trial in self.trials if not self.store.done(trial, self.outcomes.get(trial.key))]


@dataclass(frozen=True)
class Executed:
    """A run that is over: the report's folder, and what listeners raised."""

    report: Path
    listener_problems: Mapping[str, str]


def choose(plan: Plan, variants: str | None = None, tasks: str | None = None, seeds: int | None = None) -> Plan:
    """The plan with its lists replaced; a task that the plan has keeps the plan's lengths and steps.

    Raises SuiteError for a list that does not read as names with options.
    """
    changes: dict[str, Any] = {}
    try:
        if variants is not None:
            changes["variants"] = plans.parse_choices(variants)
        if tasks is not None:
            known = {choice.name: choice for choice in plan.tasks}
            asked = plans.parse_choices(tasks)
            changes["tasks"] = [
                {**(known[one["name"]].model_dump() if one["name"] in known else {}), **({k: v for k, v in one.items() if v})}
                for one in asked
            ]
    except ValueError as error:
        raise SuiteError(str(error)) from None
    if seeds is not None:
        changes["seeds"] = list(range(seeds))
    return plans.check({**plan.model_dump(), **changes}, f"plan {plan.name}") if changes else plan


def prepare(plan: Plan, runs: Path, device: str) -> Prepared:
    """Find the plugins, resolve the device, and list the plan's trials with what the store has of them."""
    registry = discover()
    edited = {
        name for kind in (registry.variants, registry.tasks, registry.corruptions) for one in kind.values() for name in changed(one.digests)
    }
    if edited:
        raise SuiteError(f"{', '.join(sorted(edited))} changed since this Python session imported it; start a new session")
    resolved = machine.resolve_device(device)
    trials = matrix.trials(plan, registry, resolved)
    store = Store(runs, plan.name)
    outcomes = {trial.key: outcome for trial in trials if (outcome := store.get(trial)) is not None}
    return Prepared(plan, registry, store, resolved, trials, outcomes)


def timings(prepared: Prepared) -> list[Timing]:
    return matrix.timings(prepared.plan, prepared.registry, prepared.device)


def execute(prepared: Prepared, runs: Path, workers: int | None, listeners: Sequence[object] = ()) -> Executed:
    """Run what is pending, time the models, write the report."""
    from . import executor, report
    from .listeners import Listeners

    registry, store = prepared.registry, prepared.store
    provenance = machine.provenance(prepared.device)
    with store.writing(), Listeners(registry.hooks, listeners) as audience:
        asked = timings(prepared)
        graded = matrix.gradings(prepared.plan, registry, prepared.device)
        store.enter(prepared.plan, prepared.trials, asked, graded, registry.broken, provenance)
        invocation = Invocation(
            plan=prepared.plan.name,
            runs=runs.resolve(),
            device=prepared.device,
            trials=tuple(prepared.trials),
            pending=frozenset(trial.key for trial in prepared.pending),
            finished=prepared.outcomes,
            provenance=provenance,
        )
        audience.tell("suite_plan_started", invocation=invocation)
        try:
            executor.run_trials(invocation, audience, store, workers or executor.default_workers(prepared.device))
            executor.run_timings(asked, registry, audience, store)
            executor.run_grades(graded, store)
            folder = report.write(store, registry)
            audience.tell("suite_report_written", invocation=invocation, folder=folder)
        finally:
            audience.tell("suite_plan_finished", invocation=invocation)
    return Executed(folder, audience.problems)


def run(
    plan: str | Path | Plan,
    *,
    variants: str | None = None,
    tasks: str | None = None,
    seeds: int | None = None,
    device: str = "auto",
    workers: int | None = None,
    runs: str | Path = "runs",
    track: bool = True,
) -> pd.DataFrame:
    """Run a plan and return its tidy frame: one row per trial and score, the rows of ``results.csv``.

    plan: a packaged name, a path, or a Plan; variants, tasks and seeds replace the plan's lists
    track: whether finished trials go to MLflow too

    Raises SuiteError for a mistake in the plan or its options.
    """
    from . import results
    from .tracking import Tracking

    found = plan if isinstance(plan, Plan) else plans.load(str(plan))
    prepared = prepare(choose(found, variants, tasks, seeds), Path(runs), device)
    execute(prepared, Path(runs), workers, [Tracking()] if track else [])
    return results.read(prepared.store).frame


def load(key: str, runs: str | Path = "runs") -> Model:
    """The trained model of a trial, on the CPU, in evaluation mode, with its best weights by validation.

    key: the trial's key or the beginning of it, as `suite status` prints it

    Raises SuiteError where no trial, or more than one, has such a key, or it has no weights.
    """
    import torch

    from . import model

    files = sorted(Path(runs).resolve().glob(f"*/trials/{key}*.json")) if key.isalnum() else []
    keys = {file.stem for file in files}
    if len(keys) != 1:
        raise SuiteError(f"{runs}: {len(keys) or 'no'} trials have a key that begins with '{key}'; see `suite status PLAN`")
    store = Store(Path(runs), files[0].parent.parent.name)
    record = store.trial(files[0].stem)
    checkpoint = store.checkpoint(files[0].stem)
    if record is None or not checkpoint.is_file():
        raise SuiteError(f"{files[0]}: has no trained weights beside it, in {checkpoint}")
    trial, registry = record["trial"], discover()
    net = model.build(
        registry.variant(trial["variant"]).noun,
        trial["variant_options"],
        registry.task(trial["task"]).noun,
        trial["hidden_size"],
        trial["engine"],
        seed=0,
    )
    net.load_state_dict(torch.load(checkpoint, weights_only=True, map_location="cpu"))
    return net.to(getattr(torch, trial["training"]["dtype"])).eval()


def status(prepared: Prepared) -> list[dict[str, str]]:
    """Each trial of the plan: key, cell, status (done, diverged, failed, stale or pending), detail, and digest of what it learned."""
    from . import store as stores

    ledger = prepared.store.ledger() or {"cells": {}}
    rows = []
    for trial in prepared.trials:
        outcome = prepared.outcomes.get(trial.key)
        state, detail, digest = "pending", "", ""
        if outcome is not None:
            state = "done" if outcome.status == "ok" else outcome.status
            detail, digest = outcome.reason, stores.learning_digest(outcome)
            if outcome.status == "ok" and not prepared.store.done(trial, outcome):
                state, detail = "pending", "trained; an evaluation is new or has changed"
        elif trial.cell in ledger["cells"]:
            earlier = prepared.store.trial(ledger["cells"][trial.cell]["key"])
            if earlier is not None:
                state, detail = "stale", "changed: " + ", ".join(stores.why_stale(earlier, trial))
        rows.append({"key": trial.key, "cell": trial.cell, "status": state, "detail": detail, "learning_digest": digest})
    return rows


def catalogue(registry: Registry) -> dict[str, list[dict[str, str]]]:
    """What can be used here, by kind: name, a line about it, where it is from."""

    def about(noun: Any, source: str) -> str:
        paper = getattr(noun, "paper", "") or getattr(noun, "title", "") or getattr(noun, "unit", "")
        marks = "" if getattr(noun, "causal", True) is not False else "not causal; "
        return f"{marks}{paper + '; ' if paper else ''}{source}"

    kinds: dict[str, Any] = {
        "variants": registry.variants,
        "tasks": registry.tasks,
        "corruptions": registry.corruptions,
        "sections": registry.sections,
    }
    found = {
        kind: [{"name": name, "about": about(one.noun, one.source), "source": one.source} for name, one in provided.items()]
        for kind, provided in kinds.items()
    }
    found["plans"] = [{"name": name, "about": plans.load(name).question, "source": "packaged"} for name in plans.packaged()]
    return found


def diagnose(runs: Path) -> dict[str, Any]:
    """Device, versions, threads, plugins and store, as a person would ask for them."""
    import os

    registry = discover()
    device = machine.resolve_device("auto")
    rows: dict[str, Any] = machine.provenance(device)
    for name, provided in (("variants", registry.variants), ("tasks", registry.tasks), ("corruptions", registry.corruptions)):
        rows[name] = ", ".join(provided)
    rows["sections"] = ", ".join(registry.sections)
    for broken in registry.broken:
        rows[f"broken: {broken.source}"] = broken.reason
    folder = runs.resolve()
    existing = next(parent for parent in (folder, *folder.parents) if parent.exists())
    for absent in registry.unavailable:
        rows[f"not here: {absent.source}"] = absent.reason
    rows["runs"] = f"{folder} ({'writable' if os.access(existing, os.W_OK) else 'NOT writable'})"
    for trials in sorted(folder.glob("*/trials")):
        rows[f"plan {trials.parent.name}"] = f"{len(list(trials.glob('*.json')))} trials stored"
    rows["MLflow"] = os.environ.get("MLFLOW_TRACKING_URI") or f"{folder / 'mlflow.db'}"
    return rows
