"""Shows how long each variant takes, as a multiple of lstm's time on the same engine."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from suite import Plot, Prose, Results, Section, Table, figures, hookimpl

if TYPE_CHECKING:
    from pandas import DataFrame


ENGINES = {
    "vendor": "vendor engine (cuDNN or oneDNN kernel)",
    "reference": "reference engine (loop over steps)",
}


def draw(results: Results) -> Iterator[Prose | Plot | Table]:
    timed = results.frame[results.frame["axis"] == "speed"]
    if timed.empty:
        yield Prose("Nothing was timed.")
        return
    look = figures.looks(results, timed=True)
    wide = timed.pivot_table(index=["variant", "engine", "condition", "at"], columns="metric", values="value", sort=False).reset_index()
    wide = wide.rename(columns={"at": "x", "ratio": "mean", "ratio_q1": "low", "ratio_q3": "high"})
    wide = wide.sort_values("engine", key=lambda names: names.map(list(ENGINES).index), kind="stable")
    yield Prose(
        "A variant is timed alone on the machine, warm, in turn with all others, and compared with lstm on the same engine in the same round. "
        "A hand-written kernel makes any recurrence faster, so compare within an engine, not across: "
        "who has no vendor kernel is not slow for that, and who has one does not win by it."
    )
    longest = wide[(wide["x"] == wide["x"].max()) & (wide["condition"] == "forward+backward")]
    yield Plot(
        "speed_ratio",
        figures.dots(
            longest.assign(panel=longest["engine"].map(ENGINES)),
            look,
            x_label=f"time of forward and backward at T = {wide['x'].max():g}, as a multiple of lstm's (left is faster)",
            log=True,
            level=1,
            blank="not timed on this engine",
        ),
        "Median over rounds; the bar spans the middle half of the rounds.",
    )
    both = wide[wide["condition"] == "forward+backward"]
    if both["x"].nunique() > 1:
        yield Plot(
            "speed_length",
            figures.lines(
                both.assign(panel=both["engine"].map(ENGINES)),
                look,
                x_label="sequence length T",
                y_label="time, as a multiple of lstm's",
                log=("x", "y"),
                y_range=None,
                level=1,
            ),
            "Whether an advantage grows or shrinks with length: forward and backward, median and middle half of the rounds.",
        )
    yield Table(milliseconds(wide, look), f"Milliseconds a call at T = {wide['x'].max():g}, median over rounds. {setting(results)}")


def milliseconds(wide: DataFrame, look: dict[str, figures.Look]) -> DataFrame:
    longest = wide[wide["x"] == wide["x"].max()].copy()
    longest["column"] = longest["engine"] + ", " + longest["condition"]
    longest["text"] = [f"{value:#.3g}".rstrip(".") if value < 1000 else f"{value:,.0f}" for value in 1000 * longest["seconds"]]
    table: DataFrame = longest.pivot(index="variant", columns="column", values="text")
    order = [f"{engine}, {condition}" for engine in ENGINES for condition in ("forward", "forward+backward")]
    table = table.reindex(index=[name for name in look if name in table.index], columns=[name for name in order if name in table.columns])
    table.insert(0, "Variant", [look[name].label for name in table.index])
    return table


def setting(results: Results) -> str:
    timing = results.plan["timing"]
    return (
        f"Batch {timing['batch_size']}, input size {timing['input_size']}, lstm of hidden size {timing['hidden_size']}, "
        f"{timing['repeats']} rounds, on {results.provenance['device']} ({results.provenance['cpu']})."
    )


@hookimpl
def suite_sections() -> Iterator[Section]:
    yield Section("speed", "Speed", draw, order=20)
