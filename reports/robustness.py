"""Shows how much skill the trained models keep when their test input is damaged."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from suite import Plot, Prose, Results, Section, Table, figures, hookimpl, stats, verdict

if TYPE_CHECKING:
    from pandas import DataFrame

Looks = dict[str, figures.Look]


def draw(results: Results) -> Iterator[Prose | Plot | Table]:
    tested, solved = (verdict.scores(results, "robustness", "skill", solved=solved) for solved in (False, True))
    if tested.empty:
        yield Prose("No trained model met a corruption.")
        return
    look = figures.looks(results)
    yield Prose(
        "Only models that solved the undamaged task are shown: a model that has learned nothing loses nothing, which is not robustness. "
        "What the answer depends on (such as the marked numbers) is never damaged."
    )
    nobody = [cell for cell in dict.fromkeys(figures.cells(tested)) if cell not in figures.cells(solved)]
    if nobody:
        yield Prose(f"Nobody solved {'; '.join(nobody)}: there is nothing to show for it.")
    clean = verdict.scores(results, "long_range", "skill", solved=True)
    clean = clean[clean["at"] == 1]
    for name, rows in solved.groupby("condition", sort=False):
        yield curves(str(name), rows, clean, look, results)
    if not solved.empty:
        yield kept(verdict.retained(results), look)
    for name, rows in verdict.scores(results, "robustness", "half_point", solved=True).groupby("condition", sort=False):
        harshest = tested.loc[tested["condition"] == name, "at"].iloc[-1]
        yield Table(
            half_points(rows, look, harshest),
            f"Half-point under {described(str(name), results)}: the severity at which skill first falls to half of the clean skill, mean and range over the seeds that "
            f"solved the task and fell so far. “Beyond” says that it never did down to the harshest, {number(harshest)}.",
        )


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
    figure = figures.lines(
        stats.spreads(points, ["panel", "variant", "x"]),
        look,
        x_label=f"{described(name, results)} (mild → harsh)",
        y_label="test skill",
        ticks={0.0: "clean", **{place[severity]: number(severity) for severity in severities}},
        notes=notes,
    )
    return Plot(
        f"robustness_{name}",
        figure,
        f"Skill under {name.replace('_', ' ')}: the flatter, the more robust. Bands are the range over the seeds that solved.",
    )


def wrapped(names: list[str]) -> str:
    return "not solved: " + ",\n".join(", ".join(names[start : start + 4]) for start in range(0, len(names), 4)) if names else ""


def kept(rows: DataFrame, look: Looks) -> Plot:
    panels = [f"{cell}\n{name.replace('_', ' ')}" for cell, name in zip(figures.cells(rows), rows["condition"], strict=True)]
    rows = rows.assign(panel=panels)
    figure = figures.dots(
        stats.spreads(rows, ["panel", "variant"]),
        look,
        points=rows,
        x_label="part of the clean skill that is kept (right is more robust)",
        x_range=(0, 1.02),
        columns=max(2, min(3, rows["condition"].nunique())),
        blank="not solved",
    )
    return Plot(
        "robustness_kept",
        figure,
        "Area under the skill curve, from the clean input to the harshest severity, over the clean skill: each seed that solved the task, their "
        "mean and range.",
    )


def half_points(rows: DataFrame, look: Looks, harshest: float) -> DataFrame:
    """A row for each task and length, a column for each variant."""
    import pandas as pd

    table: list[dict[str, str]] = []
    for cell, trials in rows.assign(cell=figures.cells(rows)).groupby("cell", sort=False):
        texts = {style.label: half_point(trials[trials["variant"] == name], harshest) for name, style in look.items()}
        table.append({"Task": str(cell), **texts})
    return pd.DataFrame(table)


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
