"""Shows a run as it goes: a live display on a terminal, plain lines elsewhere."""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ..spec import Listener, hookimpl
from ..trial import FAULTS, Invocation, Outcome, Timing, Trial, Validation
from .course import Hearing, Layout
from .forecast import seconds_left
from .notebook import Output, in_notebook
from .recall import recalled

if TYPE_CHECKING:
    from rich.console import Console, Group
    from rich.live import Live


TOLD_SECONDS = 60.0
"""Where there is no terminal, the time left is said with a trial's end, at most so often."""


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


def span(seconds: float) -> str:
    """About how long that is, no finer than an estimate is good for; never nothing."""
    if seconds < 10:
        return "a few seconds"
    if seconds < 115:
        return f"about {5 * math.ceil(seconds / 5)} s"
    minutes = round(seconds / 60)
    if minutes < 120:
        return f"about {minutes} min"
    hours = round(minutes / 60)
    return f"about {hours} h" if hours < 48 else f"about {round(hours / 24)} days"


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


def opening(plan: str, device: str, count: int, pending: int) -> str:
    """What is said first of a run."""
    return f"plan {plan} on {device}: {count} trials, {count - pending} finished before, {pending} to do"


class Display:
    """A listener that keeps one live display in the parent, or prints a line for each trial where there is neither terminal nor notebook.

    A thread draws the display anew by itself, so that its clocks go on whatever the run is at.
    """

    def __init__(self, console: Console, clock: Callable[[], float] = time.monotonic, *, notebook: bool = False) -> None:
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

        self._console, self._clock, self._notebook = console, clock, notebook
        self._live: Live | Output | None = None
        self._running: dict[str, Running] = {}
        self._count = self._pending = self._failed = 0
        self._debugged = False
        self._start = self._told = clock()
        self._hearing, self._trained = Hearing(self._start), frozenset[str]()
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[unit]}, {task.fields[left]}"),
            TimeElapsedColumn(),
            console=console,
        )
        self._task = self._bar.add_task("training", total=None, unit="trials", left="")

    @hookimpl
    def suite_plan_started(self, invocation: Invocation) -> None:
        self._start = self._told = self._clock()
        self._hearing = Hearing(self._start)
        self._hearing.known(recalled(invocation) if invocation.pending else ())
        self._trained = frozenset(key for key, outcome in invocation.finished.items() if outcome.learning)  # only an evaluation is new
        self._pending, count = len(invocation.pending), len(invocation.trials)
        self._say(opening(invocation.plan, invocation.device, count, self._pending))
        self._debugged = not invocation.workers  # a debugger has the terminal for itself
        if self._pending:
            self._show(f"training on {invocation.device}", self._pending, "trials", refreshes=4)

    @hookimpl
    def suite_scheduled(self, populations: Sequence[Sequence[Trial]], workers: int, timings: Sequence[Timing]) -> None:
        from ..ops.engines import engine  # imports torch, as whoever plans a run has done before

        groups = tuple(tuple(group) for group in populations)
        names = {trial.engine for group in groups for trial in group} | {timing.engine for timing in timings}
        compiling = frozenset(name for name in names if engine(name).compiles)
        self._hearing.scheduled(Layout(groups, workers, self._trained, tuple(timings), compiling), self._clock())

    @hookimpl
    def suite_trial_started(self, trial: Trial, step: int) -> None:
        self._running[trial.key] = Running(trial, step)
        self._hearing.started(trial.key, self._clock())

    @hookimpl
    def suite_validated(self, trial: Trial, validation: Validation) -> None:
        if trial.key in self._running:  # what arrives after a trial has ended is not shown
            self._running[trial.key] = Running(trial, validation.step, validation.scores.get("loss", math.nan))
            self._hearing.validated(trial.key, validation.step, self._clock())
            self._heard()

    @hookimpl
    def suite_trial_finished(self, trial: Trial, outcome: Outcome) -> None:
        self._running.pop(trial.key, None)
        self._count += 1
        self._failed += outcome.status != "ok"
        self._hearing.finished(trial.key, outcome, self._clock())
        self._bar.update(self._task, completed=self._count, unit=f"trials, {self._failed} not well" if self._failed else "trials")
        if self._live is None or outcome.status != "ok":
            self._say(f"[{self._count}/{self._pending}] {describe(trial)}: {result(trial, outcome)}")
        if self._live is None and self._clock() - self._told >= TOLD_SECONDS and self._count < self._pending:
            self._told = self._clock()
            self._say(f"{self._failed} of {self._count} did not end well, {self._left()}" if self._failed else self._left())
        self._heard()

    @hookimpl
    def suite_timing_started(self, count: int) -> None:
        self._running.clear()
        self._hearing.timing_started(self._clock())
        self._say(f"timing {count} models, alone on the machine")
        self._show("timing", count, "models", refreshes=1)  # drawing takes time from what is timed

    @hookimpl
    def suite_timed(self, timing: Timing) -> None:
        self._hearing.timed(timing, self._clock())
        self._bar.advance(self._task)
        self._heard()

    @hookimpl
    def suite_report_written(self, folder: Path) -> None:
        self._stop()
        self._say(f"report written after {self._clock() - self._start:.0f} s: {folder / 'index.html'}")

    @hookimpl
    def suite_plan_finished(self) -> None:
        self._stop()

    def _say(self, line: str) -> None:
        """Print a line as it stands: without markup, which brackets in a folder's name would be taken for, and without line breaks."""
        self._console.print(line, markup=False, highlight=False, soft_wrap=True)

    def _show(self, what: str, total: int, unit: str, refreshes: float) -> None:
        """Begin a live display of one part of the run, drawn so often a second on a terminal, where there is one or a notebook."""
        self._stop()
        self._bar.update(self._task, description=what, total=total, completed=0, unit=unit)
        if self._console.is_terminal and not self._debugged:
            from rich.live import Live

            self._live = Live(get_renderable=self._render, console=self._console, refresh_per_second=refreshes, transient=True)
            self._live.start()
        elif self._notebook and not self._debugged:
            self._live = Output(self._render, self._clock)
            self._live.start()

    def _heard(self) -> None:
        """Let a notebook's output change; a terminal's is drawn by a thread of its own."""
        if isinstance(self._live, Output):
            self._live.heard()

    def _stop(self) -> None:
        if self._live is not None:
            self._live.stop()
            self._live = None

    def _left(self) -> str:
        """The time left, in a few words."""
        seconds = seconds_left(self._hearing.layout, self._hearing.course, self._clock())
        return "estimating the time left" if seconds is None else f"{span(seconds)} left"

    def _render(self) -> Group:
        from rich.console import Group
        from rich.table import Table
        from rich.text import Text

        self._bar.update(self._task, left=self._left())
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
        for running in list(self._running.values()):  # a thread draws, while others start and end
            together.setdefault(describe_cell(running.trial), []).append(running)
        return list(together.values())


def watched() -> bool:
    """Whether a person sees what is printed: in a terminal or a notebook."""
    return sys.stdout.isatty() or in_notebook()


def start(*, progress: bool = False) -> Display | None:
    """Show the run on standard output, where it is asked for: the command line does, and Python where a person sees it."""
    if not progress:
        return None
    from rich.console import Console

    notebook = in_notebook()
    console = Console(force_jupyter=False, force_terminal=False) if notebook else Console()  # a kernel says that it is a terminal
    return Display(console, notebook=notebook)


@hookimpl
def suite_listeners() -> Iterator[Listener]:
    yield Listener("progress", start, about="shows the run as it goes; option progress")
