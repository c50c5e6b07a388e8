"""Shows what speed is made of: the next step of a stream, how time grows with the shape, memory, and the share of what the device can."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from suite import Plot, Prose, Results, Section, Table, figures, hookimpl, verdict

if TYPE_CHECKING:
    from pandas import DataFrame

Looks = Mapping[str, figures.Look]

PARTS = {"T": "sequence length", "B": "batch size", "H": "hidden size"}


def draw(results: Results) -> Iterator[Prose | Plot | Table]:
    look = figures.looks(results, timed=True)
    streams, growth, costs = verdict.streamed(results), verdict.growth(results), counted(results)
    if streams.empty and growth.empty and costs.empty:
        yield Prose("Nothing was timed.")
        return
    if len(streams):
        yield Table(
            streaming(streams, look),
            "A deployed model takes one step at a time: batch 1, the state carried from call to call, by the plain step. "
            "A variant that needs more of the sequence than its state carries cannot be fed so, and is left out.",
        )
    if len(growth):
        named = ", ".join(f"{letter} ({PARTS[letter]})" for letter in dict.fromkeys(growth["part"]))
        yield Table(
            grown(growth, look),
            f"How the time of forward and backward grows: the exponent of {named}, 1 where it doubles with it, with its interval over rounds.",
        )
    if len(costs):
        yield from roofs(costs, look)


def counted(results: Results) -> DataFrame:
    """Forward and backward at the longest timed length, where it was counted what they take; a variant's engines together."""
    longest = verdict.at_longest(verdict.times(results))
    rows: DataFrame = longest[(longest["condition"] == verdict.BOTH) & longest["peak_bytes"].notna()]
    place = {name: index for index, name in enumerate(figures.looks(results, timed=True))}
    return rows.sort_values("variant", key=lambda names: names.map(place), kind="stable")


def streaming(streams: DataFrame, look: Looks) -> DataFrame:
    import pandas as pd

    rows = streams.sort_values("seconds", kind="stable")
    return pd.DataFrame(
        {
            "Variant": [look[name].label for name in rows["variant"]],
            "Microseconds a step": [f"{1e6 * seconds:,.0f}" for seconds in rows["seconds"]],
            f"As a multiple of {verdict.BASELINE}'s": [between(*row) for row in rows[["mean", "low", "high"]].itertuples(index=False)],
        }
    )


def between(mean: float, low: float, high: float) -> str:
    return f"{mean:.2f} ({low:.2f}–{high:.2f})"


def grown(growth: DataFrame, look: Looks) -> DataFrame:
    """A row for each variant on each engine, a column for each letter."""
    texts = [between(*row) for row in growth[["mean", "low", "high"]].itertuples(index=False)]
    table: DataFrame = growth.assign(text=texts).pivot_table(
        index=["variant", "engine"], columns="part", values="text", aggfunc="first", sort=False
    )
    table = table.reindex(columns=[letter for letter in PARTS if letter in table.columns]).fillna("").reset_index()
    return table.assign(variant=[look[name].label for name in table["variant"]]).rename(columns={"variant": "Variant", "engine": "Engine"})


def roofs(costs: DataFrame, look: Looks) -> Iterator[Plot | Table]:
    """Memory and arithmetic as a table, and the figure of what the device could."""
    import pandas as pd

    operations, moved = float(costs["roof_operations"].median()), float(costs["roof_bytes"].median())
    rate, intensity = costs["operations"] / costs["seconds"], costs["operations"] / costs["moved_bytes"]
    columns = {
        "Variant": [look[name].label for name in costs["variant"]],
        "Engine": list(costs["engine"]),
        "Memory at most, MiB": [f"{value / 2**20:.1f}" for value in costs["peak_bytes"]],
        "10⁶ operations": [f"{value / 1e6:,.0f}" for value in costs["operations"]],
        "Of the device's": [f"{100 * value / operations:.0f} %" for value in rate],
    }
    counted_energy = costs["joules"].notna()
    if counted_energy.any():
        columns["Energy, mJ"] = [
            f"{1e3 * value:.3g}" if known else "–" for value, known in zip(costs["joules"], counted_energy, strict=True)
        ]
    yield Table(
        pd.DataFrame(columns),
        f"Forward and backward at T = {costs['x'].max():g}. Operations are those of products of matrices, counted; the device reaches "
        f"{operations / 1e9:,.0f}·10⁹ a second in one large product and moves {moved / 1e9:,.0f}·10⁹ bytes a second in one large copy, measured beside."
        + (
            " Energy is all that the processor's package, or the GPU, used meanwhile, what it uses when idle included."
            if counted_energy.any()
            else ""
        ),
    )
    points = costs.assign(panel=[f"{name} engine" for name in costs["engine"]], rate=rate, intensity=intensity)
    points = points[points["operations"] > 0]
    if len(points):
        yield Plot(
            "roofline",
            figures.roofline(points, look, operations, moved),
            "Under the roof (grey): who is left of its edge waits for memory, where nothing is kept in caches; bytes are those of the plain "
            "loop's operations. Far below it, time goes into starting operations.",
            finding=most_used(points, operations, look),
            data=points,
        )


def most_used(points: DataFrame, operations: float, look: Looks) -> str:
    """Who reaches the most of what the device can."""
    rate, name = max(zip(points["rate"], points["variant"], strict=True), key=lambda pair: float(pair[0]))
    return f"{look[name].label} uses the most of the device: {100 * rate / operations:.0f} % of its operations a second"


@hookimpl
def suite_sections() -> Iterator[Section]:
    yield Section("cost", "What speed is made of", draw, order=54, folded=True)
