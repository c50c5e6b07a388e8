"""Checks what a person sees of a run, on a terminal and elsewhere, and that nothing heavy is imported for it."""

from __future__ import annotations

import io
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from suite.listeners import progress
from suite.spec import Machine, Plugin
from suite.trial import Outcome, Trial, Validation

from .pretended import Pretended, asked, learned


def display(*, terminal: bool) -> tuple[progress.Display, io.StringIO]:
    stream = io.StringIO()
    return progress.Display(Console(file=stream, force_terminal=terminal, width=60)), stream


def test_plain_lines_tell_of_each_trial(tiny: Trial, this_machine: Machine, tmp_path: Path) -> None:
    trials = [asked(tiny), asked(tiny, seed=1), asked(tiny, seed=2, variant=Plugin("attention", {"score": "[b]additive[/b]"}))]
    plan = Pretended(tmp_path / "[bold]runs", this_machine)
    first, *others = [(trial, learned(trial)) for trial in trials]
    invocation = plan.invocation(tuple(others), (first,))
    shown, stream = display(terminal=False)
    shown.suite_plan_started(invocation)
    shown.suite_trial_started(trials[1])
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
    trials = [asked(tiny), asked(tiny, seed=1)]
    invocation = Pretended(tmp_path, this_machine).invocation(tuple((trial, learned(trial)) for trial in trials), ())
    shown, stream = display(terminal=True)
    shown.suite_plan_started(invocation)
    for trial in trials:
        shown.suite_trial_started(trial)
    shown.suite_validated(trials[0], Validation(5, {"loss": 0.25}))
    shown._live.refresh()  # type: ignore[union-attr]
    shown.suite_trial_finished(trials[0], Outcome(trials[0].key, "diverged", reason="not finite"))
    shown.suite_validated(trials[0], Validation(10, {"loss": 0.25}))  # too late: it has ended
    assert list(shown._running) == [trials[1].key]
    shown.suite_plan_finished()
    assert shown._live is None
    text = stream.getvalue()
    assert "step 5/20" in text
    assert "loss 0.25" in text
    assert "min" in text
    assert "diverged: not finite" in text


def test_a_trial_that_lacks_an_evaluation_alone_takes_no_steps(tiny: Trial, this_machine: Machine, tmp_path: Path) -> None:
    trial, other = asked(tiny), asked(tiny, seed=1)
    plan = Pretended(tmp_path, this_machine)
    invocation = plan.invocation(((trial, learned(trial)), (other, learned(other))), ())
    shown, _ = display(terminal=False)
    shown.suite_plan_started(replace(invocation, finished={trial.key: replace(learned(trial), evaluations={})}))
    assert shown._steps == {trial.key: 0, other.key: 20 * other.length}


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


@pytest.mark.parametrize("module", ["announce", "dashboard", "database", "progress", "tracking"])
def test_importing_a_listener_is_cheap(module: str) -> None:
    heavy = {"torch", "mlflow", "sqlalchemy", "pandas", "numpy", "matplotlib", "rich"}
    code = f"import sys, suite.listeners.{module}; print(*sorted({heavy!r} & set(sys.modules)))"
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=Path(__file__).parents[2])
    assert ended.stdout.strip() == ""
