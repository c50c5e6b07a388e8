"""Checks that records come back as they were, and that what was learned is never lost."""

from __future__ import annotations

import json
import math
import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from suite import Point, SuiteError
from suite.check.imagined import MACHINE
from suite.plan import schema
from suite.spec import Grade, Plugin
from suite.store import store as stores
from suite.store.files import dump, load
from suite.store.ledger import Entered, entered
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


def test_a_file_of_the_form_before_the_first_is_read(store: Store, tiny: Trial) -> None:
    """It has no seal, and no last step, which came later."""
    store.put(tiny, outcome(tiny, status="failed"), MACHINE)
    file = store.file("trials", tiny.key)
    record = json.loads(file.read_text())
    for later in ("form", "kind", "sha256", "last_step"):
        del record[later]
    file.write_text(json.dumps(record))
    found = store.get(tiny)
    assert found is not None
    assert (found.status, found.last_step) == ("failed", None)
    assert store.spoiled == {}


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


def cut(text: str) -> str:
    return text[: len(text) // 2]


def edited(text: str) -> str:
    assert '"train_seconds": 1.5' in text
    return text.replace('"train_seconds": 1.5', '"train_seconds": 1.4')


def laid_out_anew(text: str) -> str:
    return json.dumps(json.loads(text))


SPOIL: dict[str, Callable[[str], str]] = {
    "cut": cut,
    "edited": edited,
    "laid out anew": laid_out_anew,
    "emptied": lambda _: "",
    "of another kind": lambda _: '{"key": 1}',
    "a list": lambda _: "[]",
}


@pytest.mark.parametrize("how", SPOIL)
def test_a_spoiled_file_is_named_and_counts_as_not_done(store: Store, tiny: Trial, how: str) -> None:
    other = replace(tiny, seed=1)
    for trial in (tiny, other):
        store.put(trial, outcome(trial), MACHINE)
    file = store.file("trials", tiny.key)
    file.write_text(SPOIL[how](file.read_text()))
    assert store.get(tiny) is None
    assert store.get(other) is not None
    [fault] = store.spoiled.values()
    assert fault.startswith(f"{file}: cannot be read, since it is truncated or was edited: ")
    assert fault.endswith("; it counts as not done, and the next run does its work again")
    assert "\n" not in fault
    store.put(tiny, outcome(tiny), MACHINE)
    assert store.get(tiny) == outcome(tiny)
    assert store.spoiled == {}


def test_a_file_under_another_files_name_is_named(store: Store, tiny: Trial) -> None:
    store.put(tiny, outcome(tiny), MACHINE)
    file = store.file("trials", tiny.key)
    file.rename(store.file("trials", "0123"))
    assert store.trial("0123") is None
    assert f"holds the record of another key, {tiny.key}" in store.spoiled[store.file("trials", "0123")]


@pytest.mark.parametrize("ledger", [False, True])
def test_a_file_of_a_newer_form_is_refused_by_name_form_and_fix(store: Store, tiny: Trial, ledger: bool) -> None:
    store.put(tiny, outcome(tiny), MACHINE)
    store.keep(entered(None, Entered(schema.load("smoke"), schema.Request("smoke"), (tiny,), (), (), MACHINE)))
    file = store.folder / "ledger.json" if ledger else store.file("trials", tiny.key)
    file.write_text(file.read_text().replace('"form": 1', '"form": 2'))
    with pytest.raises(SuiteError) as caught:
        store.ledger() if ledger else store.get(tiny)
    assert str(caught.value).startswith(
        f"{file}: is of form 2, which a newer version of the suite wrote, and this one reads forms up to 1; "
    )
    assert "upgrade the suite" in str(caught.value)


def test_a_clock_that_is_set_back_changes_nothing(store: Store, tiny: Trial) -> None:
    """Which record stands is never a question of when its file was written."""
    trial = asked(tiny, "one")
    store.put(trial, outcome(trial), MACHINE)
    store.keep(entered(None, Entered(schema.load("smoke"), schema.Request("smoke"), (trial,), (), (), MACHINE)))
    before = store.get(trial), store.ledger()
    for age, file in enumerate(sorted(store.folder.rglob("*.json"))):
        os.utime(file, (10_000_000 * age, 4_000_000_000 - 10_000_000 * age))
    assert (store.get(trial), store.ledger()) == before
    later = outcome(trial, status="failed", reason="no such luck")
    store.put(trial, later, MACHINE)
    os.utime(store.file("trials", trial.key), (0, 0))
    assert store.get(trial) == later


def test_a_folder_that_is_removed_is_told_by_the_next_write_even_if_something_made_it_again(store: Store, tiny: Trial) -> None:
    with store.writing():
        store.put(tiny, outcome(tiny), MACHINE)
        shutil.rmtree(store.folder)
        store.checkpoint(tiny.key).parent.mkdir(parents=True)  # as a worker does that writes its weights
        with pytest.raises(SuiteError, match="was removed while the run was at work") as caught:
            store.put(tiny, outcome(tiny), MACHINE)
    assert "\n" not in str(caught.value)
    assert store.keys("trials") == []


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
