"""Checks on a real database that whatever breaks off, the next run makes up for it, and that nothing is left running or shown twice."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from suite.listeners import database, tracking
from suite.listeners.database import folder_of
from suite.trial import Trial

from .pretended import Pair, Pretended, pair


def broken(name: str, monkeypatch: pytest.MonkeyPatch, after: int = 0) -> None:
    """Make a method of MLflow's client, or of what keeps files for it, raise, after it has been called so many times."""
    from mlflow import MlflowClient
    from mlflow.store.artifact.local_artifact_repo import LocalArtifactRepository

    owner = LocalArtifactRepository if name == "log_artifact" else MlflowClient
    working, calls = getattr(owner, name), iter(range(after))

    def method(*arguments: Any, **named: Any) -> Any:
        if next(calls, None) is None:
            raise ConnectionError(f"{name} is out of order")
        return working(*arguments, **named)

    monkeypatch.setattr(owner, name, method)


CALLS = {
    "get_experiment_by_name": 1,
    "create_experiment": 1,
    "search_runs": 1,
    "create_run": 4,
    "log_batch": 3,
    "log_artifact": 6,
    "set_tag": 1,
    "set_terminated": 4,
    "log_artifacts": 1,
    "set_experiment_tag": 2,
}
"""How often a run of two trials calls each method of MLflow's client."""


@pytest.mark.parametrize(("name", "after"), [(name, after) for name, count in CALLS.items() for after in range(count)])
def test_whatever_breaks_off_is_told_once_and_mended_by_the_next_run(
    name: str, after: int, plan: Pretended, tiny: Trial, monkeypatch: pytest.MonkeyPatch
) -> None:
    pairs = (pair(tiny), pair(tiny, seed=1))
    with monkeypatch.context() as patch:
        broken(name, patch, after)
        plan.run(*pairs)
    [problem] = plan.problems
    assert problem.startswith(f"MLflow at sqlite:///{plan.runs}/mlflow.db: ConnectionError: {name} is out of order; ")
    assert problem.endswith(f"the results are safe in {plan.store.folder}, and the next run mirrors them")
    if name != "set_terminated":  # the end is tried after any failure
        assert all(run.info.status != "RUNNING" for run in plan.shown())
    plan.problems.clear()
    plan.run(before=pairs)
    assert plan.problems == []
    assert all(run.info.status in {"FINISHED", "KILLED", "FAILED"} for run in plan.shown())
    children = plan.children()
    assert set(children) == {trial.key for trial, _ in pairs}
    for child in children.values():
        assert child.info.status == "FINISHED"
        assert plan.histories(child)["validation/loss"] == (5, 10, 15, 20)
        assert all(len(set(steps)) == len(steps) for steps in plan.histories(child).values())
        assert plan.artifacts(child) == [f"{child.data.tags[database.TRIAL_KEY]}.json", "source"]
    assert plan.parents()[0].info.status == "FINISHED"
    assert "report" in plan.artifacts(plan.parents()[0])


def test_a_parent_of_a_failed_mirroring_is_failed_and_of_an_interrupted_run_killed(
    plan: Pretended, tiny: Trial, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        broken("log_artifact", patch)
        plan.run(pair(tiny))
    [parent] = plan.parents()
    assert parent.info.status == "FAILED"
    [child] = plan.children().values()
    assert child.info.status == "KILLED"

    def interrupt(trial: Trial) -> None:
        if trial.seed == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        plan.run(pair(tiny, seed=1), pair(tiny, seed=2), during=interrupt)
    assert plan.parents()[0].info.status == "KILLED"


def killed(plan: Pretended, *pairs: Pair) -> None:
    """Run, and be killed before the end: nothing is told of it, and nothing is ended."""
    from mlflow import MlflowClient

    class Killed(BaseException):
        pass

    def end(*_: Any, **__: Any) -> None:
        raise Killed

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(MlflowClient, "set_terminated", end)
        patch.setattr(tracking.Tracking, "_end", lambda _: None)
        plan.run(*pairs, report=False)
    plan.problems.clear()


@pytest.mark.parametrize("report", [True, False])
def test_what_a_killed_run_left_running_is_ended_by_the_next(report: bool, plan: Pretended, tiny: Trial) -> None:
    first, second = pair(tiny), pair(tiny, seed=1)
    killed(plan, first, second)
    left = plan.shown()
    assert {run.info.status for run in left} == {"RUNNING"}
    assert len(left) == 4
    plan.run(before=(first,), report=report)
    assert plan.problems == []
    status = {run.info.run_id: run.info.status for run in plan.shown()}
    assert sorted(status[run.info.run_id] for run in left) == ["FINISHED", "FINISHED", "KILLED", "KILLED"]
    assert plan.children()[first[0].key].info.status == "FINISHED"


def test_what_other_folders_have_running_is_left_alone(
    plan: Pretended, tiny: Trial, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{plan.runs}/mlflow.db")
    elsewhere = Pretended(tmp_path / "elsewhere", plan.machine)
    killed(elsewhere, pair(tiny))
    plan.run(pair(tiny, seed=1))
    assert sorted(run.info.status for run in plan.shown()) == ["FINISHED"] * 3 + ["RUNNING"] * 3
    assert folder_of(elsewhere.runs) != folder_of(plan.runs)
    elsewhere.run(pair(tiny))
    assert all(run.info.status != "RUNNING" for run in plan.shown())
    assert plan.problems == elsewhere.problems == []


@pytest.mark.parametrize("name", ["log_artifacts", "set_tag"])
def test_a_report_that_was_not_attached_whole_is_attached_by_a_run_with_nothing_to_do(
    name: str, plan: Pretended, tiny: Trial, monkeypatch: pytest.MonkeyPatch
) -> None:
    pairs = (pair(tiny), pair(tiny, seed=1))
    with monkeypatch.context() as patch:
        broken(name, patch, CALLS[name] - 1)
        plan.run(*pairs)
    assert len(plan.problems) == 1
    [parent] = plan.parents()
    assert parent.data.tags[database.REPORTED] == "no"
    plan.problems.clear()
    for _ in range(2):
        plan.run(before=pairs, report=False)
        assert plan.problems == []
        [parent] = plan.parents()
        assert parent.data.tags[database.REPORTED] == "yes"
        assert "report" in plan.artifacts(parent)
    assert all(run.info.status != "RUNNING" for run in plan.shown())


def test_another_run_at_work_is_not_disturbed(plan: Pretended, tiny: Trial) -> None:
    killed(plan, pair(tiny))
    with plan.store.writing():
        plan.run(before=(pair(tiny),), report=False)
    assert plan.problems == []
    assert {run.info.status for run in plan.shown()} == {"RUNNING"}


def test_a_trial_that_another_folder_left_unfinished_is_not_taken_for_whole(
    plan: Pretended, tiny: Trial, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{plan.runs}/mlflow.db")
    elsewhere = Pretended(tmp_path / "elsewhere", plan.machine)
    done = pair(tiny)
    with monkeypatch.context() as patch:
        broken("log_artifact", patch)
        killed(elsewhere, done)
    [child] = plan.children().values()
    assert child.info.status == "RUNNING"
    assert child.data.tags[database.CONTENT]
    assert not database.shows(plan.runs / "mlflow.db", "tiny", {done[0].key: database.content_of(done[1])}, folder_of(plan.runs))
    plan.run(done)
    assert plan.problems == []
    [child] = plan.children().values()
    assert child.info.status == "FINISHED"
    assert plan.artifacts(child) == [f"{done[0].key}.json", "source"]


@pytest.mark.parametrize("whole", [True, False])
def test_two_folders_that_trained_the_same_trial_have_a_run_each(
    whole: bool, plan: Pretended, tiny: Trial, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{plan.runs}/mlflow.db")
    elsewhere = Pretended(tmp_path / "elsewhere", plan.machine)
    trial, outcome = pair(tiny)
    (elsewhere.run if whole else lambda theirs: killed(elsewhere, theirs))((trial, replace(outcome, train_seconds=9.0)))
    ours = (trial, replace(outcome, train_seconds=3.0))
    plan.run(ours)
    for report in (True, False, True):
        plan.run(before=(ours,), report=report)
        folders = sorted(run.data.tags[database.FOLDER] for run in plan.shown() if database.TRIAL_KEY in run.data.tags)
        assert folders == sorted([folder_of(plan.runs), folder_of(elsewhere.runs)])
