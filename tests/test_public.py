"""Checks that the public names are exactly these, and that every hook says in one sentence what it is for."""

from __future__ import annotations

import inspect
import subprocess
import sys

import pytest

import suite
from suite.registry import hookspecs

PUBLIC = {
    *(
        "Variant",
        "Task",
        "Batch",
        "Corruption",
        "Measure",
        "Stream",
        "Point",
        "Listener",
        "Executor",
        "Section",
        "Claim",
        "Expectation",
        "Goal",
    ),  # what plugins provide
    *("Results", "Element", "Prose", "Plot", "Table", "Bar", "Listing", "Part"),  # what report sections take and give
    *("SuiteError", "Unavailable", "hookimpl"),
    *("ops", "stats", "figures", "verdict"),  # modules that plugins build on
    *("run", "load", "draw", "test_stream"),
}

HOOKS = sorted(name for name in vars(hookspecs) if name.startswith("suite_"))


def test_public_names_are_exactly_these() -> None:
    assert set(suite.__all__) == PUBLIC
    assert len(suite.__all__) == len(PUBLIC)


def test_a_star_import_brings_each_of_them() -> None:
    code = "from suite import *; import suite; print(*(name for name in suite.__all__ if name not in globals()))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""


def test_another_name_is_refused() -> None:
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        suite.nothing  # noqa: B018


@pytest.mark.parametrize("name", suite.__all__)
def test_public_names_are_documented(name: str) -> None:
    thing = getattr(suite, name)
    assert name in {"Element", "hookimpl"} or inspect.getdoc(thing)


@pytest.mark.parametrize("name", HOOKS)
def test_hook_is_a_hook_with_one_sentence(name: str) -> None:
    hook = getattr(hookspecs, name)
    assert isinstance(hook.suite_spec, dict)
    text = inspect.getdoc(hook)
    assert text, f"{name} has no docstring"
    assert "\n" not in text
    assert text.endswith(".")
    assert ". " not in text
