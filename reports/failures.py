"""Lists all that went wrong: trials that did not end well, failed timings, broken plugins, what is missing, and what is stale."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING

from suite import Prose, Results, Section, Table, figures, hookimpl, verdict

if TYPE_CHECKING:
    from pandas import DataFrame

SHOWN = 200
"""A table shows at most so many rows; results.csv has all trials."""

AGAIN = "run the plan again, and what is finished is kept."


def draw(results: Results) -> Iterator[Prose | Table]:
    import pandas as pd

    count, provenance = verdict.losses(results), results.provenance
    if not (count.lost or count.stale or provenance.broken or provenance.failed_timings):
        yield Prose(
            f"Nothing failed: {count.well} of {count.asked} trials ended well, every timing was taken, and every plugin could be used."
        )
        return
    ends = "".join(f", {number} {verdict.ENDS[status]}" for status, number in count.ends.items())
    yield Prose(
        f"{count.well} of {count.asked} trials ended well{ends}, {count.missing} are missing. A diverged trial counts as unsolved and without "
        "skill. Any other that did not end well is left out of means, since it says nothing about the variant's skill; the next run tries it again."
    )
    if provenance.broken:
        rows = [{"Source": plugin.source, "Reason": plugin.reason, "Traceback": plugin.traceback or "–"} for plugin in provenance.broken]
        yield Table(pd.DataFrame(rows), "Plugins that could not be used.")
    if count.ends:
        yield capped(lost(results), "Trials that did not end well.")
    if provenance.failed_timings:
        timings = pd.DataFrame(provenance.failed_timings.items(), columns=["Variant | engine | length", "Reason"])
        yield capped(timings, "Timings that failed.")
    if provenance.missing:
        missing = pd.DataFrame({"Variant | task | length | seed | learning rate": provenance.missing})
        yield capped(missing, f"Trials without a result: {AGAIN}")
    if provenance.stale:
        stale = pd.DataFrame([{"Left out": result.what, "Changed since": ", ".join(result.changed)} for result in provenance.stale])
        yield capped(stale, f"Results left out, since the code behind them changed after they were made: {AGAIN}")


def lost(results: Results) -> DataFrame:
    import pandas as pd

    gone = verdict.lost(results)
    steps = ["–" if math.isnan(step) else f"{step:.0f}" for step in gone["last_step"].astype(float)]
    return pd.DataFrame(
        {
            "Variant": trial.variant,
            "Task": figures.cell(trial.task, trial.length),
            "Seed": trial.seed,
            "Learning rate": f"{trial.learning_rate:g}",
            "How": trial.status,
            "Last step": step,
            "Reason": trial.reason,
            "Traceback or last output": trial.traceback or "–",
        }
        for trial, step in zip(gone.itertuples(index=False), steps, strict=True)
    )


def capped(table: DataFrame, caption: str) -> Table:
    """The table's first rows, with a word in the caption where there are more."""
    more = f" The first {SHOWN} of {len(table)}." if len(table) > SHOWN else ""
    return Table(table.head(SHOWN), caption + more)


@hookimpl
def suite_sections() -> Iterator[Section]:
    yield Section("failures", "Failures", draw, order=60, folded=True)
