"""Turns an answer into fields of a table, lines for a terminal, and plain data and back."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ..errors import SuiteError
from ..trial import BASELINE
from .answer import BEST, Answer, Axis, Row
from .stats import Interval

ANSWER = "answer.json"
"""The file of a report that holds its answer as plain data."""

MARKDOWN = "answer.md"
"""And the one that holds it as text."""

MARKS: Mapping[str, str] = {"better": "▲", "worse": "▼", "undecided": "≈", "not comparable": "–"}
"""A mark for each verdict."""

LEGEND = ", ".join(f"{mark} {finding}" for finding, mark in MARKS.items())

NOTHING = "nothing to compare"


def marked(row: Row | None) -> str:
    """A row as a field of a table: its mark, and its effect with the interval."""
    if row is None:
        return ""
    if row.verdict == "not comparable":
        return f"{MARKS[row.verdict]} {row.effect.mean:.2f}" if row.effect.n else MARKS[row.verdict]
    return f"{MARKS[row.verdict]} {row.effect.text() if row.axis == 'speed' else signed(row.effect)}"


def signed(effect: Interval) -> str:
    """A difference with its sign."""
    mean, low, high = (f"{0.0 if abs(value) < 0.005 else value:+.2f}".replace("-", "−") for value in effect[:3])
    return f"{mean} ({low} to {high})"


def columns(answer: Answer) -> dict[str, tuple[Axis, str]]:
    """Where each column of a table of the answer is from, by its title: time on one engine for all and on each one's best, and learning."""
    titles: dict[str, tuple[Axis, str]] = {}
    if answer.common:
        titles |= {f"time, {answer.common} engine": ("speed", answer.common), f"time, {BEST}": ("speed", BEST)}
    return {**titles, "robust": ("robustness", ""), "remembers": ("long_range", "")}


def plain(answer: Answer) -> list[dict[str, Any]]:
    """The rows as plain data; None for what is not there."""
    numbers = ("effect", "low", "high", "p")

    def row(row: Row) -> dict[str, Any]:
        values = dict(zip(numbers, (*row.effect[:3], row.p), strict=True))
        return {
            "variant": row.variant,
            "axis": row.axis,
            "engine": row.engine,
            "verdict": row.verdict,
            **{name: value if math.isfinite(value) else None for name, value in values.items()},
            "cells": row.cells,
            "pairs": row.pairs,
            "seeds_needed": row.needed,
            "why": row.why,
        }

    return [row(each) for each in answer.rows]


def text(rows: Sequence[Mapping[str, Any]]) -> str:
    """A table of plain rows for a terminal."""
    if not rows:
        return NOTHING
    answer = restored(rows)
    table = tabulated(answer)
    widths = [max(len(line[column]) for line in table) for column in range(len(table[0]))]
    lines = ["  ".join(field.ljust(width) for field, width in zip(line, widths, strict=True)).rstrip() for line in table]
    return "\n".join([f"against {BASELINE.label}: {LEGEND}", *lines, *_apart(answer)])


def markdown(answer: Answer, question: str) -> str:
    """The question and the answer's table in Markdown."""
    if not answer.rows:
        return f"**{question}**\n\n{NOTHING}\n"
    head, *body = ([field.replace("|", "\\|") for field in line] for line in tabulated(answer))
    lines = [head, ["---"] * len(head), *body]
    table = "\n".join(f"| {' | '.join(line)} |" for line in lines)
    reasons = "".join(f"\n{line}  " for line in _apart(answer))
    return f"**{question}**\n\n{table}\n\nAgainst {BASELINE.label}: {LEGEND}.  {reasons}\n"


def tabulated(answer: Answer) -> list[list[str]]:
    """A line of titles, and one for each variant."""
    titles = columns(answer)
    names = dict.fromkeys(row.variant for row in answer.rows)
    return [["", *titles], *([name, *(marked(answer.row(name, *place)) for place in titles.values())] for name in names)]


def _apart(answer: Answer) -> list[str]:
    """Who cannot be compared in what was learned, and why."""
    reasons: dict[str, list[str]] = {}
    for row in answer.rows:
        if row.why and row.axis != "speed":
            reasons.setdefault(row.why, []).append(row.variant)
    return [f"{MARKS['not comparable']} {', '.join(dict.fromkeys(names))}: {why}" for why, names in reasons.items()]


def restored(rows: Sequence[Mapping[str, Any]]) -> Answer:
    """The answer that plain rows came from, as far as they tell it."""
    return Answer(tuple(_row(each) for each in rows), ())


def _row(plain: Mapping[str, Any]) -> Row:
    mean, low, high, p = (math.nan if plain[name] is None else float(plain[name]) for name in ("effect", "low", "high", "p"))
    effect = Interval(mean, low, high, 0 if math.isnan(mean) else 2)
    return Row(plain["variant"], plain["axis"], plain["engine"], plain["verdict"], effect, p, plain["cells"], plain["pairs"], plain["why"])


def read(folder: Path) -> list[dict[str, Any]]:
    """The rows of the answer of a report that has been written.

    Raises SuiteError where they cannot be read.
    """
    try:
        rows: list[dict[str, Any]] = json.loads((folder / ANSWER).read_bytes())
    except (OSError, ValueError):
        raise SuiteError(f"{folder / ANSWER}: cannot be read; write the report again: suite report PLAN") from None
    return rows
