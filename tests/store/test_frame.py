"""Checks what a report's rows say of a stored trial: its skill, whether it solved its task, and what of it is missing."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from suite import Point
from suite.check.imagined import MACHINE
from suite.plan import schema
from suite.plan import trials as planning
from suite.plan.schema import Request
from suite.registry.finder import discover
from suite.spec import Results
from suite.store import frame
from suite.store.ledger import Entered, entered
from suite.store.selection import select
from suite.store.store import Store
from suite.trial import Learning, Outcome, Trial, Validation

BASELINE = 0.5
LEARNING = Learning("loss < 0.3", BASELINE, (Validation(5, {"loss": 0.4}), Validation(10, {"loss": 0.2})), 10, 5, ideal=0.1)


def plan(**changes: Any) -> schema.Plan:
    return schema.check(
        {
            "name": "mine",
            "variants": ["lstm"],
            "tasks": [{"name": name, "lengths": [6]} for name in ("adding", "noisy")],
            "evaluations": {"lengths": [], "corruptions": ["gaussian_noise", "step_drop"]},
            **changes,
        },
        "mine",
    )


def outcome(trial: Trial, loss: float = 0.2, ideal: float = 0.1, solved: bool = True, **fields: Any) -> Outcome:
    points = {
        asked.key: tuple(Point(at, trial.length, {"loss": loss}, BASELINE, solved, ideal) for at in asked.at) for asked in trial.evaluations
    }
    return Outcome(trial.key, **{"status": "ok", "learning": LEARNING, "evaluations": points, **fields})


def read(folder: Path, asked: schema.Plan, **fields: Any) -> Results:
    """What the report of a plan is drawn from, where all its trials ended alike."""
    store, registry = Store(folder, asked.name), discover()
    trials = tuple(planning.trials(asked, registry, "cpu"))
    for trial in trials:
        store.put(trial, outcome(trial, **fields), MACHINE)
    store.keep(entered(None, Entered(asked, Request(), trials, (), (), MACHINE)))
    return frame.read(store, select(asked, Request(), registry, "cpu"))


def test_skill_is_of_what_the_ideal_predictor_gains_on_the_same_stream(tmp_path: Path) -> None:
    results = read(tmp_path, plan(), loss=0.2, ideal=0.1)
    skills = results.frame[results.frame["metric"] == "skill"]
    assert skills.groupby("axis")["value"].unique().map(list).to_dict() == {
        "learning": pytest.approx([0.25, 0.75]),
        "long_range": pytest.approx([0.75]),
        "robustness": pytest.approx([0.75]),
    }
    assert results.trials[["skill", "validation_skill"]].to_numpy() == pytest.approx(0.75)


def test_a_loss_as_low_as_the_ideals_is_skill_one_whatever_is_left(tmp_path: Path) -> None:
    assert read(tmp_path, plan(), loss=0.3, ideal=0.3).trials["skill"].tolist() == [1.0, 1.0]


@pytest.mark.parametrize(
    ("steps", "tested", "status", "wanted"),
    [
        (5, True, "ok", True),
        (5, False, "ok", False),  # the test stream does not meet the goal
        (None, True, "ok", False),  # no two successive validations did
        (5, True, "failed", False),
    ],
)
def test_solved_is_by_two_validations_and_by_the_test(tmp_path: Path, steps: int | None, tested: bool, status: str, wanted: bool) -> None:
    results = read(tmp_path, plan(), solved=tested, status=status, learning=replace(LEARNING, steps_to_solve=steps))
    assert results.trials["solved"].tolist() == [wanted, wanted]
    assert set(results.frame["solved"]) == {wanted}
    kept = results.frame[results.frame["metric"] == "area"]["value"]
    assert kept.notna().all() == wanted  # what did not solve its task keeps nothing under damage


def test_what_is_no_damage_to_a_task_is_neither_asked_nor_missing(tmp_path: Path) -> None:
    results = read(tmp_path, plan())
    damaged = results.frame[results.frame["axis"] == "robustness"]
    asked = damaged.groupby("task")["condition"].unique().map(list).to_dict()
    assert asked == {"adding": ["gaussian_noise", "step_drop"], "noisy": ["gaussian_noise"]}
    assert results.provenance.missing == ()


def test_what_is_damage_to_a_task_and_was_not_asked_is_missing(tmp_path: Path) -> None:
    registry, whole = discover(), plan()
    read(tmp_path, plan(evaluations={"lengths": [], "corruptions": ["gaussian_noise"]}))
    results = frame.read(Store(tmp_path, "mine"), select(whole, Request(), registry, "cpu"))
    assert results.provenance.missing == ("lstm | adding | 6 | 0 | 0.001, step_drop",)
