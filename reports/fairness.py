"""Says in what each variant and lstm were alike, and in what they were not."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from suite import Prose, Results, Section, Table, figures, hookimpl, verdict

if TYPE_CHECKING:
    from pandas import DataFrame

FLAG = "⚑"


def draw(results: Results) -> Iterator[Prose | Table]:
    every = verdict.fairness(results)
    if len(every) < 2:
        yield Prose(f"Nothing is compared: {'no other variant was trained' if every else f'{verdict.BASELINE} was not trained'}.")
        return
    yield Table(
        table(every, results),
        f"In what each variant was like {verdict.BASELINE}: = is the same, {FLAG} is not, ? is not known. Parameters are a multiple of {verdict.BASELINE}'s, flagged "
        f"beyond {100 * verdict.TOLERANCE:g} %. State is how many numbers are carried from step to step, for one sequence; a range is over tasks and lengths, and what "
        "sees the whole sequence has it all. Initial memory is the bias that gates begin with which keep a state. Engines give the same outputs and "
        f"gradients to 1e-5: the one trained on decides how long that took, not what was learned. {figures.MARK} marks a variant that is not causal.",
    )


def table(every: list[verdict.Fairness], results: Results) -> DataFrame:
    """A row for each variant, a column for each aspect; the baseline's values come first."""
    import pandas as pd

    look = figures.looks(results)
    return pd.DataFrame(
        {
            "Variant": look[fairness.variant].label,
            **{aspect.name.capitalize(): shown(aspect, first=not place) for aspect in fairness.aspects},
        }
        for place, fairness in enumerate(every)
    )


def shown(aspect: verdict.Aspect, *, first: bool) -> str:
    """What a variant has, with its mark; a sign alone where that is what the baseline has."""
    if first:
        return aspect.own
    if aspect.equal and aspect.own == aspect.baseline:
        return "="
    return aspect.own + ("" if aspect.equal else f" {'?' if aspect.equal is None else FLAG}")


@hookimpl
def suite_sections() -> Iterator[Section]:
    yield Section("fairness", "Fairness", draw, order=65, folded=True)
