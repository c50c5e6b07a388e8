"""Checks on a real database that every trial stands in MLflow once, whatever breaks off, and that nothing is done where nothing is new."""

from __future__ import annotations

import contextlib
import json
import pickle
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from suite import palette
from suite.listeners import database, tracking, views
from suite.listeners.mirror import ANSWER, NOTE
from suite.spec import Plugin
from suite.trial import Outcome, Trial

from .pretended import PLAN, Pretended, alter, asked, pair

SCORES = {"loss", "accuracy", "skill"}


def test_the_answer_is_the_note_of_the_run_and_of_the_experiment(plan: Pretended, tiny: Trial) -> None:
    for told in ("gru is faster", "it is not"):
        plan.store.report.mkdir(parents=True, exist_ok=True)
        (plan.store.report / ANSWER).write_text(told)
        plan.run(pair(tiny, seed=len(told)))
        experiment = database.client(database.uri(plan.runs)).get_experiment_by_name(PLAN)
        assert experiment is not None
        assert plan.parents()[0].data.tags[NOTE] == experiment.tags[NOTE] == told


ROWS: list[dict[str, Any]] = [
    {"variant": "gru", "axis": "speed", "engine": "compiled", "verdict": "better", "effect": 0.8, "low": 0.75, "high": 0.85, "why": ""},
    {"variant": "gru", "axis": "robustness", "engine": "", "verdict": "not comparable", "effect": None, "why": "no trial"},
    {"variant": "gru", "axis": "long_range", "engine": "", "verdict": "undecided", "effect": -0.1, "low": -0.3, "high": 0.1, "why": ""},
]


def test_each_variant_is_summed_up_by_the_answer_in_a_run_of_its_own(plan: Pretended, tiny: Trial) -> None:
    plan.store.report.mkdir(parents=True)
    (plan.store.report / "answer.json").write_text(json.dumps(ROWS))
    plan.run(pair(tiny))
    first = plan.variants()
    assert first["gru"].data.metrics == {"time: compiled against lstm": 0.8, "remembers against lstm": -0.1}
    assert first["gru"].data.tags[NOTE] == (
        "- time, compiled: ▲ 0.80 (0.75 to 0.85)\n- robust: – not comparable, no trial\n- remembers: ≈ −0.10 (−0.30 to 0.10)"
    )
    assert first["lstm"].data.metrics == {"time: compiled against lstm": 1, "robust against lstm": 0, "remembers against lstm": 0}
    plan.run(pair(tiny, seed=2))  # whose report says the same
    assert all(len(steps) == 1 for run in plan.variants().values() for steps in plan.histories(run).values())
    (plan.store.report / "answer.json").write_text(json.dumps([{**ROWS[0], "effect": 0.9}]))
    plan.run(pair(tiny, seed=1))
    assert plan.problems == []
    second = plan.variants()
    assert {label: run.info.run_id for label, run in second.items()} == {label: run.info.run_id for label, run in first.items()}
    assert second["gru"].data.metrics["time: compiled against lstm"] == 0.9
    assert {run.info.status for run in second.values()} == {"FINISHED"}
    experiment = database.client(database.uri(plan.runs)).get_experiment_by_name(PLAN)
    assert experiment is not None
    charts = {}
    for view in (views.OVERVIEW, views.SCOREBOARD, views.DEGRADATION):
        state = json.loads(json.loads(experiment.tags[views.TAG + view])["state"])
        assert state["searchFilter"].startswith("tags.`suite.kind` ")
        charts[view] = [(chart["metricKey"], chart["type"]) for chart in state.get("compareRunCharts", [])]
    assert charts == {
        views.OVERVIEW: [],
        views.SCOREBOARD: [("time: compiled against lstm", "BAR")],
        views.DEGRADATION: [("test/skill", "BAR"), ("long_range/skill", "LINE")],
    }
    assert second["gru"].data.params == {"variant": "gru"}
    file = database.file_of(database.uri(plan.runs))
    assert file is not None
    assert database.experiments(file) == [(PLAN, experiment.experiment_id)]


def test_a_run_of_another_layout_is_written_anew(plan: Pretended, tiny: Trial) -> None:
    trial, outcome = pair(tiny)
    plan.run((trial, outcome))
    [before] = plan.children().values()
    alter(plan.runs / "mlflow.db", "UPDATE tags SET value = 'old' WHERE key IN ('suite.layout', 'suite.content')")
    plan.run(before=((trial, outcome),), report=False)
    assert plan.problems == []
    [child] = plan.children().values()
    assert child.info.run_id != before.info.run_id


def test_a_trial_is_shown_with_all_that_is_known_of_it(plan: Pretended, tiny: Trial) -> None:
    trial, outcome = pair(tiny, "gaussian_noise", variant=Plugin("attention", {"score": "additive"}))
    plan.run((trial, outcome))
    assert plan.problems == []
    [parent] = plan.parents()
    [child] = plan.children().values()
    assert parent.info.status == child.info.status == "FINISHED"
    assert parent.data.params == {"plan": PLAN, "trials": "1", "trials run": "1"}
    assert plan.artifacts(parent) == ["report"]
    assert plan.artifacts(child) == [f"{trial.key}.json", "source"]
    variant = plan.variants()["attention(score=additive)"]
    assert child.data.tags["mlflow.parentRunId"] == variant.info.run_id
    assert "mlflow.parentRunId" not in variant.data.tags
    assert child.data.tags["mlflow.runColor"] == variant.data.tags["mlflow.runColor"] == palette.COLOURS[0]
    assert child.data.tags["suite.status"] == "ok"
    assert child.data.tags[NOTE] == (
        "**attention(score=additive)** on adding, T = 10, seed 0, rate 0.01: solved at step 15, test skill 0.950"
    )
    assert "suite.device_model" not in child.data.tags
    assert parent.data.tags["suite.device_model"] == plan.machine.device_model
    assert parent.data.tags["mlflow.source.git.commit"] == plan.machine.commit.partition("+")[0]
    assert child.info.run_name == "adding10·s0·attention(score=additive)·0.01"
    assert child.info.end_time - child.info.start_time == 2000
    expected = {
        "variant": "attention(score=additive)",
        "variant.score": "additive",
        "task": "adding",
        "learning_rate": "0.01",
        "steps": "20",
    }
    assert expected.items() <= child.data.params.items()
    finals = {f"test/{score}" for score in SCORES} | {"train_seconds", "steps_to_solve"}
    curves = {"validation/loss", "validation/accuracy", "train_loss"}
    degrading = {"long_range/skill": (10, 20), "robustness/gaussian_noise/skill": (0, 1, 2)}
    assert plan.histories(child) == dict.fromkeys(finals, (0,)) | dict.fromkeys(curves, (5, 10, 15, 20)) | degrading
    assert child.data.metrics["test/skill"] == pytest.approx(0.95)
    assert child.data.metrics["robustness/gaussian_noise/skill"] == pytest.approx(0)


def test_a_trial_that_failed_or_gave_names_that_mlflow_refuses_is_shown_too(plan: Pretended, tiny: Trial) -> None:
    odd, outcome = pair(tiny)
    curve = outcome.learning.curve if outcome.learning else ()
    scores = {"loss": float("nan"), "accuracy@5": 0.5, "[share]": 0.25}
    spoilt = replace(outcome, learning=replace(outcome.learning, curve=(replace(curve[0], scores=scores),)))  # type: ignore[type-var]
    failed = asked(tiny, seed=1)
    plan.run((odd, spoilt), (failed, Outcome(failed.key, "failed", reason="no such luck", traceback="Traceback")))
    assert plan.problems == []
    children = plan.children()
    assert {"validation/accuracy_5", "validation/_share_"} <= set(children[odd.key].data.metrics)
    assert "validation/loss" not in children[odd.key].data.metrics
    assert children[failed.key].info.status == "FAILED"
    assert children[failed.key].data.tags["suite.reason"] == "no such luck"
    assert children[failed.key].data.metrics == {}


def test_a_new_evaluation_is_added_and_no_value_is_doubled(plan: Pretended, tiny: Trial) -> None:
    first = pair(tiny)
    plan.run(first)
    [before] = plan.children().values()
    more = pair(tiny, "gaussian_noise")
    assert more[0].key == first[0].key
    plan.run(more)
    assert plan.problems == []
    [child] = plan.children().values()
    assert child.info.run_id == before.info.run_id
    assert (child.info.start_time, child.info.end_time) == (before.info.start_time, before.info.end_time)
    assert set(child.data.metrics) - set(before.data.metrics) == {"robustness/gaussian_noise/skill"}
    assert all(len(set(steps)) == len(steps) for steps in plan.histories(child).values())


def test_a_trial_that_was_trained_anew_replaces_its_run(plan: Pretended, tiny: Trial) -> None:
    trial, outcome = pair(tiny)
    plan.run((trial, outcome))
    [before] = plan.children().values()
    plan.run((trial, replace(outcome, train_seconds=5.0)))
    assert plan.problems == []
    [child] = plan.children().values()
    assert child.info.run_id != before.info.run_id
    assert child.data.metrics["train_seconds"] == 5
    assert all(len(set(steps)) == len(steps) for steps in plan.histories(child).values())


def test_a_failed_trial_that_is_trained_at_last_keeps_its_run(plan: Pretended, tiny: Trial) -> None:
    trial, outcome = pair(tiny)
    plan.run((trial, Outcome(trial.key, "failed", reason="no such luck")))
    plan.run((trial, outcome))
    [child] = plan.children().values()
    assert child.info.status == "FINISHED"
    assert child.data.tags["suite.reason"] == ""
    assert child.data.metrics["test/skill"] == pytest.approx(0.95)


def unchanged(path: Path, action: Callable[[], None]) -> bool:
    before = path.read_bytes(), path.stat().st_mtime_ns
    action()
    return before == (path.read_bytes(), path.stat().st_mtime_ns)


def no_client(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(address: str) -> None:
        raise AssertionError(f"{address} is opened")

    monkeypatch.setattr(database, "client", refuse)


def test_where_nothing_is_new_mlflow_is_not_opened(plan: Pretended, tiny: Trial, monkeypatch: pytest.MonkeyPatch) -> None:
    pairs = (pair(tiny), pair(tiny, seed=1))
    plan.run(*pairs)
    no_client(monkeypatch)
    assert unchanged(plan.runs / "mlflow.db", lambda: plan.run(before=pairs, report=False))
    assert plan.problems == []


def test_where_nothing_is_new_mlflow_is_not_imported(plan: Pretended, tiny: Trial, tmp_path: Path) -> None:
    done = pair(tiny)
    plan.run(done)
    (tmp_path / "invocation").write_bytes(pickle.dumps(plan.invocation((), before=(done,))))
    script = """
import pickle, sys
from pathlib import Path
from suite.listeners.announce import Audience
from suite.registry.finder import discover

invocation = pickle.loads(Path(sys.argv[1]).read_bytes())
audience = Audience(discover(), {})
audience.tell("suite_plan_started", invocation=invocation)
audience.tell("suite_plan_finished", invocation=invocation)
print(audience.problems, "mlflow" in sys.modules)
"""
    command = [sys.executable, "-c", script, str(tmp_path / "invocation")]
    ended = subprocess.run(command, cwd=Path(__file__).parents[2], capture_output=True, text=True, check=True)
    assert ended.stdout.split() == ["{}", "False"]


@pytest.mark.parametrize(
    "damage",
    [
        "DELETE FROM tags WHERE key = 'suite.content'",
        "UPDATE tags SET value = 'another' WHERE key = 'suite.content'",
        "UPDATE runs SET lifecycle_stage = 'deleted'",
        "UPDATE runs SET status = 'RUNNING'",
        "UPDATE experiments SET lifecycle_stage = 'deleted'",
    ],
)
def test_what_the_database_lacks_is_mirrored_without_a_run_to_do(damage: str, plan: Pretended, tiny: Trial) -> None:
    done = pair(tiny)
    plan.run(done)
    alter(plan.runs / "mlflow.db", damage)
    plan.run(before=(done,), report=False)
    assert plan.problems == []
    [child] = plan.children().values()
    assert child.info.status == "FINISHED"
    assert child.data.tags["suite.content"] not in {"", "another"}
    assert plan.histories(child)["validation/loss"] == (5, 10, 15, 20)
    assert "report" in plan.artifacts(plan.parents()[0])
    assert all(run.info.status != "RUNNING" for run in plan.shown())


@pytest.mark.usefixtures("_made_at_once")
def test_a_database_that_is_gone_is_made_again_without_a_run_to_do(plan: Pretended, tiny: Trial) -> None:
    done = pair(tiny)
    plan.run(done)
    (plan.runs / "mlflow.db").unlink()
    plan.run(before=(done,), report=False)
    assert plan.problems == []
    assert list(plan.children()) == [done[0].key]
    assert plan.artifacts(plan.parents()[0]) == ["report"]


def test_a_server_is_asked_and_gets_no_parent_where_nothing_is_new(plan: Pretended, tiny: Trial, monkeypatch: pytest.MonkeyPatch) -> None:
    done = pair(tiny)
    plan.run(done)
    monkeypatch.setattr(database, "file_of", lambda _: None)  # as if the database were a server's
    plan.run(before=(done,), report=False)
    assert len(plan.parents()) == 1
    plan.run(before=(done, pair(tiny, seed=1)), report=False)
    assert plan.problems != []  # the second trial has no file in the store
    plan.problems.clear()
    plan.run(pair(tiny, seed=1), before=(done,))
    assert len(plan.children()) == 2


def test_track_false_stays_away() -> None:
    assert tracking.start(track=False) is None
    assert isinstance(tracking.start(), tracking.Tracking)


@pytest.mark.parametrize("moment", ["first", "second", "report"])
@pytest.mark.usefixtures("_made_at_once")
def test_a_runs_folder_that_is_removed_ends_in_one_line(
    moment: str, plan: Pretended, tiny: Trial, capfd: pytest.CaptureFixture[str]
) -> None:
    pairs = (pair(tiny), pair(tiny, seed=1), pair(tiny, seed=2))

    def remove(trial: Trial) -> None:
        if {"first": 0, "second": 1, "report": 2}[moment] == trial.seed:
            while plan.runs.exists():  # MLflow is written to meanwhile, in a thread
                with contextlib.suppress(OSError):
                    shutil.rmtree(plan.runs)

    plan.run(*pairs, during=remove)
    if moment != "first":  # with nothing opened yet the database is made anew
        [problem] = plan.problems
        assert problem.startswith("MLflow at sqlite:///")
        assert "\n" not in problem
        assert len(problem) < 1000
    captured = capfd.readouterr()
    assert "Traceback" not in captured.out + captured.err
    plan.problems.clear()
    for trial, outcome in pairs:
        plan.store.put(trial, outcome, plan.machine)
    plan.run(before=pairs, report=False)
    assert len(plan.children()) == 3


def test_a_password_is_not_printed(plan: Pretended, tiny: Trial, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://me:secret@127.0.0.1:9/mlflow")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    plan.run(pair(tiny))
    [problem] = plan.problems
    assert problem.startswith("MLflow at http://…@127.0.0.1:9/mlflow: Connection refused; the results are safe in ")
    assert "secret" not in problem
    assert tracking.state(plan.runs) == "http://…@127.0.0.1:9/mlflow"
