"""Shows how soon each variant solves its tasks: how many seeds did, and what part of them had by which step."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from suite import Plot, Prose, Results, Section, Table, figures, hookimpl, verdict

from . import _findings

if TYPE_CHECKING:
    from pandas import DataFrame

Looks = dict[str, figures.Look]

MARKS = {"sooner": "▲ sooner", "later": "▼ later", "undecided": "≈ undecided", "": "–"}


def draw(results: Results) -> Iterator[Prose | Plot | Table]:
    rows, look = verdict.solving(results), figures.looks(results)
    if not rows:
        yield Prose("No trial is finished.")
        return
    yield Prose(
        "A trial solves its task at the first of two successive validations that meet the goal; one that diverged never does, and one that "
        "has not is followed to the end of its steps. Solved counts those that met the goal on the test stream as well."
    )
    for place, task in enumerate(dict.fromkeys(row.task for row in rows)):
        own = [row for row in rows if row.task == task]
        learned = [length for length in dict.fromkeys(row.length for row in own) if _anybody([row for row in own if row.length == length])]
        if nobody := [figures.cell(task, length) for length in dict.fromkeys(row.length for row in own) if length not in learned]:
            yield Prose(f"Nobody solved {'; '.join(nobody)} within its steps: there is no curve to draw.")
        if learned:
            yield curves(place, task, [row for row in own if row.length in learned], look)
        yield Table(table(own, look), caption(task))


def _anybody(rows: Sequence[verdict.Solving]) -> bool:
    """Whether a seed of any variant met the goal."""
    return any(row.survival is not None and row.survival.probability[-1] < 1 for row in rows)


def curves(place: int, task: str, rows: Sequence[verdict.Solving], look: Looks) -> Plot:
    notes = {
        (panel(row), row.variant): f"{count(row)}\nhalf by {steps(row.survival.median, row)}"
        for row in rows
        if row.survival is not None and row.survival.probability[-1] < 1
    } | {(panel(row), row.variant): "none" for row in rows if row.survival is not None and row.survival.probability[-1] == 1}
    figure = figures.rising(points(rows), look, x_label="training steps", y_label="part solved", notes=notes)
    return Plot(
        f"solving_{place}",
        figure,
        f"{task}: what part of the seeds had solved it by which step (Kaplan and Meier), with a pointwise 95 % interval, beside {verdict.BASELINE} in black. "
        "Further left is sooner, higher is more seeds; half by says when half of the seeds had.",
        finding=f"{task}: {_findings.soonest(rows, look)[:1].lower()}{_findings.soonest(rows, look)[1:]}",
        data=points(rows),
    )


def panel(row: verdict.Solving) -> str:
    return f"T\u00a0=\u00a0{row.length}"


def points(rows: Sequence[verdict.Solving]) -> DataFrame:
    """The curves of the part that had solved, each followed to the last step of its panel."""
    import pandas as pd

    ends: dict[int, float] = {}
    for row in rows:
        if row.survival is not None:
            ends[row.length] = max(ends.get(row.length, 0), float(row.survival.steps[-1]))
    tables = []
    for row in rows:
        if (curve := row.survival) is not None:
            at = pd.DataFrame({"x": curve.steps, "mean": 1 - curve.probability, "low": 1 - curve.high, "high": 1 - curve.low})
            tables.append(pd.concat([at, at.tail(1).assign(x=ends[row.length])]).assign(panel=panel(row), variant=row.variant))
    return pd.concat(tables, ignore_index=True)


def count(row: verdict.Solving) -> str:
    return f"{round(row.rate.mean * row.rate.n)} of {row.rate.n}" if row.rate.n else "–"


def steps(value: float, row: verdict.Solving) -> str:
    """Steps, or that they lie beyond the last one."""
    assert row.survival is not None
    return f"{value:.0f}" if math.isfinite(value) else f"> {row.survival.steps[-1]:.0f}"


def table(rows: Sequence[verdict.Solving], look: Looks) -> DataFrame:
    import pandas as pd

    return pd.DataFrame(
        {
            "Variant": look[row.variant].label,
            "T": row.length,
            "Solved": f"{count(row)} ({100 * row.rate.low:.0f}–{100 * row.rate.high:.0f} %)" if row.rate.n else "–",
            "Median steps": median(row),
            "Log-rank p": p(row.log_rank),
            "Exchanged, Holm": p(row.exchanged),
            "Against lstm": " ".join(part for part in (MARKS[row.finding], f"({row.why})" if row.why else "") if part),
        }
        for row in rows
    )


def median(row: verdict.Solving) -> str:
    if row.survival is None:
        return "–"
    middle, low, high = (steps(value, row) for value in (row.survival.median, row.survival.median_low, row.survival.median_high))
    return middle if low == middle == high else f"{middle} ({low} to {high})"


def p(value: float) -> str:
    if math.isnan(value):
        return "–"
    return f"{value:.2g}" if value >= 0.0001 else "< 0.0001"


def caption(task: str) -> str:
    return (
        f"{task}: how many seeds solved it, with Clopper and Pearson's 95 % interval; the steps by which half of them had, with theirs; and how far apart "
        f"each variant's curve is from {verdict.BASELINE}'s. The log-rank p is that of many trials, and describes. What is said rests on the same statistic where whatever "
        "the two have of a seed is exchanged and rates are chosen anew, adjusted by Holm for all comparisons of this section, and only "
        f"from {verdict.LEAST_SEEDS} seeds on."
    )


@hookimpl
def suite_sections() -> Iterator[Section]:
    yield Section("solving", "Steps to solve", draw, order=53, folded=True)
