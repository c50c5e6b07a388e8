"""Sums up each variant in one row, and its skill on each task and length in one field."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from suite import Plot, Prose, Results, Section, Table, figures, hookimpl, stats

if TYPE_CHECKING:
    from pandas import DataFrame


TOLERANCE = 0.03
"""Beyond so large a part of the budget the parameters are flagged."""


def draw(results: Results) -> Iterator[Prose | Plot | Table]:
    import pandas as pd

    look = figures.looks(results, timed=True)
    if not look:
        yield Prose("No trial is finished.")
        return
    trials = results.trials[results.trials["chosen"].eq(True)]
    trials = trials.assign(value=trials["skill"].where(trials["status"] != "diverged", 0.0))
    rows = [row(one, trials[trials["variant"] == name], results) for name, one in look.items()]
    seeds = trials["seed"].nunique()
    kind = "plain range over seeds" if seeds < stats.RANGE_BELOW else "95 % interval over seeds"
    yield Table(
        pd.DataFrame(rows),
        f"Means with the {kind}, averaged over tasks and lengths. Solved counts trials, lost those that failed or diverged. Skill is 1 − loss/baseline on the test stream: 1 is perfect, "
        "0 no better than not looking at the input; noise in the task itself can hold it below 1. Steps is the median of the trials that reached their goal on the validation stream, with how many never did. Robustness is the area under "
        "the skill curve of the solved trials alone, which differ from row to row: compare like with like below. "
        "Time is forward and backward at the longest timed length, as a multiple of lstm's on the same engine, with the middle half of the rounds. "
        f"⚑ marks parameters more than {100 * TOLERANCE:g} % off the budget of a task, {figures.MARK} a variant that is not causal.",
    )
    rates = results.plan["training"]["learning_rates"]
    if len(rates) > 1 and len(trials):
        yield Table(
            chosen(trials, look),
            f"The learning rate that validation chose for each variant, of {', '.join(f'{rate:g}' for rate in sorted(rates))}. "
            "⚑ marks an edge of this grid: a better rate may lie beyond.",
        )
    elif len(trials):
        yield Prose(f"Untuned: every variant was trained with the one learning rate {rates[0]:g}, which suits some better than others.")
    if trials["value"].notna().any():
        yield Plot(
            "scoreboard_skill",
            skills(trials, figures.looks(results)),
            f"Test skill of each variant on each task and trained length: mean over seeds, and how many of them solved the task. "
            f"Darker is better; {figures.MARK} stands below the causal variants.",
        )


def row(one: figures.Look, trials: DataFrame, results: Results) -> dict[str, Any]:
    areas = results.frame[results.frame["chosen"] & (results.frame["metric"] == "area") & (results.frame["variant"] == one.name)]
    status = results.trials.loc[results.trials["variant"] == one.name, "status"]
    return {
        "Variant": one.label,
        "Parameters": parameters(trials),
        "Hidden": span(trials["hidden_size"]),
        "Solved": f"{int(trials['solved'].eq(True).sum())} of {len(trials)}" if len(trials) else "–",
        "Test skill": pooled(trials, ["task", "length"]),
        "Steps": steps(trials["steps_to_solve"]),
        "Robustness": pooled(areas, ["task", "length", "condition"])
        if areas["value"].notna().any()
        else "not solved"
        if len(trials)
        else "–",
        **{f"Time, {engine}": ratio(results.frame, one.name, engine) for engine in ("vendor", "reference")},
        "Lost": int((status != "ok").sum()),
    }


def steps(values: Any) -> str:
    never = int(values.isna().sum())
    if never == len(values):
        return "never" if never else "–"
    return f"{values.median():.0f} ({never} never)" if never else f"{values.median():.0f}"


def pooled(rows: DataFrame, by: list[str]) -> str:
    return stats.pooled([group.to_numpy() for _, group in rows.groupby(by, sort=True)["value"]], np.random.default_rng(0)).text()


def span(values: Any) -> str:
    if values.empty:
        return "–"
    low, high = int(values.min()), int(values.max())
    return f"{low:,}" if low == high else f"{low:,}–{high:,}"


def parameters(trials: DataFrame) -> str:
    known = trials[(trials["budget"] > 0) & (trials["parameters"] > 0)]
    off = (known["parameters"] / known["budget"] - 1).to_numpy(dtype=float)
    return span(known["parameters"]) + (" ⚑" if (np.abs(off) > TOLERANCE).any() else "")


def ratio(frame: DataFrame, variant: str, engine: str) -> str:
    timed = frame[(frame["axis"] == "speed") & (frame["condition"] == "forward+backward") & (frame["engine"] == engine)]
    here = timed[(timed["variant"] == variant) & (timed["at"] == timed["at"].max())].set_index("metric")["value"]
    if not math.isfinite(here.get("ratio", math.nan)):
        return "–"
    return stats.Interval(here["ratio"], here["ratio_q1"], here["ratio_q3"], 1 if variant == figures.BASELINE else 2).text()


def chosen(trials: DataFrame, look: dict[str, figures.Look]) -> DataFrame:
    words = trials.assign(
        cell=figures.cells(trials),
        rate=[f"{rate:g}{' ⚑' if edge else ''}" for rate, edge in zip(trials["learning_rate"], trials["edge"], strict=True)],
    )
    table: DataFrame = words.pivot_table(index="variant", columns="cell", values="rate", aggfunc="first", sort=False)
    table = table.reindex([name for name in look if name in table.index])
    table.insert(0, "Variant", [look[name].label for name in table.index])
    return table


def skills(trials: DataFrame, look: dict[str, figures.Look]) -> Any:
    cells = list(dict.fromkeys(zip(trials["task"], trials["length"], strict=True)))
    groups = trials.groupby(["variant", "task", "length"], sort=False)
    means, solved, counts = groups["value"].mean(), groups["solved"].sum(), groups.size()
    values, words = [], []
    for name in look:
        keys = [(name, *cell) for cell in cells]
        values.append([means.get(key, math.nan) for key in keys])
        words.append([f"{means[key]:.2f}\n{solved[key]} of {counts[key]}" if key in means.index else "" for key in keys])
    titles = [f"{task}\nT = {length}" for task, length in cells]
    labels = [one.label for one in look.values()]
    frame = type(trials)
    return figures.heat(frame(values, index=labels, columns=titles), frame(words, index=labels, columns=titles))


@hookimpl
def suite_sections() -> Iterator[Section]:
    yield Section("scoreboard", "Scoreboard", draw, order=10)
