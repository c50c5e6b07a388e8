"""Shows how long each variant takes, as a multiple of lstm's time on the same engine."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from suite import Part, Plot, Prose, Results, Section, Table, figures, hookimpl, verdict

from . import _findings

if TYPE_CHECKING:
    from pandas import DataFrame


def draw(results: Results) -> Iterator[Prose | Plot | Table | Part]:
    timed = verdict.times(results)
    if timed.empty:
        yield Prose("Nothing was timed.")
        return
    look = figures.looks(results, timed=True)
    timed = timed.assign(panel=[f"{name} engine" for name in timed["engine"]])
    longest = verdict.at_longest(timed)
    compared = verdict.comparable(longest)
    where = f"T = {' or '.join(f'{length:g}' for length in sorted(set(longest['x'])))}"
    both, rests = compared[compared["condition"] == verdict.BOTH], verdict.rests(results.frame[results.frame["axis"].eq("speed")])
    yield Plot(
        "speed_ratio",
        figures.dots(
            both,
            look,
            x_label=f"time of forward and backward at {where}, as a multiple of {verdict.BASELINE}'s (left is faster)",
            log=True,
            level=1,
            blank="not timed on this engine, or not comparable",
        ),
        "Median over rounds with its interval, no narrower than what tells two copies of one model apart.",
        finding=_findings.faster(verdict.answer(results), look),
        data=both,
        rests=rests,
    )
    yield Part(
        "speed-more", "How times are taken, with length, milliseconds, and what one would deploy", tuple(more(results, timed, look, where))
    )


def more(results: Results, timed: DataFrame, look: dict[str, figures.Look], where: str) -> Iterator[Prose | Plot | Table]:
    yield Prose(method(results))
    if timed["x"].nunique() > 1:
        rows = verdict.comparable(timed[timed["condition"] == verdict.BOTH])
        yield Plot(
            "speed_length",
            figures.lines(
                rows,
                look,
                x_label="sequence length T",
                y_label=f"time, as a multiple of {verdict.BASELINE}'s",
                log=("x", "y"),
                y_range=None,
                level=1,
            ),
            "Whether an advantage grows or shrinks with length: forward and backward, median over rounds with its interval.",
            finding=_findings.scaling(rows, look),
            data=rows,
        )
    yield Table(
        deployed(results, look),
        f"What one would deploy: the fastest engine of each, and its time as a multiple of {verdict.BASELINE}'s on its own fastest.",
    )
    yield Table(
        milliseconds(verdict.at_longest(timed), look),
        f"Milliseconds a call at {where}, median over rounds. {setting(results)}{kernels(results, look)}",
    )


def method(results: Results) -> str:
    """How times are taken, and which of them compare."""
    engines = "; ".join(f"{engine.name}: {engine.about}" for engine in verdict.engines(results))
    return (
        f"A variant is timed alone on the machine, warm, in turn with all others, and compared with {verdict.BASELINE} on the same engine in the same round. "
        "A hand-written kernel makes any recurrence faster, so compare within an engine, not across: "
        "who has no such kernel is not slow for that, and who has one does not win by it. "
        f"What torch runs as one kernel, and what it runs as a loop, are not compared on one engine either; figures show what compares with {verdict.BASELINE}. "
        f"Engines are {engines}. {floor(results)}"
    )


def floor(results: Results) -> str:
    """What a copy of the baseline tells of the measurement."""
    noise = verdict.noise(results)
    return f"A copy of {verdict.BASELINE} differed from it by up to {100 * noise:.1f} %." if noise == noise else ""


def deployed(results: Results, look: dict[str, figures.Look]) -> DataFrame:
    """A row for each variant, the fastest first."""
    import pandas as pd

    rows = verdict.best_available(results)
    return pd.DataFrame(
        {
            "Variant": [look[name].label for name in rows["variant"] if name in look],
            "Engine": [f"{row.engine} ({'one kernel' if row.fused else 'a loop'})" for row in rows.itertuples() if row.variant in look],
            f"Time, as a multiple of {verdict.BASELINE}'s best": [
                ratio.text() for name, ratio in verdict.ratios(rows).items() if name in look
            ],
        }
    )


def milliseconds(longest: DataFrame, look: dict[str, figures.Look]) -> DataFrame:
    """A row for each variant, a column for each engine and condition."""
    columns = longest["engine"] + ", " + longest["condition"]
    texts = [f"{value:#.3g}".rstrip(".") if value < 1000 else f"{value:,.0f}" for value in 1000 * longest["seconds"]]
    table: DataFrame = longest.assign(column=columns, text=texts).pivot(index="variant", columns="column", values="text")
    order = [f"{engine}, {condition}" for engine in dict.fromkeys(longest["engine"]) for condition in sorted(set(longest["condition"]))]
    table = table.reindex(index=[name for name in look if name in table.index], columns=[name for name in order if name in table.columns])
    table.insert(0, "Variant", [look[name].label for name in table.index])
    return table


def setting(results: Results) -> str:
    timing, machine = results.plan["timing"], results.provenance.machine
    return (
        f"Batch {timing['batch_size']}, input size {timing['input_size']}, {verdict.BASELINE} of hidden size {timing['hidden_size']}, "
        f"{timing['repeats']} to {max(timing['repeats'], timing['most_repeats'])} rounds, on {machine.device} ({machine.cpu})."
    )


PERSISTENT = {"forward": 192, "backward": 128}
"""Up to these hidden sizes cuDNN keeps the weights of an LSTM or GRU in float32 on the chip from step to step; beyond, it reads them again."""


def kernels(results: Results, look: dict[str, figures.Look]) -> str:
    """Which class of cuDNN's kernels to expect behind each vendor time, since a comparison may cross the edge between two."""
    if results.provenance.machine.device != "cuda":
        return ""
    classes: dict[str, list[str]] = {}
    for name, size in verdict.vendor_sizes(results):
        kept = [way for way, most in PERSISTENT.items() if size <= most]
        classes.setdefault(" and ".join(kept) or "neither way", []).append(f"{look[name].label} (H = {size})")
    expected = "; ".join(f"{kept}: {', '.join(names)}" for kept, names in classes.items())
    return f" cuDNN is expected to keep the weights of an LSTM or GRU on the chip {expected}." if expected else ""


@hookimpl
def suite_sections() -> Iterator[Section]:
    yield Section("speed", "Speed", draw, order=20)
