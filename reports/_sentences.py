"""Says in sentences what the answer finds of a variant, with p and pairs, and how far to trust what a report says."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence

from suite import Results, figures, verdict

SHOWN = 5
"""A sentence lists at most so many names."""

Looks = Mapping[str, figures.Look]


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
        sentences.append(
            f"{limits.at_edge} of {limits.chosen} trials have a learning rate at an edge of the grid: a better one may lie beyond."
        )
    if limits.learning:
        sentences.append(
            f"{limits.learning} of {limits.chosen} trials were still learning when their steps ended: more steps may change what is said."
        )
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


def short_trust(results: Results, answer: verdict.Answer) -> str:
    """How far to trust the answer, in two sentences: what could be seen, and what speaks against it."""
    limits = verdict.trust(results)
    if not limits.seeds:
        return "No trial is finished."
    cells = max((row.cells for row in answer.rows if row.axis == "long_range"), default=0)
    count = f"{limits.seeds} {'seed' if limits.seeds == 1 else 'seeds'} in {cells} {'cell' if cells == 1 else 'cells'} (a task at a length)"
    seen = sorted(row.visible for row in answer.rows if row.axis == "long_range" and math.isfinite(row.visible) and row.visible > 0)
    between = f"{seen[0]:.2f}" if seen and f"{seen[0]:.2f}" == f"{seen[-1]:.2f}" else f"{seen[0]:.2f} to {seen[-1]:.2f}" if seen else ""
    power = (
        f"the test finds a difference in skill of {between} in four of five such plans, and smaller ones may be there"
        if seen
        else "so few that no difference in skill, however large, could be called one"
    )
    return f"How far to trust it: {count}; {power}. {_against(results, answer, limits)}"


def _against(results: Results, answer: verdict.Answer, limits: verdict.Trust) -> str:
    """What speaks against the answer, in one sentence."""
    count = verdict.losses(results)
    doubts = [
        text
        for holds, text in (
            (answer.unsolved, f"nobody solved {some([figures.cell(*cell) for cell in answer.unsolved])}, which is left out"),
            (limits.untuned, f"one learning rate, {limits.rates[0]:g}, was tried for all" if limits.rates else ""),
            (limits.at_edge, f"{limits.at_edge} of {limits.chosen} trials chose a learning rate at an edge of the grid"),
            (limits.learning, f"{limits.learning} of {limits.chosen} were still learning when their steps ended"),
            (count.lost, f"{count.lost} trials did not end well or are missing"),
            (count.stale, f"{count.stale} results are left out as stale"),
        )
        if holds
    ]
    if not doubts:
        return "Nothing speaks against it here: all ended well, tuned within the grid, and done learning."
    return f"Mind: {'; '.join(doubts)}."
