"""Checks that listeners hear a run as pluggy's users expect, and that one that raises is noted and harms nobody."""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from types import ModuleType

import pluggy
import pytest

from suite import SuiteError, hookimpl
from suite.listeners.announce import EVENTS, Audience
from suite.registry import hookspecs

from .audience import Early, Late, OldWrapper, Plain, Raising, Wrapper, tell
from .pretended import registry


def test_the_events_are_the_hooks_that_yield_nothing() -> None:
    assert EVENTS == [
        "suite_plan_started",
        "suite_scheduled",
        "suite_trial_started",
        "suite_validated",
        "suite_trial_finished",
        "suite_timing_started",
        "suite_timed",
        "suite_graded",
        "suite_report_written",
        "suite_plan_finished",
    ]


def test_of_equals_the_last_is_called_first_and_marks_move_a_listener() -> None:
    heard: list[str] = []
    plugins = registry(Late("late", heard), Plain("plugin", heard), Early("early", heard), noun=lambda: Plain("noun", heard))
    audience = Audience(plugins, {}, [Plain("given", heard), Plain("second", heard), Late("later", heard), Early("earlier", heard)])
    audience.tell("suite_timing_started", count=3)
    assert heard == ["earlier 3", "early 3", "second 3", "given 3", "plugin 3", "noun 3", "late 3", "later 3"]
    assert not audience.problems


def test_wrappers_stand_around_the_others() -> None:
    heard: list[str] = []
    audience = tell(Wrapper("new", heard), OldWrapper("old", heard), Early("early", heard), Plain("plain", heard))
    assert heard == ["old before 3", "new before 3", "early 3", "plain 3", "new after []", "old after []"]
    assert not audience.problems


def test_the_order_is_that_of_pluggy_itself() -> None:
    def listeners(heard: list[str]) -> list[object]:
        kinds = (Plain, Late, Wrapper, Early, OldWrapper, Plain, Early, Wrapper, Late)
        return [kind(f"{kind.__name__} {number}", heard) for number, kind in enumerate(kinds)]

    expected: list[str] = []
    manager = pluggy.PluginManager("suite")
    manager.add_hookspecs(hookspecs)
    for listener in listeners(expected):
        manager.register(listener)
    manager.hook.suite_timing_started(count=3)
    heard: list[str] = []
    tell(*listeners(heard))
    assert heard == expected


def test_a_listener_that_raises_is_noted_once_and_the_others_hear() -> None:
    heard: list[str] = []
    audience = Audience(registry(), {}, [Plain("before", heard), Raising(), Plain("after", heard)])
    audience.tell("suite_timing_started", count=1)
    audience.tell("suite_timing_started", count=2)
    assert heard == ["after 1", "before 1", "after 2", "before 2"]
    [(who, what)] = audience.problems.items()
    assert who == "Raising, suite_timing_started"
    assert what.startswith("RuntimeError: broken bell\nTraceback (most recent call last):")
    assert 'raise RuntimeError("broken bell")' in what


def test_each_listener_and_each_hook_is_noted() -> None:
    class Twice(Raising):
        @hookimpl
        def suite_plan_finished(self) -> None:
            raise ValueError("broken again")

    audience = Audience(registry(), {}, [Twice(), Twice(), Raising()])
    audience.tell("suite_timing_started", count=1)
    audience.tell("suite_plan_finished", invocation=None)
    assert set(audience.problems) == {
        "Raising, suite_timing_started",
        "Twice, suite_timing_started",
        "Twice 2, suite_timing_started",
        "Twice, suite_plan_finished",
        "Twice 2, suite_plan_finished",
    }


def test_a_suite_error_is_noted_as_a_sentence_without_its_traceback() -> None:
    class Sorry:
        @hookimpl
        def suite_timing_started(self) -> None:
            raise SuiteError("the bell is elsewhere")

    assert tell(Sorry()).problems == {"Sorry, suite_timing_started": "the bell is elsewhere"}


def test_leaving_the_program_is_noted_too() -> None:
    class Leaving:
        @hookimpl
        def suite_timing_started(self) -> None:
            sys.exit(3)

    assert tell(Leaving()).problems["Leaving, suite_timing_started"].startswith("SystemExit: 3\n")


def module(heard: list[str]) -> ModuleType:
    @hookimpl
    def suite_timing_started(count: int) -> None:
        heard.append(f"module {count}")

    @hookimpl
    def suite_plan_finished() -> None:
        heard.append("module finished")

    plugin = ModuleType("plugin_of_a_test")
    plugin.suite_timing_started = suite_timing_started  # type: ignore[attr-defined]
    plugin.suite_plan_finished = suite_plan_finished  # type: ignore[attr-defined]
    return plugin


def test_modules_methods_and_functions_with_some_of_the_arguments_are_called() -> None:
    heard: list[str] = []

    class Various:
        label = "class"

        @classmethod
        @hookimpl
        def suite_plan_started(cls) -> None:
            heard.append(f"{cls.label} started")

        @staticmethod
        @hookimpl
        def suite_timing_started(count: int) -> None:
            heard.append(f"static {count}")

        @hookimpl(specname="suite_plan_finished")
        def says_farewell(self, invocation: str) -> None:
            heard.append(f"{type(self).__name__} finished {invocation}")

        @property
        def explosive(self) -> None:
            raise AssertionError("properties are not looked into")

    audience = Audience(registry(module(heard)), {}, [Various(), module(heard)])
    audience.tell("suite_plan_started", invocation="tiny")
    audience.tell("suite_timing_started", count=2)
    audience.tell("suite_plan_finished", invocation="tiny")
    assert heard == [
        "class started",
        *("module 2", "static 2", "module 2"),
        *("module finished", "Various finished tiny", "module finished"),
    ]
    assert not audience.problems


def test_a_hook_that_does_not_exist_is_noted_with_the_one_that_was_meant() -> None:
    class Misspelt:
        @hookimpl
        def suite_timing_strated(self) -> None: ...

    class Deaf:
        def suite_timing_started(self) -> None: ...

    class Curious:
        @hookimpl
        def suite_timing_started(self, number: int) -> None: ...

        @hookimpl
        def suite_plan_finished(self) -> None:
            raise SuiteError("heard")

    audience = tell(Misspelt(), Deaf(), Curious())
    audience.tell("suite_plan_finished", invocation=None)
    assert audience.problems["Misspelt, suite_timing_strated"].endswith("is no hook; did you mean 'suite_timing_started'?")
    assert audience.problems["Deaf"] == "hears nothing: no method of it is marked @hookimpl"
    assert "number" in audience.problems["Curious, suite_timing_started"]
    assert audience.problems["Curious, suite_plan_finished"] == "heard"
    assert len(audience.problems) == 4


@dataclass
class Counting:
    loud: bool = False
    share: float = 0.5
    counts: list[int] = field(default_factory=list)

    @hookimpl
    def suite_timing_started(self, count: int) -> None:
        self.counts.append(count)
        if self.loud:
            raise RuntimeError("too loud")


def test_two_runs_share_neither_listeners_nor_problems() -> None:
    started: list[Counting] = []

    def start(*, loud: bool = False, share: float = 0.5) -> Counting:
        started.append(Counting(loud, share))
        return started[-1]

    plugins = registry(counting=start)
    first, second = Audience(plugins, {"loud": True, "share": 1}), Audience(plugins, {})
    first.tell("suite_timing_started", count=1)
    second.tell("suite_timing_started", count=2)
    assert started == [Counting(True, 1.0, [1]), Counting(False, 0.5, [2])]
    assert isinstance(started[0].share, float)
    assert list(first.problems) == ["counting, suite_timing_started"]
    assert not second.problems


def test_equal_listeners_all_hear() -> None:
    listeners = [Counting(), Counting()]
    assert listeners[0] == listeners[1]
    tell(*listeners)
    assert [listener.counts for listener in listeners] == [[3], [3]]


def test_options_are_checked_before_anything_starts() -> None:
    def start(*, loud: bool = False, share: float = 0.5) -> None:
        raise AssertionError(f"started all the same, with {loud} and {share}")

    plugins = registry(counting=start, quiet=lambda: None)
    with pytest.raises(SuiteError, match=r"no listener has the option 'lout'; did you mean 'loud'\?"):
        Audience(plugins, {"lout": True})
    with pytest.raises(SuiteError, match="listener 'counting': option loud: 'yes' is str, not bool"):
        Audience(plugins, {"loud": "yes"})
    with pytest.raises(SuiteError, match="listener 'counting': option share: True is bool, not float"):
        Audience(plugins, {"share": True})


def test_a_listener_whose_start_raises_is_noted_and_one_may_stay_away() -> None:
    heard: list[str] = []

    def broken() -> object:
        raise OSError("no terminal")

    def sorry() -> object:
        raise SuiteError("not today")

    audience = Audience(registry(broken=broken, sorry=sorry, away=lambda: None, there=lambda: Plain("there", heard)), {})
    audience.tell("suite_timing_started", count=1)
    assert heard == ["there 1"]
    assert set(audience.problems) == {"broken", "sorry"}
    assert audience.problems["broken"].startswith("OSError: no terminal\nTraceback")
    assert audience.problems["sorry"] == "not today"


def test_notes_of_the_run_itself_are_kept_once() -> None:
    audience = tell()
    audience.note("gru", "first")
    audience.note("gru", "second")
    assert audience.problems == {"gru": "first"}
