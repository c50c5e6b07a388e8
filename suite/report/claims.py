"""Holds sentences of the field against results: each is supported, refuted or left undecided by what a plan measured."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal, TypeAlias

import numpy as np

from ..claim import Claim, Expectation
from ..measures import gradient, length
from ..trial import BASELINE, FAULTS
from . import inference
from .answer import BEST, SEED, Answer, answer, differences, exchangeable, skills
from .counted import kept, unsound
from .exchange import fitted_sign_flip
from .stats import Interval

if TYPE_CHECKING:
    from pandas import Series

    from ..spec import Results

Ruling = Literal["supported", "refuted", "undecided", "not asked"]

State = Literal["found", "contradicted", "open", "absent"]

NOTHING = Interval(math.nan, math.nan, math.nan, 0)


def spent(results: Results) -> Series[float]:
    """The part of its steps that a trial took to solve its task; 1 if it did not, or diverged."""
    trials = results.trials.set_index("key")
    unsolved = trials["steps_to_solve"].isna() | trials["status"].eq("diverged")
    parts = (trials["steps_to_solve"] / trials["steps"]).where(~unsolved, 1.0)
    known: Series[float] = parts.where(~trials["status"].isin(FAULTS))
    return known


def beyond(results: Results) -> Series[float]:
    """Test skill at the longest multiple of the trained length that was asked; 0 of a trial that diverged."""
    rows = results.frame
    rows = rows[rows["axis"].eq("long_range") & rows["metric"].eq("skill") & rows["condition"].eq(length.NAME) & rows["at"].gt(1)]
    furthest = rows[rows["at"] == rows["at"].max()].set_index("key")["value"]
    trials = results.trials.set_index("key")
    reached: Series[float] = furthest.reindex(trials.index).where(trials["status"].ne("diverged"), 0.0)
    return reached


def reach(results: Results) -> Series[float]:
    """The part of the way back to the first step that a trained model's gradient reaches, where the plan asks for it."""
    rows = results.frame
    rows = rows[rows["axis"].eq(gradient.NAME) & rows["at"].eq(0)]
    by_metric = rows.pivot_table(index="key", columns="metric", values="value").reindex(columns=["horizon", "longest_lag"])
    parts: Series[float] = by_metric["horizon"] / by_metric["longest_lag"]
    return parts


Values: TypeAlias = "Callable[[Results], Series[float]]"

QUANTITIES: Mapping[str, Values | None] = {
    "skill": None,
    "beyond": beyond,
    "retained": kept,
    "reach": reach,
    "steps": spent,
    "time": None,
}
"""What an expectation may name, with its values in [0, 1] by the key of the trial, at every learning rate, NaN where a trial has none.

Test skill has rules of its own, and time is compared by its own ratios.
"""


@dataclass(frozen=True)
class Evidence:
    """What was found of one expectation.

    effect: a difference, or for time a ratio; p: adjusted over all claims of the report, NaN where an interval alone decides
    pairs, cells: what it rests on; why: what keeps it from being asked
    """

    expectation: Expectation
    state: State
    effect: Interval = NOTHING
    p: float = math.nan
    pairs: int = 0
    cells: int = 0
    why: str = ""


@dataclass(frozen=True)
class Ruled:
    """A claim with what follows for it from the results."""

    claim: Claim
    ruling: Ruling
    evidence: tuple[Evidence, ...]


def rulings(results: Results) -> list[Ruled]:
    """The rulings on all claims of the results, in their order."""
    answered = answer(results)
    asked = [(place, _asked(results, answered, each)) for place, claim in enumerate(results.claims) for each in claim.expects]
    adjusted = inference.holm({index: evidence.p for index, (_, evidence) in enumerate(asked) if not math.isnan(evidence.p)})
    judged = [(place, _judged(replace(evidence, p=adjusted.get(index, math.nan)))) for index, (place, evidence) in enumerate(asked)]
    by_claim = [tuple(evidence for at, evidence in judged if at == place) for place in range(len(results.claims))]
    return [Ruled(claim, _ruling(every), every) for claim, every in zip(results.claims, by_claim, strict=True)]


def _ruling(every: Sequence[Evidence]) -> Ruling:
    states = {each.state for each in every}
    if "absent" in states:
        return "not asked"
    if "contradicted" in states:
        return "refuted"
    return "supported" if states == {"found"} else "undecided"


def _asked(results: Results, answered: Answer, expectation: Expectation) -> Evidence:
    """The effect that an expectation is about, and its p where a test decides; the state is still to be judged."""
    if expectation.quantity not in QUANTITIES:
        return Evidence(expectation, "absent", why=f"there is no quantity '{expectation.quantity}'; there is {', '.join(QUANTITIES)}")
    trained = set(results.trials["variant"])
    for name in (expectation.variant, expectation.against):
        if name not in trained:
            return Evidence(expectation, "absent", why=f"the plan does not train {name}")
        if reason := unsound(results, name):
            return Evidence(expectation, "absent", why=f"{name}: {reason}")
    if expectation.quantity == "time":
        return _timed(answered, expectation)
    counted, measured = skills(results), QUANTITIES[expectation.quantity]
    values = measured(results) if measured else None
    if values is not None:
        counted = counted.assign(value=counted["key"].map(values)).dropna(subset=["value"])
    cells = differences(counted, expectation.variant, expectation.against)
    if not cells:
        return Evidence(expectation, "absent", why=f"no seed has a value of both {expectation.variant} and {expectation.against}")
    rng, pairs = np.random.default_rng(SEED), list(cells.values())
    effect = inference.effect(pairs, rng)
    evidence = Evidence(expectation, "open", effect, pairs=sum(map(len, pairs)), cells=len(cells))
    if expectation.way == "not worse":
        return evidence
    sides = exchangeable(results, expectation.variant, cells, expectation.against, values)
    return replace(evidence, p=fitted_sign_flip(*sides, rng))


def _timed(answered: Answer, expectation: Expectation) -> Evidence:
    """The ratio of times on the engine that most variants share, else on each one's fastest."""
    if expectation.against != BASELINE.label:
        return Evidence(expectation, "absent", why=f"times are measured against {BASELINE.label} alone")
    for engine in dict.fromkeys((answered.common, BEST)):
        row = answered.row(expectation.variant, "speed", engine)
        if row is not None and row.effect.n:
            return Evidence(expectation, "open", row.effect, cells=1)
    return Evidence(expectation, "absent", why=f"{expectation.variant} was not timed beside {expectation.against}")


def _judged(evidence: Evidence) -> Evidence:
    """The evidence with its state, which the interval decides for times and for what must not be worse, and the test for all else."""
    if evidence.state == "absent":
        return evidence
    wanted, effect, even = evidence.expectation, evidence.effect, 1.0 if evidence.expectation.quantity == "time" else 0.0
    less_is_better = wanted.quantity in {"time", "steps"}
    if wanted.way == "not worse":
        low, high = (-effect.high, -effect.low) if less_is_better else (effect.low, effect.high)
        centre = -even if less_is_better else even
        state: State = "found" if low > centre - wanted.margin else "contradicted" if high < centre - wanted.margin else "open"
        return replace(evidence, state=state)
    if wanted.quantity == "time":
        way = "more" if effect.low > even else "less" if effect.high < even else ""
    else:
        way = {"better": "more", "worse": "less"}.get(inference.verdict(evidence.p, effect.mean), "")
    return replace(evidence, state="open" if not way else "found" if way == wanted.way else "contradicted")
