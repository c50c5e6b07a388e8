"""Shows how much skill the trained models keep when their test input is damaged."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from suite import Part, Plot, Prose, Results, Section, Table, figures, hookimpl, stats, verdict

from . import _findings

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from pandas import DataFrame, Series

Looks = dict[str, figures.Look]


def draw(results: Results) -> Iterator[Prose | Plot | Table | Part]:
    tested, solved = (verdict.scores(results, "robustness", "skill", solved=solved) for solved in (False, True))
    if tested.empty:
        yield Prose("No trained model met a corruption.")
        return
    look = figures.looks(results)
    if not solved.empty:
        yield kept(verdict.retained(results), results, look)
    clean = verdict.scores(results, "long_range", "skill", solved=True)
    clean = clean[clean["at"] == 1]
    drawn = [curves(str(name), rows, clean, look, results) for name, rows in solved.groupby("condition", sort=False)]
    tables = [
        halves(str(name), rows, tested, look, results)
        for name, rows in verdict.scores(results, "robustness", "half_point", solved=True).groupby("condition", sort=False)
    ]
    nobody = [cell for cell in dict.fromkeys(figures.cells(tested)) if cell not in figures.cells(solved)]
    note = f" Nobody solved {'; '.join(nobody)}: there is nothing to show for it." if nobody else ""
    yield Prose(
        "Only models that solved the undamaged task are shown: a model that has learned nothing loses nothing, which is not robustness. "
        f"What the answer depends on (such as the marked numbers) is never damaged.{note}"
    )
    if drawn or tables:
        by_cell = [kept_by_cell(verdict.retained(results), look)] if drawn else []
        yield Part("robustness-more", "Skill against severity, by task and length, and where it halves", (*drawn, *by_cell, *tables))


def curves(name: str, skills: DataFrame, clean: DataFrame, look: Looks, results: Results) -> Plot:
    """Skill against severity, evenly spaced as the area counts them, from the clean input on."""
    import pandas as pd

    severities = list(dict.fromkeys(skills["at"]))
    place = {severity: float(index) for index, severity in enumerate(severities, 1)}
    points = pd.concat([clean.assign(x=0.0), skills.assign(x=skills["at"].map(place))])
    points = points.assign(panel=figures.cells(points))
    notes = {}
    for panel, rows in points.groupby("panel", sort=False):
        drawn = set(rows["variant"])
        notes[str(panel)] = wrapped([style.label for variant, style in look.items() if variant not in drawn])
    means, unit = stats.spreads(points, ["panel", "variant", "x"]), results.provenance.units.get(name, "")
    ticks = {0.0: "clean", **{place[severity]: number(severity) for severity in severities}}
    figure = figures.lines(
        means,
        look,
        x_label=f"{described(name, results)} (mild → harsh)",
        y_label="test skill",
        ticks=ticks,
        notes=notes,
        points=points,
    )
    return Plot(
        f"robustness_{name}",
        figure,
        f"Skill under {name.replace('_', ' ')}: the flatter, the more robust. Bands are the range over the seeds that solved, thin lines the seeds "
        "where these are few.",
        finding=_findings.collapse(means, look, {at: f"{text} {unit}".strip() for at, text in ticks.items()}),
        data=means,
        rests=verdict.rests(skills),
    )


def wrapped(names: list[str]) -> str:
    return "not solved: " + ",\n".join(", ".join(names[start : start + 4]) for start in range(0, len(names), 4)) if names else ""


def kept(rows: DataFrame, results: Results, look: Looks) -> Plot:
    """The part of its skill that each variant keeps, a panel for each corruption."""
    rows = rows.assign(panel=[name.replace("_", " ") for name in rows["condition"]])
    seen, nothing, everything = figures.apart(rows, ["value"])
    seen = seen if len(seen) else rows
    means = stats.spreads(seen, ["panel", "variant"])
    figure = dotted(means, seen, look)
    note = figures.left_out(nothing, everything, "marks") if len(seen) < len(rows) else ""
    return Plot(
        "robustness_kept",
        figure,
        "Area under the skill curve, from the clean input to the harshest severity, over the clean skill: each trial that solved its task, their mean and "
        f"range over all tasks and lengths. Who solved less has fewer marks here; the answer pairs them.{note}",
        finding=_findings.on_axis(verdict.answer(results), look, "robustness", "more robust", "less robust"),
        data=means,
        rests=verdict.rests(rows),
    )


def kept_by_cell(rows: DataFrame, look: Looks) -> Plot:
    """The same, a panel for each task, length and corruption in which there is something to see."""
    panels = [f"{cell}\n{name.replace('_', ' ')}" for cell, name in zip(figures.cells(rows), rows["condition"], strict=True)]
    rows = rows.assign(panel=panels)
    seen, nothing, everything = figures.apart(rows, ["value"])
    shown = seen if len(seen) else rows
    means = stats.spreads(shown, ["panel", "variant"])
    note = figures.left_out(nothing, everything, "marks").replace("\n", ", ") if len(seen) else ""
    places = zip(means["mean"], means["variant"], means["panel"], strict=True)
    ordered = sorted((float(mean), f"{look[name].label}, {panel}".replace("\n", ", ")) for mean, name, panel in places)
    (least, worst), (most, best) = ordered[0], ordered[-1]
    return Plot(
        "robustness_cells",
        dotted(means, shown, look),
        f"The part of the clean skill that is kept, by task and length.{note}",
        finding=f"From {least:.2f} ({worst}) to {most:.2f} ({best}) of the clean skill is kept",
        data=means,
        rests=verdict.rests(rows),
    )


def dotted(means: DataFrame, rows: DataFrame, look: Looks) -> Figure:
    return figures.dots(
        means,
        look,
        points=rows,
        x_label="part of the clean skill that is kept (right is more robust)",
        x_range=(0, 1.02),
        columns=max(2, min(3, rows["condition"].nunique())),
        blank="not solved",
    )


def halves(name: str, rows: DataFrame, tested: DataFrame, look: Looks, results: Results) -> Table:
    """Where skill halves, or one sentence where that is the same everywhere."""
    harshest = tested.loc[tested["condition"] == name, "at"].iloc[-1]
    return Table(
        half_points(rows, look, harshest),
        f"Half-point under {described(name, results)}: the severity at which skill first falls to half of the clean skill, mean and range over the seeds that "
        f"solved the task and fell so far. “Beyond” says that it never did down to the harshest, {number(harshest)}.{alike(rows, look, harshest)}",
        rests=verdict.rests(rows),
    )


def alike(rows: DataFrame, look: Looks, harshest: float) -> str:
    """The variants whose every field would read the same, in a sentence that takes the place of their columns."""
    same: dict[str, list[str]] = {}
    for name, style in look.items():
        texts = {half_point(trials[trials["variant"] == name], harshest) for _, trials in rows.groupby(["task", "length"], sort=False)}
        if len(texts) == 1 and (text := texts.pop()).startswith(("beyond", "not solved")):
            same.setdefault(text, []).append(style.label)
    return "".join(f" Everywhere {text}: {', '.join(names)}." for text, names in same.items())


def half_points(rows: DataFrame, look: Looks, harshest: float) -> DataFrame:
    """A row for each task and length, a column for each variant."""
    import pandas as pd

    table: list[dict[str, str]] = []
    for cell, trials in rows.assign(cell=figures.cells(rows)).groupby("cell", sort=False):
        texts = {style.label: half_point(trials[trials["variant"] == name], harshest) for name, style in look.items()}
        table.append({"Task": str(cell), **texts})
    fields = pd.DataFrame(table)
    return fields[[name for name in fields.columns if not _repeats(fields[name])]]


def _repeats(fields: Series[str]) -> bool:
    """Whether a column says the same in every field, and no number: the caption says it in one sentence."""
    return fields.nunique() == 1 and str(fields.iloc[0]).startswith(("beyond", "not solved"))


def half_point(rows: DataFrame, harshest: float) -> str:
    if rows.empty:
        return "not solved"
    never = int(rows["value"].isna().sum())
    if never == len(rows):
        return f"beyond {number(harshest)}"
    text = verdict.pooled(rows, ["variant"]).text(1 if abs(harshest) >= 1 else 2)
    return f"{text}; {never} beyond" if never else text


def described(name: str, results: Results) -> str:
    unit = results.provenance.units.get(name)
    return name.replace("_", " ") + (f", {unit}" if unit else "")


def number(severity: float) -> str:
    return f"{severity:g}".replace("-", "−")


@hookimpl
def suite_sections() -> Iterator[Section]:
    yield Section("robustness", "Robustness to noise", draw, order=30)
