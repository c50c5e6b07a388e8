"""Lists the doors: every hook a plugin may implement, in the order of a run, one signature and one sentence each."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import pluggy

from ..claim import Claim
from ..spec import Corruption, Executor, Grade, Listener, Measure, Section, Task, Variant
from ..trial import Grading, Invocation, Outcome, Timed, Timing, Trial, Validation

hookspec = pluggy.HookspecMarker("suite")


@hookspec
def suite_variants() -> Iterator[Variant]:  # type: ignore[empty-body]
    """Yield the recurrent architectures this file provides."""


@hookspec
def suite_tasks() -> Iterator[Task]:  # type: ignore[empty-body]
    """Yield the tasks this file provides."""


@hookspec
def suite_corruptions() -> Iterator[Corruption]:  # type: ignore[empty-body]
    """Yield the input corruptions this file provides."""


@hookspec
def suite_measures(corruptions: Mapping[str, Corruption]) -> Iterator[Measure]:  # type: ignore[empty-body]
    """Yield the questions to trained models this file provides; `corruptions` are all those found, by name."""


@hookspec
def suite_listeners() -> Iterator[Listener]:  # type: ignore[empty-body]
    """Yield what is to be started anew for each run, to hear the hooks below."""


@hookspec
def suite_executors() -> Iterator[Executor]:  # type: ignore[empty-body]
    """Yield the places where populations can be trained that this file provides."""


@hookspec
def suite_plan_started(invocation: Invocation) -> None:
    """Hear that a run begins, with the trials of its plan and those among them that are still to do."""


@hookspec
def suite_scheduled(populations: Sequence[Sequence[Trial]], workers: int, timings: Sequence[Timing]) -> None:
    """Hear what will be done: trials, those of a population as one program and the first ones first, so many at a time; then the rest, alone."""


@hookspec
def suite_trial_started(trial: Trial, step: int) -> None:
    """Hear that a worker took up a trial, and after which step its training goes on: 0 where it begins."""


@hookspec
def suite_validated(trial: Trial, validation: Validation) -> None:
    """Hear of a trial's scores on the validation stream at one step."""


@hookspec
def suite_trial_finished(trial: Trial, outcome: Outcome) -> None:
    """Hear how a trial ended; its file is already in the store."""


@hookspec
def suite_timing_started(count: int) -> None:
    """Hear that the trials are done and `count` models are being timed, alone on the machine."""


@hookspec
def suite_timed(timing: Timing, timed: Timed) -> None:
    """Hear what a timing came to; its file is already in the store."""


@hookspec
def suite_graded(grading: Grading, grade: Grade) -> None:
    """Hear how far a variant's numbers repeat; its file is already in the store."""


@hookspec
def suite_sections() -> Iterator[Section]:  # type: ignore[empty-body]
    """Yield the report sections this file provides."""


@hookspec
def suite_claims() -> Iterator[Claim]:  # type: ignore[empty-body]
    """Yield sentences of the field that this file holds a plan's results against."""


@hookspec
def suite_report_written(invocation: Invocation, folder: Path) -> None:
    """Hear that the report lies in `folder`, complete."""


@hookspec
def suite_plan_finished(invocation: Invocation) -> None:
    """Hear that the run is over; nothing follows."""
