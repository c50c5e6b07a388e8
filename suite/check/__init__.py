"""Checks plugins against the contract: a target becomes subjects, a subject findings, each with what it means and what to do."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from .. import machine, trainer
from ..grade import Grade, grade
from . import corruptions, sections, tasks, variants
from .contract import Check, Finding, Subject, checks_in, judge, judge_all, sealed
from .target import Target, resolve

__all__ = ["Check", "Finding", "Grade", "Subject", "Target", "checks_for", "examine", "grade", "grade_of", "judge", "resolve"]

MODULES = {"variant": variants, "task": tasks, "corruption": corruptions, "section": sections}


def checks_for(subject: Subject[Any], long: bool = False) -> tuple[Check, ...]:
    """The checks that a plugin of this kind must pass, in order; the long ones too where they are asked for."""
    return tuple(one for one in checks_in(MODULES[subject.kind]) if long or not one.long)


def examine(subject: Subject[Any], long: bool = False) -> Iterator[Finding]:
    """Check a plugin; after a check that others rest on has failed, the rest are skipped."""
    return judge_all(subject, checks_for(subject, long))


def grade_of(subject: Subject[Any]) -> Grade:
    """The grade of a variant on this machine's device, at D=8 and H=32."""
    device = machine.resolve_device("auto")
    with sealed():
        trainer.prepare(device)
        return grade(subject.noun, subject.options, 8, 32, device)
