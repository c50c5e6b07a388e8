"""Looks up how fast variants were before: in this plan, and in other plans of the same folder."""

from __future__ import annotations

import contextlib
from collections.abc import Collection, Iterator
from pathlib import Path

from ..errors import SuiteError
from ..store.store import Store
from ..trial import Invocation, Learning, Trial
from .course import Pace

PLANS = 5
"""So many other plans are looked up, those that ran last."""


def recalled(invocation: Invocation) -> Iterator[Pace]:
    """The paces of what is in the store of the variants that this run has to do, one for each variant, task and length."""
    known = set()
    for trial in invocation.trials:
        outcome, place = invocation.finished.get(trial.key), (trial.variant.label, trial.engine, trial.task.label, trial.length)
        if outcome and place not in known and (pace := _pace(trial, outcome.learning, outcome.train_seconds, outcome.members)):
            known.add(place)
            yield pace
    wanted = {trial.variant.label for trial in invocation.trials if trial.key in invocation.pending}
    for folder in _other_plans(invocation):
        yield from _of_plan(Store(invocation.runs, folder.name), wanted, invocation.device)


def _other_plans(invocation: Invocation) -> list[Path]:
    ledgers = invocation.runs.glob("*/ledger.json")
    dated = sorted(((file.stat().st_mtime, file.parent) for file in ledgers if file.parent.name != invocation.plan), reverse=True)
    return [folder for _, folder in dated[:PLANS]]


def _of_plan(store: Store, wanted: Collection[str], device: str) -> Iterator[Pace]:
    """The pace of one trial for each variant, task and length of a plan; none of a store that cannot be read, which concerns no forecast."""
    with contextlib.suppress(SuiteError, OSError):
        ledger, known = store.ledger(), set()
        for cell, entry in ledger.cells.items() if ledger else ():
            label, task, length, *_ = cell.split(" | ")
            if label not in wanted or (label, task, length) in known:
                continue
            stored = store.trial(entry.key)
            if stored is None or stored.trial.device != device:
                continue
            if pace := _pace(stored.trial, stored.learning, stored.train_seconds, stored.members):
                known.add((label, task, length))
                yield pace


def _pace(trial: Trial, learning: Learning | None, train_seconds: float | None, members: int | None) -> Pace | None:
    """The pace of a trial's population, where it was measured."""
    if learning is None or not learning.curve or not train_seconds or not members:
        return None
    return Pace(trial, members, train_seconds * members / learning.curve[-1].step)
