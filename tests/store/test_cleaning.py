"""Checks which files of a store may go for which reason, and that removing them leaves all others."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from suite.check.imagined import MACHINE
from suite.spec import Grade, Plugin
from suite.store import unfinished
from suite.store.cleaning import Planned, Reason, remove, remove_all, summary, wasted, whole
from suite.store.standing import acceptance
from suite.store.store import Store
from suite.trial import Timed, Trial

from .two import GRADING, clocked, contents, define, failed, filled, keep, learned, timing, trial

OLD = {"suite.dropins.plugins.gru": "0"}


@pytest.fixture
def planned(tiny: Trial) -> Planned:
    """Seeds 0 to 2 as the code is now."""
    return Planned([trial(tiny, seed) for seed in range(3)], [timing("here")], [GRADING])


@pytest.fixture
def store(tmp_path: Path, tiny: Trial) -> Store:
    """Seed 0 is done, seed 1 by an older version of the code, seed 2 failed, and seed 9 is not in the plan."""
    store = filled(tmp_path, trial(tiny, 0), trial(tiny, 1, sources=OLD), trial(tiny, 9))
    store.put(trial(tiny, 2), failed(trial(tiny, 2)), MACHINE)
    keep(store, [trial(tiny, 2)])
    store.put_timing(timing("here"), clocked(1.0))
    store.put_timing(timing("elsewhere"), clocked(1.0))
    store.put_grade(GRADING, Grade(True, True))
    return store


def removed(store: Store, planned: Planned, *reasons: Reason) -> set[str]:
    before = contents(store)
    waste = wasted(store, reasons, planned)
    assert remove(store, waste, reasons, planned) == waste
    return {name for name in before if name not in contents(store)}


def of_trial(key: Trial) -> set[str]:
    return {f"trials/{key.key}.json", f"evaluations/{key.evaluations[0].key}.json", f"checkpoints/{key.key}.pt"}


def test_each_reason_has_its_files_and_no_other(store: Store, planned: Planned, tiny: Trial) -> None:
    older = trial(tiny, 1, sources=OLD)
    assert removed(store, planned, "failed") == {f"trials/{trial(tiny, 2).key}.json"}
    assert removed(store, planned, "orphaned") == of_trial(trial(tiny, 9))
    assert removed(store, planned, "stale") == of_trial(older) | {f"timings/{timing('elsewhere').key}.json"}
    assert removed(store, planned, "failed", "stale", "orphaned") == set()
    assert store.get(trial(tiny)) == learned(trial(tiny))
    assert (ledger := store.ledger()) is not None
    assert set(ledger.cells) == {trial(tiny).cell}


def test_spoiled_files_and_failed_timings_and_grades_are_failed(store: Store, planned: Planned, tiny: Trial) -> None:
    spoiled = trial(tiny).evaluations[0].key
    store.file("evaluations", spoiled).write_text("{")
    store.put_timing(timing("here"), Timed(failed="no such luck"))
    store.put_grade(GRADING, Grade(failed="no such luck"))
    gone = removed(store, planned, "failed")
    assert gone == {
        f"trials/{trial(tiny, 2).key}.json", f"evaluations/{spoiled}.json", f"timings/{timing('here').key}.json", f"grades/{GRADING.key}.json",
    }  # fmt: skip


def test_what_belongs_to_nothing_is_orphaned(store: Store, planned: Planned, tiny: Trial) -> None:
    """Answers and weights of a trial that is gone, and what a killed process had begun to write."""
    store.file("trials", trial(tiny, 9).key).unlink()
    partial = store.file("trials", ".0123.json").with_suffix(".77")
    partial.write_text("{")
    assert removed(store, planned, "orphaned") == of_trial(trial(tiny, 9)) - {f"trials/{trial(tiny, 9).key}.json"} | {
        str(partial.relative_to(store.folder))
    }


def test_a_plugin_defined_in_python_goes_with_the_last_trial_that_rests_on_it(store: Store, planned: Planned) -> None:
    place = define(store)
    assert place not in removed(store, planned, "orphaned")
    assert place not in removed(store, Planned(planned.trials[1:2], (), ()), "orphaned")
    other = [replace(each, variant=Plugin("rnn"), sources={}) for each in planned.trials]
    assert place in removed(store, Planned(other, (), ()), "orphaned")


def test_trainings_that_are_not_done_go_with_what_the_plan_asks_for(store: Store, planned: Planned, tiny: Trial) -> None:
    """One file with a trial of the plan beside another, one without, one that is damaged, and one that a killed process had begun."""
    unfinished.keep(store.unfinished, [trial(tiny, 2).key, trial(tiny, 9).key], 10, b"weights")
    unfinished.keep(store.unfinished, [trial(tiny, 9).key], 20, b"weights")
    (store.unfinished / "damaged.training").write_bytes(b"{")
    (store.unfinished / ".partial.training.77").write_bytes(b"{")
    before = {path.name for path in store.unfinished.iterdir()}
    [orphaned] = {Path(name).name for name in removed(store, planned, "orphaned") if name.startswith("unfinished/")} - {
        ".partial.training.77"
    }
    assert orphaned.endswith("-00000020.training")
    assert "unfinished/damaged.training" in removed(store, planned, "failed")
    [kept] = (path.name for path in store.unfinished.iterdir())
    assert before == {kept, orphaned, "damaged.training", ".partial.training.77"}


def test_what_a_run_has_needed_since_stays(store: Store, planned: Planned, tiny: Trial) -> None:
    waste = wasted(store, ["failed"], planned)
    assert [each.kind for each in waste] == ["trials"]
    store.put(trial(tiny, 2), learned(trial(tiny, 2)), MACHINE)
    assert remove(store, waste, ["failed"], planned) == []
    assert store.get(trial(tiny, 2)) == learned(trial(tiny, 2))


def test_what_was_accepted_is_not_stale(store: Store, planned: Planned, tiny: Trial) -> None:
    ledger = store.ledger()
    assert ledger is not None
    word = acceptance(store, ledger, trial(tiny, 1), "a comment")
    store.write("accepted", word.key, word)
    keep(store, [trial(tiny, 1)])
    assert removed(store, planned, "stale") == {f"timings/{timing('elsewhere').key}.json"}
    assert store.get(trial(tiny, 1)) is not None
    later = Planned([trial(tiny, seed, sources={"suite.dropins.plugins.gru": "3"}) for seed in range(3)], planned.timings, planned.gradings)
    assert f"accepted/{word.key}.json" in removed(store, later, "stale")


def test_everything_is_the_whole_folder(store: Store) -> None:
    waste = whole(store)
    assert {str(each.file.relative_to(store.folder)) for each in waste} == set(contents(store))
    text = summary(waste)
    assert text.startswith("3 checkpoints (60 B), 3 evaluations (")
    assert "1 other files (" in text
    assert f"; together {len(waste)} files (" in text
    remove_all(store)
    assert not store.folder.exists()
