"""Shows how much skill the trained models keep when their test input is damaged."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from suite import Plot, Prose, Results, Section, Table, figures, hookimpl, stats

if TYPE_CHECKING:
    from pandas import DataFrame

    from suite.figures import Look


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
    nobody = [cell for cell in cells.itertuples(index=False) if solved[(solved["task"] == cell.task) & (solved["length"] == cell.length)].empty]
    if nobody:
        yield Prose(f"Nobody solved {'; '.join(figures.cell(*cell) for cell in nobody)}: there is nothing to show for it.")
    clean = frame[(frame["axis"] == "long_range") & (frame["metric"] == "skill") & (frame["at"] == 1) & frame["solved"].eq(True)]
    for name, rows in solved.groupby("condition", sort=False):
        yield curves(str(name), rows, clean, look, results)
    if not solved.empty:
        yield areas(solved, look)
        yield Table(
            half_points(damaged, look, results),
            "The severity at which skill first falls to half of the clean skill, mean and interval over the seeds that solved the task and fell so far; "
            "“> last” counts the seeds that never did within the severities tried.",
        )


def curves(name: str, rows: DataFrame, clean: DataFrame, look: dict[str, Look], results: Results) -> Plot:
    """Skill against severity, evenly spaced as the area counts them, from the clean input on."""
    import pandas as pd

    skills = rows[rows["metric"] == "skill"]
    severities = list(dict.fromkeys(skills["at"]))
    place = {severity: float(index) for index, severity in enumerate(severities, 1)}
    drawn = pd.concat([clean.assign(x=0.0), skills.assign(x=skills["at"].map(place))])
    drawn = drawn.assign(panel=[figures.cell(*one) for one in zip(drawn["task"], drawn["length"], strict=True)])
    missing = {panel: "not solved: " + wrapped([one.label for key, one in look.items() if key not in set(here["variant"])]) for panel, here in drawn.groupby("panel")}
    unit = results.provenance.get("units", {}).get(name, "")
    figure = figures.lines(
        stats.intervals(drawn, ["panel", "variant", "x"]),
        look,
        x_label=f"{name.replace('_', ' ')}{f', {unit}' if unit else ''} (mild → harsh)",
        y_label="test skill",
        ticks={0.0: "clean", **{place[severity]: f"{severity:g}" for severity in severities}},
        notes={panel: note for panel, note in missing.items() if note != "not solved: "},
    )
    return Plot(f"robustness_{name}", figure, f"Skill under {name.replace('_', ' ')}: the flatter, the more robust. Bands are the interval over the seeds that solved.")


def wrapped(names: list[str]) -> str:
    return ",\n".join(", ".join(names[start : start + 4]) for start in range(0, len(names), 4))


def areas(solved: DataFrame, look: dict[str, Look]) -> Plot:
    rows = solved[(solved["metric"] == "area") & solved["value"].notna()]
    panels = [f"{figures.cell(task, length)}\n{name.replace('_', ' ')}" for task, length, name in zip(rows["task"], rows["length"], rows["condition"], strict=True)]
    rows = rows.assign(panel=panels)
    figure = figures.dots(stats.intervals(rows, ["panel", "variant"]), look, points=rows, x_label="area under the skill curve (right is more robust)")
    return Plot("robustness_area", figure, "Mean skill over all severities: each seed that solved the task, their mean and interval. An empty row did not solve it.")


def half_points(damaged: DataFrame, look: dict[str, Look], results: Results) -> DataFrame:
    import pandas as pd

    rows = damaged[damaged["metric"] == "half_point"]
    table: list[dict[str, Any]] = []
    for (task, length, name), cell in rows.groupby(["task", "length", "condition"], sort=False):
        if not cell["solved"].eq(True).any():
            continue
        unit = results.provenance.get("units", {}).get(name, "")
        last = damaged.loc[(damaged["condition"] == name) & (damaged["metric"] == "skill"), "at"].iloc[-1]
        words = {one.label: half_point(cell[(cell["variant"] == key) & cell["solved"].eq(True)], last) for key, one in look.items()}
        table.append({"Task": figures.cell(task, length), "Corruption": f"{name.replace('_', ' ')}{f' ({unit})' if unit else ''}", **words})
    return pd.DataFrame(table)


def half_point(rows: DataFrame, last: float) -> str:
    if rows.empty:
        return "not solved"
    never = int(rows["value"].isna().sum())
    if never == len(rows):
        return f"> {last:g}"
    fallen = stats.intervals(rows.assign(one=0), ["one"]).iloc[0]
    text = stats.Interval(fallen["mean"], fallen["low"], fallen["high"], int(fallen["n"])).text()
    return f"{text}, {never} of {len(rows)} > {last:g}" if never else text


@hookimpl
def suite_sections() -> Iterator[Section]:
    yield Section("robustness", "Robustness to noise", draw, order=30)
