"""Lists how many parameters each variant was given for each task."""

from __future__ import annotations

from collections.abc import Iterator

from suite import Element, Prose, Results, Section, Table, hookimpl

suite_api = 1


def draw(results: Results) -> Iterator[Element]:
    trials = results.trials[results.trials["chosen"].astype(bool)]
    if trials.empty:
        yield Prose("No trial has been run.")
        return
    table = trials.pivot_table(index="variant", columns="task", values="parameters", aggfunc="max", sort=False)
    yield Table(table.reset_index(), caption="Trainable parameters, readout included.")


@hookimpl
def suite_sections() -> Iterator[Section]:
    yield Section("parameters", title="Parameters", draw=draw, order=65)
