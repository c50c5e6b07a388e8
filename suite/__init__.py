"""Benchmarks recurrent networks: variants and tasks are plugins, the protocol is fair, the report is reproducible."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from .claim import Claim, Expectation
from .errors import SuiteError, Unavailable
from .shown import Bar, Element, Listing, Part, Plot, Prose, Table
from .spec import (
    Batch,
    Corruption,
    Executor,
    Goal,
    Listener,
    Measure,
    Point,
    Results,
    Section,
    Stream,
    Task,
    Variant,
    hookimpl,
)

if TYPE_CHECKING:
    from . import ops
    from .api import run
    from .loaded import draw, load
    from .report import figures, stats, verdict
    from .training.data import test_stream

__all__ = [
    "Bar",
    "Batch",
    "Claim",
    "Corruption",
    "Element",
    "Executor",
    "Expectation",
    "Goal",
    "Listener",
    "Listing",
    "Measure",
    "Part",
    "Plot",
    "Point",
    "Prose",
    "Results",
    "Section",
    "Stream",
    "SuiteError",
    "Table",
    "Task",
    "Unavailable",
    "Variant",
    "draw",
    "figures",
    "hookimpl",
    "load",
    "ops",
    "run",
    "stats",
    "test_stream",
    "verdict",
]


LATER = {"figures": "report.figures", "ops": "ops", "stats": "report.stats", "verdict": "report.verdict"}
"""Modules that plugins build on, imported when first needed, so that `suite --help` answers at once."""

FUNCTIONS = {"draw": "loaded", "load": "loaded", "run": "api", "test_stream": "training.data"}
"""Functions, and the modules that have them, imported likewise."""


def __getattr__(name: str) -> Any:
    if name in LATER:
        return importlib.import_module(f"suite.{LATER[name]}")
    if name in FUNCTIONS:
        return getattr(importlib.import_module(f"suite.{FUNCTIONS[name]}"), name)
    raise AttributeError(f"module 'suite' has no attribute {name!r}")
