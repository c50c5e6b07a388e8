"""Shows how far each variant remembers: skill against length, the longest length solved, and lengths never trained."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from suite import Part, Plot, Prose, Results, Section, Table, figures, hookimpl, stats, verdict

from . import _findings

if TYPE_CHECKING:
    from pandas import DataFrame


def draw(results: Results) -> Iterator[Prose | Plot | Table | Part]:
    trials = verdict.trials(results)
    if trials.empty:
        yield Prose("No trial is finished.")
        return
    look = figures.looks(results)
    scored = trials[trials["value"].notna()]
    if not scored.empty:
        yield trained(scored, look)
    if nobody := nobody_solved(results):
        yield Prose(f"Nobody solved {'; '.join(nobody)}: there every variant remembers equally little, and it enters no mean.")
    yield Part("long-range-more", "Memory horizons, lengths never trained, and how far gradients reach", tuple(more(results, look)))


def more(results: Results, look: dict[str, figures.Look]) -> Iterator[Plot | Table]:
    yield Table(memory(results, look), MEMORY, rests=verdict.rests(verdict.trials(results)))
    elsewhere = verdict.scores(results, "long_range", "skill")
    if elsewhere["at"].nunique() > 1:
        yield untrained(elsewhere, look)
    yield from reached(results, look)


def trained(scored: DataFrame, look: dict[str, figures.Look]) -> Plot:
    rows = scored.assign(panel=scored["task"], x=scored["length"].astype(float))
    means = stats.spreads(rows, ["panel", "variant", "x"])
    seen, nothing, everything = figures.apart(means)
    figure = figures.lines(
        seen if len(seen) else means,
        look,
        x_label="sequence length T, trained and tested",
        y_label="test skill",
        log=("x",),
        points=rows,
    )
    note = figures.left_out(nothing, everything, "skills") if len(seen) else ""
    return Plot(
        "long_range_skill",
        figure,
        f"Skill on the test stream of the trained length; bands are the range over seeds (thin lines: few seeds), a diverged trial counts as 0.{note}",
        finding=_findings.furthest(scored, look),
        data=means,
        rests=verdict.rests(scored),
    )


MEMORY = (
    "Memory horizon: the longest trained length that at least half of the seeds solved, and below it the interval that holds the true one with 95 %, by Clopper "
    "and Pearson's bounds at each length. < and ≥ say that it lies beyond the lengths that were trained. Of fewer than six seeds no "
    "length is sure, and the interval is the whole ladder. A seed solved what met the goal in two successive validations and on the test stream."
)


def memory(results: Results, look: dict[str, figures.Look]) -> DataFrame:
    """A row for each variant, a column for each task."""
    import pandas as pd

    horizons = verdict.memory_horizons(results)
    tasks = list(dict.fromkeys(task for task, _ in horizons))
    rows = []
    for name, style in look.items():
        row = {"Variant": style.label}
        for task in tasks:
            found = horizons.get((task, name))
            row[task] = horizon(found) if found else "–"
        rows.append(row)
    return pd.DataFrame(rows)


def horizon(found: verdict.MemoryHorizon) -> str:
    """The horizon with its interval, and how many seeds solved each length."""
    counts = ", ".join(
        f"{length}: {solved} of {seeds}" for length, solved, seeds in zip(found.ladder, found.solved, found.seeds, strict=True)
    )
    return f"{found.text(found.estimate)} ({found.text(found.low)} to {found.text(found.high)}); {counts}"


def nobody_solved(results: Results) -> list[str]:
    """The lengths that were trained and that no seed of any variant solved."""
    return [figures.cell(*cell) for cell in verdict.answer(results).unsolved]


def untrained(rows: DataFrame, look: dict[str, figures.Look]) -> Plot:
    factors = sorted(set(rows["at"]))
    place = {factor: float(index) for index, factor in enumerate(factors)}
    rows = rows.assign(x=rows["at"].map(place), panel=figures.cells(rows))
    means = stats.spreads(rows, ["panel", "variant", "x"])
    figure = figures.lines(
        means,
        look,
        x_label="tested length, as a multiple of the trained length T",
        y_label="test skill",
        ticks={place[factor]: f"{factor:g}×" for factor in factors},
        points=rows,
    )
    return Plot(
        "long_range_untrained",
        figure,
        "Skill on sequences longer than any seen in training. A line at 0 does no better than not looking at the input.",
        finding=_findings.beyond(rows, look),
        data=means,
        rests=verdict.rests(rows),
    )


def reached(results: Results, look: dict[str, figures.Look]) -> Iterator[Plot | Table]:
    """How far gradients reach, at first and after training, where the plan asks."""
    horizons = verdict.gradient_horizons(results)
    if not horizons:
        return
    for metric, when in (("gradient_at_start", "with the first weights"), ("gradient", "after training")):
        shares = verdict.over_seeds(verdict.gradients(results, metric))
        figure = figures.lines(
            shares.assign(panel=figures.cells(shares)),
            look,
            x_label="lag: steps back from where the loss is read",
            y_label="part of the gradient at lag 0",
            log=("y",),
            y_range=(LEAST, max(10.0, 2 * float(shares["high"].max()))),
            level=verdict.REACHES,
        )
        yield Plot(
            f"long_range_{metric}",
            figure,
            f"The norm of ∂loss/∂x_t against the lag, {when}, as a part of that at lag 0: geometric mean over samples and seeds, and the range over seeds. "
            "A straight fall is a gradient that vanishes by the same factor each step; the grey line is one hundredth, where the gradient horizon ends.",
            finding=_findings.shortest_gradient(horizons, look) if metric == "gradient" else "With the first weights",
            data=shares,
        )
    yield Table(
        gradient_table(horizons, look),
        "Gradient horizon: the largest lag at which the gradient is at least one hundredth of that at lag 0, with the first weights → after training; the median over "
        "seeds with their range. ≥ marks the first step of the sequence: it may reach further.",
    )


LEAST = 1e-6
"""Where the axis of gradients ends."""


def gradient_table(horizons: Sequence[verdict.GradientHorizon], look: dict[str, figures.Look]) -> DataFrame:
    """A row for each variant, a column for each task and length."""
    import pandas as pd

    texts = {
        (found.variant, figures.cell(found.task, found.length)): f"{found.start.text()} → {found.trained.text()}" for found in horizons
    }
    cells, known = list(dict.fromkeys(cell for _, cell in texts)), {name for name, _ in texts}
    rows = [
        {"Variant": style.label, **{cell: texts.get((name, cell), "–") for cell in cells}} for name, style in look.items() if name in known
    ]
    return pd.DataFrame(rows)


@hookimpl
def suite_sections() -> Iterator[Section]:
    yield Section("long_range", "Long range", draw, order=40)
