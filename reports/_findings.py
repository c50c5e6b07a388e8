"""Says what figures show, in a sentence each: who is first, who falls, who stays."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from suite import figures, verdict

from ._sentences import some

if TYPE_CHECKING:
    from pandas import DataFrame

Looks = Mapping[str, figures.Look]

HALF = 0.5
"""A variant has collapsed where it has less than this part of what it had."""

LITTLE = 0.1
"""Ratios that differ by less than this part are alike, and so are skills that differ by less."""


def labelled(names: Sequence[str], look: Looks) -> str:
    return some([look[name].label for name in names])


def are(names: Sequence[str]) -> str:
    return "is" if len(names) == 1 else "are"


def faster(answer: verdict.Answer, look: Looks) -> str:
    """Who is faster than the baseline on which engine."""
    by_engine: dict[str, list[str]] = {}
    for row in answer.rows:
        if row.axis == "speed" and row.engine in answer.engines[:-1] and row.variant in look:
            by_engine.setdefault(row.engine, [])
            if row.verdict == "better":
                by_engine[row.engine].append(row.variant)
    if not any(by_engine.values()):
        return f"Nobody is faster than {verdict.BASELINE} on the same engine"
    if len({tuple(names) for names in by_engine.values()}) == 1:
        names = next(iter(by_engine.values()))
        return (
            f"{labelled(names, look)} {are(names)} faster than {verdict.BASELINE} on {'the same' if len(by_engine) == 1 else 'each'} engine"
        )
    told = "; ".join(f"{labelled(names, look)} on {engine}" for engine, names in by_engine.items() if names)
    return f"Faster than {verdict.BASELINE}: {told}"


def scaling(rows: DataFrame, look: Looks) -> str:
    """Whose ratio changes the most from the shortest length to the longest, on one engine."""
    ends = {}
    for (panel, name), own in rows[rows["variant"] != verdict.BASELINE].groupby(["panel", "variant"], sort=False):
        ordered = own.sort_values("x", kind="stable")
        first, last = float(ordered["mean"].iloc[0]), float(ordered["mean"].iloc[-1])
        if first > 0 and last > 0:
            ends[str(panel), str(name)] = (first, last)
    changed = max(ends, key=lambda key: abs(math.log(ends[key][1] / ends[key][0])), default=None)
    if changed is None or abs(math.log(ends[changed][1] / ends[changed][0])) < LITTLE:
        return "Ratios of time hardly change with the length"
    first, last = ends[changed]
    return f"{look[changed[1]].label} changes the most with the length: {first:.2f} of {verdict.BASELINE}'s time, then {last:.2f} ({changed[0]})"


def collapse(rows: DataFrame, look: Looks, ticks: Mapping[float, str]) -> str:
    """Who falls below half of its clean skill first, and where.

    rows: columns panel, variant, x (0 is clean), mean; ticks: labels by position
    """
    fallen: dict[tuple[str, str], float] = {}
    for (panel, name), own in rows.groupby(["panel", "variant"], sort=False):
        ordered = own.sort_values("x", kind="stable")
        clean = float(ordered["mean"].iloc[0])
        below = ordered[(ordered["mean"] < HALF * clean) & (ordered["x"] > 0)]
        if len(below):
            fallen[str(panel), str(name)] = float(below["x"].iloc[0])
    if not fallen:
        return f"Nobody falls to half of its clean skill, down to {list(ticks.values())[-1]}"
    first = min(fallen.values())
    (panel, name), *others = [key for key, at in fallen.items() if at == first]
    together = sorted({other for where, other in others if where == panel}, key=list(look).index)
    names = [name, *together]
    if len(names) == rows.loc[rows["panel"] == panel, "variant"].nunique() and len(names) > 1:
        return f"All collapse at {ticks[first]} in {panel}"
    return f"{labelled(names, look)} collapse{'s' if len(names) == 1 else ''} first: at {ticks[first]} in {panel}"


def on_axis(answer: verdict.Answer, look: Looks, axis: str, better: str, worse: str) -> str:
    """Who is found better or worse on an axis of learning."""
    found = {
        finding: [row.variant for row in answer.rows if row.axis == axis and row.verdict == finding and row.variant in look]
        for finding in ("better", "worse")
    }
    texts = [
        f"{labelled(names, look)} {are(names)} found {word}"
        for names, word in ((found["better"], better), (found["worse"], worse))
        if names
    ]
    if texts:
        return f"{', '.join(texts)} than {verdict.BASELINE}"
    return f"Nobody is found {better} than {verdict.BASELINE}, nor {worse}"


def furthest(rows: DataFrame, look: Looks) -> str:
    """Who still solves the longest lengths: at least half of the seeds.

    rows: trials with columns task, length, variant, solved
    """
    texts = []
    for task, own in rows.groupby("task", sort=False):
        length = own["length"].max()
        shares = own[own["length"] == length].groupby("variant", sort=False)["solved"].mean()
        names = [name for name in look if name in shares.index and shares[name] >= HALF]
        others = [name for name in look if name in shares.index and name not in names]
        if not names:
            who = "nobody solves"
        elif len(others) <= len(names) and len(shares) > 2:
            who = f"everybody{f' but {labelled(others, look)}' if others else ''} solves"
        else:
            who = f"{labelled(names, look)} solve{'s' if len(names) == 1 else ''}"
        texts.append(f"{who} {task} at T\u00a0=\u00a0{length}")
    told = "; ".join(texts)
    return (told[:1].upper() + told[1:] if told.startswith(("everybody", "nobody")) else told) + ", with half of the seeds or more"


def beyond(rows: DataFrame, look: Looks) -> str:
    """Who loses the most on lengths that were never trained.

    rows: columns panel, variant, at, value
    """
    last = rows["at"].max()
    table = rows[rows["at"].isin([1.0, last])].groupby(["variant", "at"], sort=False)["value"].mean().unstack()
    if 1.0 not in table.columns or last == 1.0:
        return f"Skill at {last:g}× the trained length"
    drops = (table[1.0] - table[last]).dropna()
    if drops.empty or drops.max() < LITTLE:
        return f"Nobody loses {LITTLE:g} of skill at {last:g}× the trained length"
    worst, least = str(drops.idxmax()), str(drops.idxmin())
    return f"At {last:g}× the trained length {look[worst].label} loses the most skill ({drops.max():.2f}), {look[least].label} the least ({max(0.0, drops.min()):.2f})"


def soonest(rows: Sequence[verdict.Solving], look: Looks) -> str:
    """Whose median of the steps to solve is the least, at the longest length that has one."""
    known = [row for row in rows if row.survival is not None and math.isfinite(row.survival.median)]
    if not known:
        return "Of nobody half of the seeds solve it"
    length = max(row.length for row in known)
    here = [row for row in known if row.length == length]
    least = min(row.survival.median for row in here if row.survival is not None)
    names = [row.variant for row in here if row.survival is not None and row.survival.median == least]
    own = f"; {verdict.BASELINE} by {base:.0f}" if verdict.BASELINE not in names and (base := _median(here, verdict.BASELINE)) else ""
    return f"Half of the seeds of {labelled(names, look)} solve T\u00a0=\u00a0{length} by step {least:.0f}, the soonest{own}"


def _median(rows: Sequence[verdict.Solving], name: str) -> float:
    return next((row.survival.median for row in rows if row.variant == name and row.survival is not None), 0.0)


def climbing(learning: int, trials: int) -> str:
    """How many were still learning when their steps ended."""
    if not learning:
        return "No trial was still learning, unsolved, when its steps ended"
    return f"{learning} of {trials} trials {'was' if learning == 1 else 'were'} still learning when the steps ended, unsolved"


def fields(solved: Sequence[int], counts: Sequence[int]) -> str:
    """In how many fields of a table every seed solved, and in how many none."""
    every = sum(own == count for own, count in zip(solved, counts, strict=True))
    none = sum(own == 0 for own in solved)
    return f"Every seed solved in {every} of {len(counts)} fields, none in {none}"


def shortest_gradient(horizons: Sequence[verdict.GradientHorizon], look: Looks) -> str:
    """Whose trained gradient reaches the least far."""
    known = [found for found in horizons if found.trained.seeds and found.variant in look]
    if not known:
        return "No gradient was measured"
    least = min(known, key=lambda found: found.trained.median / max(found.length, 1))
    cell = figures.cell(least.task, least.length)
    if least.trained.median >= least.trained.longest:
        return "Every gradient reaches the first step"
    return f"{look[least.variant].label}'s gradient reaches the least far back: lag {least.trained.median:.0f} in {cell}"
