"""Shows how skill grows in training, so that a budget too short is seen."""

from __future__ import annotations

from collections.abc import Iterator

from suite import Plot, Prose, Results, Section, figures, hookimpl, stats, verdict

from . import _findings


def draw(results: Results) -> Iterator[Prose | Plot]:
    skills = verdict.scores(results, "learning", "skill")
    if skills.empty:
        yield Prose("No trial has a learning curve.")
        return
    skills = skills.assign(x=skills["at"], panel=figures.cells(skills))
    means, limits = stats.spreads(skills, ["panel", "variant", "x"]), verdict.trust(results)
    figure = figures.lines(means, figures.looks(results), x_label="training step", y_label="validation skill", points=skills)
    yield Plot(
        "learning_curves",
        figure,
        "Skill on the validation stream, mean and range over seeds. A curve that still climbs at its end had too few steps to show what it can do. "
        "The weights of each trial's best step are the ones tested.",
        finding=_findings.climbing(limits.learning, len(verdict.trials(results))),
        data=means,
        rests=verdict.rests(skills),
    )


@hookimpl
def suite_sections() -> Iterator[Section]:
    yield Section("learning_curves", "Learning curves", draw, order=50)
