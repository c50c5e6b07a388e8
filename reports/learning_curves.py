"""Shows how skill grows in training, so that a budget too short is seen."""

from __future__ import annotations

from collections.abc import Iterator

from suite import Plot, Prose, Results, Section, figures, hookimpl, stats, verdict


def draw(results: Results) -> Iterator[Prose | Plot]:
    skills = verdict.scores(results, "learning", "skill")
    if skills.empty:
        yield Prose("No trial has a learning curve.")
        return
    skills = skills.assign(x=skills["at"], panel=figures.cells(skills))
    figure = figures.lines(
        stats.spreads(skills, ["panel", "variant", "x"]),
        figures.looks(results),
        x_label="training step",
        y_label="validation skill",
    )
    yield Plot(
        "learning_curves",
        figure,
        "Skill on the validation stream, mean and range over seeds. A curve that still climbs at its end had too few steps to show what it can do. "
        "The weights of each trial's best step are the ones tested.",
    )


@hookimpl
def suite_sections() -> Iterator[Section]:
    yield Section("learning_curves", "Learning curves", draw, order=50)
