"""Small listeners, and an audience that is told of one event."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass
from typing import Any

import pluggy

from suite import hookimpl
from suite.listeners.announce import Audience

from .pretended import registry


def tell(*listeners: object, count: int = 3) -> Audience:
    """Tell listeners of one event, and give the audience back for its problems."""
    audience = Audience(registry(), {}, listeners)
    audience.tell("suite_timing_started", count=count)
    return audience


@dataclass(eq=False)
class Plain:
    name: str
    heard: list[str]

    @hookimpl
    def suite_timing_started(self, count: int) -> None:
        self.heard.append(f"{self.name} {count}")


class Early(Plain):
    @hookimpl(tryfirst=True)
    def suite_timing_started(self, count: int) -> None:
        super().suite_timing_started(count)


class Late(Plain):
    @hookimpl(trylast=True)
    def suite_timing_started(self, count: int) -> None:
        super().suite_timing_started(count)


class Wrapper(Plain):
    @hookimpl(wrapper=True)
    def suite_timing_started(self, count: int) -> Generator[None, list[Any], list[Any]]:  # type: ignore[override]
        self.heard.append(f"{self.name} before {count}")
        result = yield
        self.heard.append(f"{self.name} after {result}")
        return result


class OldWrapper(Plain):
    @hookimpl(hookwrapper=True)
    def suite_timing_started(self, count: int) -> Generator[None, pluggy.Result[Any], None]:  # type: ignore[override]
        self.heard.append(f"{self.name} before {count}")
        outcome = yield
        self.heard.append(f"{self.name} after {outcome.get_result()}")


class Raising:
    @hookimpl
    def suite_timing_started(self) -> None:
        raise RuntimeError("broken bell")
