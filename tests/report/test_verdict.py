"""Checks the protocol of the report on small stores: what counts, what is compared, who leads, and what limits trust."""

from __future__ import annotations

import ast
import math
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from suite import Results, verdict
from suite.check.imagined import CURVE, fill
from suite.measures.length import NAME as LENGTH
from suite.ops.engines import ENGINES, REFERENCE, VENDOR
from suite.report.stats import area
from suite.report.verdict import Solved
from suite.spec import Stale
from suite.store import frame

from .drawing import GRU, TIMES, age

ROOT = Path(__file__).parents[2]
Skill = float | str | None


@pytest.fixture(autouse=True)
def _quick_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "fsync", lambda _file: None)


@pytest.fixture
def imagine(tmp_path: Path) -> Callable[..., Results]:
    """Results of two causal variants and one that is not, on one task and length with two seeds, unless the options say otherwise.

    The skills are given by variant, one for each seed.
    """

    def results(skills: dict[str, tuple[Skill, ...]], **options: Any) -> Results:
        settings: dict[str, Any] = {"tasks": ["adding"], "lengths": [10], "seeds": 2, **options}
        return frame.read(fill(tmp_path, lambda v, _t, _n, s: skills[v][s], variants=list(skills), **settings))

    return results


def robust(skill: float) -> float:
    """The area that the imagined store gives a model of this skill."""
    return area(skill, [skill * (1 - 0.15 * place) for place in range(5)])


# Which trials count


def test_a_diverged_trial_counts_as_no_skill_and_a_failed_one_has_none(imagine: Callable[..., Results]) -> None:
    trials = verdict.trials(imagine({"lstm": (0.8, None), "gru": (0.6, "failed")}))
    assert trials["value"].tolist() == pytest.approx([0.8, 0.0, 0.6, math.nan], nan_ok=True)
    assert trials["solved"].tolist() == [False] * 4


def test_a_failed_trial_has_no_say_though_it_was_tested_before_it_failed(imagine: Callable[..., Results]) -> None:
    results = imagine({"lstm": (0.8, 0.4), "gru": (0.6, 0.6)})
    trials = results.trials.assign(status=["ok", "failed", "ok", "ok"])
    rows = results.frame.assign(
        status=results.frame["status"].where(results.frame["variant"].ne("lstm") | results.frame["seed"].ne(1), "failed")
    )
    later = replace(results, trials=trials, frame=rows)
    assert verdict.trials(later)["value"].tolist() == pytest.approx([0.8, math.nan, 0.6, 0.6], nan_ok=True)
    assert verdict.summaries(later)["lstm"].skill == pytest.approx((0.8, 0.8, 0.8, 1))
    assert len(verdict.scores(later, "long_range", "skill")) == 3 * 2  # three trials, two lengths


def test_a_trial_whose_test_is_stale_is_not_said_to_be_unsolved(tmp_path: Path) -> None:
    store = fill(tmp_path, variants=["lstm", "gru"], tasks=["adding"], lengths=[10], seeds=2)
    before = frame.read(store)
    key = before.trials.loc[0, "key"]
    ledger = store.ledger()
    assert ledger is not None
    (cell,) = (cell for cell, entry in ledger.cells.items() if entry.key == key)
    store.file("evaluations", ledger.cells[cell].evaluations[LENGTH]).unlink()
    summary = verdict.summaries(frame.read(store))["lstm"]
    assert (summary.solved, summary.trials) == (1, 1)


def test_only_the_chosen_learning_rate_counts(tmp_path: Path) -> None:
    results = frame.read(fill(tmp_path, variants=["lstm"], tasks=["adding"], lengths=[10], rates=[0.1, 0.01, 0.001]))
    assert len(results.trials) == 6
    assert set(verdict.trials(results)["learning_rate"]) == {0.001}
    assert verdict.trials(results)["edge"].all()
    assert set(verdict.scores(results, "long_range", "skill")["learning_rate"]) == {0.001}
    assert verdict.trust(results) == verdict.Trust(seeds=2, least_p=0.5, rates=(0.001, 0.01, 0.1), at_edge=2, learning=0, chosen=2)


def test_scores_are_those_of_trials_that_ended_well(imagine: Callable[..., Results]) -> None:
    results = imagine({"lstm": (0.95, None), "gru": (0.5, "failed")})
    rows = verdict.scores(results, "robustness", "area")
    assert set(zip(rows["variant"], rows["seed"], strict=True)) == {("lstm", 0), ("gru", 0)}
    assert set(verdict.scores(results, "robustness", "area", solved=True)["variant"]) == {"lstm"}
    assert verdict.scores(results, "nothing", "area").empty


def test_steps_to_solve_are_censored_where_a_trial_never_solved(imagine: Callable[..., Results]) -> None:
    results = imagine({"lstm": (0.95, 0.5), "gru": (None, "failed")})
    results = replace(results, trials=results.trials.assign(steps_to_solve=[30.0, math.nan, 10.0, math.nan]))
    steps = verdict.steps(results)
    assert steps["value"].tolist() == [30, CURVE[-1], CURVE[-1]], "one that solved and then diverged counts as unsolved"
    assert steps["censored"].tolist() == [False, True, True]
    summary = verdict.summaries(results)
    assert (summary["lstm"].steps, summary["lstm"].never) == (30, 1)
    assert (math.isnan(summary["gru"].steps), summary["gru"].never) == (True, 1)


def test_variants_are_listed_causal_ones_first_and_timed_ones_where_asked(tmp_path: Path) -> None:
    results = frame.read(fill(tmp_path, variants=["bilstm", "lstm"], tasks=["adding"], times=TIMES))
    assert verdict.variants(results) == {"bilstm": False, "lstm": True, "gru": True}
    assert verdict.listed(results) == ["lstm", "bilstm"]
    assert verdict.listed(results, timed=True) == ["lstm", "gru", "bilstm"]


# What was solved, and times


def test_the_longest_solved_is_told_by_task(tmp_path: Path) -> None:
    def skill(variant: str, _task: str, length: int, seed: int) -> Skill:
        solved = {("lstm", 10), ("gru", 10), ("gru", 20), ("bilstm", 20)}
        return 0.95 if (variant, length) in solved and not (variant == "gru" and length == 20 and seed) else "failed"

    results = frame.read(fill(tmp_path, skill, tasks=["adding"]))
    assert verdict.longest_solved(results) == {
        ("adding", "lstm"): Solved(10, 2, 2),
        ("adding", "gru"): Solved(20, 1, 2),
        ("adding", "bilstm"): Solved(20, 2, 2),
    }


def test_what_is_kept_is_the_area_over_the_clean_skill_of_trials_that_solved(imagine: Callable[..., Results]) -> None:
    kept = verdict.retained(imagine({"lstm": (0.95, 0.9), "gru": (0.95, 0.5)}))
    assert set(zip(kept["variant"], kept["seed"], strict=True)) == {("lstm", 0), ("lstm", 1), ("gru", 0)}
    wanted = kept["seed"].map({0: robust(0.95) / 0.95, 1: robust(0.9) / 0.9})
    assert kept["value"].tolist() == pytest.approx(wanted.tolist())


# Speed


def test_speed_is_a_ratio_to_the_baseline_on_the_same_engine(tmp_path: Path) -> None:
    results = frame.read(fill(tmp_path, variants=["lstm", "rnn"], tasks=["adding"], times=TIMES))
    ratios = verdict.speed(results, REFERENCE.name)
    assert set(ratios) == {"gru", "lstm", "bilstm"}
    assert ratios["gru"] == pytest.approx((0.5, 0.49, 0.51, 2))
    assert ratios["lstm"] == pytest.approx((1, 1, 1, 1))
    assert set(verdict.speed(results, VENDOR.name)) == {"lstm"}
    assert verdict.summaries(results)["gru"].times == {REFERENCE.name: ratios["gru"]}


def test_times_stand_by_engine_and_length(tmp_path: Path) -> None:
    results = frame.read(fill(tmp_path, variants=["lstm"], tasks=["adding"], times=TIMES))
    times = verdict.times(results)
    assert list(dict.fromkeys(times["engine"])) == [VENDOR.name, REFERENCE.name]
    assert set(times["x"]) == {8, 16, 32}
    assert set(verdict.at_longest(times)["x"]) == {32}
    assert len(verdict.at_longest(times)) == 8  # four models, two conditions
    shorter = results.frame[~((results.frame["engine"] == VENDOR.name) & (results.frame["at"] == 32))]
    longest = verdict.at_longest(verdict.times(replace(results, frame=shorter)))
    assert dict(zip(longest["engine"], longest["x"], strict=True)) == {VENDOR.name: 16, REFERENCE.name: 32}


def test_nothing_timed_is_an_empty_table(imagine: Callable[..., Results]) -> None:
    results = imagine({"lstm": (0.9, 0.9)})
    assert verdict.at_longest(verdict.times(results)).empty
    assert verdict.comparable(verdict.times(results)).empty
    assert verdict.best_available(results).empty
    assert verdict.engines(results) == []
    assert math.isnan(verdict.noise(results))
    assert verdict.speed(results, VENDOR.name) == {}


def fused(results: Results, *cells: tuple[str, str]) -> Results:
    """The results where what these variants and engines run is one kernel."""
    rows = np.array([pair in cells for pair in zip(results.frame["variant"], results.frame["engine"], strict=True)])
    values = results.frame["value"].where(~(results.frame["metric"].eq("fused") & rows), 1.0)
    return replace(results, frame=results.frame.assign(value=values))


def test_a_kernel_is_compared_with_a_kernel_and_a_loop_with_a_loop(tmp_path: Path) -> None:
    results = frame.read(fill(tmp_path, variants=["lstm"], tasks=["adding"], times=TIMES))
    assert set(verdict.speed(fused(results, ("gru", REFERENCE.name)), REFERENCE.name)) == {"lstm", "bilstm"}
    both = fused(results, ("gru", REFERENCE.name), ("lstm", REFERENCE.name))
    assert set(verdict.speed(both, REFERENCE.name)) == {"gru", "lstm"}


def test_what_one_would_deploy_is_the_fastest_engine_of_each(tmp_path: Path) -> None:
    results = frame.read(fill(tmp_path, variants=["lstm"], tasks=["adding"], times=TIMES))
    best = verdict.best_available(results).set_index("variant")
    assert best["engine"].to_dict() == {"bilstm": REFERENCE.name, "lstm": VENDOR.name, "gru": REFERENCE.name}
    assert best["mean"].to_dict() == pytest.approx({"bilstm": 0.5, "lstm": 1.0, "gru": 1.0})


# Summaries, losses and trust


def test_a_summary_has_what_there_is_to_say(tmp_path: Path) -> None:
    ways: dict[str, tuple[Skill, ...]] = {"lstm": (0.95, None), "gru": (0.95, "failed")}
    results = frame.read(fill(tmp_path, lambda v, _t, _n, s: ways[v][s], variants=list(ways), tasks=["adding"], times=TIMES))
    summary = verdict.summaries(results)
    assert list(summary) == ["lstm", "gru", "bilstm"]
    lstm, gru, bilstm = summary.values()
    assert (lstm.parameters, lstm.off_budget, gru.parameters, gru.off_budget) == ((1010,), False, (1100,), True)
    assert (lstm.hidden_sizes, lstm.trials, lstm.solved, lstm.lost) == ((32,), 4, 2, 2)
    assert lstm.skill == pytest.approx((0.475, 0, 0.95, 4))
    assert gru.skill == pytest.approx((0.95, 0.95, 0.95, 2))
    assert lstm.robustness.mean == pytest.approx(robust(0.95) / 0.95)
    assert (bilstm.parameters, bilstm.trials, bilstm.skill.n, bilstm.robustness.n, bilstm.never) == ((), 0, 0, 0, 0)
    assert math.isnan(bilstm.steps)


def test_losses_are_counted(imagine: Callable[..., Results]) -> None:
    results = imagine({"lstm": (0.95, None), "gru": ("missing", "failed")}, rates=[0.1, 0.01])
    stale = (Stale("a", ("x", "y")), Stale("b", ("x",)))
    results = replace(results, provenance=replace(results.provenance, stale=stale))
    losses = verdict.losses(results)
    assert losses == verdict.Losses(well=2, ends={"diverged": 2, "failed": 2}, missing=2, stale=2, changed=("x", "y"))
    assert (losses.lost, losses.asked) == (6, 8)
    assert verdict.lost(results)["status"].tolist() == ["diverged", "diverged", "failed", "failed"]


def test_stale_trials_count_for_nothing_else(tmp_path: Path) -> None:
    results = frame.read(age(fill(tmp_path, tasks=["adding"], lengths=[10]), GRU))
    assert verdict.losses(results) == verdict.Losses(well=4, ends={}, missing=0, stale=2, changed=(GRU,))
    assert verdict.listed(results) == ["lstm", "bilstm"]


@pytest.mark.parametrize(("seeds", "few", "least"), [(1, True, 1.0), (4, True, 0.125), (5, False, 0.0625)])
def test_trust_is_limited_by_seeds_and_rates(tmp_path: Path, seeds: int, few: bool, least: float) -> None:
    trust = verdict.trust(frame.read(fill(tmp_path, variants=["lstm"], tasks=["adding"], lengths=[10], seeds=seeds)))
    assert (trust.seeds, trust.few_seeds, trust.least_p, trust.untuned, trust.at_edge) == (seeds, few, least, True, 0)


def test_without_a_trial_there_is_nothing_to_compare(imagine: Callable[..., Results]) -> None:
    results = imagine({"lstm": ("missing", "missing")})
    assert verdict.trials(results).empty
    assert verdict.answer(results).rows == ()
    assert verdict.longest_solved(results) == {}
    assert verdict.summaries(results) == {}
    assert verdict.trust(results).seeds == 0
    assert verdict.losses(results).missing == 2


# One place


@pytest.mark.parametrize("file", sorted((ROOT / "reports").glob("*.py")), ids=lambda file: file.stem)
def test_sections_leave_the_protocol_to_the_verdict(file: Path) -> None:
    texts = {
        node.value for node in ast.walk(ast.parse(file.read_bytes())) if isinstance(node, ast.Constant) and isinstance(node.value, str)
    }
    assert not texts & {"chosen", "status", "diverged", "ok", "causal"}, "which trials count is for suite.verdict to say"
    assert not texts & {engine.name for engine in ENGINES}, "engines stand in suite.ops.ENGINES"
