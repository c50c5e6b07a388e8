"""Checks that MLflow shows, after the next run, what a merge brought into the store and what was accepted in it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from suite.store.merging import merge
from suite.store.store import Accepted, Store
from suite.trial import Trial

from .pretended import PLAN, Pretended, asked, learned


def test_what_was_merged_is_mirrored_by_the_next_run_once(plan: Pretended, tiny: Trial, tmp_path: Path) -> None:
    ours, theirs = asked(tiny), asked(tiny, seed=1)
    plan.run((ours, learned(ours)))
    other = Store(tmp_path / "other", PLAN)
    other.put(theirs, learned(theirs), plan.machine)
    merge(other, plan.store)
    both = tuple((trial, outcome) for trial in (ours, theirs) if (outcome := plan.store.get(trial)) is not None)
    for _ in range(2):
        plan.run(before=both, report=False)
        assert set(plan.children()) == {ours.key, theirs.key}
    assert plan.problems == []


def test_what_was_accepted_is_shown_with_the_reason_and_the_file_that_stands(plan: Pretended, tiny: Trial) -> None:
    before, now = asked(tiny), asked(tiny, sources={"gru": "edited"})
    plan.store.put(before, learned(before), plan.machine)
    keys = {new.key: old.key for new, old in zip(now.evaluations, before.evaluations, strict=True)}
    plan.store.write("accepted", now.key, Accepted(now.key, replace(now), before.key, keys, ("gru",), "a comment"))
    outcome = plan.store.get(now)
    assert outcome is not None
    plan.run(before=((now, outcome),))
    assert plan.problems == []
    [child] = plan.children().values()
    assert child.data.tags["suite.accepted"] == "a comment"
    assert f"{before.key}.json" in plan.artifacts(child)
