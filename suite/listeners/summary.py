"""Reads from a report's answer what MLflow shows of each variant: its scores against the baseline, and a note."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..trial import BASELINE
from .shown import permitted

ROWS = "answer.json"
"""The file of a report that holds its answer as rows."""

AXES = {"speed": "time", "robustness": "robust", "long_range": "remembers"}
"""What the axes are called here; a ratio of times is below 1 for a faster variant, a difference above 0 for a better one."""

MARKS = {"better": "▲", "worse": "▼", "undecided": "≈", "not comparable": "–"}


@dataclass(frozen=True)
class Summary:
    """What is shown of a variant: scores by the name of their metric, and a note in Markdown."""

    scores: Mapping[str, float]
    note: str


def of(report: Path) -> dict[str, Summary]:
    """The summaries of a report's variants by label, of the baseline too, which differs from itself by nothing; empty where it has no answer."""
    file = report / ROWS
    rows: list[dict[str, Any]] = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else []
    by_variant: dict[str, list[dict[str, Any]]] = {}
    for row in rows:
        by_variant.setdefault(row["variant"], []).append(row)
    metrics = {_metric(row): 1.0 if row["axis"] == "speed" else 0.0 for row in rows}
    summaries = {label: Summary(dict(_scores(own)), "\n".join(map(_line, own))) for label, own in by_variant.items()}
    if summaries:
        summaries[BASELINE.label] = Summary(metrics, "All others are compared with it.")
    return summaries


def _metric(row: Mapping[str, Any]) -> str:
    engine = f": {row['engine']}" if row["engine"] else ""
    return permitted(f"{AXES[row['axis']]}{engine} against {BASELINE.label}")  # the axis first, since pages cut names short


def _scores(rows: list[dict[str, Any]]) -> Iterator[tuple[str, float]]:
    for row in rows:
        if row["effect"] is not None and row["verdict"] != "not comparable":
            yield _metric(row), float(f"{row['effect']:.3g}")


def _line(row: Mapping[str, Any]) -> str:
    """A row of the answer as an item of a list."""
    where = f", {row['engine']}" if row["engine"] else ""
    if row["verdict"] == "not comparable":
        return f"- {AXES[row['axis']]}{where}: – not comparable, {row['why']}"
    effect, low, high = (f"{row[part]:.2f}".replace("-", "−") for part in ("effect", "low", "high"))
    return f"- {AXES[row['axis']]}{where}: {MARKS[row['verdict']]} {effect} ({low} to {high})"
