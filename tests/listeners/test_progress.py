"""Checks what a person sees of a run, on a terminal and elsewhere, and that nothing heavy is imported for it."""

from __future__ import annotations

import io
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
from rich.console import Console

from suite.listeners import progress
from suite.spec import Machine, Plugin
from suite.trial import Outcome, Trial, Validation

from .pretended import Pretended, asked, learned


class Clock:
    """A clock that stands still until it is moved."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def display(*, terminal: bool, clock: Clock | None = None) -> tuple[progress.Display, io.StringIO]:
    stream = io.StringIO()
    return progress.Display(Console(file=stream, force_terminal=terminal, width=120), clock or Clock()), stream


def test_plain_lines_tell_of_each_trial(tiny: Trial, this_machine: Machine, tmp_path: Path) -> None:
    trials = [asked(tiny), asked(tiny, seed=1), asked(tiny, seed=2, variant=Plugin("attention", {"score": "[b]additive[/b]"}))]
    plan = Pretended(tmp_path / "[bold]runs", this_machine)
    first, *others = [(trial, learned(trial)) for trial in trials]
    invocation = plan.invocation(tuple(others), (first,))
    shown, stream = display(terminal=False)
    shown.suite_plan_started(invocation)
    shown.suite_trial_started(trials[1], 0)
    shown.suite_validated(trials[1], Validation(5, {"loss": 0.5}))
    shown.suite_trial_finished(*others[0])
    shown.suite_trial_finished(trials[2], Outcome(trials[2].key, "failed", reason="no such luck"))
    shown.suite_timing_started(2)
    shown.suite_report_written(plan.store.report)
    shown.suite_plan_finished()
    assert stream.getvalue().splitlines() == [
        "plan tiny on cpu: 3 trials, 1 finished before, 2 to do",
        "[1/2] gru on adding, T=10, seed 1, rate 0.01: skill 0.950, solved at step 15",
        "[2/2] attention(score=[b]additive[/b]) on adding, T=10, seed 2, rate 0.01: failed: no such luck",
        "timing 2 models, alone on the machine",
        f"report written after 0 s: {tmp_path}/[bold]runs/tiny/report/index.html",
    ]


def test_a_terminal_shows_what_is_running_and_keeps_what_failed(tiny: Trial, this_machine: Machine, tmp_path: Path) -> None:
    trials = [asked(tiny, seed=seed, test_samples=1) for seed in range(4)]
    invocation = Pretended(tmp_path, this_machine).invocation(tuple((trial, learned(trial)) for trial in trials), ())
    clock = Clock()
    shown, stream = display(terminal=True, clock=clock)
    shown.suite_plan_started(invocation)
    shown.suite_scheduled([trials[:2], trials[2:]], 1, [])
    for trial in trials[:2]:
        shown.suite_trial_started(trial, 0)
    for step in (5, 10):
        clock.now += 500.0
        for trial in trials[:2]:
            shown.suite_validated(trial, Validation(step, {"loss": 0.25 + trial.seed}))
    shown._live.refresh()  # type: ignore[union-attr]
    drawn = stream.getvalue()
    assert "gru on adding, T=10: 2 trials at once" in drawn  # a population is one line
    assert "step 10/20" in drawn
    assert "best loss 0.25" in drawn
    assert "about 5" in drawn  # 10 steps of 100 s, and another population of 20
    assert "min left" in drawn
    shown.suite_trial_finished(trials[0], Outcome(trials[0].key, "diverged", reason="not finite"))
    shown.suite_validated(trials[0], Validation(15, {"loss": 0.25}))  # too late: it has ended
    assert list(shown._running) == [trials[1].key]
    shown._live.refresh()  # type: ignore[union-attr]
    assert "1 not well" in stream.getvalue()
    assert "diverged: not finite" in stream.getvalue()
    shown.suite_timing_started(2)
    shown._live.refresh()  # type: ignore[union-attr]
    assert "models, about" in stream.getvalue()
    shown.suite_plan_finished()
    assert shown._live is None


def test_a_display_goes_on_by_itself_while_nothing_is_told(tiny: Trial, this_machine: Machine, tmp_path: Path) -> None:
    trial = asked(tiny, test_samples=1)
    clock = Clock()
    shown, stream = display(terminal=True, clock=clock)
    shown.suite_plan_started(Pretended(tmp_path, this_machine).invocation(((trial, learned(trial)),), ()))
    shown.suite_scheduled([[trial]], 1, [])
    shown.suite_trial_started(trial, 0)
    for step in (5, 10):
        clock.now += 100.0
        shown.suite_validated(trial, Validation(step, {"loss": 1.0}))
    clock.now += 90.0  # 20 s a step, so that about two minutes are left
    deadline = time.monotonic() + 30
    while "about 2 min left" not in stream.getvalue():
        assert time.monotonic() < deadline, stream.getvalue()
        time.sleep(0.05)
    shown.suite_plan_finished()


def test_where_there_is_no_terminal_the_time_left_is_said_now_and_then(tiny: Trial, this_machine: Machine, tmp_path: Path) -> None:
    trials = [asked(tiny, seed=seed, test_samples=1) for seed in range(4)]
    clock = Clock()
    shown, stream = display(terminal=False, clock=clock)
    shown.suite_plan_started(Pretended(tmp_path, this_machine).invocation(tuple((trial, learned(trial)) for trial in trials), ()))
    shown.suite_scheduled([[trial] for trial in trials], 1, [])
    for trial in trials:
        shown.suite_trial_started(trial, 0)
        for step in (5, 10, 15, 20):
            clock.now += 100.0
            shown.suite_validated(trial, Validation(step, {"loss": 1.0}))
        status = Outcome(trial.key, "failed", reason="no such luck") if trial.seed == 1 else learned(trial)
        shown.suite_trial_finished(trial, status)
    said = [line for line in stream.getvalue().splitlines() if line.endswith(" left")]
    assert said[0] == "about 20 min left"
    assert said[1].startswith("1 of 2 did not end well, about 1")
    assert len(said) == 3  # not after the last


def test_a_time_left_is_said_no_finer_than_it_is_known_and_never_as_nothing() -> None:
    seconds = (0.0, 9.9, 10.1, 61.0, 114.0, 116.0, 3500.0, 7300.0, 200_000.0)
    assert [progress.span(each) for each in seconds] == [
        "a few seconds",
        "a few seconds",
        "about 15 s",
        "about 65 s",
        "about 115 s",
        "about 2 min",
        "about 58 min",
        "about 2 h",
        "about 2 days",
    ]


def test_an_outcome_is_told_in_a_few_words(tiny: Trial) -> None:
    trial = asked(tiny)
    outcome = learned(trial)
    assert outcome.learning is not None
    assert progress.result(trial, outcome) == "skill 0.950, solved at step 15"
    unsolved = replace(outcome, learning=replace(outcome.learning, steps_to_solve=None))
    assert progress.result(trial, unsolved) == "skill 0.950, not solved"
    assert progress.result(replace(trial, evaluations=()), unsolved) == "not solved"


def test_python_sees_nothing_unless_it_asks() -> None:
    assert progress.start() is None
    assert isinstance(progress.start(progress=True), progress.Display)


@pytest.mark.parametrize("module", ["announce", "dashboard", "database", "forecast", "journal", "progress", "tracking"])
def test_importing_a_listener_is_cheap(module: str) -> None:
    heavy = {"torch", "mlflow", "sqlalchemy", "pandas", "numpy", "matplotlib", "rich"}
    code = f"import sys, suite.listeners.{module}; print(*sorted({heavy!r} & set(sys.modules)))"
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=Path(__file__).parents[2])
    assert ended.stdout.strip() == ""


class Handle:
    def __init__(self, shown: list[str]) -> None:
        self.shown = shown

    def update(self, content: dict[str, str], *, raw: bool) -> None:
        assert raw
        self.shown.append(content["text/html"])


def test_a_notebook_has_one_output_that_changes_now_and_then(
    tiny: Trial, this_machine: Machine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown: list[str] = []

    def show(content: dict[str, str], *, raw: bool, display_id: bool) -> Handle:
        assert raw
        assert display_id
        shown.append(content["text/html"])
        return Handle(shown)

    monkeypatch.setitem(sys.modules, "IPython.display", SimpleNamespace(display=show))
    trials, clock, stream = [asked(tiny), asked(tiny, seed=1)], Clock(), io.StringIO()
    notebook = progress.Display(Console(file=stream, force_terminal=False), clock, notebook=True)
    plan = Pretended(tmp_path, this_machine)
    notebook.suite_plan_started(plan.invocation(tuple((trial, learned(trial)) for trial in trials), ()))
    notebook.suite_trial_started(trials[0], 0)
    notebook.suite_validated(trials[0], Validation(5, {"loss": 0.5}))
    assert len(shown) == 1  # it is too soon for another
    clock.now += 1
    notebook.suite_validated(trials[0], Validation(10, {"loss": 0.25}))
    assert "step 10/20" in shown[-1]
    assert "best loss 0.25" in shown[-1]
    notebook.suite_trial_finished(trials[0], learned(trials[0]))
    notebook.suite_plan_finished()
    assert shown[-1] == ""
    assert stream.getvalue() == "plan tiny on cpu: 2 trials, 0 finished before, 2 to do\n"
