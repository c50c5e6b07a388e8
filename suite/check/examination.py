"""Examines a plugin: runs the checks of its kind, one finding each, and grades a variant."""

from __future__ import annotations

import textwrap
import time
import traceback
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

from .. import machine
from ..errors import Raised, SuiteError, contained
from ..measures import repeatability
from ..spec import Grade
from ..training import trainer
from . import causes, corruptions, sections, tasks, variants
from .contract import Check, Failed, Finding, Kind, Skipped, Status, Subject, checks_in
from .surroundings import sealed

MODULES: dict[Kind, ModuleType] = {"variant": variants, "task": tasks, "corruption": corruptions, "section": sections}
"""Where the checks of each kind of plugin are."""

REASON_LENGTH = 400
"""So much of an exception's message is shown."""

GRADE_HIDDEN_SIZE = 32


def checks_for(subject: Subject[Any], long: bool = False) -> tuple[Check, ...]:
    """The checks that a plugin of this kind must pass, in order; the long ones too where they are asked for."""
    return tuple(check for check in checks_in(MODULES[subject.kind]) if long or not check.long)


def examine(subject: Subject[Any], long: bool = False) -> Iterator[Finding]:
    """Check a plugin; after a check that others rest on has failed, the rest are skipped."""
    failed = ""
    for check in checks_for(subject, long):
        if failed:
            reason = f"skipped, since '{failed}' failed"
            yield Finding(subject.kind, subject.label, check.name, check.means, check.remedy, "skipped", reason)
            continue
        finding = judge(subject, check)
        if check.first and finding.status == "failed":
            failed = check.name
        yield finding


def judge(subject: Subject[Any], check: Check) -> Finding:
    """Run one check; whatever the plugin raises becomes the finding's reason."""
    start = time.perf_counter()
    with contained() as raised, sealed():
        check.body(subject)
    seconds = time.perf_counter() - start
    status, reason, where = _ended(raised, subject.path)
    remedy = check.remedy
    if status == "failed":
        remedy = causes.advice(causes.Failure(subject, check.name, reason)) or remedy
    return Finding(subject.kind, subject.label, check.name, check.means, remedy, status, reason, where, seconds)


def _ended(raised: Raised, path: Path | None) -> tuple[Status, str, str]:
    """How a check ended, why, and the line of the plugin's file that an exception came through."""
    if raised.error is None:
        return "ok", "", ""
    if isinstance(raised.error, Skipped):
        return "skipped", str(raised.error), ""
    if isinstance(raised.error, Failed):
        return "failed", str(raised.error), ""
    reason = raised.reason if isinstance(raised.error, SuiteError) else textwrap.shorten(raised.reason, REASON_LENGTH, placeholder=" …")
    return "failed", reason, _where(raised.error, path)


def _where(error: BaseException, path: Path | None) -> str:
    frames = traceback.extract_tb(error.__traceback__)
    own = [frame for frame in frames if path and Path(frame.filename) == path]
    return f"{_short(Path(own[-1].filename))}:{own[-1].lineno}" if own else ""


def _short(path: Path) -> Path:
    return path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path


def grade_of(subject: Subject[Any]) -> Grade:
    """The grade of a variant on this machine's device."""
    device = machine.resolve_device("auto")
    with contained() as raised, sealed():
        trainer.prepare(device)
        return repeatability.grade(subject.noun, subject.options, repeatability.INPUT_SIZE, GRADE_HIDDEN_SIZE, device)
    return Grade(failed=raised.reason)
