"""Answers the plan's question: each variant against lstm on every axis, what that says in words, and how far to trust it."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence

from suite import Prose, Results, Section, Table, figures, hookimpl, verdict

SHOWN = 5
"""A sentence lists at most so many names."""

Looks = Mapping[str, figures.Look]


def draw(results: Results) -> Iterator[Prose | Table]:
    import pandas as pd

    look, answer = figures.looks(results, timed=True), verdict.answer(results)
    yield Prose(results.plan["question"])
    if answer.rows:
        columns = verdict.columns(answer)
        rows = [
            {"Variant": look[name].label, **{title: verdict.marked(answer.row(name, *place)) for title, place in columns.items()}}
            for name in dict.fromkeys(row.variant for row in answer.rows)
        ]
        yield Table(pd.DataFrame(rows), caption())
    said = {f"`{look[name].label}`": " ".join(findings(name, answer)) for name in dict.fromkeys(row.variant for row in answer.rows)}
    said["How far to trust it"] = trust(results, answer, look)
    yield Table(pd.DataFrame(said.items(), columns=["Variant", "Against lstm"]))


def caption() -> str:
    return (
        f"Each variant against {verdict.BASELINE}: {verdict.MARKS['better']} better, {verdict.MARKS['worse']} worse, "
        f"{verdict.MARKS['undecided']} undecided, {verdict.MARKS['not comparable']} not comparable. Time is that of forward and backward at the longest timed length, as a "
        f"multiple of {verdict.BASELINE}'s (below 1 is faster), on the engine that most variants share and on each one's fastest, with an interval of the "
        "median over rounds. Robust is the difference in the part of its skill that a solved "
        "model keeps under damage; remembers is the difference in test skill over all tasks and lengths; both are means over cells of differences "
        "paired by seed, with a 95 % interval. Better and worse are said where exchanging what the two have of a seed, with rates chosen anew, gives p < 5 %, adjusted by Holm "
        "for all comparisons of learning here; beside an interval that holds 0, the difference is there and its size is not known."
    )


def findings(name: str, answer: verdict.Answer) -> Iterator[str]:
    """A sentence for each axis."""
    yield from speed(name, answer)
    for axis, better, worse, alike in (
        ("robustness", "Keeps more of its skill under damage", "Keeps less of its skill under damage", "Robustness undecided"),
        ("long_range", "Remembers further", "Remembers less far", "Memory undecided"),
    ):
        row = answer.row(name, axis)  # type: ignore[arg-type]
        if row is None:
            continue
        if row.verdict == "not comparable":
            yield f"{'Robustness' if axis == 'robustness' else 'Memory'} not comparable: {row.why}."
            continue
        sentence = {"better": better, "worse": worse}.get(row.verdict, alike)
        rests = f"p = {row.p:.2g}, {row.pairs} pairs in {row.cells} {'cell' if row.cells == 1 else 'cells'}"
        yield f"{sentence} ({rests}{visible(row) if row.verdict == 'undecided' else ''})."


def visible(row: verdict.Row) -> str:
    """What an undecided comparison could have seen."""
    if math.isinf(row.visible):
        return "; so few pairs could show no difference, however large"
    return f"; a difference of {row.visible:.2f} would have been seen in four of five such plans" if row.visible > 0 else ""


def speed(name: str, answer: verdict.Answer) -> Iterator[str]:
    """What it costs on the same engine, by engine."""
    adjectives = {"better": "faster", "worse": "slower", "undecided": "as fast, as far as can be told"}
    by_adjective: dict[str, list[str]] = {}
    for engine in answer.engines:
        row = answer.row(name, "speed", engine)
        if row is not None and row.verdict in adjectives:
            by_adjective.setdefault(adjectives[row.verdict], []).append(f"{engine} {row.effect.mean:.2f}")
    if by_adjective:
        yield "; ".join(f"{adjective} ({', '.join(engines)})" for adjective, engines in by_adjective.items()).capitalize() + "."


def labels(names: Sequence[str], look: Looks) -> str:
    return some([f"`{look[name].label}`" for name in names])


def some(texts: Sequence[str]) -> str:
    more = f" and {len(texts) - SHOWN} more" if len(texts) > SHOWN else ""
    return ", ".join(texts[:SHOWN]) + more


def trust(results: Results, answer: verdict.Answer, look: Looks) -> str:
    limits, machine = verdict.trust(results), results.provenance.machine
    sentences = ["No trial is finished."]
    if limits.seeds:
        count = f"{limits.seeds} {'seed' if limits.seeds == 1 else 'seeds'}"
        sentences = [f"{count} a cell at most: a single cell could not give a p under {limits.least_p:.2g}, and is not judged by itself."]
    if answer.unsolved:
        sentences.append(f"Nobody solved {some([figures.cell(*cell) for cell in answer.unsolved])}: left out of what is said of learning.")
    if limits.untuned:
        sentences.append(f"Untuned: one learning rate, {limits.rates[0]:g}, for all.")
    elif limits.seeds > 1:
        sentences.append("Each seed's learning rate was chosen by the validation of the other seeds.")
    if limits.at_edge:
        sentences.append(f"{limits.at_edge} trials have a learning rate at an edge of the grid: a better one may lie beyond.")
    if limits.learning:
        sentences.append(f"{limits.learning} trials were still learning when their steps ended: more steps may change what is said.")
    sentences += damage(results)
    sentences += losses(verdict.losses(results))
    if (noise := verdict.noise(results)) == noise:
        sentences.append(
            f"A copy of {verdict.BASELINE} differed from it by up to {100 * noise:.1f} % in time: no smaller difference is called one."
        )
    sentences.append(f"Trained and timed on {machine.device} ({machine.device_model}).")
    for name, reason in verdict.apart(results).items():
        if reason and name in look and look[name].causal:
            sentences.append(f"`{look[name].label}` is compared with nobody: {reason}.")
    if not all(style.causal for style in look.values()):
        sentences.append(f"{figures.MARK} marks variants that see the future of the sequence; they are not compared with the causal ones.")
    return " ".join(sentences)


def damage(results: Results) -> Iterator[str]:
    """What the models met in training, where that was damaged."""
    training = results.plan["training"]
    if name := training.get("corruption"):
        unit = results.provenance.units.get(name, "")
        yield (
            f"All models were trained and validated under `{name}` at {training['severity']:g} {unit}".rstrip()
            + ", where it is damage to their task."
        )


def losses(count: verdict.Losses) -> Iterator[str]:
    if count.lost:
        yield f"{count.lost} trials did not end well or are missing: see failures."
    if count.stale:
        results, made = ("result is", "it was") if count.stale == 1 else ("results are", "they were")
        yield f"{count.stale} {results} left out, since {some(count.changed)} changed after {made} made: run the plan again."


@hookimpl
def suite_sections() -> Iterator[Section]:
    yield Section("answer", "The answer", draw, order=0)
