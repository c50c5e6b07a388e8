"""Reads a store back as one tidy frame, with the learning rate that the other seeds' validation chose."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd

from ..errors import SuiteError
from ..measures import length, scores
from ..plan.fairness import damage_of
from ..spec import Grade, Machine, Point, Provenance, Results, Stale
from ..trial import Learning
from .clocked import deployed_rows, growth_rows, timing_rows
from .ledger import Entry, Ledger, timing_sources
from .selection import Selection
from .store import Accepted, Store, StoredEvaluation, StoredTiming, StoredTrial

COLUMNS = {
    "variant": "label of the variant, with its options",
    "task": "label of the task, with its options; empty for speed",
    "length": "sequence length trained (or timed)",
    "seed": "the trial's seed; empty for speed",
    "status": "ok, diverged, failed, crashed, oom or timeout",
    "axis": "long_range, robustness, speed, learning (the curve, of chosen learning rates), or a measure's own",
    "metric": "loss, skill, solved, steps_to_solve, area, half_point, ratio, seconds, or one of the task's own",
    "condition": "the measure's name, validation, or what was timed: forward, forward+backward, or the next step of a stream",
    "at": "where on the condition: factor of the trained length, severity, step, or timed length",
    "value": "the score; empty where there is none (never solved, never halved)",
    "engine": "what the variant ran on",
    "learning_rate": "the trial's",
    "chosen": "whether the validation of the other seeds chose this learning rate for the seed at this task and length",
    "solved": "whether the trial solved its task: in two successive validations, and on the test stream",
    "causal": "whether the variant is causal",
    "batch_size": "of the timed input; empty for trials",
    "width": "hidden size of the lstm that a timed variant is matched to; empty for trials",
    "hidden_size": "of the variant",
    "parameters": "trainable parameters, readout included",
    "key": "the trial's (or timing's) key",
}
"""The columns of the frame and of results.csv, in order."""

TRIAL_COLUMNS = [
    "variant", "task", "length", "seed", "learning_rate", "status", "reason", "traceback", "solved", "skill", "validation_skill",
    "steps_to_solve", "best_step", "steps", "goal", "baseline", "causal", "engine", "hidden_size", "parameters", "budget", "state_size", "batch_size", "initial_memory", "damage", "seconds", "key",
    "last_step",
]  # fmt: skip


@dataclass(frozen=True)
class Record:
    """A stored trial with what the ledger says of it, and its evaluations, as far as they are there and up to date."""

    stored: StoredTrial
    entry: Entry
    evaluations: tuple[StoredEvaluation, ...]

    @property
    def clean(self) -> Point | None:
        """The test of the trained length, undamaged."""
        for evaluation in self.evaluations:
            if evaluation.evaluation.measure == length.NAME:
                return next((point for point in evaluation.points if point.at == 1), None)
        return None

    @property
    def solved(self) -> bool:
        learning = self.stored.learning
        steady = learning is not None and learning.steps_to_solve is not None
        return self.stored.status == "ok" and steady and self.clean is not None and self.clean.solved

    @property
    def identity(self) -> dict[str, Any]:
        """The columns that all rows of the trial share."""
        trial = self.stored.trial
        return {
            "variant": trial.variant.label,
            "task": trial.task.label,
            "length": trial.length,
            "seed": trial.seed,
            "status": self.stored.status,
            "engine": trial.engine,
            "learning_rate": trial.training.learning_rate,
            "solved": self.solved,
            "causal": trial.causal,
            "hidden_size": trial.hidden_size,
            "parameters": trial.parameters,
            "key": self.stored.key,
        }


class _Reader:
    """Reads the records of a ledger's cells, and notes what is missing or stale."""

    def __init__(self, store: Store, ledger: Ledger) -> None:
        self._store, self._ledger = store, ledger
        self.missing: list[str] = []
        self.stale: list[Stale] = []
        self.accepted: dict[str, str] = {}

    def trials(self, cells: tuple[str, ...], measures: Mapping[str, Mapping[str, tuple[float, ...]]] | None) -> Iterator[Record]:
        for cell in cells:
            entry = self._ledger.cells.get(cell)
            stored, accepted = self._store.standing(entry.key) if entry else (None, None)
            if entry is None or stored is None:
                self.missing.append(cell)
            elif self._current(cell, (accepted or stored).trial.sources):
                asked = None if measures is None else measures.get(entry.task, {})
                if accepted:
                    self.accepted[cell] = f"{accepted.why} (changed: {', '.join(accepted.changed)})"
                yield Record(stored, entry, tuple(self._evaluations(cell, entry, stored, asked, accepted)))

    def _evaluations(
        self, cell: str, entry: Entry, trial: StoredTrial, measures: Mapping[str, tuple[float, ...]] | None, accepted: Accepted | None
    ) -> Iterator[StoredEvaluation]:
        for measure in entry.evaluations if measures is None else measures:
            key = entry.evaluations.get(measure)
            stored = self._store.evaluation(key) if key else None
            sources = stored.evaluation.sources if stored else {}
            if stored is None and accepted and key and key in accepted.evaluations:
                stored = self._store.evaluation(accepted.evaluations[key])
                sources = next(asked.sources for asked in accepted.trial.evaluations if asked.key == key)
            if stored is None or (measures is not None and stored.evaluation.at != measures[measure]):
                if trial.status == "ok":
                    self.missing.append(f"{cell}, {measure}")
            elif self._current(f"{cell}, {measure}", sources):
                yield stored

    def timings(self, cells: tuple[str, ...]) -> Iterator[StoredTiming]:
        for cell in cells:
            key = self._ledger.timings.get(cell)
            stored = self._store.timing(key) if key else None
            if stored is not None and self._current(cell, timing_sources(stored.timing)):
                yield stored

    def grades(self, labels: tuple[str, ...]) -> dict[str, Grade]:
        grades = {}
        for label in labels:
            key = self._ledger.grades.get(label)
            stored = self._store.grade(key) if key else None
            if stored is not None and not self._ledger.changed(stored.grading.sources):
                grades[label] = stored.grade
        return grades

    def _current(self, what: str, sources: Mapping[str, str]) -> bool:
        changed = self._ledger.changed(sources)
        if changed:
            self.stale.append(Stale(what, changed))
        return not changed


def read(store: Store, selection: Selection | None = None) -> Results:
    """What the selection asks for, or all that the plan's ledger names, as Results.

    Nothing that rests on an older version of a source is among it: provenance says what was left out for that.

    Raises SuiteError where nothing was ever run.
    """
    ledger = store.ledger()
    if ledger is None:
        raise SuiteError(f"{store.folder}: nothing has been run here; `suite run` comes first")
    reader = _Reader(store, ledger)
    records = list(reader.trials(selection.cells if selection else tuple(ledger.cells), selection.measures if selection else None))
    timings = list(reader.timings(selection.timings if selection else tuple(ledger.timings)))
    trials = choose(pd.DataFrame([_described(record) for record in records], columns=TRIAL_COLUMNS))
    provenance = Provenance(
        command="; ".join(_commands(ledger, selection)),
        machine=ledger.machine,
        machines=tuple(_unique([record.stored.machine for record in records])),
        broken=ledger.broken,
        failed_timings={stored.timing.cell: stored.timed.failed for stored in timings if stored.timed.failed},
        grades=reader.grades(selection.grades if selection else tuple(ledger.grades)),
        sources=tuple(sorted({item for record in records for item in record.stored.trial.sources.items() if " " not in item[0]})),
        missing=tuple(reader.missing),
        stale=tuple(reader.stale),
        accepted=reader.accepted,
        edited=tuple(_edited(ledger, selection)) if selection else (),
        options={plugin.label: plugin.options for record in records for plugin in (record.stored.trial.variant, record.stored.trial.task)},
        ended=max((record.stored.ended for record in records), default=""),
    )
    lists = ("variants", "tasks", "seeds", "question")
    plan = {**ledger.plan, **{name: selection.plan[name] for name in lists}} if selection else ledger.plan
    return Results(_frame(records, timings, trials), trials, plan, provenance)


def _unique(machines: list[Machine]) -> list[Machine]:
    return [machine for index, machine in enumerate(machines) if machine not in machines[:index]]


def _commands(ledger: Ledger, selection: Selection | None) -> Iterator[str]:
    """The command line of the selection; without one, of every run behind the ledger."""
    for request in (selection.request,) if selection else ledger.requests:
        if request.source:
            yield ledger.placed(request).command(ledger.machine.device)


def _edited(ledger: Ledger, selection: Selection) -> Iterator[str]:
    """The plan's fields that say something else now than when the results were made; what is only selected apart."""
    for name, value in selection.plan.items():
        before = ledger.plan.get(name)
        if name in {"name", "question", "variants", "tasks", "seeds"} or before == value:
            continue
        if isinstance(value, dict) and isinstance(before, dict):
            yield from (f"{name}.{field}" for field in {**before, **value} if before.get(field) != value.get(field))
        else:
            yield name
    for task in dict.fromkeys(entry.task for entry in ledger.cells.values()):
        steps = {entry.steps for entry in ledger.cells.values() if entry.task == task}
        if task in selection.steps and steps != {selection.steps[task]}:
            yield f"steps of {task}"


def _frame(records: list[Record], timings: list[StoredTiming], trials: pd.DataFrame) -> pd.DataFrame:
    chosen = set(trials.loc[trials["chosen"], "key"])
    rows = [row for record in records for row in _rows(record, curve=record.stored.key in chosen)]
    rows += [row for stored in timings for row in timing_rows(stored)]
    rows += [*growth_rows(timings), *deployed_rows(timings)]
    frame = pd.DataFrame(rows, columns=[name for name in COLUMNS if name != "chosen"])
    frame = frame.merge(trials[["key", "chosen"]], on="key", how="left")
    frame["chosen"] = frame["chosen"].eq(True) | frame["axis"].eq("speed")
    frame["length"] = frame["length"].astype("Int64")
    for name in ("seed", "batch_size", "width"):
        frame[name] = frame[name].astype("Int64")
    frame["value"] = frame["value"].astype(float)
    return frame[list(COLUMNS)]


def _described(record: Record) -> dict[str, Any]:
    """A trial's row in the table of trials."""
    stored, trial, learning = record.stored, record.stored.trial, record.stored.learning
    return {
        **record.identity,
        "reason": stored.reason,
        "traceback": stored.traceback,
        "skill": scores.skill_of(record.clean) if record.clean else math.nan,
        "validation_skill": _validation_skill(learning) if learning and stored.status == "ok" else 0.0,
        "steps_to_solve": (learning.steps_to_solve if learning else None) or math.nan,
        "best_step": (learning.best_step if learning else None) or math.nan,
        "steps": trial.training.steps,
        "last_step": math.nan if stored.last_step is None else stored.last_step,
        "goal": learning.goal if learning else "",
        "baseline": learning.baseline if learning else math.nan,
        "budget": trial.budget,
        "state_size": record.entry.state_size or trial.state_size,
        "batch_size": trial.training.batch_size,
        "initial_memory": record.entry.initial_memory,
        "damage": damage_of(trial.training),
        "seconds": math.nan if stored.train_seconds is None else stored.train_seconds,
    }


def _validation_skill(learning: Learning) -> float:
    """The skill of the best validation."""
    for validation in learning.curve:
        if validation.step == learning.best_step:
            return scores.skill_shown(validation.scores["loss"], learning.baseline, learning.ideal)
    return 0.0


def _rows(record: Record, curve: bool) -> Iterator[dict[str, Any]]:
    """One row per score of a trial; a trial without scores keeps one row, with none. Its curve makes most of the rows."""
    learning, identity = record.stored.learning, record.identity

    def row(axis: str, metric: str, condition: str, at: float, value: float | None) -> dict[str, Any]:
        shown = math.nan if value is None else value
        return {**identity, "axis": axis, "metric": metric, "condition": condition, "at": at, "value": shown}

    def scored(
        axis: str, condition: str, at: float, point_scores: Mapping[str, float], baseline: float, ideal: float
    ) -> Iterator[dict[str, Any]]:
        for metric, value in {**point_scores, "skill": scores.skill_shown(point_scores["loss"], baseline, ideal)}.items():
            yield row(axis, metric, condition, at, value)

    for stored in record.evaluations:
        axis, measure = stored.evaluation.axis, stored.evaluation.measure
        for point in stored.points:
            yield from scored(axis, measure, point.at, point.scores, point.baseline, point.ideal)
            if axis == "long_range":
                yield row(axis, "solved", measure, point.at, float(point.solved))
        if axis == "robustness" and record.clean:
            for metric, value in _retained(record, record.clean, stored).items():
                yield row(axis, metric, measure, math.nan, value)
    yield row("long_range", "steps_to_solve", "validation", math.nan, learning.steps_to_solve if learning else None)
    for validation in learning.curve if learning and curve else ():
        yield from scored("learning", "validation", validation.step, validation.scores, learning.baseline, learning.ideal)  # type: ignore[union-attr]


def _retained(record: Record, clean: Point, stored: StoredEvaluation) -> dict[str, float | None]:
    """Area and half-point of a skill curve; none for a model that has not learned, which no number may make look robust."""
    if not record.solved:
        return {"area": None, "half_point": None}
    skills, severities = [scores.skill_of(point) for point in stored.points], [point.at for point in stored.points]
    return {
        "area": scores.area(scores.skill_of(clean), skills),
        "half_point": scores.half_point(scores.skill_of(clean), severities, skills),
    }


def choose(trials: pd.DataFrame) -> pd.DataFrame:
    """Mark, for each seed of each variant at each task and length, the learning rate that did best on the validation of the other seeds.

    A trial that did not end well counts as no skill. Of equals the smaller rate is taken. `edge` says that the winner
    stands at an end of a grid of at least two, so that a better one may lie beyond.
    """
    trials = trials.assign(chosen=False, edge=False)
    for _, cell in trials.groupby(["variant", "task", "length"], sort=False):
        skills = cell.pivot_table(index="learning_rate", columns="seed", values="validation_skill", aggfunc="first", sort=True)
        rates = skills.index[scores.chosen_by_others(skills)]
        chosen = cell["learning_rate"].to_numpy() == pd.Series(rates, index=skills.columns).reindex(cell["seed"]).to_numpy()
        rows = cell.index[chosen]
        trials.loc[rows, "chosen"] = True
        trials.loc[rows, "edge"] = (len(skills) > 1) & trials.loc[rows, "learning_rate"].isin([skills.index[0], skills.index[-1]])
    return trials
