"""Benchmarks recurrent networks: variants and tasks are plugins, the protocol is fair, the report is reproducible."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

import pluggy

from .spec import Batch, Corruption, Element, Goal, Plot, Prose, Results, Section, SuiteError, Table, Task, Unavailable, Variant

if TYPE_CHECKING:
    from . import figures, ops, stats
    from .api import load, run

hookimpl = pluggy.HookimplMarker("suite")
"""Marks a function as an implementation of one of the hooks in ``suite.hookspecs``."""

__all__ = [
    "Batch",
    "Corruption",
    "Element",
    "Goal",
    "Plot",
    "Prose",
    "Results",
    "Section",
    "SuiteError",
    "Table",
    "Task",
    "Unavailable",
    "Variant",
    "figures",
    "hookimpl",
    "load",
    "ops",
    "run",
    "stats",
]


def __getattr__(name: str) -> Any:
    # torch, pandas and matplotlib are imported when first needed, so that `suite --help` answers at once
    if name in {"figures", "ops", "stats"}:
        return importlib.import_module(f"suite.{name}")
    if name in {"load", "run"}:
        return getattr(importlib.import_module("suite.api"), name)
    raise AttributeError(f"module 'suite' has no attribute {name!r}")
