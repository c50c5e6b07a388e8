"""Answers the plan's question in a few lines: who leads on each axis, by how much, and how far to trust it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from suite import Prose, Results, Section, Table, figures, hookimpl, verdict

SHOWN = 5
"""A sentence lists at most so many names."""

Looks = Mapping[str, figures.Look]


def draw(results: Results) -> Iterator[Prose | Table]:
    import pandas as pd

    look = figures.looks(results, timed=True)
    answers = {f"Speed, {engine.name} engine": speed(verdict.speed(results, engine.name), look) for engine in verdict.engines(results)}
    answers |= {
        "Robustness": robustness(verdict.robustness(results), look),
        "Long range": long_range(results, look),
        "How far to trust it": trust(results, look),
    }
    yield Prose(results.plan["question"])
    yield Table(pd.DataFrame(answers.items(), columns=["Axis", "Answer"]))


def speed(comparison: verdict.Comparison, look: Looks) -> str:
    if not comparison.scores:
        return "Nothing was timed on this engine."
    missing = (
        f" Not timed on this engine, or not a kernel where {verdict.BASELINE} is one: {labels(comparison.left_out, look)}."
        if comparison.left_out
        else ""
    )
    return (
        f"{standing(comparison, look)} Time of forward and backward at T = {comparison.cells[0].length}, "
        f"as a multiple of {verdict.BASELINE}'s.{missing}"
    )


def robustness(comparison: verdict.Comparison, look: Looks) -> str:
    if not comparison.cells:
        return "No variant solved a task with every seed (or no corruption was asked for), so nothing can be said."
    cells = "; ".join(figures.cell(*cell) for cell in comparison.cells)
    left_out = f" Not compared, since not solved so: {labels(comparison.left_out, look)}." if comparison.left_out else ""
    return f"{skilled(comparison, look)} Mean skill over all severities, where most variants solved the task with every seed ({cells}).{left_out}"


def long_range(results: Results, look: Looks) -> str:
    trials, comparison = verdict.trials(results), verdict.long_range(results)
    if trials.empty:
        return "No trial is finished."
    left_out = f" Not compared, since without a score on all of them: {labels(comparison.left_out, look)}." if comparison.left_out else ""
    solvers = verdict.solvers_of_longest(results)
    solved = "; ".join(f"{figures.cell(*cell)} by {labels(names, look) or 'nobody'}" for cell, names in solvers.items())
    nothing = "" if trials["solved"].any() else " Nobody solved any task at any length: this says who had begun to learn."
    return f"{skilled(comparison, look)} Mean test skill at each task's longest length.{left_out} Solved in at least one seed: {solved}.{nothing}"


def skilled(comparison: verdict.Comparison, look: Looks) -> str:
    """The standing by skill; there is none where nobody has any."""
    if comparison.nothing_learned:
        return f"Nobody does better than not looking at the input.{apart(comparison, look)}"
    return standing(comparison, look)


def standing(comparison: verdict.Comparison, look: Looks) -> str:
    """Who leads, who is level with the leader, where the baseline stands, and apart from them who is not causal."""
    if not comparison.ranked:
        return f"No causal variant has a score.{apart(comparison, look)}"
    leader, *others = (scored(name, comparison, look) for name in comparison.ranked)
    if not others:
        return f"Only {leader} has a score.{apart(comparison, look)}"
    named = comparison.level[:SHOWN] or comparison.ranked[1:2]
    if comparison.level:
        sentence = f"{leader} leads, level with {some([scored(name, comparison, look) for name in comparison.level])}: the ranges overlap"
    else:
        sentence = f"{leader} leads, ahead of {others[0]}"
    if verdict.BASELINE in comparison.ranked[1:] and verdict.BASELINE not in named:
        sentence += f"; {scored(verdict.BASELINE, comparison, look)}"
    return f"{sentence}.{apart(comparison, look)}"


def apart(comparison: verdict.Comparison, look: Looks) -> str:
    return "".join(f" Apart, not causal: {scored(name, comparison, look)}." for name in comparison.apart)


def scored(name: str, comparison: verdict.Comparison, look: Looks) -> str:
    return f"`{look[name].label}` {comparison.scores[name].text()}"


def labels(names: Sequence[str], look: Looks) -> str:
    return some([f"`{look[name].label}`" for name in names])


def some(texts: Sequence[str]) -> str:
    more = f" and {len(texts) - SHOWN} more" if len(texts) > SHOWN else ""
    return ", ".join(texts[:SHOWN]) + more


def trust(results: Results, look: Looks) -> str:
    limits, machine = verdict.trust(results), results.provenance.machine
    sentences = ["No trial is finished."]
    if limits.seeds:
        count = f"{limits.seeds} {'seed' if limits.seeds == 1 else 'seeds'}"
        sentences = [f"{count} a cell at most: a paired test could not give a p under {limits.least_p:.2g}."]
    if limits.few_seeds:
        sentences.append("So few tell who leads here, not who is better; in brackets is the plain range.")
    else:
        sentences.append("In brackets is the 95 % bootstrap interval over seeds.")
    sentences.append("For speed it is an interval of the median over rounds, no narrower than what tells two copies of one model apart.")
    if limits.untuned:
        sentences.append(f"Untuned: one learning rate, {limits.rates[0]:g}, for all.")
    if limits.at_edge:
        sentences.append(f"{limits.at_edge} trials have a learning rate at an edge of the grid: a better one may lie beyond.")
    sentences += losses(verdict.losses(results))
    sentences.append(f"Trained and timed on {machine.device} ({machine.device_model}).")
    if not all(style.causal for style in look.values()):
        sentences.append(f"{figures.MARK} marks variants that see the future of the sequence; they are not compared with the causal ones.")
    return " ".join(sentences)


def losses(count: verdict.Losses) -> Iterator[str]:
    if count.lost:
        yield f"{count.lost} trials failed, diverged or are missing: see failures."
    if count.stale:
        results, made = ("result is", "it was") if count.stale == 1 else ("results are", "they were")
        yield f"{count.stale} {results} left out, since {some(count.changed)} changed after {made} made: run the plan again."


@hookimpl
def suite_sections() -> Iterator[Section]:
    yield Section("answer", "The answer", draw, order=0)
