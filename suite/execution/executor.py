"""States what an executor must do: run calls of plain data elsewhere, within bounds, so that the end of one takes no other along."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol, TypeVar

from ..errors import SuiteError
from ..plan.schema import Limits
from .events import Event

Answer = TypeVar("Answer")

POLL_SECONDS = 0.1
"""So often events are looked for while calls are at work."""


@dataclass(frozen=True)
class Bounds:
    """What one call may take: seconds from its start to its answer, and bytes of memory with all processes that it begins; None is no bound.

    on_device: bytes of a GPU that it is thought to need, by which it is placed on one; nothing holds it to that
    """

    seconds: float | None = None
    memory: int | None = None
    on_device: int = 0


UNBOUNDED = Bounds()


def bounds_of(limits: Limits, count: int = 1, beside: float = 0.0, on_device: int = 0) -> Bounds:
    """What a call may take that does work for so many trials: the sum of their times, with seconds beside that; and memory as one process."""
    seconds = None if limits.timeout is None else limits.timeout * count + beside
    return Bounds(seconds, None if limits.memory is None else int(limits.memory * 2**30), on_device)


class Died(Exception):
    """The process that did a call ended before the call did, or was ended since it went out of its bounds.

    The message says how. status: the outcome's; output: what the process printed last, with the stacks it stood in where they are known
    """

    def __init__(self, reason: str, status: Literal["crashed", "oom", "timeout"] = "crashed", output: str = "") -> None:
        super().__init__(reason)
        self.status = status
        self.output = output


class Gone(SuiteError):
    """The pool can do no call any more, so that the run ends; what it has finished is kept."""


class Pool(Protocol):
    """Runs calls, as a context manager that ends them, and every process that they began, when it is left: an executor that is at work.

    The calls are functions of ``suite.execution.worker``; what goes in and comes out is plain data, which pickles.
    """

    @property
    def channel(self) -> Path:
        """Where calls tell of their progress: a file or pipe that several processes write the lines of events to."""

    def __enter__(self) -> Pool: ...

    def __exit__(self, *details: Any) -> None: ...

    def submit(self, call: Callable[..., Answer], *arguments: Any, bounds: Bounds = UNBOUNDED) -> Future[Answer]:
        """Let a call wait for its turn; a future that is cancelled before that is never begun.

        Where the call's process ends before it, or is ended since it went out of its bounds, the future raises Died; where no call can be
        done any more, Gone.
        """

    def wait(self, futures: Collection[Future[Any]], seconds: float) -> None:
        """Let calls go on until one of these has ended, or for so long."""

    def events(self) -> Sequence[Event]:
        """What calls have told since this was last asked, in their order."""


def answer(executor: Pool, future: Future[Answer], note: Callable[[str, str], object] = lambda _about, _note: None) -> Answer:
    """What a call comes to, waited for; of what is told meanwhile, sentences for the user are handed on, and the rest is for nobody."""
    done = False
    while not done:
        executor.wait([future], POLL_SECONDS)
        done = future.done()
        for event in executor.events():
            if event.note:
                note(event.about, event.note)
    return future.result()
