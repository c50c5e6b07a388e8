"""Checks that a wrapper that misbehaves is noted, that the other listeners hear all the same, and that interrupts pass through."""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import Any

import pluggy
import pytest

from suite import hookimpl
from suite.listeners.announce import Audience

from .audience import OldWrapper, Plain, Wrapper, tell
from .pretended import registry


class RaisesBefore:
    @hookimpl(wrapper=True)
    def suite_timing_started(self) -> Generator[None, Any, Any]:
        raise RuntimeError("before")
        yield


class RaisesAfter:
    @hookimpl(wrapper=True)
    def suite_timing_started(self) -> Generator[None, Any, Any]:
        yield
        raise RuntimeError("after")


class NeverYields:
    @hookimpl(wrapper=True)
    def suite_timing_started(self) -> Generator[None, Any, Any]:
        if str():  # noqa: UP018
            yield
        return None


class YieldsTwice:
    @hookimpl(wrapper=True)
    def suite_timing_started(self) -> Generator[None, Any, Any]:
        yield
        yield


class RefusesToClose:
    @hookimpl(wrapper=True)
    def suite_timing_started(self) -> Generator[None, Any, Any]:
        yield
        try:
            yield
        finally:
            yield


class OldRaisesBefore:
    @hookimpl(hookwrapper=True)
    def suite_timing_started(self) -> Generator[None, Any, None]:
        raise RuntimeError("before")
        yield


class OldRaisesAfter:
    @hookimpl(hookwrapper=True)
    def suite_timing_started(self) -> Generator[None, Any, None]:
        yield
        raise RuntimeError("after")


class OldYieldsTwice:
    @hookimpl(hookwrapper=True)
    def suite_timing_started(self) -> Generator[None, Any, None]:
        yield
        yield


class OldForces:
    @hookimpl(hookwrapper=True)
    def suite_timing_started(self) -> Generator[None, pluggy.Result[Any], None]:
        outcome = yield
        outcome.force_exception(RuntimeError("forced"))


@pytest.mark.parametrize(
    ("kind", "what"),
    [
        (RaisesBefore, "RuntimeError: before\nTraceback"),
        (RaisesAfter, "RuntimeError: after\nTraceback"),
        (NeverYields, "does not yield; a wrapper yields once"),
        (YieldsTwice, "yields more than once; a wrapper yields once"),
        (RefusesToClose, "RuntimeError: generator ignored GeneratorExit\nTraceback"),
        (OldRaisesBefore, "RuntimeError: before\nTraceback"),
        (OldRaisesAfter, "RuntimeError: after\nTraceback"),
        (OldYieldsTwice, "yields more than once; a wrapper yields once"),
        (OldForces, "RuntimeError: forced\nTraceback"),
    ],
)
def test_a_wrapper_that_misbehaves_is_noted_and_the_others_hear(kind: Callable[[], object], what: str) -> None:
    heard: list[str] = []
    others = [Plain("plain", heard), Wrapper("new", heard), OldWrapper("old", heard)]
    for position in range(4):
        heard.clear()
        audience = tell(*others[:position], kind(), *others[position:])
        assert heard == ["old before 3", "new before 3", "plain 3", "new after []", "old after []"]
        [(who, noted)] = audience.problems.items()
        assert who.endswith(", suite_timing_started")
        assert noted.startswith(what)


class Interrupting:
    @hookimpl
    def suite_timing_started(self) -> None:
        raise KeyboardInterrupt


class InterruptedBefore:
    @hookimpl(wrapper=True)
    def suite_timing_started(self) -> Generator[None, Any, Any]:
        raise KeyboardInterrupt
        yield


class InterruptedAfter:
    @hookimpl(wrapper=True)
    def suite_timing_started(self) -> Generator[None, Any, Any]:
        yield
        raise KeyboardInterrupt


class OldInterruptedAfter:
    @hookimpl(hookwrapper=True)
    def suite_timing_started(self) -> Generator[None, Any, None]:
        yield
        raise KeyboardInterrupt


class Swallowing:
    @hookimpl(wrapper=True)
    def suite_timing_started(self) -> Generator[None, Any, Any]:
        try:
            yield
        except BaseException:
            return []


class OldSwallowing:
    @hookimpl(hookwrapper=True)
    def suite_timing_started(self) -> Generator[None, pluggy.Result[Any], None]:
        outcome = yield
        outcome.force_result([])


@pytest.mark.parametrize("kind", [Interrupting, InterruptedBefore, InterruptedAfter, OldInterruptedAfter])
@pytest.mark.parametrize("wrapper", [Plain, Wrapper, OldWrapper, Swallowing, OldSwallowing])
def test_an_interrupt_passes_through(kind: Callable[[], object], wrapper: Callable[..., object]) -> None:
    around = wrapper("around", []) if issubclass(wrapper, Plain) else wrapper()  # type: ignore[arg-type]
    for listeners in ([kind(), around], [around, kind()]):
        audience = Audience(registry(), {}, listeners)
        with pytest.raises(KeyboardInterrupt):
            audience.tell("suite_timing_started", count=1)
        assert not [who for who in audience.problems if not who.startswith("OldWrapper")]  # get_result raises the interrupt


def test_a_wrapper_cleans_up_when_an_interrupt_passes() -> None:
    heard: list[str] = []

    class Cleaning:
        @hookimpl(wrapper=True)
        def suite_timing_started(self) -> Generator[None, Any, Any]:
            try:
                return (yield)
            finally:
                heard.append("cleaned")

    with pytest.raises(KeyboardInterrupt):
        tell(Interrupting(), Cleaning())
    assert heard == ["cleaned"]
