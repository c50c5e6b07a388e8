"""Checks that listeners are told in order, and that one that raises harms nobody."""

from __future__ import annotations

from typing import Any

import pluggy
import pytest

from suite import hookimpl, hookspecs
from suite.listeners import Listeners


class Named:
    def __init__(self, name: str, heard: list[str]) -> None:
        self.name, self.heard = name, heard

    @hookimpl
    def suite_timing_started(self, count: int) -> None:
        self.heard.append(f"{self.name} {count}")


class Early(Named):
    @hookimpl(tryfirst=True)
    def suite_timing_started(self, count: int) -> None:
        super().suite_timing_started(count)


class Late(Named):
    @hookimpl(trylast=True)
    def suite_timing_started(self, count: int) -> None:
        super().suite_timing_started(count)


class Raising:
    @hookimpl
    def suite_timing_started(self) -> None:
        raise RuntimeError("broken bell")


@pytest.fixture
def hooks() -> pluggy.PluginManager:
    manager = pluggy.PluginManager("suite")
    manager.add_hookspecs(hookspecs)
    return manager


def test_found_plugins_come_first_and_marks_move_one(hooks: pluggy.PluginManager) -> None:
    heard: list[str] = []
    for one in (Late("late", heard), Named("found", heard), Early("early", heard)):
        hooks.register(one)
    with Listeners(hooks, [Named("given", heard), Named("second", heard)]) as audience:
        audience.tell("suite_timing_started", count=3)
    assert heard == ["early 3", "found 3", "given 3", "second 3", "late 3"]
    assert len(hooks.get_plugins()) == 3  # those handed in are gone


def test_one_that_raises_is_noted_once_and_the_others_hear(hooks: pluggy.PluginManager) -> None:
    heard: list[str] = []
    with Listeners(hooks, [Raising(), Named("after", heard)]) as audience:
        audience.tell("suite_timing_started", count=1)
        audience.tell("suite_timing_started", count=2)
    assert heard == ["after 1", "after 2"]
    [(who, what)] = audience.problems.items()
    assert who == "Raising, suite_timing_started"
    assert what.startswith("RuntimeError: broken bell\nTraceback")


def test_interrupting_is_not_a_listeners_failure(hooks: pluggy.PluginManager) -> None:
    class Interrupting:
        @hookimpl
        def suite_timing_started(self) -> Any:
            raise KeyboardInterrupt

    with Listeners(hooks, [Interrupting()]) as audience, pytest.raises(KeyboardInterrupt):
        audience.tell("suite_timing_started", count=1)
