"""Shows how far each variant remembers: skill against length, the longest length solved, and lengths never trained."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from suite import Plot, Prose, Results, Section, Table, figures, hookimpl, stats

if TYPE_CHECKING:
    from pandas import DataFrame


def draw(results: Results) -> Iterator[Prose | Plot | Table]:
    trials = results.trials[results.trials["chosen"].eq(True)]
    if trials.empty:
        yield Prose("No trial is finished.")
        return
    look = figures.looks(results)
    trials = trials.assign(value=trials["skill"].where(trials["status"] != "diverged", 0.0))
    scored = trials[trials["value"].notna()]
    if not scored.empty:
        yield trained(scored, look)
    yield Table(
        longest(trials, look), "The longest trained length that a variant solved on the test stream, with how many of its seeds did."
    )
    steps = trials[trials["status"] != "failed"]
    if steps["steps_to_solve"].notna().any():
        yield to_solve(steps, look)
    else:
        yield Prose("No trial solved its task on the validation stream within its steps, so there is no number of steps to compare.")
    elsewhere = results.frame[results.frame["chosen"] & (results.frame["axis"] == "long_range") & (results.frame["metric"] == "skill")]
    if elsewhere["at"].nunique() > 1:
        yield untrained(elsewhere, look)


def trained(scored: DataFrame, look: dict[str, figures.Look]) -> Plot:
    rows = scored.assign(panel=scored["task"], x=scored["length"].astype(float))
    figure = figures.lines(
        stats.intervals(rows, ["panel", "variant", "x"]),
        look,
        x_label="sequence length T, trained and tested",
        y_label="test skill",
        log=("x",),
    )
    return Plot(
        "long_range_skill",
        figure,
        "Skill on the test stream of the trained length; bands are the interval over seeds, a diverged trial counts as 0.",
    )


def longest(trials: DataFrame, look: dict[str, figures.Look]) -> DataFrame:
    rows = []
    for task, cell in trials.groupby("task", sort=False):
        row = {"Task": str(task), "Goal": cell["goal"].max() or "unknown", "Lengths": ", ".join(map(str, sorted(set(cell["length"]))))}
        for name, one in look.items():
            here = cell[cell["variant"] == name]
            solved = here[here["solved"].eq(True)]
            at = solved["length"].max()
            row[one.label] = "not solved" if solved.empty else f"{at} ({(solved['length'] == at).sum()} of {(here['length'] == at).sum()})"
        rows.append(row)
    return type(trials)(rows)


def to_solve(steps: DataFrame, look: dict[str, figures.Look]) -> Plot:
    """Each seed's first step at which validation was solved; who never did stands at the budget, hollow."""
    never = steps["steps_to_solve"].isna()
    points = steps.assign(panel=figures.cells(steps), value=steps["steps_to_solve"].fillna(steps["steps"]), censored=never)
    solved = points.groupby("panel")["censored"].transform("all")
    points = points[~solved]
    whole = points[~points.groupby(["panel", "variant"])["censored"].transform("any")]
    figure = figures.dots(
        stats.intervals(whole, ["panel", "variant"]),
        look,
        points=points,
        x_label="training steps until the task was solved (left is sooner)",
        x_range=(0, None),
        blank="failed",
    )
    return Plot(
        "long_range_steps",
        figure,
        "Steps until the validation stream was first solved, by seed; ▷ is a seed that never did within its steps. "
        "A mean is drawn where every seed solved; tasks and lengths that nobody solved are left out.",
    )


def untrained(rows: DataFrame, look: dict[str, figures.Look]) -> Plot:
    factors = sorted(set(rows["at"]))
    place = {factor: float(index) for index, factor in enumerate(factors)}
    rows = rows.assign(x=rows["at"].map(place), panel=figures.cells(rows))
    figure = figures.lines(
        stats.intervals(rows, ["panel", "variant", "x"]),
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
