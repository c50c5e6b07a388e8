"""Checks the rows that timings become: growth with the shape most of all, on times that grow by a known law."""

from __future__ import annotations

from dataclasses import replace

import pytest

from suite.plan.schema import TimingPlan
from suite.spec import Plugin
from suite.store.clocked import deployed_rows, growth_rows, timing_rows
from suite.store.store import StoredTiming
from suite.trial import Cost, Roof, Shape, Timed, Timing


def stored(shape: Shape, seconds: float, *, failed: str = "", variant: str = "gru") -> StoredTiming:
    timing = Timing(Plugin(variant), "reference", shape, 8, 30, 1000, TimingPlan().rule, "float32", "cpu", True, {}, {})
    rounds = tuple(seconds * noise for noise in (0.99, 1.0, 1.01, 1.0, 0.99, 1.01, 1.0))
    return StoredTiming(timing, Timed({"forward+backward": rounds}, {"forward+backward": rounds}, failed=failed))


def grown(plan: TimingPlan, law: dict[str, float], **changes: str) -> dict[str, float]:
    """The middle of each exponent, for times by a power law in each part of the shape."""
    timings = [
        stored(shape, 1e-4 * shape.length ** law["T"] * shape.batch_size ** law["B"] * shape.width ** law["H"], **changes)
        for shape in plan.shapes
    ]
    return {row["metric"]: row["value"] for row in growth_rows(timings) if row["metric"].count("_") == 1}


def test_growth_is_the_exponent_of_each_part() -> None:
    plan = TimingPlan(lengths=(25, 50, 100, 200), batch_sizes=(8, 128), hidden_sizes=(64, 128, 256))
    assert grown(plan, {"T": 1.0, "B": 0.5, "H": 2.0}) == {
        "growth_T": pytest.approx(1.0, abs=0.02),
        "growth_B": pytest.approx(0.5, abs=0.02),
        "growth_H": pytest.approx(2.0, abs=0.02),
    }


def test_two_shapes_tell_no_growth_and_failed_ones_none() -> None:
    law = {"T": 1.0, "B": 1.0, "H": 1.0}
    assert grown(TimingPlan(lengths=(25, 50)), law) == {}
    assert grown(TimingPlan(lengths=(25, 50, 100)), law, failed="no such luck") == {}


def test_costs_stand_beside_forward_and_backward() -> None:
    timing = stored(Shape(50, 32, 32), 0.1).timing
    rounds_of = {"forward": (1.0, 1.0), "forward+backward": (2.0, 2.0)}
    timed = Timed(rounds_of, rounds_of, cost=Cost(1, 2, 3), roof=Roof(4.0, 5.0))
    rows = [(row["condition"], row["metric"]) for row in timing_rows(StoredTiming(timing, timed))]
    costs = [condition for condition, metric in rows if metric in {"peak_bytes", "operations", "moved_bytes", "roof_bytes"}]
    assert costs == ["forward+backward"] * 4
    assert "joules" not in {metric for _, metric in rows}
    counted = StoredTiming(timing, Timed(rounds_of, rounds_of, cost=Cost(1, 2, 3, 0.5), roof=Roof(4.0, 5.0)))
    assert [row["value"] for row in timing_rows(counted) if row["metric"] == "joules"] == [0.5]


def test_what_one_would_deploy_holds_though_it_was_timed_in_other_rounds() -> None:
    """Each variant beside the baseline of its own engine; that engine beside the baseline's best."""
    shape = Shape(50, 32, 32)

    def on(variant: str, engine: str, seconds: float, baseline: float, rounds: int) -> StoredTiming:
        timing = replace(stored(shape, 1.0, variant=variant).timing, engine=engine)
        return StoredTiming(timing, Timed({"forward+backward": (seconds,) * rounds}, {"forward+backward": (baseline,) * rounds}))

    timings = [on("lstm", "vendor", 1.0, 1.0, 7), on("lstm", "reference", 4.0, 4.0, 7), on("gru", "reference", 6.0, 4.0, 2)]
    ratios = {(row["variant"], row["engine"]): row["value"] for row in deployed_rows(timings) if row["metric"] == "best_ratio"}
    assert ratios == {("lstm", "vendor"): 1.0, ("gru", "reference"): pytest.approx(6.0)}
    assert list(deployed_rows([])) == list(deployed_rows(timings[2:])) == []
