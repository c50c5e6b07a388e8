"""Says which trials, scores and times of a report count, and pools them: the part of the protocol that all its sections share."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ..ops.engines import ENGINES, VENDOR, Engine
from ..trial import BASELINE, BOTH, FAULTS, STEP
from . import stats
from .once import once
from .stats import Interval

if TYPE_CHECKING:
    from pandas import DataFrame, Series

    from ..spec import Results

Floats = NDArray[np.float64]


def variants(results: Results) -> dict[str, bool]:
    """Whether each variant is causal, by label, in the order of the results; those that were only timed come last."""
    causal: dict[str, bool] = {}
    for table in (results.trials, results.frame):
        for variant, value in table[["variant", "causal"]].drop_duplicates().itertuples(index=False):
            causal.setdefault(str(variant), bool(value))
    return causal


def unsound(results: Results, variant: str) -> str:
    """Which check of its contract a variant failed that forbids comparing it; empty where it failed none."""
    grade = results.provenance.grades.get(variant)
    return f"it failed a check of its contract: {grade.unsound}" if grade is not None and grade.unsound else ""


def apart(results: Results) -> dict[str, str]:
    """Why each variant is compared with nobody, by label in the order of `variants`; empty for those that are compared.

    Where the baseline itself cannot be, nobody is.
    """
    reasons = {}
    for name, causal in variants(results).items():
        reasons[name] = unsound(results, name) or ("" if causal else "it sees the future of the sequence")
    if baseline := reasons.get(BASELINE.label, ""):
        return {name: reason or f"{BASELINE.label} is compared with nobody: {baseline}" for name, reason in reasons.items()}
    return reasons


def listed(results: Results, *, timed: bool = False) -> list[str]:
    """The variants as tables and figures list them, causal ones first.

    timed: whether variants that were only timed, not trained, belong to it
    """
    causal, trained = variants(results), set(results.trials["variant"])
    return sorted((name for name in causal if timed or name in trained), key=lambda name: not causal[name])


def trials(results: Results) -> DataFrame:
    """The trials at the learning rates that validation chose; the column `value` has the skill on the test stream that counts.

    A diverged trial counts as skill 0. One that failed, crashed, or went beyond its memory or time has no value, since it says nothing
    about its variant's skill. A trial that ended
    well, but whose test is stale or gone, is not among them: whether it solved its task is unknown.
    """
    every = results.trials
    chosen = every[every["chosen"].eq(True) & ~(every["status"].eq("ok") & every["skill"].isna())]
    value = chosen["skill"].where(chosen["status"] != "diverged", 0.0).where(~chosen["status"].isin(FAULTS))
    return chosen.assign(value=value.astype(float), solved=chosen["solved"].eq(True), edge=chosen["edge"].eq(True))


def scores(results: Results, axis: str, metric: str, *, solved: bool = False) -> DataFrame:
    """The rows of the frame that count on an axis: those of trials that ended well, at the chosen learning rates.

    solved: whether only those of trials that solved their task
    """
    frame = results.frame
    counted = frame["chosen"].eq(True) & frame["status"].eq("ok") & frame["axis"].eq(axis) & frame["metric"].eq(metric)
    return frame[counted & frame["solved"].eq(True)] if solved else frame[counted]


def steps(results: Results) -> DataFrame:
    """Of the trials at the chosen learning rates, those that did not fail, with the steps to solve as `value`.

    `censored` marks a trial that never solved its task, or diverged; its value is then the steps that it was given.
    """
    counted = trials(results)
    counted = counted[~counted["status"].isin(FAULTS)]
    never = counted["steps_to_solve"].isna() | counted["status"].eq("diverged")
    return counted.assign(value=counted["steps_to_solve"].where(~never, counted["steps"]).astype(float), censored=never)


def paired(every: DataFrame, names: tuple[str, str], cell: tuple[str, int], columns: Sequence[str]) -> tuple[Floats, Floats]:
    """What two variants have in a cell, at all learning rates: validation and these columns ``(1 + columns, rates, seeds)`` each.

    every: trials, of all learning rates. Only seeds of which both have the first of these columns at every rate belong to it.
    """
    both = every[every["task"].eq(cell[0]) & every["length"].eq(cell[1]) & every["variant"].isin(names)]
    (rates, rate), (seeds, seed) = (np.unique(both[name].to_numpy(), return_inverse=True) for name in ("learning_rate", "seed"))
    variant, values = both["variant"].to_numpy(), both[["validation_skill", *columns]].to_numpy(dtype=float)
    sides = np.full((2, values.shape[1], len(rates), len(seeds)), np.nan)
    for side, name in zip(sides, names, strict=True):
        own = variant == name
        side[:, rate[own], seed[own]] = values[own].T
    ours, theirs = sides[..., ~np.isnan(sides[:, 1]).any(axis=(0, 1))]
    return ours, theirs


def lost(results: Results) -> DataFrame:
    """The trials that did not end well, at any learning rate."""
    return results.trials[results.trials["status"] != "ok"]


def times(results: Results) -> DataFrame:
    """Times by variant, engine, condition and length x: the median in seconds, and its ratio to the baseline's as mean, low and high.

    They are at the plan's own batch and hidden size. `mean` is the median of the ratios over the rounds, from low to high its interval, no narrower than the noise; `fused` says whether
    one kernel runs the whole recurrence. Beside forward with backward stands what else it takes. Engines stand in their order.
    """

    shape = results.plan["timing"]
    timed = _clocked(results)
    timed = timed[timed["batch_size"].eq(shape["batch_size"]) & timed["width"].eq(shape["hidden_size"]) & timed["condition"].ne(STEP)]
    return _timed_table(timed)


def streamed(results: Results) -> DataFrame:
    """Times of the next step of a stream, as `times` has them."""
    timed = _clocked(results)
    return _timed_table(timed[timed["condition"].eq(STEP)])


def growth(results: Results) -> DataFrame:
    """How the time of forward and backward grows with the shape: variant, engine, and the exponent of T, B and H as mean, low and high.

    The column `part` names the letter.
    """
    import pandas as pd

    timed = _clocked(results)
    rows = timed[timed["condition"].eq(BOTH) & timed["metric"].str.startswith("growth_")]
    if rows.empty:
        return pd.DataFrame(columns=["variant", "engine", "part", "mean", "low", "high"])
    names = rows["metric"].str.extract(r"^growth_(?P<part>[A-Z])_?(?P<end>low|high)?$")
    rows = rows.assign(part=names["part"], end=names["end"].fillna("mean"))
    table: DataFrame = rows.pivot_table(index=["variant", "engine", "part"], columns="end", values="value", sort=False).reset_index()
    return _engines_in_order(table)


def ratios(timed: DataFrame) -> dict[str, Interval]:
    """The ratios to the baseline of a table with a row for each variant."""
    return {
        # of the baseline there is but one value: itself
        str(name): Interval(float(mean), float(low), float(high), 1 if name == BASELINE.label else 2)
        for name, mean, low, high in zip(timed["variant"], timed["mean"], timed["low"], timed["high"], strict=True)
    }


def best_available(results: Results) -> DataFrame:
    """The engine on which each variant is fastest, forward and backward at the longest timed length: what one would deploy.

    Columns variant, engine, fused, seconds, and the ratio to the baseline on its own fastest engine as mean, low and high.
    """
    rows = _clocked(results)
    ratios = rows[rows["metric"].str.startswith("best_ratio")].pivot_table(
        index=["variant", "engine"], columns="metric", values="value", sort=False
    )
    names = {"best_ratio": "mean", "best_ratio_low": "low", "best_ratio_high": "high"}
    ratios = ratios.reindex(columns=list(names)).rename(columns=names).reset_index()
    longest = at_longest(times(results))
    longest = longest.loc[longest["condition"] == BOTH, ["variant", "engine", "fused", "seconds"]]
    table: DataFrame = ratios.merge(longest, on=["variant", "engine"]).sort_values("mean", kind="stable")
    return table


def retained(results: Results) -> DataFrame:
    """The part of their skill that trials which solved their task keep under each corruption, as `value`: area under the curve ÷ clean skill."""
    every = _retained(results)
    return every[every["chosen"].eq(True)]


@once
def kept(results: Results) -> Series[float]:
    """The part of its skill that a trial keeps over all corruptions, by its key, at every learning rate; only of those that solved their task."""
    return _retained(results).groupby("key")["value"].mean()


@once
def _retained(results: Results) -> DataFrame:
    """As `retained`, of the trials at every learning rate."""
    frame = results.frame
    counted = frame["status"].eq("ok") & frame["axis"].eq("robustness") & frame["metric"].eq("area") & frame["solved"].eq(True)
    areas, clean = frame[counted], results.trials.set_index("key")["skill"]
    return areas.assign(value=(areas["value"] / areas["key"].map(clean).astype(float)).clip(upper=1.0))


def vendor_sizes(results: Results) -> list[tuple[str, int]]:
    """The variants that were timed on the vendor's kernels, with each hidden size there."""
    timed = _clocked(results)
    sizes = timed.loc[timed["engine"] == VENDOR.name, ["variant", "hidden_size"]].drop_duplicates()
    return [(str(name), int(size)) for name, size in sizes.itertuples(index=False)]


def _clocked(results: Results) -> DataFrame:
    return results.frame[results.frame["axis"].eq("speed")]


def _timed_table(timed: DataFrame) -> DataFrame:
    import pandas as pd

    columns = ["variant", "engine", "condition", "x", "mean", "low", "high", "seconds", "fused"]
    costs = ["peak_bytes", "operations", "moved_bytes", "joules", "roof_operations", "roof_bytes"]
    if timed.empty:
        return pd.DataFrame(columns=[*columns, *costs])
    table = timed.pivot_table(index=["variant", "engine", "condition", "at"], columns="metric", values="value", sort=False).reset_index()
    table = table.rename(columns={"at": "x", "ratio": "mean", "ratio_low": "low", "ratio_high": "high"})
    table = table.reindex(columns=[*columns, *costs])
    table["fused"] = table["fused"].eq(1)
    return _engines_in_order(table)


def _engines_in_order(table: DataFrame) -> DataFrame:
    order = {engine.name: place for place, engine in enumerate(ENGINES)}
    return table.sort_values("engine", key=lambda names: names.map(order), kind="stable")


def engines(results: Results) -> list[Engine]:
    """The engines on which something was timed, in their order."""
    timed = set(times(results)["engine"])
    return [engine for engine in ENGINES if engine.name in timed]


def comparable(timed: DataFrame) -> DataFrame:
    """Of a table of `times`, what compares with the baseline on its engine: one kernel with one kernel, a loop with a loop."""
    baselines = timed[timed["variant"] == BASELINE.label]
    kinds = set(zip(baselines["engine"], baselines["fused"], strict=True))
    return timed[np.array([kind in kinds for kind in zip(timed["engine"], timed["fused"], strict=True)], dtype=bool)]


def at_longest(timed: DataFrame) -> DataFrame:
    """Of a table of `times`, the rows of each engine's longest timed length."""
    return timed[timed["x"] == timed.groupby("engine")["x"].transform("max")] if len(timed) else timed


def pooled(rows: DataFrame, by: Sequence[str]) -> Interval:
    """The mean of the column `value` over groups of rows, each of the same weight, with its interval."""
    groups = [group.to_numpy() for _, group in rows.groupby(list(by), sort=True)["value"]]
    return stats.pooled(groups, np.random.default_rng(0))
