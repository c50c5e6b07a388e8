"""Shows how far each variant remembers: skill against length, the longest length solved, and lengths never trained."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from suite import Plot, Prose, Results, Section, Table, figures, hookimpl, stats, verdict

if TYPE_CHECKING:
    from pandas import DataFrame


def draw(results: Results) -> Iterator[Prose | Plot | Table]:
    trials = verdict.trials(results)
    if trials.empty:
        yield Prose("No trial is finished.")
        return
    look = figures.looks(results)
    scored = trials[trials["value"].notna()]
    if not scored.empty:
        yield trained(scored, look)
    yield Table(
        longest(results, look),
        "The longest trained length that a variant solved, with how many of its seeds did: they met the goal in two successive validations "
        "and on the test stream.",
    )
    steps = verdict.steps(results)
    if not steps["censored"].all():
        yield to_solve(steps, look)
    else:
        yield Prose("No trial met its goal in two successive validations within its steps, so there is no number of steps to compare.")
    elsewhere = verdict.scores(results, "long_range", "skill")
    if elsewhere["at"].nunique() > 1:
        yield untrained(elsewhere, look)


def trained(scored: DataFrame, look: dict[str, figures.Look]) -> Plot:
    rows = scored.assign(panel=scored["task"], x=scored["length"].astype(float))
    figure = figures.lines(
        stats.spreads(rows, ["panel", "variant", "x"]),
        look,
        x_label="sequence length T, trained and tested",
        y_label="test skill",
        log=("x",),
    )
    return Plot(
        "long_range_skill",
        figure,
        "Skill on the test stream of the trained length; bands are the range over seeds, a diverged trial counts as 0.",
    )


def longest(results: Results, look: dict[str, figures.Look]) -> DataFrame:
    """A row for each task, a column for each variant."""
    import pandas as pd

    solved, rows = verdict.longest_solved(results), []
    for task, trials in verdict.trials(results).groupby("task", sort=False):
        row = {"Task": str(task), "Goal": trials["goal"].max() or "unknown", "Lengths": ", ".join(map(str, sorted(set(trials["length"]))))}
        for name, style in look.items():
            best = solved.get((str(task), name))
            row[style.label] = f"{best.length} ({best.solved} of {best.trials})" if best else "not solved"
        rows.append(row)
    return pd.DataFrame(rows)


def to_solve(steps: DataFrame, look: dict[str, figures.Look]) -> Plot:
    """Each seed's steps to solve; a seed that never solved stands at the end of its steps, with a hollow mark."""
    points = steps.assign(panel=figures.cells(steps))
    nobody = points.groupby("panel")["censored"].transform("all")
    points = points[~nobody]
    whole = points[~points.groupby(["panel", "variant"])["censored"].transform("any")]
    figure = figures.dots(
        stats.spreads(whole, ["panel", "variant"]),
        look,
        points=points,
        x_label="training steps until the task was solved (left is sooner)",
        x_range=(0, None),
        blank="failed",
    )
    return Plot(
        "long_range_steps",
        figure,
        "Steps until the first of two successive validations that met the goal, by seed; ▷ is a seed that never came there within its steps. "
        "A mean is drawn where every seed solved; tasks and lengths that nobody solved are left out.",
    )


def untrained(rows: DataFrame, look: dict[str, figures.Look]) -> Plot:
    factors = sorted(set(rows["at"]))
    place = {factor: float(index) for index, factor in enumerate(factors)}
    rows = rows.assign(x=rows["at"].map(place), panel=figures.cells(rows))
    figure = figures.lines(
        stats.spreads(rows, ["panel", "variant", "x"]),
        look,
        x_label="tested length, as a multiple of the trained length T",
        y_label="test skill",
        ticks={place[factor]: f"{factor:g}×" for factor in factors},
    )
    return Plot(
        "long_range_untrained",
        figure,
        "Skill on sequences longer than any seen in training. A line at 0 does no better than not looking at the input.",
    )


@hookimpl
def suite_sections() -> Iterator[Section]:
    yield Section("long_range", "Long range", draw, order=40)
