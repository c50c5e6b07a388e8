"""Sums up each variant in one row, and its skill on each task and length in one field."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from suite import Plot, Prose, Results, Section, Table, figures, hookimpl, verdict

from . import _findings

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from pandas import DataFrame


def draw(results: Results) -> Iterator[Prose | Plot | Table]:
    import pandas as pd

    look = figures.looks(results, timed=True)
    if not look:
        yield Prose("No trial is finished.")
        return
    trials, trust, summaries = verdict.trials(results), verdict.trust(results), verdict.summaries(results)
    engines = [engine.name for engine in verdict.engines(results)]
    kind = "plain range over seeds" if trust.few_seeds else "95 % interval over seeds"
    yield Table(
        pd.DataFrame([row(style, summaries[name], engines) for name, style in look.items()]),
        f"Means with the {kind}, averaged over tasks and lengths. Solved counts trials, lost those that did not end well. Skill is what a trial gains on the test stream "
        "over not looking at the input, as a part of what the ideal predictor gains: 0 is nothing, 1 as good as can be. Steps is the median of the trials that met their goal in two successive validations, with how many never did. Robustness is the part of their "
        "skill that solved trials keep under damage, which differ from row to row: the answer pairs them. "
        f"Time is forward and backward at the longest timed length, as a multiple of {verdict.BASELINE}'s on the same engine, with an interval of the median over rounds. "
        "State is how many numbers are carried from step to step, for one sequence. "
        f"⚑ marks parameters more than {100 * verdict.TOLERANCE:g} % off the budget of a task, {figures.MARK} a variant that is not causal.",
        rests=verdict.answered(results),
    )
    if len(trials) and trust.untuned:
        yield Prose(
            f"Untuned: every variant was trained with the one learning rate {trust.rates[0]:g}, which suits some better than others."
        )
    elif len(trials):
        yield Table(
            learning_rates(trials, look),
            f"The learning rates that were chosen, of {', '.join(f'{rate:g}' for rate in trust.rates)}: for each seed by the validation of the others. "
            "⚑ marks an edge of this grid: a better rate may lie beyond.",
        )
    if trials["value"].notna().any():
        yield Plot(
            "scoreboard_skill",
            skills(trials, figures.looks(results)),
            f"Test skill of each variant on each task and trained length: mean over seeds, and how many of them solved the task. "
            f"Darker is better; {figures.MARK} stands below the causal variants.",
            finding=filled(trials),
            data=trials[["variant", "task", "length", "seed", "value", "solved"]],
            rests=verdict.rests(trials),
        )


def row(style: figures.Look, summary: verdict.Summary, engines: Sequence[str]) -> dict[str, str | int]:
    unsolved = "not solved" if summary.trials else "–"
    return {
        "Variant": style.label,
        "Parameters": span(summary.parameters) + (" ⚑" if summary.off_budget else ""),
        "Hidden": span(summary.hidden_sizes),
        "State": summary.state,
        "Solved": f"{summary.solved} of {summary.trials}" if summary.trials else "–",
        "Test skill": summary.skill.text(),
        "Steps": steps(summary),
        "Robustness": summary.robustness.text() if summary.robustness.n else unsolved,
        **{f"Time, {engine}": ratio(summary, engine) for engine in engines},
        "Lost": summary.lost,
    }


def steps(summary: verdict.Summary) -> str:
    if math.isnan(summary.steps):
        return "never" if summary.never else "–"
    return f"{summary.steps:.0f} ({summary.never} never)" if summary.never else f"{summary.steps:.0f}"


def span(numbers: Sequence[int]) -> str:
    if not numbers:
        return "–"
    return f"{numbers[0]:,}" if len(numbers) == 1 else f"{numbers[0]:,}–{numbers[-1]:,}"


def ratio(summary: verdict.Summary, engine: str) -> str:
    return summary.times[engine].text() if engine in summary.times else "–"


def learning_rates(trials: DataFrame, look: dict[str, figures.Look]) -> DataFrame:
    """A row for each variant, a column for each cell: the rates that were chosen there, the smallest first."""
    trials = trials.assign(cell=figures.cells(trials)).sort_values("learning_rate", kind="stable")
    trials = trials.assign(
        rate=[f"{rate:g}{' ⚑' if edge else ''}" for rate, edge in zip(trials["learning_rate"], trials["edge"], strict=True)]
    )
    order = list(dict.fromkeys(trials.sort_index()["cell"]))
    table: DataFrame = trials.pivot_table(
        index="variant", columns="cell", values="rate", aggfunc=lambda rates: ", ".join(dict.fromkeys(rates))
    )
    table = table.reindex(columns=order)
    table = table.reindex([name for name in look if name in table.index])
    table.insert(0, "Variant", [look[name].label for name in table.index])
    return table


def filled(trials: DataFrame) -> str:
    by_field = trials.groupby(["variant", "task", "length"], sort=False)["solved"]
    return _findings.fields([int(own) for own in by_field.sum()], [int(own) for own in by_field.size()])


def skills(trials: DataFrame, look: dict[str, figures.Look]) -> Figure:
    import pandas as pd

    groups = trials.groupby(["variant", "task", "length"], sort=False)
    means, solved, counts = groups["value"].mean(), groups["solved"].sum(), groups.size()
    cells = list(dict.fromkeys(zip(trials["task"], trials["length"], strict=True)))
    keys = [[(name, *cell) for cell in cells] for name in look]
    values = [[means.get(key, math.nan) for key in line] for line in keys]
    texts = [[f"{means[key]:.2f}\n{solved[key]} of {counts[key]}" if key in means.index else "" for key in line] for line in keys]
    titles = [f"{task}\nT = {length}" for task, length in cells]
    labels = [style.label for style in look.values()]
    return figures.heat(*(pd.DataFrame(fields, index=labels, columns=titles) for fields in (values, texts)))


@hookimpl
def suite_sections() -> Iterator[Section]:
    yield Section("scoreboard", "Scoreboard", draw, order=52, folded=True)
