"""Checks that records come back as they were, and that what was learned is never lost."""

from __future__ import annotations

import json
import math
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from suite import Point, SuiteError
from suite.check.imagined import MACHINE
from suite.spec import Grade, Plugin
from suite.store import store as stores
from suite.store.files import dump, load
from suite.store.store import Store
from suite.trial import Cost, Evaluation, Grading, Learning, Outcome, Roof, Rule, Shape, Status, Timed, Timing, Trial, Validation

LEARNING = Learning("loss < 0.01", 1 / 6, (Validation(5, {"loss": 0.25}), Validation(10, {"loss": 0.125})), 10, None)
POINT = Point(1.0, 10, {"loss": 0.5, "accuracy": 0.75}, 0.5, True)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path, "mine")


def asked(trial: Trial, *measures: str) -> Trial:
    return replace(trial, evaluations=tuple(Evaluation(name, "robustness", (1.0,), trial.key, {}) for name in measures))


def outcome(trial: Trial, **fields: Any) -> Outcome:
    whole: dict[str, Any] = {
        "status": "ok",
        "learning": LEARNING,
        "evaluations": {evaluation.key: (POINT,) for evaluation in trial.evaluations},
        "train_seconds": 1.5,
    }
    return Outcome(trial.key, **{**whole, **fields})


def test_an_outcome_comes_back_as_it_was(store: Store, tiny: Trial) -> None:
    trial = asked(replace(tiny, variant=Plugin("residual", {"depth": 3, "fast": True, "rate": 0.5, "kind": "a"})), "one", "two")
    store.put(trial, outcome(trial), MACHINE)
    assert store.get(trial) == outcome(trial)
    stored = store.trial(trial.key)
    assert stored is not None
    assert (stored.trial, stored.machine) == (replace(trial, evaluations=()), MACHINE)
    assert [type(value) for value in stored.trial.variant.options.values()] == [int, bool, float, str]


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_a_score_that_is_not_finite_comes_back_as_nan(store: Store, tiny: Trial, value: float) -> None:
    trial = asked(tiny, "one")
    (evaluation,) = trial.evaluations
    store.put(trial, outcome(trial, evaluations={evaluation.key: (replace(POINT, scores={"loss": value}),)}), MACHINE)
    found = store.get(trial)
    assert found is not None
    assert math.isnan(found.evaluations[evaluation.key][0].scores["loss"])
    assert "null" in store.file("evaluations", evaluation.key).read_text()


def test_what_was_learned_stays_when_an_evaluation_fails(store: Store, tiny: Trial) -> None:
    trial = asked(tiny, "one")
    store.put(trial, outcome(trial), MACHINE)
    more = asked(tiny, "one", "two")
    store.put(more, Outcome(trial.key, "failed", reason="no such luck"), replace(MACHINE, commit="later"))
    kept, stored = store.get(more), store.trial(trial.key)
    assert kept is not None
    assert stored is not None
    assert (kept.status, kept.reason, kept.learning, kept.train_seconds) == ("failed", "no such luck", LEARNING, 1.5)
    assert list(kept.evaluations) == [trial.evaluations[0].key]
    assert stored.machine == MACHINE


@pytest.mark.parametrize("status", ["failed", "crashed", "oom", "timeout"])
def test_how_a_trial_ended_comes_back(store: Store, tiny: Trial, status: Status) -> None:
    ended = Outcome(tiny.key, status, "no such luck", "where it was", last_step=7)
    store.put(tiny, ended, MACHINE)
    assert store.get(tiny) == ended
    assert not stores.done(tiny, ended)


def test_a_file_without_a_last_step_is_read(store: Store, tiny: Trial) -> None:
    """As it was written before there was one."""
    store.put(tiny, outcome(tiny, status="failed"), MACHINE)
    file = store.file("trials", tiny.key)
    record = json.loads(file.read_text())
    del record["last_step"]
    file.write_text(json.dumps(record))
    found = store.get(tiny)
    assert found is not None
    assert (found.status, found.last_step) == ("failed", None)


def test_timings_and_grades_come_back(store: Store) -> None:
    timing = Timing(
        Plugin("lstm"), "reference", Shape(4, 2, 5), 3, 5, 9, Rule(3, 9, 0.1, 1.0), "float32", "cpu", True, {"a": "0"}, {"torch": "2"}
    )
    timed = Timed({"forward": (0.1, 0.2)}, {"forward": (0.3, 0.4)}, cost=Cost(1, 2, 3), roof=Roof(4.0, 5.0))
    store.put_timing(timing, timed)
    found = store.timing(timing.key)
    assert found is not None
    assert (found.timing, found.timed) == (timing, timed)
    grading = Grading(Plugin("lstm"), 5, "cpu", {}, {})
    for grade in (Grade(True, False, None), Grade(failed="no such luck")):
        store.put_grade(grading, grade)
        stored = store.grade(grading.key)
        assert stored is not None
        assert (stored.grading, stored.grade) == (grading, grade)


def test_done_is_trained_with_every_evaluation_or_diverged(tiny: Trial) -> None:
    trial = asked(tiny, "one", "two")
    part = outcome(trial, evaluations={trial.evaluations[0].key: (POINT,)})
    ends = [None, outcome(trial, status="failed"), part, outcome(trial), outcome(trial, status="diverged", evaluations={})]
    assert [stores.done(trial, end) for end in ends] == [False, False, False, True, True]


def test_the_learning_digest_is_of_what_repeats_alone(tiny: Trial) -> None:
    """No time and no key: a trial trained by another version of the code has the same digest where it learned the same."""
    trial = asked(tiny, "one")
    digest = stores.learning_digest(trial, outcome(trial))
    other = asked(replace(tiny, sources={"a": "edited"}), "one")
    assert digest == stores.learning_digest(other, outcome(other, train_seconds=9.0))
    assert digest != stores.learning_digest(trial, outcome(trial, learning=replace(LEARNING, best_step=5)))
    worse = {trial.evaluations[0].key: (replace(POINT, solved=False),)}
    assert digest != stores.learning_digest(trial, outcome(trial, evaluations=worse))


def test_differences_are_named(tiny: Trial) -> None:
    planned = replace(
        tiny,
        variant=Plugin("gru", {"depth": 2}),
        training=replace(tiny.training, steps=21),
        sources={"suite.dropins.plugins.gru": "1"},
        surroundings={"torch": "3"},
        test_samples=99,  # which the training does not depend on
    )
    stored = replace(tiny, sources={"suite.dropins.plugins.gru": "0"}, surroundings={"torch": "2"})
    assert stores.differences(stored, planned) == ["suite.dropins.plugins.gru", "torch", "training.steps", "variant"]
    assert stores.differences(stored, stored) == []


@pytest.mark.parametrize("text", ["{", "[]", '{"key": 1}', "\x00"])
def test_a_spoiled_file_is_named_with_the_cure(store: Store, tiny: Trial, text: str) -> None:
    file = store.file("trials", tiny.key)
    file.parent.mkdir(parents=True)
    file.write_text(text)
    with pytest.raises(SuiteError, match=r"trials/.*\.json: cannot be read: .*; delete the file and its work is done again") as caught:
        store.get(tiny)
    assert "\n" not in str(caught.value)


scores = st.dictionaries(st.text(max_size=5), st.floats(allow_nan=False, allow_infinity=False), max_size=3)


@given(st.lists(st.builds(Validation, st.integers(1, 999), scores), max_size=4), st.none() | st.integers(1, 999))
def test_any_curve_survives_the_file(curve: list[Validation], step: int | None) -> None:
    from pydantic import TypeAdapter

    learning = Learning("goal", 0.5, tuple(curve), step, step)
    assert TypeAdapter(Learning).validate_python(json.loads(dump(learning))) == learning


def test_an_absent_file_is_none_and_a_folder_in_its_place_is_told(tmp_path: Path) -> None:
    assert load(tmp_path / "absent.json", Learning, "mend it") is None
    (tmp_path / "folder.json").mkdir()
    with pytest.raises(SuiteError, match="cannot be read"):
        load(tmp_path / "folder.json", Learning, "mend it")


def test_who_holds_the_folder_is_told_and_one_that_is_gone_holds_nothing(store: Store) -> None:
    def refused() -> str:
        with pytest.raises(SuiteError) as caught, Store(store.folder.parent, "mine").writing():
            pass
        return str(caught.value)

    with store.writing():
        assert f"another run is at work here (process {os.getpid()} on " in refused()
        held = (store.folder / ".holder").read_text()
    (store.folder / ".holder").write_text(held)  # as a killed run leaves it, with a lock that the system has let go of
    with store.writing():
        (store.folder / ".holder").write_text("{")
        assert "another run is at work here; wait for it" in refused()
    assert [path.name for path in store.folder.iterdir()] == [".lock"]
