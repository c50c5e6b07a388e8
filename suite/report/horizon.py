"""Says how far each variant remembers: the longest length that half of its seeds solve, and the lag that its gradient reaches."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ..measures.gradient import NAME as GRADIENT
from ..measures.gradient import SHARE
from ..trial import FAULTS
from . import inference
from .counted import scores, trials

if TYPE_CHECKING:
    from pandas import DataFrame

    from ..spec import Results

REACHES = SHARE
"""A gradient reaches a lag where it is at least this part of that at lag 0."""

PART = 0.5
"""A length is remembered by a variant that solves it with at least this probability."""


@dataclass(frozen=True)
class MemoryHorizon:
    """The longest length on a ladder that a variant solves at least half of the time, with an interval at 95 %.

    ladder: the lengths that were trained, ascending; solved, seeds: at each of them
    estimate: the longest at which half of the seeds solved; low, high: ends of the interval, all on the ladder

    None stands for a length below the shortest. One that is the ladder's longest may lie beyond it.
    """

    ladder: tuple[int, ...]
    solved: tuple[int, ...]
    seeds: tuple[int, ...]
    estimate: int | None
    low: int | None
    high: int | None

    def text(self, length: int | None) -> str:
        """``< 20``, ``40`` or ``≥ 160``: one of the three lengths, marked where the ladder ends before it is known."""
        if length is None:
            return f"< {self.ladder[0]}"
        return f"≥ {length}" if length == self.ladder[-1] else str(length)


def memory_horizon(counts: Mapping[int, tuple[int, int]]) -> MemoryHorizon:
    """The memory horizon of a variant from how many seeds solved each length, and of how many.

    The true horizon is the longest length of the ladder that is solved with a probability of at least a half, and the interval holds it in 95 %
    or more of such plans, whatever the probabilities are and whether or not they fall with the length. From the shortest length up, as long as
    Clopper and Pearson's bound at 97.5 % lies at a half or above: that is the lower end. From the longest down, as long as their other bound
    lies below a half: the first length that stays is the upper end. On each way the first true hypothesis ends it, and is rejected in 2.5 % at
    most, so nothing needs an adjustment for many lengths. Of fewer than six seeds no count is sure enough: the interval is then the whole ladder.

    Errors: ValueError for no lengths, and as of ``inference.solve_rate``.
    """
    ladder = tuple(int(length) for length, (_, seeds) in sorted(counts.items()) if seeds)
    if not ladder:
        raise ValueError("a horizon takes at least one length with at least one seed")
    rates = [inference.solve_rate(*counts[length]) for length in ladder]
    low = high = None
    for length, rate in zip(ladder, rates, strict=True):
        if rate.low < PART:
            break
        low = length
    for length, rate in zip(reversed(ladder), reversed(rates), strict=True):
        if rate.high >= PART:
            high = length
            break
    estimate = max((length for length, rate in zip(ladder, rates, strict=True) if rate.mean >= PART), default=None)
    solved, seeds = zip(*(counts[length] for length in ladder), strict=True)
    return MemoryHorizon(ladder, solved, seeds, estimate, low, high)


def memory_horizons(results: Results) -> dict[tuple[str, str], MemoryHorizon]:
    """The memory horizon by task and variant, of the trials at the chosen learning rates that did not fail."""
    counted = trials(results)
    counted = counted[~counted["status"].isin(FAULTS)]
    horizons = {}
    for (task, variant), rows in counted.groupby(["task", "variant"], sort=False):
        by_length = rows.groupby("length")["solved"]
        horizons[str(task), str(variant)] = memory_horizon({length: (int(own.sum()), len(own)) for length, own in by_length})  # type: ignore[misc]
    return horizons


@dataclass(frozen=True)
class Lag:
    """A lag over seeds: the median with the least and the greatest, and whether each is the last lag there is, beyond which it may lie."""

    median: float
    least: float
    greatest: float
    longest: float
    seeds: int

    def text(self) -> str:
        """``6 (4–9)``, or ``≥ 19`` where it is the longest lag."""
        if not self.seeds:
            return "–"
        middle, least, greatest = (
            f"{'≥ ' if value >= self.longest else ''}{value:.0f}" for value in (self.median, self.least, self.greatest)
        )
        return middle if least == greatest else f"{middle} ({least} to {greatest})"


def lag_over(values: Sequence[float], longest: float) -> Lag:
    """The lags of seeds, each of them censored at the longest one; the median is the lower of the two middle values."""
    known = sorted(value for value in values if math.isfinite(value))
    if not known:
        return Lag(math.nan, math.nan, math.nan, longest, 0)
    return Lag(known[(len(known) - 1) // 2], known[0], known[-1], longest, len(known))


@dataclass(frozen=True)
class GradientHorizon:
    """The largest lag that the gradient of a variant reaches on a task at a trained length, at its first weights and after training."""

    variant: str
    task: str
    length: int
    start: Lag
    trained: Lag


def gradient_horizons(results: Results) -> list[GradientHorizon]:
    """How far gradients reach, of the trials at the chosen learning rates that ended well; none where the plan does not ask."""
    start, trained, longest = (_of_models(results, name) for name in ("horizon_at_start", "horizon", "longest_lag"))
    horizons = []
    for (variant, task, _), rows in longest.groupby(["variant", "task", "length"], sort=False):
        last = float(rows["value"].max())
        lags = [lag_over(list(table.loc[table["key"].isin(rows["key"]), "value"]), last) for table in (start, trained)]
        horizons.append(GradientHorizon(str(variant), str(task), int(rows["length"].iloc[0]), *lags))
    return horizons


def _of_models(results: Results, metric: str) -> DataFrame:
    """What the measure says of a model as a whole, which stands at each of its points: here once."""
    rows = scores(results, GRADIENT, metric)
    return rows[rows["at"] == 0]


def gradients(results: Results, metric: str) -> DataFrame:
    """The part of the norm at lag 0 that the norm at each lag is: columns variant, task, length, seed, lag, value.

    metric: ``gradient`` or ``gradient_at_start``
    """
    norms, lags = scores(results, GRADIENT, metric), scores(results, GRADIENT, "lag")
    first = norms[norms["at"] == 0].set_index("key")["value"]
    lag = lags.set_index(["key", "at"])["value"]
    index = list(zip(norms["key"], norms["at"], strict=True))
    share = norms["value"] / norms["key"].map(first).astype(float)
    shares: DataFrame = norms.assign(value=share, lag=[float(lag.get(place, math.nan)) for place in index])[
        ["variant", "task", "length", "seed", "lag", "value"]
    ].drop_duplicates()
    return shares


def over_seeds(shares: DataFrame) -> DataFrame:
    """The geometric mean of `gradients` over seeds with their range: columns variant, task, length, x, mean, low, high; what is not finite is left out."""
    known = shares[np.isfinite(shares["value"].to_numpy(dtype=float)) & (shares["value"] > 0)]
    groups = known.groupby(["variant", "task", "length", "lag"], sort=False)["value"]
    table = groups.agg(mean=lambda own: float(np.exp(np.log(own).mean())), low="min", high="max").reset_index()
    renamed: DataFrame = table.rename(columns={"lag": "x"})
    return renamed
