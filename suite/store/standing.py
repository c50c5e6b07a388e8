"""Lets stored results stand for trials of a plan by a person's word, though the code behind them has changed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from ..errors import SuiteError
from ..trial import FAULTS, Evaluation, Trial
from .ledger import Ledger
from .store import Accepted, Store, StoredTrial, differences, done


def chosen(trials: Sequence[Trial], beginnings: Sequence[str]) -> list[Trial]:
    """The trials with these keys, or beginnings of keys, in their order.

    Raises SuiteError where one names no trial of the plan, or several.
    """
    named = []
    for beginning in beginnings:
        matches = [trial for trial in trials if trial.key.startswith(beginning)]
        if len(matches) != 1:
            raise SuiteError(
                f"{len(matches) or 'no'} trials of the plan have a key that begins with '{beginning}'; see `suite status PLAN --keys`"
            )
        named += matches
    return list({trial.key: trial for trial in named}.values())


def stale(store: Store, ledger: Ledger, trials: Sequence[Trial]) -> list[Trial]:
    """The trials that are not done, and for which an earlier result that ended could stand."""
    return [trial for trial in trials if not done(trial, store.get(trial)) and not _why_not(store, ledger, trial)]


def acceptance(store: Store, ledger: Ledger, trial: Trial, why: str) -> Accepted:
    """The word that what was found of a trial, before the code changed, still stands.

    Raises SuiteError where nothing is stale, and where no earlier result answers all that is asked of the trial.
    """
    if done(trial, store.get(trial)):
        raise SuiteError(f"{trial.key} ({trial.cell}) is not stale: it stands without a word; see `suite status PLAN --keys`")
    if reason := _why_not(store, ledger, trial):
        raise SuiteError(f"{trial.key} ({trial.cell}) {reason}; `suite run` does it again")
    earlier = _earlier(store, ledger, trial)
    assert earlier is not None
    evaluations = {} if earlier.status == "diverged" else _evaluations(store, ledger, trial)
    changed = differences(earlier.trial, trial)
    for asked in trial.evaluations:
        before = store.evaluation(evaluations[asked.key]) if asked.key in evaluations else None
        names = {**before.evaluation.sources, **asked.sources} if before else {}
        changed += [name for name in names if before and before.evaluation.sources.get(name) != asked.sources.get(name)]
    return Accepted(trial.key, trial, earlier.key, evaluations, tuple(dict.fromkeys(changed)), why)


def _why_not(store: Store, ledger: Ledger, trial: Trial) -> str:
    """Why no earlier result can stand for a trial; empty where one can."""
    earlier = _earlier(store, ledger, trial)
    if earlier is None:
        return "has no earlier result"
    if earlier.status in FAULTS:
        return f"ended as {earlier.status}, which is no result"
    code = {**earlier.trial.sources, **trial.sources, **earlier.trial.surroundings, **trial.surroundings}
    if other := [name for name in differences(earlier.trial, trial) if name not in code]:
        return f"was trained with another {', '.join(other)}, which is no change of code"
    known = _evaluations(store, ledger, trial)
    lacking = [asked.measure for asked in trial.evaluations if asked.key not in known]
    return f"was never asked {', '.join(lacking)} as the plan asks it now" if lacking and earlier.status == "ok" else ""


def _earlier(store: Store, ledger: Ledger, trial: Trial) -> StoredTrial | None:
    """The result that stood for the trial's cell last: its own, one that was accepted before, or that of the ledger."""
    entry = ledger.cells.get(trial.cell)
    for key in (trial.key, entry.key if entry else trial.key):
        stored, _ = store.standing(key)
        if stored is not None:
            return stored
    return None


def _evaluations(store: Store, ledger: Ledger, trial: Trial) -> dict[str, str]:
    """The key of what was answered last to each question of a trial, by the key of the question as it is asked now."""
    earlier, entry = _earlier(store, ledger, trial), ledger.cells.get(trial.cell)
    known = dict(entry.evaluations) if entry else {}
    accepted = store.accepted(entry.key) if entry else None
    answers = {}
    for asked in trial.evaluations:
        key = known.get(asked.measure, "")
        for candidate in (asked.key, accepted.evaluations.get(key, key) if accepted else key):
            stored = store.evaluation(candidate) if candidate else None
            if stored is not None and earlier is not None and _same_question(stored.evaluation, asked, earlier.key):
                answers[asked.key] = candidate
                break
    return answers


def _same_question(stored: Evaluation, asked: Evaluation, trained: str) -> bool:
    """Whether a stored evaluation asked the model of the key `trained` what is asked now, by whatever version of the code."""
    return replace(stored, sources={}) == replace(asked, sources={}, trained=trained)
