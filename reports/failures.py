"""Lists all that went wrong: failed and diverged trials, failed timings, broken plugins, and what is missing."""

from __future__ import annotations

from collections.abc import Iterator

from suite import Prose, Results, Section, Table, figures, hookimpl

SHOWN = 200
"""So many rows of a table at most; results.csv has them all."""


def draw(results: Results) -> Iterator[Prose | Table]:
    import pandas as pd

    trials, provenance = results.trials, results.provenance
    bad = trials[trials["status"] != "ok"]
    if not (len(bad) or provenance["broken"] or provenance["failed_timings"] or provenance["missing"]):
        yield Prose(
            f"Nothing failed: {len(trials)} of {len(trials)} trials ended well, every timing was taken, and every plugin could be used."
        )
        return
    yield Prose(
        f"{len(trials) - len(bad)} of {len(trials) + len(provenance['missing'])} trials ended well, {(bad['status'] == 'failed').sum()} failed, "
        f"{(bad['status'] == 'diverged').sum()} diverged, {len(provenance['missing'])} are missing. "
        "A diverged trial counts as unsolved and without skill; a failed one is left out of means, since it says nothing about the variant's skill."
    )
    if provenance["broken"]:
        rows = [{"Source": one["source"], "Reason": one["reason"], "Traceback": one["traceback"] or "–"} for one in provenance["broken"]]
        yield Table(pd.DataFrame(rows), "Plugins that could not be used.")
    if len(bad):
        rows = [
            {
                "Variant": row.variant,
                "Task": figures.cell(str(row.task), row.length),
                "Seed": row.seed,
                "Learning rate": f"{row.learning_rate:g}",
                "How": row.status,
                "Reason": row.reason,
                "Traceback": row.traceback or "–",
            }
            for row in bad.head(SHOWN).itertuples(index=False)
        ]
        yield Table(pd.DataFrame(rows), "Trials that failed or diverged." + more(len(bad)))
    if provenance["failed_timings"]:
        timings = list(provenance["failed_timings"].items())
        yield Table(
            pd.DataFrame(timings[:SHOWN], columns=["Variant | engine | length", "Reason"]), "Timings that failed." + more(len(timings))
        )
    if provenance["missing"]:
        missing = pd.DataFrame({"Variant | task | length | seed | learning rate": provenance["missing"][:SHOWN]})
        yield Table(
            missing,
            f"Trials without a result: run `suite run {results.plan['name']}` again, and what is finished is kept."
            + more(len(provenance["missing"])),
        )


def more(count: int) -> str:
    return f" The first {SHOWN} of {count}." if count > SHOWN else ""


@hookimpl
def suite_sections() -> Iterator[Section]:
    yield Section("failures", "Failures", draw, order=60)
