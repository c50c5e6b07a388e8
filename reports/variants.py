"""Tells of each variant by itself: what is found against lstm, its learning curves, its source beside lstm's, its paper, and its trials."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from suite import Listing, Part, Plot, Prose, Results, Section, Table, figures, hookimpl, stats, verdict

from ._sentences import Looks, findings

if TYPE_CHECKING:
    from pandas import DataFrame


def draw(results: Results) -> Iterator[Prose | Part]:
    look, answer = figures.looks(results, timed=True), verdict.answer(results)
    names = [name for name in look if name != verdict.BASELINE]
    if not names:
        yield Prose("There is no variant beside the baseline.")
        return
    for place, (name, anchor) in enumerate(zip(names, anchors(names), strict=True)):
        yield Part(anchor, look[name].label, tuple(told(results, name, place, look, answer, f"{anchor}-keys")))


def anchors(names: Sequence[str]) -> list[str]:
    """The place of each variant's part in the page, such as ``variant-gru``."""
    plain = ["variant-" + re.sub(r"[^A-Za-z0-9]+", "-", name).strip("-") for name in names]
    return [f"{anchor}-{place}" if anchor in plain[:place] else anchor for place, anchor in enumerate(plain)]


def told(
    results: Results, name: str, place: int, look: Looks, answer: verdict.Answer, table: str
) -> Iterator[Prose | Table | Plot | Listing]:
    import pandas as pd

    plugin = name.partition("(")[0]
    origin = results.provenance.origins.get(plugin)
    row = {title: verdict.marked(answer.row(name, *where)) or "–" for title, where in verdict.columns(answer).items()}
    worth = verdict.worth(answer, name)
    yield Table(
        pd.DataFrame([{"Worth it?": worth.word, **row}]), f"Against {verdict.BASELINE}: {worth.sentence} {' '.join(findings(name, answer))}"
    )
    yield from curves(results, name, place, look)
    if origin and origin.paper:
        yield Prose(f"Paper: {origin.paper}.")
    yield from source(results, plugin)
    trials = results.trials[results.trials["variant"] == name]
    if len(trials):
        yield Table(keys(trials), "The keys of its trials, a seed each in the plan's order; `suite log KEY` shows one.", name=table)


def curves(results: Results, name: str, place: int, look: Looks) -> Iterator[Plot]:
    """How its skill grows in training, beside the baseline's."""
    skills = verdict.scores(results, "learning", "skill")
    skills = skills[skills["variant"].isin([name, verdict.BASELINE])]
    if skills["variant"].eq(name).any():
        skills = skills.assign(x=skills["at"], panel=figures.cells(skills))
        means = stats.spreads(skills, ["panel", "variant", "x"])
        pair = {other: look[other] for other in (verdict.BASELINE, name) if other in look}
        figure = figures.lines(means, pair, x_label="training step", y_label="validation skill", points=skills)
        yield Plot(
            f"variant_{place}",
            figure,
            f"Validation skill of {look[name].label} beside {verdict.BASELINE}'s, mean and range over seeds.",
            data=means,
        )


def source(results: Results, plugin: str) -> Iterator[Prose | Listing]:
    """In what its file differs from the baseline's."""
    origins = results.provenance.origins
    own, base = origins.get(plugin), origins.get(verdict.BASELINE)
    if own is None or plugin == verdict.BASELINE:
        return
    if not own.text or base is None or not base.text:
        yield Prose(
            f"Source: {own.source}; it is not the one behind these trials, or that of {verdict.BASELINE} is not, and so is not shown."
        )
        return
    lines = difflib.unified_diff(base.text.splitlines(), own.text.splitlines(), base.source, own.source, lineterm="", n=2)
    yield Listing("\n".join(lines), f"Its source beside {verdict.BASELINE}'s: − what only {verdict.BASELINE} has, + what only it has.")


def keys(trials: DataFrame) -> DataFrame:
    """A row for each task, length and learning rate, with the keys of its seeds."""
    import pandas as pd

    return pd.DataFrame(
        {"Task": figures.cell(task, length), "Learning rate": f"{rate:g}", "Keys": " ".join(own.sort_values("seed")["key"])}
        for (task, length, rate), own in trials.groupby(["task", "length", "learning_rate"], sort=False)
    )


@hookimpl
def suite_sections() -> Iterator[Section]:
    yield Section("variants", "Each variant", draw, order=51)
