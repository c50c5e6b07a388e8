"""Lists how many parameters each variant was given for each task."""

from __future__ import annotations

from collections.abc import Iterator

from suite import Element, Prose, Results, Section, Table, hookimpl, verdict

suite_api = 2


def draw(results: Results) -> Iterator[Element]:
    trials = verdict.trials(results)  # those at the learning rates that validation chose
    if trials.empty:
        yield Prose("No trial has been run.")
        return
    table = trials.pivot_table(index="variant", columns="task", values="parameters", aggfunc="max", sort=False)
    yield Table(table.reset_index(), caption="Trainable parameters, readout included.")


@hookimpl
def suite_sections() -> Iterator[Section]:
    yield Section("parameters", title="Parameters", draw=draw, order=65)
