"""Checks that a stale result stands by a person's word, in the store and in the report, until the code changes again."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from suite import SuiteError
from suite.check.imagined import MACHINE
from suite.store import frame
from suite.store.standing import acceptance, chosen, stale
from suite.store.store import Accepted, Store, done
from suite.trial import Evaluation, Trial

from .two import failed, filled, keep, learned, trial

WHY = "only a comment changed"
GRU = "suite.dropins.plugins.gru"


def edited(tiny: Trial, version: str = "2", seed: int = 0) -> Trial:
    """The trial as a plan has it after an edit."""
    return trial(tiny, seed, sources={GRU: version})


def accept(store: Store, now: Trial) -> Accepted:
    ledger = store.ledger()
    assert ledger is not None
    word = acceptance(store, ledger, now, WHY)
    store.write("accepted", word.key, word)
    keep(store, [now])
    return word


@pytest.fixture
def store(tmp_path: Path, tiny: Trial) -> Store:
    return filled(tmp_path, trial(tiny, 0), trial(tiny, 1))


def test_it_counts_as_done_and_comes_back_from_its_file(store: Store, tiny: Trial) -> None:
    now = edited(tiny)
    assert store.get(now) is None
    word = accept(store, now)
    assert (word.stands, word.changed, word.why) == (trial(tiny).key, (GRU,), WHY)
    assert store.accepted(now.key) == word
    found = store.get(now)
    assert found is not None
    assert done(now, found)
    assert found.key == now.key
    assert found.learning == learned(trial(tiny)).learning


def test_it_stops_standing_when_the_code_changes_again_and_may_be_accepted_again(store: Store, tiny: Trial) -> None:
    accept(store, edited(tiny))
    again = edited(tiny, "3")
    assert store.get(again) is None
    assert accept(store, again).stands == trial(tiny).key
    assert done(again, store.get(again))


def test_the_report_shows_it_with_the_reason_and_leaves_its_neighbour_out(store: Store, tiny: Trial) -> None:
    accept(store, edited(tiny))
    results = frame.read(store)
    assert list(results.trials["seed"]) == [0]
    assert list(results.trials["key"]) == [trial(tiny).key]
    assert results.trials["skill"].notna().all()
    assert results.provenance.accepted == {trial(tiny).cell: f"{WHY} (changed: {GRU})"}
    assert [left.what for left in results.provenance.stale] == [trial(tiny, 1).cell]
    keep(store, [edited(tiny, "3", seed=1)])  # another run, of another part, after another edit
    results = frame.read(store)
    assert results.trials.empty
    assert [left.what for left in results.provenance.stale] == [trial(tiny).cell]


def test_a_trial_that_is_trained_after_all_stands_for_itself(store: Store, tiny: Trial) -> None:
    now = edited(tiny)
    accept(store, now)
    store.put(now, learned(now, loss=0.125), MACHINE)
    assert store.accepted(now.key) is None
    assert store.get(now) == learned(now, loss=0.125)
    assert frame.read(store).provenance.accepted == {}


def test_an_evaluation_alone_may_be_stale(store: Store, tiny: Trial) -> None:
    before = trial(tiny)
    asked = Evaluation("length", "long_range", (1.0,), before.key, {"asks": "2"})
    now = replace(before, evaluations=(asked,))
    assert not done(now, store.get(now))
    assert accept(store, now).changed == ("asks",)
    assert done(now, store.get(now))
    assert list(frame.read(store).trials["skill"].notna()) == [True, False]  # of the second the answer is stale and was not accepted
    later = replace(before, evaluations=(replace(asked, sources={"asks": "3"}),))
    assert not done(later, store.get(later))


def test_what_cannot_stand_is_refused_with_the_reason(store: Store, tiny: Trial) -> None:
    ledger = store.ledger()
    assert ledger is not None
    other_question = replace(edited(tiny), evaluations=(Evaluation("length", "long_range", (1.0, 2.0), edited(tiny).key, {}),))
    longer = trial(tiny, training=replace(tiny.training, steps=99))
    store.put(trial(tiny, 1), failed(trial(tiny, 1)), MACHINE)
    refused = {
        "is not stale": trial(tiny),
        "has no earlier result": edited(tiny, seed=2),
        "ended as failed, which is no result": edited(tiny, seed=1),
        "was trained with another training.steps, which is no change of code": longer,
        "was never asked length as the plan asks it now": other_question,
    }
    for message, now in refused.items():
        with pytest.raises(SuiteError, match=message):
            acceptance(store, ledger, now, WHY)
    assert stale(store, ledger, [edited(tiny), *refused.values()]) == [edited(tiny)]


def test_trials_are_named_by_beginnings_of_their_keys(tiny: Trial) -> None:
    one, other = trial(tiny, 0), trial(tiny, 1)
    assert chosen([one, other], [other.key[:9], other.key, one.key]) == [other, one]
    with pytest.raises(SuiteError, match="no trials of the plan have a key that begins with 'xyz'"):
        chosen([one, other], ["xyz"])
    with pytest.raises(SuiteError, match="2 trials of the plan"):
        chosen([one, other], [""])
