"""Checks that two stores come together without a loss, and that a contradiction is told and overwrites nothing."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from suite import SuiteError
from suite.check.imagined import MACHINE
from suite.plan import schema
from suite.spec import Grade
from suite.store.merging import merge, plan_of, stores_in
from suite.store.store import Store
from suite.trial import Trial

from .two import GRADING, PLAN, clocked, contents, define, failed, filled, keep, learned, timing, trial


def test_what_either_machine_has_both_have_after_it(tmp_path: Path, tiny: Trial) -> None:
    ours, theirs = filled(tmp_path / "a", trial(tiny, 0), trial(tiny, 1)), filled(tmp_path / "b", trial(tiny, 1), trial(tiny, 2))
    merged = merge(theirs, ours)
    assert (merged.taken, merged.kept, merged.contradictions, merged.notes) == (
        {"trials": 1, "evaluations": 1, "checkpoints": 1}, 2, (), (),
    )  # fmt: skip
    for seed in range(3):
        assert ours.get(trial(tiny, seed)) == learned(trial(tiny, seed))
        assert ours.checkpoint(trial(tiny, seed).key).is_file()
    ledger = ours.ledger()
    assert ledger is not None
    assert set(ledger.cells) == {trial(tiny, seed).cell for seed in range(3)}
    before = contents(ours)
    assert merge(theirs, ours).taken == {}
    assert contents(ours) == before


def test_a_plugin_that_both_define_in_different_ways_stays_as_it_is_here(tmp_path: Path, tiny: Trial) -> None:
    ours, theirs = (filled(tmp_path / name, trial(tiny)) for name in "ab")
    place = define(ours, "x = 1\n")
    define(theirs, "x = 2\n")
    merged = merge(theirs, ours)
    assert merged.taken == {}
    [note] = merged.notes
    assert str(ours.folder / place) in note
    assert "in different ways" in note
    assert contents(ours)[place] == b"x = 1\n"


def test_the_same_key_with_other_learning_is_told_and_neither_is_overwritten(tmp_path: Path, tiny: Trial) -> None:
    ours, theirs = filled(tmp_path / "a", trial(tiny)), filled(tmp_path / "b", trial(tiny), trial(tiny, 1))
    theirs.put(trial(tiny), learned(trial(tiny), loss=0.125), MACHINE)
    before = contents(ours)
    merged = merge(theirs, ours)
    [contradiction] = merged.contradictions
    assert str(ours.file("trials", trial(tiny).key)) in contradiction
    assert str(theirs.file("trials", trial(tiny).key)) in contradiction
    assert before.items() - contents(ours).items() <= {("ledger.json", before["ledger.json"])}
    assert ours.get(trial(tiny, 1)) is not None


def test_times_of_other_machines_stay_apart_and_ours_stand(tmp_path: Path, tiny: Trial) -> None:
    ours, theirs = filled(tmp_path / "a", trial(tiny)), filled(tmp_path / "b", trial(tiny))
    ours.put_timing(timing("one"), clocked(1.0))
    for cpu in ("one", "other"):
        theirs.put_timing(timing(cpu), clocked(2.0))
    keep(theirs, [trial(tiny)], [timing("other")])
    assert merge(theirs, ours).contradictions == ()
    stored = [ours.timing(timing(cpu).key) for cpu in ("one", "other")]
    assert [each.timed.seconds["forward"] for each in stored if each] == [(1.0,), (2.0,)]


def test_what_did_not_end_well_gives_way_to_what_did(tmp_path: Path, tiny: Trial) -> None:
    ours, theirs = filled(tmp_path / "a"), filled(tmp_path / "b", trial(tiny))
    ours.put(trial(tiny), failed(trial(tiny)), MACHINE)
    theirs.put(trial(tiny, 1), failed(trial(tiny, 1)), MACHINE)
    ours.put(trial(tiny, 1), learned(trial(tiny, 1)), MACHINE)
    ours.put_grade(GRADING, Grade(failed="no such luck"))
    theirs.put_grade(GRADING, Grade(True, True))
    assert merge(theirs, ours).contradictions == ()
    assert [ours.get(trial(tiny, seed)) for seed in (0, 1)] == [learned(trial(tiny, seed)) for seed in (0, 1)]
    assert (graded := ours.grade(GRADING.key)) is not None
    assert graded.grade == Grade(True, True)


def test_a_cell_that_was_planned_here_and_done_there_is_reported_as_done_there(tmp_path: Path, tiny: Trial) -> None:
    """The keys differ, as on another kind of processor."""
    here, there = trial(tiny), trial(tiny, surroundings={"device": "another"})
    ours, theirs = filled(tmp_path / "a"), filled(tmp_path / "b", there)
    keep(ours, [here])
    merge(theirs, ours)
    assert (ledger := ours.ledger()) is not None
    assert ledger.cells[here.cell].key == there.key
    ours.put(here, learned(here), MACHINE)
    keep(ours, [here])
    merge(theirs, ours)
    assert (ledger := ours.ledger()) is not None
    assert ledger.cells[here.cell].key == here.key


def test_a_ledger_that_is_missing_or_of_another_protocol_loses_nothing(tmp_path: Path, tiny: Trial) -> None:
    ours, theirs = filled(tmp_path / "a", trial(tiny)), filled(tmp_path / "b", trial(tiny, 1))
    (theirs.folder / "ledger.json").unlink()
    assert "has no ledger" in merge(theirs, ours).notes[0]
    assert ours.get(trial(tiny, 1)) is not None
    keep(theirs, [trial(tiny, 1)], plan=schema.check({**PLAN.model_dump(), "eval_seed": 3}, "mine"))
    assert "another protocol" in merge(theirs, ours).notes[0]
    (ours.folder / "ledger.json").unlink()
    merge(theirs, ours)
    there = theirs.ledger()
    assert there is not None
    assert ours.ledger() == replace(there, origin="")


def test_a_spoiled_file_is_left_out_there_and_replaced_here(tmp_path: Path, tiny: Trial) -> None:
    ours, theirs = filled(tmp_path / "a", trial(tiny)), filled(tmp_path / "b", trial(tiny), trial(tiny, 1))
    ours.file("trials", trial(tiny).key).write_text("{")
    theirs.file("trials", trial(tiny, 1).key).write_text("{")
    merged = merge(theirs, ours)
    assert [str(theirs.file("trials", trial(tiny, 1).key)) in note for note in merged.notes] == [True]
    assert ours.get(trial(tiny)) == learned(trial(tiny))
    assert ours.get(trial(tiny, 1)) is None


def test_a_newer_file_stops_the_merge_before_anything_is_written(tmp_path: Path, tiny: Trial) -> None:
    ours, theirs = filled(tmp_path / "a", trial(tiny)), filled(tmp_path / "b", trial(tiny, 1), trial(tiny, 2))
    file = theirs.file("evaluations", trial(tiny, 2).evaluations[0].key)
    file.write_text(file.read_text().replace('"form": 1', '"form": 2'))
    before = contents(ours)
    with pytest.raises(SuiteError, match="is of form 2"):
        merge(theirs, ours)
    assert contents(ours) == before


def test_stores_are_found_in_a_runs_folder_and_in_a_plans_own(tmp_path: Path, tiny: Trial) -> None:
    store = filled(tmp_path / "runs", trial(tiny))
    (tmp_path / "runs" / "artifacts").mkdir()
    assert [found.folder for found in stores_in(tmp_path / "runs")] == [store.folder]
    copied = store.folder.rename(tmp_path / "copied")
    [found] = stores_in(copied)
    assert (found.folder, plan_of(found)) == (copied, PLAN.name)
    with pytest.raises(SuiteError, match="holds no results"):
        stores_in(tmp_path / "runs")
    with pytest.raises(SuiteError, match="No such file or directory; name a runs folder"):
        stores_in(tmp_path / "absent")
    with pytest.raises(SuiteError, match="cannot be merged with itself"):
        merge(found, Store(tmp_path, "copied"))


def test_evaluations_of_a_trial_that_is_the_same_may_contradict_too(tmp_path: Path, tiny: Trial) -> None:
    ours, theirs = filled(tmp_path / "a", trial(tiny)), filled(tmp_path / "b")
    [asked] = trial(tiny).evaluations
    [point] = learned(trial(tiny)).evaluations[asked.key]
    theirs.put(trial(tiny), learned(trial(tiny), evaluations={asked.key: (replace(point, solved=False),)}), MACHINE)
    [contradiction] = merge(theirs, ours).contradictions
    assert "(length)" in contradiction
