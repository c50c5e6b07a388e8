"""Reads a store back as one tidy frame, with the learning rate that validation chose."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pandas as pd

from . import stats
from .spec import Results, SuiteError, label
from .store import Store

COLUMNS = {
    "variant": "label of the variant, with its options",
    "task": "label of the task, with its options; empty for speed",
    "length": "sequence length trained (or timed)",
    "seed": "the trial's seed; empty for speed",
    "status": "ok, diverged or failed",
    "axis": "long_range, robustness, speed, or learning (the curve, of chosen learning rates)",
    "metric": "loss, skill, solved, steps_to_solve, area, half_point, ratio, seconds, or one of the task's own",
    "condition": "length, a corruption's name, validation, forward, or forward+backward",
    "at": "where on the condition: factor of the trained length, severity, step, or timed length",
    "value": "the score; empty where there is none (never solved, never halved)",
    "engine": "reference or vendor",
    "learning_rate": "the trial's",
    "chosen": "whether validation chose this learning rate for the variant at this task and length",
    "solved": "whether the trial solved its task on the test stream",
    "causal": "whether the variant is causal",
    "hidden_size": "of the variant",
    "parameters": "trainable parameters, readout included",
    "key": "the trial's (or timing's) key",
}
"""The columns of the frame and of results.csv, in order."""


def read(store: Store) -> Results:
    """All that the plan's ledger names, as Results.

    Raises SuiteError where nothing was ever run.
    """
    ledger = store.ledger()
    if ledger is None:
        raise SuiteError(f"{store.folder}: nothing has been run here; `suite run` comes first")
    trials = [record for entry in ledger["cells"].values() if (record := _trial(store, entry))]
    table = pd.DataFrame([_describe(record) for record in trials], columns=_TRIAL_COLUMNS)
    table = _choose(table)
    chosen = set(table.loc[table["chosen"], "key"])
    rows = [row for record in trials for row in _rows(record, curve=record["key"] in chosen)]
    rows += [row for key in ledger["timings"].values() if (record := store.timing(key)) for row in _timing_rows(record)]
    frame = pd.DataFrame(rows, columns=[name for name in COLUMNS if name != "chosen"])
    frame = frame.merge(table[["key", "chosen"]], on="key", how="left")
    frame["chosen"] = frame["chosen"].eq(True) | frame["axis"].eq("speed")
    frame["length"] = frame["length"].astype("Int64")
    frame["seed"] = frame["seed"].astype("Int64")
    frame["value"] = frame["value"].astype(float)
    sources = pd.DataFrame([record["provenance"] for record in trials]).astype(str).drop_duplicates() if trials else pd.DataFrame()
    failed_timings = {
        cell: record["failed"] for cell, key in ledger["timings"].items() if (record := store.timing(key)) and "failed" in record
    }
    provenance = {
        **ledger["provenance"],
        "machines": sources.to_dict("records"),
        "broken": ledger["broken"],
        "failed_timings": failed_timings,
        "grades": {name: found for name, key in ledger["grades"].items() if (found := store.grade(key))},
        "digests": _digests(trials),
        "missing": [cell for cell, entry in ledger["cells"].items() if store.trial(entry["key"]) is None],
    }
    return Results(frame[list(COLUMNS)], table, ledger["plan"], provenance)


def _trial(store: Store, entry: dict[str, Any]) -> dict[str, Any] | None:
    record = store.trial(entry["key"])
    if record is not None:
        record["evaluations"] = [found for key in entry["evaluations"] if (found := store.evaluation(key))]
        record["clean"] = next(
            (point for one in record["evaluations"] if one["kind"] == "length" for point in one["points"] if point["at"] == 1), None
        )
        record["solved"] = record["status"] == "ok" and record["clean"] is not None and record["clean"]["solved"]
    return record


_TRIAL_COLUMNS = [
    "variant", "task", "length", "seed", "learning_rate", "status", "reason", "traceback", "solved", "skill", "validation_skill",
    "steps_to_solve", "best_step", "steps", "goal", "baseline", "causal", "engine", "hidden_size", "parameters", "budget", "seconds", "key",
]  # fmt: skip


def _skill(loss: float | None, baseline: float) -> float:
    """Skill on one stream; a loss that was not finite, stored as null, shows none."""
    return 0.0 if loss is None else float(stats.skill(loss, baseline))


def _describe(record: dict[str, Any]) -> dict[str, Any]:
    trial, learning = record["trial"], record["learning"]
    best = next((point for point in learning.get("curve", []) if point["step"] == learning.get("best_step")), None)
    return {
        **_identity(record),
        "reason": record["reason"],
        "traceback": record["traceback"],
        "skill": _skill(record["clean"]["scores"]["loss"], record["clean"]["baseline"]) if record["clean"] else math.nan,
        "validation_skill": _skill(best["scores"]["loss"], learning["baseline"]) if best and record["status"] == "ok" else 0.0,
        "steps_to_solve": learning.get("steps_to_solve") or math.nan,
        "best_step": learning.get("best_step") or math.nan,
        "steps": trial["training"]["steps"],
        "goal": learning.get("goal", ""),
        "baseline": learning.get("baseline", math.nan),
        "budget": trial["budget"],
        "seconds": record["measured"].get("train_seconds", math.nan),
    }


def _identity(record: dict[str, Any]) -> dict[str, Any]:
    trial = record["trial"]
    return {
        "variant": label(trial["variant"], trial["variant_options"]),
        "task": label(trial["task"], trial["task_options"]),
        "length": trial["length"],
        "seed": trial["seed"],
        "status": record["status"],
        "engine": trial["engine"],
        "learning_rate": trial["training"]["learning_rate"],
        "solved": record["solved"],
        "causal": trial["causal"],
        "hidden_size": trial["hidden_size"],
        "parameters": trial["parameters"],
        "key": record["key"],
    }


def _rows(record: dict[str, Any], curve: bool) -> list[dict[str, Any]]:
    """One row per score of a trial; a trial without scores keeps one row, with none. Its curve makes most of the rows."""
    learning, identity = record["learning"], _identity(record)
    rows = []

    def add(axis: str, metric: str, condition: str, at: float, value: float | None) -> None:
        rows.append(
            {**identity, "axis": axis, "metric": metric, "condition": condition, "at": at, "value": math.nan if value is None else value}
        )

    def add_scores(axis: str, condition: str, at: float, scores: dict[str, float], baseline: float) -> None:
        for metric, value in scores.items():
            add(axis, metric, condition, at, value)
        add(axis, "skill", condition, at, _skill(scores["loss"], baseline))

    for evaluation in record["evaluations"]:
        for point in evaluation["points"]:
            axis = "long_range" if evaluation["kind"] == "length" else "robustness"
            add_scores(axis, evaluation["name"], point["at"], point["scores"], point["baseline"])
            if evaluation["kind"] == "length":
                add(axis, "solved", evaluation["name"], point["at"], float(point["solved"]))
        if evaluation["kind"] == "corruption" and record["clean"]:
            # no number may make a model that has not learned look robust
            skills = [_skill(point["scores"]["loss"], point["baseline"]) for point in evaluation["points"]]
            severities = [point["at"] for point in evaluation["points"]]
            clean = _skill(record["clean"]["scores"]["loss"], record["clean"]["baseline"])
            add("robustness", "area", evaluation["name"], math.nan, stats.area(clean, skills) if record["solved"] else None)
            add(
                "robustness",
                "half_point",
                evaluation["name"],
                math.nan,
                stats.half_point(clean, severities, skills) if record["solved"] else None,
            )
    add("long_range", "steps_to_solve", "validation", math.nan, learning.get("steps_to_solve"))
    for point in learning.get("curve", []) if curve else []:
        add_scores("learning", "validation", point["step"], point["scores"], learning["baseline"])
    return rows


def _timing_rows(record: dict[str, Any]) -> list[dict[str, Any]]:
    timing = record["timing"]
    identity = {
        "variant": label(timing["variant"], timing["variant_options"]),
        "task": "",
        "length": timing["length"],
        "status": "failed" if "failed" in record else "ok",
        "axis": "speed",
        "engine": timing["engine"],
        "causal": record["causal"],
        "hidden_size": timing["hidden_size"],
        "parameters": timing["parameters"],
        "at": timing["length"],
        "key": timing["key"],
    }
    rows = []
    for condition, seconds in record.get("seconds", {}).items():
        ratios = np.asarray(seconds) / np.asarray(record["baseline_seconds"][condition])
        low, middle, high = np.quantile(ratios, [0.25, 0.5, 0.75])
        for metric, value in (("ratio", middle), ("ratio_q1", low), ("ratio_q3", high), ("seconds", np.median(seconds))):
            rows.append({**identity, "condition": condition, "metric": metric, "value": float(value)})
    return rows


def _choose(table: pd.DataFrame) -> pd.DataFrame:
    """Mark, for each variant at each task and length, the learning rate of the best mean validation skill over seeds.

    A trial that did not end well counts as no skill. Of equals the smaller rate is taken. `edge` says that the winner
    stands at an end of a grid of at least two, so that a better one may lie beyond.
    """
    table = table.assign(chosen=False, edge=False)
    for _, cell in table.groupby(["variant", "task", "length"], sort=False):
        skills = cell.groupby("learning_rate")["validation_skill"].mean().sort_index()
        best = skills.idxmax()
        rows = cell.index[cell["learning_rate"] == best]
        table.loc[rows, "chosen"] = True
        table.loc[rows, "edge"] = len(skills) > 1 and best in (skills.index[0], skills.index[-1])
    return table


def _digests(trials: list[dict[str, Any]]) -> list[dict[str, str]]:
    """Each source behind the rows with its digests, sorted."""
    found = {(name, value) for record in trials for name, value in record["trial"]["ingredients"].items() if "." in name}
    return [{"source": name, "sha256": value} for name, value in sorted(found)]
