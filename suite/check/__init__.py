"""Checks plugins against the contract: a target becomes subjects, a subject findings, each with what it means and what to do."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .contract import Check, Finding, Subject
    from .examination import checks_for, examine, grade_of, judge
    from .target import Target, resolve

__all__ = ["Check", "Finding", "Subject", "Target", "checks_for", "examine", "grade_of", "judge", "resolve"]

_HOMES = {
    "contract": ("Check", "Finding", "Subject"),
    "examination": ("checks_for", "examine", "grade_of", "judge"),
    "target": ("Target", "resolve"),
}
"""The module of each name; imported when first needed, since pytest loads this package in projects that never ask for a check."""


def __getattr__(name: str) -> Any:
    for module, names in _HOMES.items():
        if name in names:
            return getattr(importlib.import_module(f"{__name__}.{module}"), name)
    raise AttributeError(f"module 'suite.check' has no attribute {name!r}")
