"""Checks that the published results fit the plan they are of, and that what lies outside a band is told."""

from __future__ import annotations

import math
import statistics
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from suite import Point, SuiteError
from suite.check.imagined import fill
from suite.plan import schema
from suite.proof import reference
from suite.proof.reference import Band, Counted, held, measured, read
from suite.report import inference
from suite.report.answer import SEED
from suite.spec import label
from suite.store import frame
from suite.trial import Evaluation, Learning, Outcome, Trial, Validation

from ..test_keeping import said

BAND = Band("gru", "adding", 10, 4, (0.8, 0.6, 0.95), (10.0, 20.0, 30.0), 5.0, tuple(Counted(seed, 0.01, 0.8, 20) for seed in range(4)))


def test_the_published_results_are_of_the_plan_that_comes_with_the_suite() -> None:
    published, plan = read(), schema.load("standard")
    assert schema.check(dict(published.plan), "reference").asked == plan.asked
    asked = {
        (label(variant.name, variant.options), label(task.name, task.options), length)  # type: ignore[arg-type]
        for variant in plan.variants
        for task in plan.tasks
        for length in task.lengths or ()
    }
    assert {(band.variant, band.task, band.length) for band in published.bands} == asked
    for band in published.bands:
        assert [trial.seed for trial in band.trials] == list(plan.seeds)
        skills = [trial.skill for trial in band.trials]
        assert band.skill == inference.skill_interval(skills, np.random.default_rng(SEED))[:3]
        known = [trial.steps for trial in band.trials if trial.steps is not None]
        assert band.steps == ((min(known), statistics.median(known), max(known)) if known else None)


def test_what_is_tried_is_small_and_said_beforehand() -> None:
    published = read()
    bands = reference.part_of(published)
    assert [(band.variant, band.task, band.length) for band in bands] == [
        ("lstm", "adding", 50),
        ("gru", "adding", 50),
        ("lstm", "noisy(form=b)", 40),
        ("gru", "noisy(form=b)", 40),
    ]
    assert reference.seconds(bands) < 120


def test_a_store_gives_a_reference(tmp_path: Path) -> None:
    store = fill(tmp_path, lambda _v, _t, n, s: 0.95 if s or n == 20 else 0.4, tasks=["adding"], variants=["lstm"], seeds=3)
    ledger = store.ledger()
    assert ledger is not None
    [short, long] = measured(frame.read(store), ledger).bands
    assert (short.length, short.solved, [trial.steps for trial in short.trials]) == (10, 2, [None, 20, 20])
    assert [trial.skill for trial in short.trials] == pytest.approx([0.4, 0.95, 0.95])
    assert (long.solved, long.steps) == (3, (20.0, 20, 20.0))


def outcome(trial: Trial, skill: float, steps: int | None) -> Outcome:
    learning = Learning("loss < 1", 0.5, (Validation(20, {"loss": 0.1}),), 20, steps)
    points = {trial.evaluations[0].key: (Point(1.0, 10, {"loss": 0.5 * (1 - skill)}, 0.5, steps is not None),)}
    return Outcome(trial.key, "ok", learning=learning, evaluations=points)


def tried(tiny: Trial, skill: float, steps: int | None) -> reference.Held:
    own = {}
    for seed in range(3):
        trial = replace(tiny, seed=seed)
        own[seed] = replace(trial, evaluations=(Evaluation("length", "long_range", (1.0,), trial.key, {}),))
    return held(BAND, own, {trial.key: outcome(trial, skill, steps) for trial in own.values()})


@pytest.mark.parametrize(
    ("skill", "steps", "fault"),
    [
        (0.8, 20, ""),
        (0.93, 12, ""),
        (0.5, 20, "its skill is 0.500, and the reference's 0.800 (0.600–0.950), of seeds 0.600 to 0.950"),
        (0.96, 20, "its skill is 0.960"),
        (0.8, 40, "it solved after 40 steps, and in the reference after 10 to 30"),
        (0.8, None, "0 of 3 trials solved it, and 4 of 4 of the reference"),
        (math.nan, 20, "a trial did not end well here"),
    ],
)
def test_what_lies_outside_a_band_is_told(tiny: Trial, skill: float, steps: int | None, fault: str) -> None:
    result = tried(tiny, 0.8 if math.isnan(skill) else skill, steps)
    if math.isnan(skill):
        result = replace(result, faults=tuple(reference._faults(BAND, math.nan, 3, 3, 20)))
    assert [each[: len(fault)] for each in result.faults] == ([fault] if fault else [])
    assert reference.text(result).startswith("✗ gru on adding" if fault else "✓ gru on adding")


def test_the_very_numbers_are_counted(tiny: Trial) -> None:
    assert tried(tiny, 0.8, 20).same == 3
    assert tried(tiny, 0.8, 10).same == 0
    assert tried(tiny, 0.75, 20).same == 0


@pytest.mark.slow
def test_this_machine_falls_inside_the_bands() -> None:
    told = said("check", "--against-reference")
    assert "about " in told.splitlines()[0]
    assert told.count("✓ ") == 4


def test_a_reference_that_is_damaged_or_of_another_plan_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    edited = replace(read(), plan={**read().plan, "seeds": [0]})
    with pytest.raises(SuiteError, match="the plan standard says something else of seeds than when the reference was made"):
        list(reference.check(edited))
    damaged = tmp_path / "reference.json"
    damaged.write_text(reference.FILE.read_text().replace('"lstm"', '"gru"', 1))
    monkeypatch.setattr(reference, "FILE", damaged)
    with pytest.raises(SuiteError, match=r"reference\.json: cannot be read, since it is truncated or was edited.*install the suite again"):
        read()
