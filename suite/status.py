"""Says what is there: each trial of a plan with its state, the plugins found, and the state of this machine."""

from __future__ import annotations

import ast
import os
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from . import dropins, settled
from .errors import SuiteError, contained
from .plan import schema
from .spec import Corruption
from .store import unfinished
from .store.ledger import Entry, Ledger
from .store.store import Store, differences, done, learning_digest, outcome_of
from .trial import Outcome, Trial

if TYPE_CHECKING:
    from .execution.run import Work
    from .registry.registry import Provided, Registry

DONE = {"ok", "diverged"}
"""States of trials that have a result."""

OWN = tuple(f"{folder}/" for folder in (*dropins.FOLDERS, "suite"))
"""How the sources of what comes with the suite begin."""

SHOWN = 6
"""So many reasons are told."""


@dataclass(frozen=True)
class TrialStatus:
    """One trial of a plan.

    variant, task: their labels, with options
    status: ok, diverged, failed, crashed, oom, timeout, or, where there is no result, stale or pending; reason: why it is not ok
    seconds: its share of its population's training; None where it was not trained
    last_step: the last that one which did not end well is known to have begun
    learning_digest: of what it learned; empty where it was not trained
    """

    key: str
    variant: str
    task: str
    length: int
    seed: int
    learning_rate: float
    status: str
    reason: str = ""
    seconds: float | None = None
    last_step: int | None = None
    learning_digest: str = ""
    cell: str = ""


def status(work: Work) -> list[TrialStatus]:
    """The state of each trial of a plan, in the plan's order."""
    ledger, begun = work.store.ledger(), unfinished.steps(work.store.unfinished)
    return [_status(work.store, ledger, trial, work.outcomes.get(trial.key), begun) for trial in work.trials]


def remembered(plan: schema.Plan, request: schema.Request, runs: Path, device: str) -> list[TrialStatus] | None:
    """The same, without importing what trains, where it is remembered that a run left nothing to do; None where that does not tell all."""
    recalled = settled.recall(plan, request, runs, device, {"track": False})
    if recalled is None:
        return None
    store, run = recalled
    ledger = store.ledger()
    entries = {entry.key: entry for entry in ledger.cells.values()} if ledger else {}
    rows = []
    for key in run.shown:
        known = _known(store, entries[key]) if key in entries else None
        if known is None:
            return None
        rows.append(_status(store, ledger, *known, begun={}))
    return rows


def _known(store: Store, entry: Entry) -> tuple[Trial, Outcome] | None:
    """The trial that the ledger names, with its outcome, as the store has them; None where something is missing, or stands for another."""
    stored = store.trial(entry.key)
    evaluations = {key: store.evaluation(key) for key in entry.evaluations.values()}
    if stored is None or None in evaluations.values():
        return None
    asked = tuple(evaluation.evaluation for evaluation in evaluations.values() if evaluation)
    return replace(stored.trial, evaluations=asked), outcome_of(entry.key, stored, evaluations)


def _status(store: Store, ledger: Ledger | None, trial: Trial, outcome: Outcome | None, begun: Mapping[str, int]) -> TrialStatus:
    """The state of a trial; begun: the step that a training which is not done has come to, by the trial's key."""
    state, reason = _state(store, ledger, trial, outcome)
    if outcome is None and trial.key in begun:
        state, reason = "pending", f"begun; it goes on after step {begun[trial.key]} of {trial.training.steps}"
    return TrialStatus(
        key=trial.key,
        variant=trial.variant.label,
        task=trial.task.label,
        length=trial.length,
        seed=trial.seed,
        learning_rate=trial.training.learning_rate,
        status=state,
        reason=reason,
        seconds=outcome.train_seconds if outcome else None,
        last_step=outcome.last_step if outcome else None,
        learning_digest=learning_digest(trial, outcome) if outcome else "",
        cell=trial.cell,
    )


def _state(store: Store, ledger: Ledger | None, trial: Trial, outcome: Outcome | None) -> tuple[str, str]:
    """The status of a trial, and why it is that."""
    if outcome is not None:
        if outcome.status == "ok" and not done(trial, outcome):
            return "pending", "trained; an evaluation is new or has changed"
        accepted = store.accepted(trial.key)
        stands = f"accepted though {', '.join(accepted.changed)} changed: {accepted.why}" if accepted else ""
        return outcome.status, "; ".join(filter(None, (outcome.reason, stands)))
    entry = ledger.cells.get(trial.cell) if ledger else None
    earlier, _ = store.standing(entry.key) if entry else (None, None)
    if earlier is None:
        return "pending", ""
    return "stale", "changed: " + ", ".join(differences(earlier.trial, trial))


def grid(rows: Sequence[TrialStatus]) -> list[list[str]]:
    """How many trials of each variant are done in each cell, as a table with a line of titles: ``14/15, 1 stale``."""
    columns = list(dict.fromkeys((row.task, row.length) for row in rows))
    cells: dict[tuple[str, str, int], list[str]] = {}
    for row in rows:
        cells.setdefault((row.variant, row.task, row.length), []).append(row.status)
    body = [
        [variant, *(_counted(cells.get((variant, task, length), [])) for task, length in columns)]
        for variant in dict.fromkeys(row.variant for row in rows)
    ]
    return [["", *(f"{task} {length}" for task, length in columns)], *body]


def _counted(states: Sequence[str]) -> str:
    if not states:
        return "–"
    others = (state for state in dict.fromkeys(states) if state not in {"ok", "pending"})
    done = sum(state in DONE for state in states)
    return ", ".join([f"{done}/{len(states)}", *(f"{states.count(state)} {state}" for state in others)])


def reasons(rows: Sequence[TrialStatus]) -> list[str]:
    """Why trials are not ok, each reason once with how many it is of, the most frequent first; of many no more than the first few."""
    told = Counter(f"{row.status}: {row.reason}" for row in rows if row.reason)
    lines = [f"{count} {reason}" for reason, count in told.most_common(SHOWN)]
    return [*lines, f"and {len(told) - SHOWN} more reasons; --keys tells each trial's"] if len(told) > SHOWN else lines


def counts(rows: Sequence[TrialStatus]) -> str:
    """How many trials there are in each state."""
    told = {state: sum(row.status == state for row in rows) for state in dict.fromkeys(row.status for row in rows)}
    return ", ".join(f"{count} {state}" for state, count in told.items())


def log(key: str, runs: Path) -> Iterator[str]:
    """What the store has of how a trial went, in lines: its place, how it ended, its validations, and the traceback where it raised.

    key: the trial's key or the beginning of it

    Raises SuiteError where no trial, or more than one, has such a key.
    """
    files = sorted(runs.resolve().glob(f"*/trials/{key}*.json")) if key.isalnum() else []
    if len({file.stem for file in files}) != 1:
        raise SuiteError(f"{runs}: {len(files) or 'no'} trials have a key that begins with '{key}'; see `suite status PLAN --keys`")
    stored = Store(runs, files[0].parent.parent.name).trial(files[0].stem)
    if stored is None:
        raise SuiteError(f"{files[0]}: is no longer there; see `suite status PLAN --keys`")
    yield f"{stored.key}  {stored.trial.cell}"
    yield f"{stored.status}{': ' if stored.reason else ''}{stored.reason}"
    if stored.train_seconds is not None:
        yield f"trained in {stored.train_seconds:.1f} s, its share of {stored.members} trained together, on {stored.machine.device_model}"
    for validation in stored.learning.curve if stored.learning else ():
        yield f"step {validation.step}: " + ", ".join(f"{name} {score:.4g}" for name, score in validation.scores.items())
    if stored.traceback:
        yield stored.traceback.rstrip()


def catalogue(registry: Registry) -> dict[str, list[dict[str, str]]]:
    """What can be used here, by kind: name, a line about it, where it is from."""
    kinds: dict[str, Mapping[str, Provided[Any]]] = {
        "variants": registry.variants,
        "tasks": registry.tasks,
        "corruptions": registry.corruptions,
        "measures": registry.measures,
        "listeners": registry.listeners,
        "sections": registry.sections,
        "claims": registry.claims,
        "executors": registry.executors,
    }
    listed = {
        kind: [{"name": name, "about": _about(provided), "source": provided.source} for name, provided in plugins.items()]
        for kind, plugins in kinds.items()
    }
    listed["plans"] = [{"name": name, "about": schema.load(name).question, "source": "packaged"} for name in schema.packaged()]
    return listed


def _about(provided: Provided[Any]) -> str:
    """A sentence to choose a plugin by: its own, else the one that its file opens with, and the paper."""
    noun = provided.noun
    sentence = getattr(noun, "sentence", "") or getattr(noun, "about", "") or _opening(provided.path) or getattr(noun, "title", "")
    unit = f"severity: {noun.unit}" if isinstance(noun, Corruption) and noun.unit else ""
    origin = "" if provided.source.startswith(OWN) else provided.source
    apart = filter(None, (_causality(noun), unit, getattr(noun, "paper", ""), origin))
    return " ".join(filter(None, (sentence, *(f"({text})" for text in apart))))


def _causality(noun: Any) -> str:
    return "not causal" if getattr(noun, "causal", True) is False else ""


def _opening(path: Path | None) -> str:
    """The first sentence of a plugin's file; empty where it has none."""
    with contained():
        text = ast.get_docstring(ast.parse(path.read_bytes())) if path is not None else ""
        return " ".join((text or "").split("\n\n")[0].split())
    return ""


def diagnose(runs: Path) -> dict[str, str]:
    """Device, versions, threads, plugins, store and tracking database, as a person would ask for them."""
    from . import machine
    from .listeners import tracking
    from .registry.finder import discover

    registry = discover()
    rows = machine.describe(machine.resolve_device("auto")).described()
    for kind, plugins in catalogue(registry).items():
        if kind != "plans":
            rows[kind] = ", ".join(plugin["name"] for plugin in plugins)
    rows |= {f"broken: {broken.source}": broken.reason for broken in registry.broken}
    rows |= {f"not here: {absent.source}": absent.reason for absent in registry.unavailable}
    rows |= {f"note {number}": note for number, note in enumerate(registry.notes, 1)}
    with contained() as raised:
        rows |= _folders(runs)
    if raised:
        rows["runs"] = f"{runs} cannot be looked at: {raised.reason}; use --runs with another folder"
        return rows
    rows["MLflow"] = tracking.state(runs)
    return rows


def _folders(runs: Path) -> dict[str, str]:
    """The runs folder and the plans stored in it."""
    folder = runs.resolve()
    existing = next(parent for parent in (folder, *folder.parents) if parent.exists())
    rows = {"runs": f"{folder} ({'writable' if os.access(existing, os.W_OK) else 'NOT writable'})"}
    for trials in sorted(folder.glob("*/trials")):
        rows[f"plan {trials.parent.name}"] = f"{len(list(trials.glob('*.json')))} trials stored"
    return rows
