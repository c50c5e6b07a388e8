"""Writes what happens in a run to a file, a JSON object a line, for programs that follow it."""

from __future__ import annotations

import json
import math
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from ..errors import SuiteError
from ..spec import Grade, Listener, hookimpl
from ..trial import Grading, Invocation, Outcome, Timed, Timing, Trial, Validation

FORM = 1
"""The version of the lines' fields, which each run's first line states; fields may be added to it, and none changes its meaning."""


def named(trial: Trial) -> dict[str, Any]:
    """What tells a trial from others: its key, and its place in the plan."""
    return {
        "key": trial.key,
        "variant": trial.variant.label,
        "task": trial.task.label,
        "length": trial.length,
        "seed": trial.seed,
        "learning_rate": trial.training.learning_rate,
    }


def finite(scores: Mapping[str, float]) -> dict[str, float | None]:
    """Scores as JSON has them: it knows neither NaN nor infinity, in whose place stands null."""
    return {name: score if math.isfinite(score) else None for name, score in scores.items()}


class Journal:
    """A listener that appends a line for each thing it hears, written at once, so that a reader sees whole lines as they come.

    After a line that could not be written, as on a full disk, it writes no more, and says so.
    """

    def __init__(self, path: Path, clock: Callable[[], float] = time.time) -> None:
        self._path, self._clock = path, clock
        self._descriptor: int | None = _opened(path)

    @hookimpl
    def suite_plan_started(self, invocation: Invocation) -> None:
        counts = {"trials": len(invocation.trials), "pending": len(invocation.pending)}
        folder = str((invocation.runs / invocation.plan).resolve())
        self._write("plan_started", form=FORM, plan=invocation.plan, folder=folder, device=invocation.device, **counts)

    @hookimpl
    def suite_scheduled(self, populations: Sequence[Sequence[Trial]], workers: int, timings: Sequence[Timing]) -> None:
        keys = [[trial.key for trial in population] for population in populations]
        self._write("scheduled", workers=workers, populations=keys, timings=len(timings))

    @hookimpl
    def suite_trial_started(self, trial: Trial, step: int) -> None:
        self._write("trial_started", **named(trial), step=step, steps=trial.training.steps)

    @hookimpl
    def suite_validated(self, trial: Trial, validation: Validation) -> None:
        self._write("validated", **named(trial), step=validation.step, scores=finite(validation.scores))

    @hookimpl
    def suite_trial_finished(self, trial: Trial, outcome: Outcome) -> None:
        measured = {name: getattr(outcome, name) for name in ("train_seconds", "compile_seconds", "members")}
        solved = outcome.learning.steps_to_solve if outcome.learning else None
        self._write("trial_finished", **named(trial), status=outcome.status, reason=outcome.reason, steps_to_solve=solved, **measured)

    @hookimpl
    def suite_timing_started(self, count: int) -> None:
        self._write("timing_started", count=count)

    @hookimpl
    def suite_timed(self, timing: Timing, timed: Timed) -> None:
        place = {"variant": timing.variant.label, "engine": timing.engine, "shape": timing.shape.text()}
        self._write("timed", key=timing.key, **place, failed=timed.failed)

    @hookimpl
    def suite_graded(self, grading: Grading, grade: Grade) -> None:
        self._write("graded", key=grading.key, variant=grading.variant.label, failed=grade.failed)

    @hookimpl
    def suite_report_written(self, folder: Path) -> None:
        self._write("report_written", folder=str(folder))

    @hookimpl
    def suite_plan_finished(self) -> None:
        self._write("plan_finished")
        self._close()

    def _write(self, what: str, **fields: Any) -> None:
        """Append one line.

        Raises SuiteError where it cannot be written whole.
        """
        if self._descriptor is None:
            return
        line = (json.dumps({"time": round(self._clock(), 3), "what": what, **fields}, allow_nan=False) + "\n").encode()
        try:
            while line:
                line = line[os.write(self._descriptor, line) :]
        except OSError as error:
            self._close()
            raise SuiteError(f"--events {self._path}: {error.strerror}; nothing more is written to it, and the run goes on") from None

    def _close(self) -> None:
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None


def check(path: Path) -> None:
    """Raises SuiteError where the file cannot be written to."""
    os.close(_opened(path))


def _opened(path: Path) -> int:
    """Raises SuiteError where the file cannot be written to."""
    try:
        return os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o666)
    except OSError as error:
        raise SuiteError(f"--events {path}: {error.strerror}; name a file in a folder that can be written to") from None


def start(*, events: str = "") -> Journal | None:
    """Write events to a file, where one is named."""
    return Journal(Path(events)) if events else None


@hookimpl
def suite_listeners() -> Iterator[Listener]:
    yield Listener("events", start, about="appends what happens to a file, a JSON object a line; option events")
