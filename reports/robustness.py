"""Shows how much skill the trained models keep when their test input is damaged."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from suite import Plot, Prose, Results, Section, Table, figures, hookimpl, stats

if TYPE_CHECKING:
    from pandas import DataFrame


def draw(results: Results) -> Iterator[Prose | Plot | Table]:
    frame = results.frame[results.frame["chosen"] & (results.frame["status"] == "ok")]
    damaged = frame[frame["axis"] == "robustness"]
    if damaged.empty:
        yield Prose("No trained model met a corruption.")
        return
    look = figures.looks(results)
    cells = damaged[["task", "length"]].drop_duplicates()
    solved = damaged[damaged["solved"].eq(True)]
    yield Prose(
        "Only models that solved the undamaged task are shown: a model that has learned nothing loses nothing, which is not robustness. "
        "What the answer depends on (such as the marked numbers) is never damaged."
    )
    nobody = [
        cell for cell in cells.itertuples(index=False) if solved[(solved["task"] == cell.task) & (solved["length"] == cell.length)].empty
    ]
    if nobody:
        yield Prose(f"Nobody solved {'; '.join(figures.cell(*cell) for cell in nobody)}: there is nothing to show for it.")
    clean = frame[(frame["axis"] == "long_range") & (frame["metric"] == "skill") & (frame["at"] == 1) & frame["solved"].eq(True)]
    for name, rows in solved.groupby("condition", sort=False):
        yield curves(str(name), rows, clean, look, results)
    if not solved.empty:
        yield areas(solved, look)
    for name, rows in solved[solved["metric"] == "half_point"].groupby("condition", sort=False):
        last = damaged.loc[(damaged["condition"] == name) & (damaged["metric"] == "skill"), "at"].iloc[-1]
        yield Table(
            half_points(rows, look, last),
            f"Half-point under {described(str(name), results)}: the severity at which skill first falls to half of the clean skill, mean and interval over the seeds that "
            f"solved the task and fell so far. “Beyond” says that it never did down to the harshest, {number(last)}.",
        )


def curves(name: str, rows: DataFrame, clean: DataFrame, look: dict[str, figures.Look], results: Results) -> Plot:
    """Skill against severity, evenly spaced as the area counts them, from the clean input on."""
    import pandas as pd

    skills = rows[rows["metric"] == "skill"]
    severities = list(dict.fromkeys(skills["at"]))
    place = {severity: float(index) for index, severity in enumerate(severities, 1)}
    drawn = pd.concat([clean.assign(x=0.0), skills.assign(x=skills["at"].map(place))])
    drawn = drawn.assign(panel=figures.cells(drawn))
    notes = {}
    for panel in set(drawn["panel"]):
        known = set(drawn.loc[drawn["panel"] == panel, "variant"])
        notes[panel] = wrapped([one.label for key, one in look.items() if key not in known])
    figure = figures.lines(
        stats.intervals(drawn, ["panel", "variant", "x"]),
        look,
        x_label=f"{described(name, results)} (mild → harsh)",
        y_label="test skill",
        ticks={0.0: "clean", **{place[severity]: number(severity) for severity in severities}},
        notes=notes,
    )
    return Plot(
        f"robustness_{name}",
        figure,
        f"Skill under {name.replace('_', ' ')}: the flatter, the more robust. Bands are the interval over the seeds that solved.",
    )


def wrapped(names: list[str]) -> str:
    return "not solved: " + ",\n".join(", ".join(names[start : start + 4]) for start in range(0, len(names), 4)) if names else ""


def areas(solved: DataFrame, look: dict[str, figures.Look]) -> Plot:
    rows = solved[(solved["metric"] == "area") & solved["value"].notna()]
    panels = [f"{cell}\n{name.replace('_', ' ')}" for cell, name in zip(figures.cells(rows), rows["condition"], strict=True)]
    rows = rows.assign(panel=panels)
    figure = figures.dots(
        stats.intervals(rows, ["panel", "variant"]),
        look,
        points=rows,
        x_label="area under the skill curve (right is more robust)",
        x_range=(0, 1.02),
        columns=max(2, min(3, rows["condition"].nunique())),
        blank="not solved",
    )
    return Plot(
        "robustness_area",
        figure,
        "Mean skill over all severities, the clean input included: each seed that solved the task, their mean and interval.",
    )


def half_points(rows: DataFrame, look: dict[str, figures.Look], last: float) -> DataFrame:
    table: list[dict[str, str]] = []
    for (task, length), cell in rows.groupby(["task", "length"], sort=False):
        words = {one.label: half_point(cell[cell["variant"] == name], last) for name, one in look.items()}
        table.append({"Task": figures.cell(task, length), **words})
    return type(rows)(table)


def half_point(rows: DataFrame, last: float) -> str:
    if rows.empty:
        return "not solved"
    never = int(rows["value"].isna().sum())
    if never == len(rows):
        return f"beyond {number(last)}"
    fallen = stats.intervals(rows.assign(one=0), ["one"]).iloc[0]
    text = stats.Interval(fallen["mean"], fallen["low"], fallen["high"], int(fallen["n"])).text(1 if abs(last) >= 1 else 2)
    return f"{text}; {never} beyond" if never else text


def described(name: str, results: Results) -> str:
    unit = results.provenance.get("units", {}).get(name)
    return name.replace("_", " ") + (f", {unit}" if unit else "")


def number(severity: float) -> str:
    return f"{severity:g}".replace("-", "−")


@hookimpl
def suite_sections() -> Iterator[Section]:
    yield Section("robustness", "Robustness to noise", draw, order=30)
