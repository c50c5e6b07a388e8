"""States what an executor must do: run calls of plain data elsewhere, so that the death of one takes no other along."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import Future
from pathlib import Path
from typing import Any, Protocol, TypeVar

from .events import Event

Answer = TypeVar("Answer")


class Died(Exception):
    """The process that did a call ended before the call did; the message says how."""


class Executor(Protocol):
    """Runs calls in other processes, as a context manager that ends them when it is left.

    The calls are functions of ``suite.execution.worker``; what goes in and comes out is plain data, which pickles.
    """

    @property
    def channel(self) -> Path:
        """Where calls tell of their progress: a pipe that several processes write the lines of events to."""

    def __enter__(self) -> Executor: ...

    def __exit__(self, *details: Any) -> None: ...

    def submit(self, call: Callable[..., Answer], *arguments: Any) -> Future[Answer]:
        """Begin a call, or let it wait for its turn; where its process dies, the future raises Died."""

    def events(self) -> Sequence[Event]:
        """What calls have told since this was last asked, in their order."""
