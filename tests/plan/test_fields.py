"""Checks which fields of a training count for a trial's key, and which count for none since they are not used."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from suite.keys import digest
from suite.plan import schema

from .planned import plan, trials
from .test_trials import disjoint, keys


def test_fields_that_are_not_used_count_for_no_key() -> None:
    """The digests are those of a time when there were no such fields."""
    bare = [replace(trial, engine="", sources={}, surroundings={}) for trial in trials()]
    assert digest(keys(bare)) == "c512fc0d7cbbf3a2dcb8"
    assert digest(plan().asked) == "023db96ee15d12544c79"
    stated = {"weight_decay": 0.0, "warmup": 0, "schedule": "constant", "recompute": 0, "learning_rates": [0.01]}
    assert keys(trials(training=stated)) == keys(trials())


@pytest.mark.parametrize("engine", ["vendor", "reference"])
def test_nothing_is_recomputed_where_nothing_is_derived(engine: str) -> None:
    variants = ["lstm"]
    given = trials(variants=variants, training={"engine": engine, "recompute": 2})
    assert keys(given) == keys(trials(variants=variants, training={"engine": engine}))


@pytest.mark.parametrize("used", [{"optimizer": "adamw", "weight_decay": 0.1}, {"warmup": 3}, {"schedule": "cosine"}], ids=str)
def test_fields_that_are_used_count(used: dict[str, Any]) -> None:
    asked = plan(training={"learning_rates": [0.01], **used})
    assert schema.check(asked.asked, "again") == asked
    assert disjoint(keys(trials(training={"learning_rates": [0.01], **used})), keys(trials()))
