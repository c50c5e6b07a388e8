"""Checks that a comparison finds what was planted in one of two stores, nothing in equal ones, and names what it cannot compare."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from suite import SuiteError
from suite.check.imagined import even, fill
from suite.ops.engines import REFERENCE
from suite.proof import changes, pairing
from suite.proof.changes import Change, quotient
from suite.proof.comparison import Comparison, compare, headline
from suite.proof.sides import opened
from suite.report.stats import Interval
from suite.store import archive
from suite.store.store import Store

from ..test_keeping import said

TIMES = {("lstm", REFERENCE.name): 2.0, ("gru", REFERENCE.name): 1.0}
SEEDS = 8


def store(runs: Path, skill: Callable[..., float] = even, times: Mapping[tuple[str, str], float] = TIMES, **options: Any) -> Store:
    whole = {"variants": ["lstm", "gru"], "tasks": ["adding"], "lengths": [10], "seeds": SEEDS, "times": dict(times), **options}
    return fill(runs, skill, **whole)


def compared(a: Store, b: Store) -> Comparison:
    with opened(str(a.folder), Path("runs")) as one, opened(str(b.folder), Path("runs")) as other:
        return compare(one, other)


def found(comparison: Comparison, variant: str, axis: str) -> Change:
    [change] = [change for change in comparison.changes if (change.variant, change.axis) == (variant, axis)]
    return change


def clocked(a: Store, b: Store) -> dict[str, Change]:
    """What is found of times alone, by variant."""
    with opened(str(a.folder), Path("runs")) as one, opened(str(b.folder), Path("runs")) as other:
        return {change.variant: change for change in changes.timed(one, other)}


@pytest.fixture(scope="module")
def a(tmp_path_factory: pytest.TempPathFactory) -> Store:
    return store(tmp_path_factory.mktemp("a"))


def test_a_store_against_itself_is_the_same_everywhere(a: Store) -> None:
    comparison = compared(a, a)
    assert {change.verdict for change in (*comparison.changes, *comparison.by_cell)} == {"same"}
    assert len(comparison.changes) == 2 * 3
    assert comparison.apart == ()
    assert comparison.pairing.differing == {}
    assert headline(comparison).startswith("Nothing changed")
    assert changes.failing(comparison.changes, ["worse", "speed>0%"]) == []


def test_a_variant_that_is_slower_is_named(a: Store, tmp_path: Path) -> None:
    slower = store(tmp_path, times={**TIMES, ("gru", REFERENCE.name): 1.2})
    comparison = compared(a, slower)
    change = found(comparison, "gru", "speed")
    assert change.verdict == "worse"
    assert change.effect.mean == pytest.approx(1.2)
    assert found(comparison, "lstm", "speed").verdict == "same"
    assert changes.failing(comparison.changes, ["speed>10%"]) == [change]
    assert changes.failing(comparison.changes, ["worse"]) == [change]
    assert changes.failing(comparison.changes, ["speed>25%"]) == []
    assert clocked(slower, a)["gru"].verdict == "better"


def test_a_slower_baseline_is_told_and_judged_only_where_its_code_is_another(a: Store, tmp_path: Path) -> None:
    times = {place: 2 * time if place[0] == "lstm" else time for place, time in TIMES.items()}
    busy = store(tmp_path, times=times)
    change = clocked(a, busy)["lstm"]
    assert (change.verdict, round(change.effect.mean, 2)) == ("not comparable", 2.0)
    assert "it is the same code on the same processor" in change.why
    edit(busy, sources={"suite.ops.scan": "edited"})
    assert clocked(a, busy)["lstm"].verdict == "worse"
    edit(busy, surroundings={"cpu": "another"})
    assert "another processor" in clocked(a, busy)["lstm"].why


def edit(store: Store, **fields: Any) -> None:
    """Let what the store's timings rest on be another."""
    ledger = store.ledger()
    assert ledger is not None
    keys = {}
    for cell, key in ledger.timings.items():
        stored = store.timing(key)
        assert stored is not None
        timing = replace(stored.timing, **fields)
        keys[cell] = timing.key
        store.put_timing(timing, stored.timed)
    store.keep(replace(ledger, timings=keys))


def test_what_is_learned_worse_is_found_by_the_report_s_own_test(a: Store, tmp_path: Path) -> None:
    def forgetful(variant: str, task: str, length: int, seed: int) -> float:
        return even(variant, task, length, seed) - (0.2 if variant == "gru" else 0.0)

    comparison = compared(a, store(tmp_path, forgetful))
    worse = found(comparison, "gru", "long_range")
    assert (worse.verdict, worse.pairs) == ("worse", SEEDS)
    assert worse.effect.mean == pytest.approx(-0.2)
    assert worse.p == pytest.approx(3 * 2 / 2**SEEDS)  # three comparisons: gru's robustness has no pair that solved its task
    assert found(comparison, "gru", "robustness").why == "no pair of trials solved its task"
    assert found(comparison, "lstm", "long_range").verdict == "same"
    [cell] = [change for change in comparison.by_cell if (change.variant, change.axis) == ("gru", "long_range")]
    assert (cell.where, cell.verdict) == ("adding, T = 10", "worse")


def test_trials_that_failed_are_named(a: Store, tmp_path: Path) -> None:
    broken = store(tmp_path, lambda v, t, n, s: "failed" if v == "gru" else even(v, t, n, s))  # type: ignore[arg-type, return-value]
    told = {apart.what: apart.why for apart in compared(a, broken).apart}
    assert told[f"{SEEDS} trials of gru in B"] == "they ended as failed"


def test_few_seeds_decide_nothing(tmp_path: Path) -> None:
    few = store(tmp_path / "a", seeds=2)
    worse = store(tmp_path / "b", lambda v, t, n, s: even(v, t, n, s) - 0.2, seeds=2)
    comparison = compared(few, worse)
    assert {change.verdict for change in comparison.changes if change.axis == "long_range"} == {"undecided"}
    assert headline(comparison) == "Nothing is found to have changed."


def test_what_is_in_one_of_them_alone_is_named(a: Store, tmp_path: Path) -> None:
    other = store(tmp_path, variants=["lstm"], seeds=SEEDS - 2, times={("lstm", REFERENCE.name): 2.0})
    told = {apart.what: apart.why for apart in compared(a, other).apart}
    assert told == {
        "lstm on adding, T = 10": "2 trials are in A alone",
        "gru on adding, T = 10": f"{SEEDS} trials are in A alone",
        f"the time of gru on {REFERENCE.name}": "it is in A alone",
    }


def test_another_protocol_is_named_and_nothing_learned_compares(a: Store, tmp_path: Path) -> None:
    other = store(tmp_path)
    ledger = other.ledger()
    assert ledger is not None
    training = {**ledger.plan["training"], "batch_size": 64}
    other.keep(replace(ledger, plan={**ledger.plan, "training": training, "timing": {**ledger.plan["timing"], "batch_size": 64}}))
    comparison = compared(a, other)
    assert [(apart.what, apart.why) for apart in comparison.apart] == [
        ("all that was learned", "the plans differ in training.batch_size: 32 in A, 64 in B"),
        ("all times", "the plans differ in timing.batch_size: 32 in A, 64 in B"),
    ]
    assert headline(comparison) == "Nothing of the two compares."
    with pytest.raises(SuiteError, match="nothing of the two compares"):
        changes.failing(comparison.changes, ["worse"])


@pytest.mark.parametrize("on", ["a", "b"])
def test_a_field_that_one_plan_leaves_out_has_its_default(on: str, a: Store, tmp_path: Path) -> None:
    other = store(tmp_path)
    ledger = other.ledger()
    assert ledger is not None

    def told(**training: Any) -> list[str]:
        other.keep(replace(ledger, plan={**ledger.plan, "training": {**ledger.plan["training"], **training}}))
        return [apart.why for apart in (compared(other, a) if on == "a" else compared(a, other)).apart]

    values = "'cosine' in A, 'constant' in B" if on == "a" else "'constant' in A, 'cosine' in B"
    assert told(schedule="cosine") == [f"the plans differ in training.schedule: {values}"]
    assert told(recompute=8) == []  # it agrees to the last digits, as engines do


@pytest.mark.parametrize(
    ("source", "what", "why"),
    [
        ("suite.dropins.tasks.adding", "adding", "its data may be others: suite.dropins.tasks.adding is of another version in B"),
        ("suite.training.data", "adding", "its data may be others: suite.training.data is of another version in B"),
        ("suite.training.trainer", "", ""),
    ],
)
def test_data_of_another_version_compare_with_nothing_and_other_code_does(tmp_path: Path, source: str, what: str, why: str) -> None:
    both = [store(tmp_path / side, variants=["lstm"], times={}) for side in ("a", "b")]
    for each, digest in zip(both, ("1" * 64, "0" * 64), strict=True):
        ledger = each.ledger()
        assert ledger is not None
        each.keep(replace(ledger, sources={**ledger.sources, source: digest}))
    comparison = compared(*both)
    assert comparison.pairing.differing == {source: ("1" * 12, "0" * 12)}
    assert [(apart.what, apart.why) for apart in comparison.apart] == ([(what, why)] if what else [])
    assert any(change.axis == "long_range" for change in comparison.changes) == (not what)


@pytest.mark.parametrize(("ideals", "alike"), [((0.25, 0.25), True), ((0.25, 0.5), False), ((0.0, 0.0), False)])
def test_the_ideal_predictor_s_loss_tells_whether_both_drew_the_same_stream(
    tmp_path: Path, ideals: tuple[float, float], alike: bool
) -> None:
    both = [store(tmp_path / side, variants=["lstm"], times={}, seeds=1) for side in ("a", "b")]
    for each, ideal in zip(both, ideals, strict=True):
        for key in each.keys("evaluations"):
            stored = each.evaluation(key)
            assert stored is not None
            each.write("evaluations", key, replace(stored, points=tuple(replace(point, ideal=ideal) for point in stored.points)))
    with opened(str(both[0].folder), Path("runs")) as a, opened(str(both[1].folder), Path("runs")) as b:
        assert pairing._drawn_alike("adding", a, b) == alike


def test_a_damaged_file_is_named(a: Store, tmp_path: Path) -> None:
    damaged = store(tmp_path)
    file = damaged.file("trials", damaged.keys("trials")[0])
    file.write_bytes(file.read_bytes()[:-9])
    [first, *_] = compared(a, damaged).apart
    assert (first.what, str(file) in first.why) == ("a file of B", True)


def test_an_archive_and_a_plan_are_sides_too(a: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    archive.pack(a, tmp_path / "a.zip", "")
    for name in ("a.zip", str(a.folder.parent)):
        with opened(name, Path("runs")) as side:
            assert len(side.results.trials) == 2 * SEEDS
    store(tmp_path / "two")
    (tmp_path / "two" / "synthetic").rename(tmp_path / "two" / "first")
    store(tmp_path / "two")
    for name, message in [("two", r"holds several plans \(first, synthetic\)"), ("nonsense", "unknown plan"), (".", "holds no results")]:
        with pytest.raises(SuiteError, match=message), opened(name, Path("runs")):
            pass


def test_the_command_writes_a_page_and_sets_the_exit_code(a: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    slower = store(tmp_path / "b", times={**TIMES, ("gru", REFERENCE.name): 1.2})
    told = said("compare", a.folder, slower.folder, "--fail-on", "speed>10%", code=1)
    assert "gru is slower on the reference engine (its time is 1.20 times what it was)" in told
    assert "gru, time (reference): worse, ▼ 1.20 (1.17–1.23)" in told
    page = (tmp_path / "comparison" / "index.html").read_text()
    assert "What changed from A to B?" in page
    assert "could not be drawn" not in page
    assert "gru is slower" in (tmp_path / "comparison" / "comparison.md").read_text()
    before = {file: file.read_bytes() for file in (tmp_path / "comparison").rglob("*") if file.is_file()}
    rows = json.loads(said("compare", a.folder, slower.folder, "--json"))["changes"]
    assert [row["verdict"] for row in rows if row["variant"] == "gru"] == ["worse", "same", "same"]
    assert {file: file.read_bytes() for file in before} == before
    with pytest.raises(SuiteError, match="--fail-on better: use worse"):
        said("compare", a.folder, slower.folder, "--fail-on", "better")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.tex").write_text("")
    with pytest.raises(SuiteError, match="is there and holds no comparison"):
        said("compare", a.folder, slower.folder, "--out", "mine")


def test_a_quotient_of_two_measurements_is_as_uncertain_as_both() -> None:
    assert quotient((2.0, 2.0, 2.0), (1.0, 1.0, 1.0)) == pytest.approx(Interval(2.0, 2.0, 2.0, 2))
    ratio = quotient((1.0, math.exp(-0.3), math.exp(0.3)), (1.0, math.exp(-0.4), math.exp(0.4)))
    assert ratio == pytest.approx(Interval(1.0, math.exp(-0.5), math.exp(0.5), 2))
