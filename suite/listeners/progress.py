"""Shows a run as it goes: a live display on a terminal, plain lines elsewhere."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from ..measures.scores import skill_of
from ..spec import Listener, hookimpl
from ..trial import Invocation, Outcome, Trial, Validation

if TYPE_CHECKING:
    from rich.console import Console, Group
    from rich.live import Live


def describe(trial: Trial) -> str:
    return f"{trial.variant.label} on {trial.task.label}, T={trial.length}, seed {trial.seed}, rate {trial.training.learning_rate:g}"


def result(trial: Trial, outcome: Outcome) -> str:
    """How a trial ended, in a few words."""
    if outcome.status != "ok":
        return f"{outcome.status}: {outcome.reason}"
    clean = outcome.evaluations[trial.evaluations[0].key][0]
    solved = outcome.learning.steps_to_solve if outcome.learning else None
    return f"skill {skill_of(clean):.3f}, " + (f"solved at step {solved}" if solved else "not solved")


class Display:
    """A listener that keeps one live display in the parent, or prints a line a trial where there is no terminal."""

    def __init__(self, console: Console) -> None:
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

        self._console = console
        self._live: Live | None = None
        self._running: dict[str, tuple[Trial, int, float]] = {}
        self._steps_done = self._steps = self._count = self._total = 0
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
        self._total, self._steps, self._start = len(pending), sum(trial.training.steps for trial in pending), time.monotonic()
        kept = len(invocation.trials) - len(pending)
        self._console.print(
            f"plan {invocation.plan} on {invocation.device}: {len(invocation.trials)} trials, {kept} finished before, {len(pending)} to do"
        )
        if pending and self._console.is_terminal:
            self._bar.update(self._task, total=len(pending), left="estimating the time left")
            from rich.live import Live

            self._live = Live(self._render(), console=self._console, refresh_per_second=4, transient=True)
            self._live.start()

    @hookimpl
    def suite_trial_started(self, trial: Trial) -> None:
        self._running[trial.key] = (trial, 0, float("nan"))
        self._refresh()

    @hookimpl
    def suite_validated(self, trial: Trial, validation: Validation) -> None:
        self._running[trial.key] = (trial, validation.step, validation.scores.get("loss", float("nan")))
        self._refresh()

    @hookimpl
    def suite_trial_finished(self, trial: Trial, outcome: Outcome) -> None:
        self._running.pop(trial.key, None)
        self._count += 1
        self._steps_done += trial.training.steps
        line = f"[{self._count}/{self._total}] {describe(trial)}: {result(trial, outcome)}"
        if self._live is None or outcome.status != "ok":
            self._console.print(line, markup=False, highlight=False, soft_wrap=True)
        self._refresh()

    @hookimpl
    def suite_timing_started(self, count: int) -> None:
        self._stop()
        self._console.print(f"timing {count} models, alone on the machine")

    @hookimpl
    def suite_report_written(self, folder: Path) -> None:
        self._stop()
        self._console.print(f"report written after {time.monotonic() - self._start:.0f} s: {folder / 'index.html'}", soft_wrap=True)

    @hookimpl
    def suite_plan_finished(self) -> None:
        self._stop()

    def _stop(self) -> None:
        if self._live is not None:
            self._live.stop()
            self._live = None

    def _refresh(self) -> None:
        done = self._steps_done + sum(step for _, step, _ in self._running.values())
        if done:
            left = (time.monotonic() - self._start) / done * (self._steps - done)
            self._bar.update(self._task, left=f"about {left // 60:.0f} min {left % 60:.0f} s left")
        self._bar.update(self._task, completed=self._count)
        if self._live is not None:
            self._live.update(self._render())

    def _render(self) -> Group:
        from rich.console import Group
        from rich.table import Table

        table = Table.grid(padding=(0, 2))
        for trial, step, loss in self._running.values():
            table.add_row(f"  {describe(trial)}", f"step {step}/{trial.training.steps}", "" if loss != loss else f"loss {loss:.4g}")
        return Group(self._bar, table)


def start(*, progress: bool = False) -> Display | None:
    """Show the run on standard output, where it is asked for: the command line does, Python does not."""
    if not progress:
        return None
    from rich.console import Console

    return Display(Console())


@hookimpl
def suite_listeners() -> Iterator[Listener]:
    yield Listener("progress", start, about="shows the run as it goes; option progress")
