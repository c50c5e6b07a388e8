"""Answers the plan's question in five lines: who leads on each axis, by how much, and how far to trust it."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from suite import Prose, Results, Section, Table, figures, hookimpl, stats

if TYPE_CHECKING:
    from pandas import DataFrame

    from suite.figures import Look
    from suite.stats import Interval

ENGINES = ("vendor", "reference")


def draw(results: Results) -> Iterator[Prose | Table]:
    import pandas as pd

    look = figures.looks(results)
    trials = results.trials[results.trials["chosen"].eq(True)]
    answers = {f"Speed, {engine} engine": speed(results.frame, look, engine) for engine in ENGINES}
    answers |= {
        "Robustness": robustness(results.frame, look),
        "Long range": long_range(trials, look),
        "How far to trust it": trust(results, trials, look),
    }
    yield Prose(results.plan["question"])
    yield Table(pd.DataFrame(answers.items(), columns=["Axis", "Answer"]))


def speed(frame: DataFrame, look: dict[str, Look], engine: str) -> str:
    """Time of forward and backward at the longest timed length, as a multiple of lstm's on the same engine."""
    timed = frame[(frame["axis"] == "speed") & (frame["condition"] == "forward+backward") & (frame["engine"] == engine)]
    if timed.empty:
        return "Nothing was timed on this engine."
    longest = timed[timed["at"] == timed["at"].max()]
    wide = longest.pivot_table(index="variant", columns="metric", values="value")
    found = {str(name): stats.Interval(row["ratio"], row["ratio_q1"], row["ratio_q3"], 2) for name, row in wide.iterrows()}
    without = [one.label for name, one in look.items() if name not in found]
    missing = f" Not timed on it: {', '.join(without)}." if without else ""
    return f"Time of forward and backward as a multiple of lstm's at T = {longest['at'].max():g}: {verdict(found, look, fewer=True)}{missing}"


def robustness(frame: DataFrame, look: dict[str, Look]) -> str:
    """Mean area under the skill curve over the tasks and lengths that the same variants solved."""
    areas = frame[frame["chosen"] & (frame["metric"] == "area") & frame["value"].notna()]
    if areas.empty:
        return "No trial solved its task (or no corruption was asked for), so nothing can be said."
    solvers = {cell: frozenset(rows["variant"]) for cell, rows in areas.groupby(["task", "length"], sort=False)}
    anyone = frozenset(areas["variant"])
    common = [cell for cell, names in solvers.items() if names == anyone]
    if not common:
        most = max(solvers.values(), key=len)
        common = [cell for cell, names in solvers.items() if names >= most]
    compared = frozenset.intersection(*(solvers[cell] for cell in common))
    here = areas[[cell in common for cell in zip(areas["task"], areas["length"], strict=True)]]
    found = {name: pooled(here[here["variant"] == name], ["task", "length", "condition"]) for name in look if name in compared}
    where = "; ".join(figures.cell(*cell) for cell in common)
    rest = [one.label for name, one in look.items() if name not in compared]
    left = f" Not compared, since they did not solve it: {', '.join(rest)}." if rest else ""
    return f"Skill kept over all severities, where the same variants solved the task ({where}): {verdict(found, look)}{left}"


def long_range(trials: DataFrame, look: dict[str, Look]) -> str:
    """Mean test skill at each task's longest trained length; a diverged trial has none."""
    if trials.empty:
        return "No trial is finished."
    longest = trials[trials["length"] == trials.groupby("task")["length"].transform("max")]
    scored = longest.assign(value=longest["skill"].where(longest["status"] != "diverged", 0.0))
    found = {name: pooled(scored[scored["variant"] == name], ["task"]) for name in look}
    cells = "; ".join(figures.cell(task, length) for task, length in longest[["task", "length"]].drop_duplicates().to_numpy())
    solved = longest[longest["solved"].eq(True)]
    who = [
        f"{figures.cell(task, length)} by {', '.join(look[name].label for name in look if name in set(rows['variant']))}"
        for (task, length), rows in solved.groupby(["task", "length"], sort=False)
    ]
    nobody = "Nobody solved any task at any length" if not trials["solved"].eq(True).any() else "Nobody solved one there"
    ending = f"Solved there, in at least one seed: {'; '.join(who)}." if who else f"{nobody}, so read this as who had begun to learn."
    return f"Mean test skill at each task's longest length ({cells}): {verdict(found, look)} {ending}"


def pooled(rows: DataFrame, by: list[str]) -> Interval:
    return stats.pooled([group.to_numpy() for _, group in rows.groupby(by, sort=True)["value"]], np.random.default_rng(0))


def verdict(found: dict[str, Interval], look: dict[str, Look], fewer: bool = False) -> str:
    """Who leads, who is level with the leader, where lstm stands; variants that are not causal stand apart."""
    known = {name: one for name, one in found.items() if math.isfinite(one.mean)}
    ranked = sorted((name for name in known if look[name].causal), key=lambda name: known[name].mean * (1 if fewer else -1))
    apart = "".join(f" Apart, not causal: {look[name].label} {known[name].text()}." for name in known if not look[name].causal)
    if not ranked:
        return f"no causal variant has a score.{apart}"
    first, *others = ranked
    level = [name for name in others if stats.overlap(known[first], known[name])]
    words = f"{first} leads with {known[first].text()}" if others else f"{first} alone has a score, {known[first].text()}"
    if level:
        words += f", level with {', '.join(f'{name} {known[name].text()}' for name in level)}: the ranges overlap"
    elif others:
        words += f", ahead of {others[0]} {known[others[0]].text()}"
    told = {first, *(level or others[:1])}
    if figures.BASELINE in known and figures.BASELINE not in told:
        words += f"; lstm has {known[figures.BASELINE].text()}"
    return f"{words}.{apart}"


def trust(results: Results, trials: DataFrame, look: dict[str, Look]) -> str:
    seeds = trials["seed"].nunique()
    parts = [f"{seeds} {'seed' if seeds == 1 else 'seeds'} a cell at most: a paired test could not give a p under {stats.least_p(seeds):.2g}."]
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
        parts.append(f"{edge} trials stand at an edge of the learning-rate grid: a better rate may lie beyond.")
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
