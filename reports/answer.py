"""Answers the plan's question on one screen: each variant against lstm on every axis, whether it is worth it, and how far to trust that."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from suite import Part, Plot, Prose, Results, Section, Table, figures, hookimpl, verdict

from ._sentences import Looks, findings, short_trust, some, trust


def draw(results: Results) -> Iterator[Prose | Table | Plot | Part]:
    import pandas as pd

    look, answer = figures.looks(results, timed=True), verdict.answer(results)
    names = list(dict.fromkeys(row.variant for row in answer.rows))
    if names:
        worths = [verdict.worth(answer, name) for name in names]
        table = {
            "Variant": [look[name].label for name in names],
            **verdict.bars(answer, names),
            "Worth it?": [f"**{each.word}**: {each.sentence}" for each in worths],
        }
        yield Table(pd.DataFrame(table), CAPTION, name="answer", rests=verdict.answered(results))
        yield from front(answer, names, look)
    yield Prose(short_trust(results, answer))
    said = {f"`{look[name].label}`": " ".join(findings(name, answer)) for name in names}
    said["How far to trust it"] = trust(results, answer, look)
    words = Table(pd.DataFrame(said.items(), columns=["Variant", "Against lstm"]), name="words")
    yield Part("in-words", "In words, with p and pairs, and how far to trust it", (words,))


CAPTION = (
    f"{verdict.MARKS['better']} better, {verdict.MARKS['worse']} worse, {verdict.MARKS['undecided']} undecided, {verdict.MARKS['not comparable']} not comparable; the line in "
    f"a bar is {verdict.BASELINE}. Time of forward and backward, as a multiple (below 1 is faster); robust: difference in the part of its skill kept under damage; "
    "remembers: difference in test skill. Better and worse: p < 5 %, adjusted for all comparisons; where the interval (95 %) beside holds 0, the test finds a difference and its size is not known."
)


def front(answer: verdict.Answer, names: Sequence[str], look: Looks) -> Iterator[Plot]:
    """Time against skill, of those that have both."""
    import pandas as pd

    rows = [{"variant": verdict.BASELINE, "x": 1.0, "x_low": 1.0, "x_high": 1.0, "y": 0.0, "y_low": 0.0, "y_high": 0.0}]
    for name in names:
        time, skill = answer.row(name, "speed", answer.common), answer.row(name, "long_range")
        if time and skill and time.effect.n and skill.effect.n:
            values = zip(("x", "x_low", "x_high", "y", "y_low", "y_high"), (*time.effect[:3], *skill.effect[:3]), strict=True)
            rows.append({"variant": name, **dict(values)})
    points = pd.DataFrame([row for row in rows if row["variant"] in look])
    if len(points) > 1:
        figure = figures.front(
            points,
            look,
            x_label=f"time, as a multiple of {verdict.BASELINE}'s ({answer.common}; left is faster)",
            y_label=f"test skill − {verdict.BASELINE}'s (up is better)",
        )
        yield Plot(
            "answer_front",
            figure,
            "Numbers and intervals of the table. The grey band is the front of those that nobody beats in both, by their means.",
            finding=fastest(answer, names),
            data=points,
        )


def fastest(answer: verdict.Answer, names: Sequence[str]) -> str:
    """Who is faster, and who remembers further, in one sentence."""
    found = {
        axis: [name for name in names if (row := answer.row(name, *axis)) is not None and row.verdict == "better"]
        for axis in (("speed", answer.common), ("long_range", ""))
    }
    faster, further = found.values()
    both = [name for name in faster if name in further]
    if both:
        return f"{some(both)} {'is' if len(both) == 1 else 'are'} faster than {verdict.BASELINE} and remember{'s' if len(both) == 1 else ''} further"
    told = f"{some(faster)} {'is' if len(faster) == 1 else 'are'}" if faster else "Nobody is found"
    place = f" on the {answer.common} engine" if len(answer.engines) > 1 else ""
    more = f"{some(further)} remember{'s' if len(further) == 1 else ''}" if further else "nobody is seen to remember"
    return f"{told} faster than {verdict.BASELINE}{place}; {more} further"


@hookimpl
def suite_sections() -> Iterator[Section]:
    yield Section("answer", "The answer", draw, order=0)
