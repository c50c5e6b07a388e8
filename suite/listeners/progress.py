"""Shows a run as it goes: a live display on a terminal, plain lines elsewhere."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ..spec import Listener, hookimpl
from ..trial import FAULTS, Invocation, Outcome, Trial, Validation

if TYPE_CHECKING:
    from rich.console import Console, Group
    from rich.live import Live


@dataclass(frozen=True)
class Running:
    """How far a trial that a worker is at has come; `loss` is NaN before its first validation."""

    trial: Trial
    step: int = 0
    loss: float = math.nan


def describe(trial: Trial) -> str:
    """A trial in one line."""
    return f"{describe_cell(trial)}, seed {trial.seed}, rate {trial.training.learning_rate:g}"


def describe_cell(trial: Trial) -> str:
    """What a trial has in common with those of other seeds and learning rates."""
    return f"{trial.variant.label} on {trial.task.label}, T={trial.length}"


def result(trial: Trial, outcome: Outcome) -> str:
    """How a trial ended, in a few words."""
    from ..measures.scores import skill_of

    if outcome.status != "ok":
        begun = f" at step {outcome.last_step}" if outcome.last_step and outcome.status in FAULTS else ""
        return f"{outcome.status}{begun}: {outcome.reason}"
    points = outcome.evaluations.get(trial.evaluations[0].key, ()) if trial.evaluations else ()
    skill = f"skill {skill_of(points[0]):.3f}, " if points else ""  # the first measure begins with the trained length
    step = outcome.learning.steps_to_solve if outcome.learning else None
    return skill + (f"solved at step {step}" if step else "not solved")


class Display:
    """A listener that keeps one live display in the parent, or prints a line for each trial where there is no terminal."""

    def __init__(self, console: Console) -> None:
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

        self._console = console
        self._live: Live | None = None
        self._running: dict[str, Running] = {}
        self._steps: dict[str, int] = {}  # steps of recurrence that each pending trial has to train, by key
        self._steps_done = self._count = 0
        self._start = 0.0
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("trials, {task.fields[left]}"),
            TimeElapsedColumn(),
            console=console,
        )
        self._task = self._bar.add_task("training", total=None, left="")

    @hookimpl
    def suite_plan_started(self, invocation: Invocation) -> None:
        pending = [trial for trial in invocation.trials if trial.key in invocation.pending]
        trained = {key for key, outcome in invocation.finished.items() if outcome.learning}  # only an evaluation is new
        self._steps = {trial.key: 0 if trial.key in trained else trial.training.steps * trial.length for trial in pending}
        self._start = time.monotonic()
        count = len(invocation.trials)
        kept = f"{count - len(pending)} finished before, {len(pending)} to do"
        self._say(f"plan {invocation.plan} on {invocation.device}: {count} trials, {kept}")
        if pending and self._console.is_terminal and invocation.workers:  # a debugger has the terminal for itself
            from rich.live import Live

            self._bar.update(self._task, total=len(pending), left="estimating the time left")
            self._live = Live(self._render(), console=self._console, refresh_per_second=4, transient=True)
            self._live.start()

    @hookimpl
    def suite_trial_started(self, trial: Trial) -> None:
        self._running[trial.key] = Running(trial)
        self._refresh()

    @hookimpl
    def suite_validated(self, trial: Trial, validation: Validation) -> None:
        if trial.key in self._running:  # what arrives after a trial has ended is not shown
            self._running[trial.key] = Running(trial, validation.step, validation.scores.get("loss", math.nan))
        self._refresh()

    @hookimpl
    def suite_trial_finished(self, trial: Trial, outcome: Outcome) -> None:
        self._running.pop(trial.key, None)
        self._count += 1
        self._steps_done += self._steps.get(trial.key, 0)
        if self._live is None or outcome.status != "ok":
            self._say(f"[{self._count}/{len(self._steps)}] {describe(trial)}: {result(trial, outcome)}")
        self._refresh()

    @hookimpl
    def suite_timing_started(self, count: int) -> None:
        self._stop()
        self._say(f"timing {count} models, alone on the machine")

    @hookimpl
    def suite_report_written(self, folder: Path) -> None:
        self._stop()
        self._say(f"report written after {time.monotonic() - self._start:.0f} s: {folder / 'index.html'}")

    @hookimpl
    def suite_plan_finished(self) -> None:
        self._stop()

    def _say(self, line: str) -> None:
        """Print a line as it stands: without markup, which brackets in a folder's name would be taken for, and without line breaks."""
        self._console.print(line, markup=False, highlight=False, soft_wrap=True)

    def _stop(self) -> None:
        if self._live is not None:
            self._live.stop()
            self._live = None

    def _refresh(self) -> None:
        if self._live is None:
            return
        done = self._steps_done + sum(running.step * running.trial.length for running in self._running.values())
        if done:
            left = (time.monotonic() - self._start) / done * max(0, sum(self._steps.values()) - done)
            self._bar.update(self._task, left=f"about {left // 60:.0f} min {left % 60:.0f} s left")
        self._bar.update(self._task, completed=self._count)
        self._live.update(self._render())

    def _render(self) -> Group:
        from rich.console import Group
        from rich.table import Table
        from rich.text import Text

        table = Table.grid(padding=(0, 2))
        for members in self._populations():
            first, steps = members[0], max(running.step for running in members)
            losses = [running.loss for running in members if not math.isnan(running.loss)]
            loss = f"best loss {min(losses):.4g}" if losses else ""
            name = describe(first.trial) if len(members) == 1 else f"{describe_cell(first.trial)}: {len(members)} trials at once"
            table.add_row(Text(f"  {name}"), f"step {steps}/{first.trial.training.steps}", loss)
        return Group(self._bar, table)

    def _populations(self) -> list[list[Running]]:
        """The running trials, those together that differ in seed and learning rate alone."""
        together: dict[str, list[Running]] = {}
        for running in self._running.values():
            together.setdefault(describe_cell(running.trial), []).append(running)
        return list(together.values())


def start(*, progress: bool = False) -> Display | None:
    """Show the run on standard output, where it is asked for: the command line does, Python does not."""
    if not progress:
        return None
    from rich.console import Console

    return Display(Console())


@hookimpl
def suite_listeners() -> Iterator[Listener]:
    yield Listener("progress", start, about="shows the run as it goes; option progress")
