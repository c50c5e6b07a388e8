"""Checks the lines that a run writes for programs: each a JSON object, whole, and what they say."""

from __future__ import annotations

import itertools
import json
import math
from pathlib import Path
from typing import Any

import pytest

from suite import SuiteError
from suite.listeners import journal
from suite.spec import Grade, Machine, Plugin
from suite.trial import Grading, Outcome, Rule, Shape, Timed, Timing, Trial, Validation

from ..running import suite, tiny_plan
from .pretended import Pretended, asked, learned
from .replay import lines_of

TIMING = Timing(Plugin("gru"), "reference", Shape(4, 2, 5), 3, 5, 0, Rule(3, 3, 1.0, 1.0), "float32", "cpu", True, {}, {})


def strictly(path: Path) -> list[dict[str, Any]]:
    """The lines of a file; NaN and its like, which JSON does not know, are refused."""

    def refuse(name: str) -> None:
        raise AssertionError(f"{name} is no JSON")

    return [json.loads(line, parse_constant=refuse) for line in path.read_text().splitlines()]


def test_each_line_says_what_happened_to_what(tiny: Trial, this_machine: Machine, tmp_path: Path) -> None:
    trial, other = asked(tiny), asked(tiny, seed=1)
    invocation = Pretended(tmp_path, this_machine).invocation(((trial, learned(trial)), (other, learned(other))), ())
    moments = iter(range(100))
    events = journal.Journal(tmp_path / "events.jsonl", lambda: float(next(moments)))
    events.suite_plan_started(invocation)
    events.suite_scheduled([[trial, other]], 2, [TIMING])
    events.suite_trial_started(trial, 3)
    events.suite_validated(trial, Validation(5, {"loss": 0.5, "accuracy": math.nan}))
    events.suite_trial_finished(trial, learned(trial))
    events.suite_trial_finished(other, Outcome(other.key, "failed", reason="no\nluck"))
    events.suite_timing_started(1)
    events.suite_timed(TIMING, Timed(failed="its process was killed"))
    events.suite_graded(Grading(Plugin("gru"), 8, "cpu", {}, {}), Grade())
    events.suite_report_written(tmp_path / "report")
    events.suite_plan_finished()
    lines = strictly(tmp_path / "events.jsonl")
    assert [line["time"] for line in lines] == list(map(float, range(11)))
    place = {"key": trial.key, "variant": "gru", "task": "adding", "length": 10, "seed": 0, "learning_rate": 0.01}
    folder = str(tmp_path.resolve() / "tiny")
    ended = {"what": "trial_finished", "status": "ok", "reason": "", "steps_to_solve": 15, "train_seconds": 2.0}
    assert lines[0] == {
        "time": 0.0,
        "what": "plan_started",
        "form": 1,
        "plan": "tiny",
        "folder": folder,
        "device": "cpu",
        "trials": 2,
        "pending": 2,
    }
    assert lines[1] == {
        "time": 1.0,
        "what": "scheduled",
        "workers": 2,
        "populations": [[trial.key, other.key]],
        "timings": 1,
    }
    assert lines[2] == {"time": 2.0, "what": "trial_started", **place, "step": 3, "steps": 20}
    assert lines[3] == {"time": 3.0, "what": "validated", **place, "step": 5, "scores": {"loss": 0.5, "accuracy": None}}
    assert lines[4] == {"time": 4.0, **ended, **place, "compile_seconds": None, "members": None}
    assert lines[5]["status"] == "failed"
    assert lines[5]["reason"] == "no\nluck"
    assert lines[7]["shape"] == "T=4, B=2, H=5"
    assert lines[7]["failed"] == "its process was killed"
    assert [line["what"] for line in lines[6:]] == ["timing_started", "timed", "graded", "report_written", "plan_finished"]


def test_a_later_run_appends(tiny: Trial, this_machine: Machine, tmp_path: Path) -> None:
    trial = asked(tiny)
    invocation = Pretended(tmp_path, this_machine).invocation(((trial, learned(trial)),), ())
    for _ in range(2):
        events = journal.start(events=str(tmp_path / "events.jsonl"))
        assert events is not None
        events.suite_plan_started(invocation)
        events.suite_plan_finished()
        events.suite_plan_finished()  # nothing is written after the end
    assert [line["what"] for line in lines_of(tmp_path / "events.jsonl")] == ["plan_started", "plan_finished"] * 2
    assert journal.start() is None


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no device that is always full")
def test_a_full_disk_is_told_once(tiny: Trial) -> None:
    events = journal.Journal(Path("/dev/full"))
    with pytest.raises(SuiteError, match="--events /dev/full: No space left on device; nothing more is written to it, and the run goes on"):
        events.suite_trial_started(tiny, 0)
    events.suite_trial_started(tiny, 0)
    events.suite_plan_finished()


def test_a_file_that_cannot_be_written_is_refused_before_anything_runs(tmp_path: Path) -> None:
    done = suite("run", tiny_plan(tmp_path), "--events", tmp_path / "nowhere" / "events.jsonl", cwd=tmp_path, code=2)
    assert "nowhere/events.jsonl: No such file or directory; name a file in a folder that can be written to" in done.stderr
    assert not (tmp_path / "runs").exists()


@pytest.mark.slow
def test_a_run_tells_of_each_of_its_trials(tmp_path: Path) -> None:
    suite("run", tiny_plan(tmp_path), "--workers", "2", "--events", "events.jsonl", cwd=tmp_path)
    lines = strictly(tmp_path / "events.jsonl")
    assert [line["what"] for line in lines[:4]] == ["plan_started", "graded", "graded", "scheduled"]
    assert [line["what"] for line in lines[-2:]] == ["report_written", "plan_finished"]
    keys = sorted(key for population in lines[3]["populations"] for key in population)
    assert len(keys) == 8
    for what, each in (("trial_started", 1), ("validated", 2), ("trial_finished", 1)):
        assert sorted(line["key"] for line in lines if line["what"] == what) == sorted(keys * each)
    assert sum(line["what"] == "graded" for line in lines) == 2
    assert all(earlier["time"] <= later["time"] for earlier, later in itertools.pairwise(lines))
