"""Answers the plan's question in five lines: who leads on each axis, by how much, and how far to trust it."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from suite import Prose, Results, Section, Table, figures, hookimpl, stats

if TYPE_CHECKING:
    from pandas import DataFrame


ENGINES = ("vendor", "reference")

SHOWN = 5
"""So many names at most in one breath."""


def draw(results: Results) -> Iterator[Prose | Table]:
    import pandas as pd

    look, timed = figures.looks(results), figures.looks(results, timed=True)
    trials = results.trials[results.trials["chosen"].eq(True)]
    answers = {f"Speed, {engine} engine": speed(results.frame, timed, engine) for engine in ENGINES}
    answers |= {
        "Robustness": robustness(results.frame, look),
        "Long range": long_range(trials, look),
        "How far to trust it": trust(results, trials, timed),
    }
    yield Prose(results.plan["question"])
    yield Table(pd.DataFrame(answers.items(), columns=["Axis", "Answer"]))


def speed(frame: DataFrame, look: dict[str, figures.Look], engine: str) -> str:
    """Time of forward and backward at the longest timed length, as a multiple of lstm's on the same engine."""
    timed = frame[(frame["axis"] == "speed") & (frame["condition"] == "forward+backward") & (frame["engine"] == engine)]
    if timed.empty:
        return "Nothing was timed on this engine."
    longest = timed[timed["at"] == timed["at"].max()]
    wide = longest.pivot_table(index="variant", columns="metric", values="value")
    found = {
        str(name): stats.Interval(row["ratio"], row["ratio_q1"], row["ratio_q3"], 1 if name == figures.BASELINE else 2)
        for name, row in wide.iterrows()
    }
    without = [f"`{one.label}`" for name, one in look.items() if name not in found]
    missing = f" Not timed on this engine: {some(without)}." if without else ""
    return (
        f"{verdict(found, look, fewer=True)} Time of forward and backward at T = {longest['at'].max():g}, as a multiple of lstm's.{missing}"
    )


def robustness(frame: DataFrame, look: dict[str, figures.Look]) -> str:
    """Mean area under the skill curve over the tasks and lengths that the same variants solved with every seed."""
    areas = frame[frame["chosen"] & (frame["metric"] == "area")]
    areas = areas[areas.groupby(["variant", "task", "length"])["value"].transform(lambda values: values.notna().all()).astype(bool)]
    if areas.empty:
        return "No variant solved a task with every seed (or no corruption was asked for), so nothing can be said."
    solvers = {(str(task), int(length)): set(rows["variant"]) for (task, length), rows in areas.groupby(["task", "length"], sort=False)}  # type: ignore[call-overload]
    causal = {name for name, one in look.items() if one.causal}
    most = max((names & causal for names in solvers.values()), key=len)
    common = [cell for cell, names in solvers.items() if names >= most]
    compared = set.intersection(*(solvers[cell] for cell in common))
    here = areas[[cell in common for cell in zip(areas["task"], areas["length"], strict=True)]]
    found = {name: pooled(here[here["variant"] == name], ["task", "length", "condition"]) for name in look if name in compared}
    where = "; ".join(figures.cell(*cell) for cell in common)
    rest = [f"`{one.label}`" for name, one in look.items() if name not in compared]
    left = f" Not compared, since not solved so: {some(rest)}." if rest else ""
    return f"{verdict(found, look)} Mean skill over all severities, where most variants solved the task with every seed ({where}).{left}"


def long_range(trials: DataFrame, look: dict[str, figures.Look]) -> str:
    """Mean test skill at each task's longest trained length; a diverged trial has none."""
    if trials.empty:
        return "No trial is finished."
    longest = trials[trials["length"] == trials.groupby("task")["length"].transform("max")]
    scored = longest.assign(value=longest["skill"].where(longest["status"] != "diverged", 0.0))
    # means are compared over the same tasks: those that most variants have, at that length
    cells = {
        name: {tuple(cell) for cell in rows[["task", "length"]].to_numpy().tolist()}
        for name, rows in scored[scored["value"].notna()].groupby("variant")
    }
    common = max(
        (frozenset(one) for one in cells.values()),
        key=lambda one: (sum(one <= other for other in cells.values()), len(one)),
        default=frozenset(),
    )
    here = scored[[cell in common for cell in zip(scored["task"], scored["length"], strict=True)]]
    found = {name: pooled(here[here["variant"] == name], ["task"]) for name in look if common <= cells.get(name, set())}
    without = [f"`{one.label}`" for name, one in look.items() if name not in found]
    left = f" Not compared, since without a score on all of them: {some(without)}." if without else ""
    who = []
    for task, length in longest[["task", "length"]].drop_duplicates().to_numpy().tolist():
        solved = set(longest.loc[(longest["task"] == task) & longest["solved"].eq(True), "variant"])
        who.append(
            f"{figures.cell(task, length)} by {some([f'`{one.label}`' for name, one in look.items() if name in solved]) or 'nobody'}"
        )
    nothing = "" if trials["solved"].eq(True).any() else " Nobody solved any task at any length: this says who had begun to learn."
    return f"{verdict(found, look)} Mean test skill at each task's longest length.{left} Solved in at least one seed: {'; '.join(who)}.{nothing}"


def pooled(rows: DataFrame, by: list[str]) -> stats.Interval:
    return stats.pooled([group.to_numpy() for _, group in rows.groupby(by, sort=True)["value"]], np.random.default_rng(0))


def verdict(found: dict[str, stats.Interval], look: dict[str, figures.Look], fewer: bool = False) -> str:
    """Who leads, who is level with the leader, where lstm stands; variants that are not causal stand apart."""
    known = {name: one for name, one in found.items() if math.isfinite(one.mean)}
    ranked = sorted((name for name in known if look[name].causal), key=lambda name: known[name].mean * (1 if fewer else -1))
    words = {name: f"`{look[name].label}` {known[name].text()}" for name in known}
    apart = "".join(f" Apart, not causal: {words[name]}." for name in known if not look[name].causal)
    if not ranked:
        return f"No causal variant has a score.{apart}"
    first, *others = ranked
    level = [name for name in others if stats.overlap(known[first].rounded(), known[name].rounded())]
    if not fewer and known[first].rounded().high == 0:
        return f"Nobody does better than not looking at the input.{apart}"
    if not others:
        return f"Only {words[first]} has a score.{apart}"
    told = f"{words[first]} leads"
    told += f", level with {some([words[name] for name in level])}: the ranges overlap" if level else f", ahead of {words[others[0]]}"
    if figures.BASELINE in others and figures.BASELINE not in (level[:SHOWN] or others[:1]):
        told += f"; {words[figures.BASELINE]}"
    return f"{told}.{apart}"


def some(names: list[str]) -> str:
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(names[:SHOWN]) + more


def trust(results: Results, trials: DataFrame, look: dict[str, figures.Look]) -> str:
    seeds = trials["seed"].nunique()
    count = f"{seeds} {'seed' if seeds == 1 else 'seeds'}"
    parts = [
        f"{count} a cell at most: a paired test could not give a p under {stats.least_p(seeds):.2g}." if seeds else "No trial is finished."
    ]
    if seeds < stats.RANGE_BELOW:
        parts.append("So few tell who leads here, not who is better; in brackets is the plain range.")
    else:
        parts.append("In brackets is the 95 % bootstrap interval over seeds.")
    parts.append("For speed it is the middle half of the rounds.")
    rates = results.plan["training"]["learning_rates"]
    if len(rates) == 1:
        parts.append(f"Untuned: one learning rate, {rates[0]:g}, for all.")
    edge = int(trials["edge"].eq(True).sum())
    if edge:
        parts.append(f"{edge} trials have a learning rate at an edge of the grid: a better one may lie beyond.")
    lost = int((results.trials["status"] != "ok").sum()) + len(results.provenance["missing"])
    if lost:
        parts.append(f"{lost} trials failed, diverged or are missing: see failures.")
    parts.append(f"Trained and timed on {results.provenance['device']} ({results.provenance['device model']}).")
    if any(not one.causal for one in look.values()):
        parts.append(f"{figures.MARK} marks variants that see the future of the sequence; they are not compared with the causal ones.")
    return " ".join(parts)


@hookimpl
def suite_sections() -> Iterator[Section]:
    yield Section("answer", "The answer", draw, order=0)
