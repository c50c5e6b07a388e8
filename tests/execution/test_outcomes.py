"""Checks who is tried again after a fault, with how much time, and what is kept of a job that died."""

from __future__ import annotations

from concurrent.futures import Future
from dataclasses import replace
from pathlib import Path
from typing import Literal

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from suite import SuiteError
from suite.execution import worker
from suite.execution.executor import UNBOUNDED, Bounds, Died, bounds_of
from suite.execution.outcomes import outcomes_of, second_try, tried_again
from suite.plan.schema import Limits
from suite.trial import FAULTS, Outcome, Status, Trial

PLACE = Path("nowhere")


def job(trial: Trial, count: int, attempt: int = 1) -> worker.Job:
    trials = tuple(replace(trial, seed=seed) for seed in range(count))
    return worker.Job(trials, True, tuple(PLACE / str(seed) for seed in range(count)), PLACE, attempt)


def ended(work: worker.Job, *statuses: Status) -> tuple[Outcome, ...]:
    return tuple(Outcome(trial.key, status) for trial, status in zip(work.trials, statuses, strict=True))


def sizes(jobs: list[worker.Job]) -> list[int]:
    return [len(each.trials) for each in jobs]


@pytest.mark.parametrize("status", FAULTS)
def test_a_trial_that_stands_alone_keeps_its_fault(tiny: Trial, status: Status) -> None:
    alone = job(tiny, 1)
    assert tried_again(alone, ended(alone, status), retries=0) == []


@pytest.mark.parametrize(("status", "wanted"), [("failed", [3, 2]), ("crashed", [3, 2]), ("oom", [3, 2]), ("timeout", [1, 1, 1, 1, 1])])
def test_a_population_is_halved_and_after_a_timeout_taken_apart(tiny: Trial, status: Status, wanted: list[int]) -> None:
    whole = job(tiny, 5)
    parts = tried_again(whole, ended(whole, *[status] * 5), retries=0)
    assert sizes(parts) == wanted
    assert tuple(trial for part in parts for trial in part.trials) == whole.trials
    assert tuple(place for part in parts for place in part.checkpoints) == whole.checkpoints


def test_what_is_tried_again_is_told(tiny: Trial) -> None:
    whole = job(tiny, 5)
    outcomes = tuple(Outcome(trial.key, "failed", "no compiler\nat all") for trial in whole.trials)
    assert second_try(whole, outcomes, tried_again(whole, outcomes, retries=0)) == (
        "gru on adding, T=10",
        "5 trials failed together (no compiler), tried 3 and 2 together",
    )
    alone = job(tiny, 1)
    crashed = (Outcome(alone.trials[0].key, "crashed", "killed"),)
    assert second_try(alone, crashed, tried_again(alone, crashed, retries=1))[1] == "a trial crashed (killed), tried again"


@pytest.mark.parametrize("statuses", [("ok", "ok"), ("ok", "diverged"), ("diverged", "diverged")])
def test_what_ended_without_a_fault_stands(tiny: Trial, statuses: tuple[Status, ...]) -> None:
    whole = job(tiny, 2)
    assert tried_again(whole, ended(whole, *statuses), retries=3) == []


def test_a_fault_beside_one_that_diverged_is_narrowed_down_too(tiny: Trial) -> None:
    whole = job(tiny, 2)
    assert sizes(tried_again(whole, ended(whole, "diverged", "failed"), retries=0)) == [1, 1]


def test_a_crash_alone_is_tried_again_as_it_is(tiny: Trial) -> None:
    first = job(tiny, 4)
    crashed: list[Status] = ["crashed"] * 4
    [second] = tried_again(first, ended(first, *crashed), retries=1)
    assert second == replace(first, attempt=2)
    halves = tried_again(second, ended(second, *crashed), retries=1)
    assert [(len(half.trials), half.attempt) for half in halves] == [(2, 1), (2, 1)]
    alone = job(tiny, 1)
    others: tuple[Status, ...] = ("failed", "oom", "timeout")
    for status in others:
        assert tried_again(alone, ended(alone, status), retries=5) == []


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])  # the trial is frozen
@given(count=st.integers(1, 32), guilty=st.sets(st.integers(0, 31)), status=st.sampled_from(FAULTS), retries=st.integers(0, 2))
def test_the_guilty_are_found_and_the_others_have_their_results(
    tiny: Trial, count: int, guilty: set[int], status: Status, retries: int
) -> None:
    waiting, tries, seconds = [job(tiny, count)], 0, 0
    found: dict[int, Status] = {}
    while waiting:
        work = waiting.pop()
        tries, seconds = tries + 1, seconds + len(work.trials)
        bad = any(trial.seed in guilty for trial in work.trials)
        end: Status = status if bad else "ok"
        outcomes = ended(work, *[end] * len(work.trials))
        again = tried_again(work, outcomes, retries)
        waiting += again
        found |= {} if again else {trial.seed: outcome.status for trial, outcome in zip(work.trials, outcomes, strict=True)}
    assert found == {seed: status if seed in guilty else "ok" for seed in range(count)}
    assert tries < 2 * count * (1 + retries)
    if status == "timeout":
        assert seconds <= 2 * count, "all that a population may take, twice"


@pytest.mark.parametrize("status", ["crashed", "oom", "timeout"])
def test_what_died_has_its_output_and_the_last_step_it_told_of(tiny: Trial, status: Literal["crashed", "oom", "timeout"]) -> None:
    work: worker.Job = job(tiny, 2)
    future: Future[tuple[Outcome, ...]] = Future()
    future.set_exception(Died("it fell", status, "where it stood"))
    first, second = work.trials
    assert outcomes_of(work, future, {first.key: 40}) == (
        Outcome(first.key, status, "it fell", "where it stood", 40),
        Outcome(second.key, status, "it fell", "where it stood", None),
    )
    [repeated, _] = outcomes_of(replace(work, attempt=3), future, {})
    assert repeated.reason == "it fell (in each of 3 attempts)"


@pytest.mark.parametrize(("error", "reason"), [(SuiteError("mend it"), "mend it"), (OSError("gone"), "OSError: gone")])
def test_what_the_way_there_raises_is_a_failure(tiny: Trial, error: Exception, reason: str) -> None:
    future: Future[tuple[Outcome, ...]] = Future()
    future.set_exception(error)
    [outcome] = outcomes_of(job(tiny, 1), future, {})
    assert (outcome.status, outcome.reason) == ("failed", reason)


def test_a_population_may_take_the_time_of_all_and_the_memory_of_a_process() -> None:
    assert bounds_of(Limits()) == UNBOUNDED
    assert bounds_of(Limits(timeout=3.0, memory=1.5), 4, beside=2.0) == Bounds(14.0, 3 << 29)
