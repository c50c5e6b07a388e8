"""Runs calls in this process, one after another, so that a debugger stops in them; nothing bounds them."""

from __future__ import annotations

import contextlib
import os
import tempfile
import warnings
from collections import deque
from collections.abc import Callable, Collection, Iterator, Sequence
from concurrent.futures import Future
from pathlib import Path
from typing import Any

from ..spec import Executor, hookimpl
from .events import Event, event_of
from .executor import UNBOUNDED, Answer, Bounds

INLINE = "inline"


class InlinePool:
    """A pool without processes: a call is done when somebody waits, and what kills it kills the run.

    Bounds are not kept, since nobody can end a call of this very process but the one at the keyboard.
    """

    def __init__(self) -> None:
        self._waiting: deque[Callable[[], None]] = deque()
        self._resources = contextlib.ExitStack()

    def __enter__(self) -> InlinePool:
        with contextlib.ExitStack() as resources:
            self.channel = Path(resources.enter_context(tempfile.TemporaryDirectory(prefix="suite-"))) / "events"
            self._descriptor = os.open(self.channel, os.O_CREAT | os.O_RDONLY)
            resources.callback(os.close, self._descriptor)
            resources.enter_context(_torch_as_before())
            self._resources = resources.pop_all()
        return self

    def __exit__(self, *details: Any) -> None:
        self._resources.__exit__(*details)

    def submit(self, call: Callable[..., Answer], *arguments: Any, bounds: Bounds = UNBOUNDED) -> Future[Answer]:  # noqa: ARG002
        future: Future[Answer] = Future()

        def begin() -> None:
            if not future.set_running_or_notify_cancel():
                return
            try:
                future.set_result(call(*arguments))
            except Exception as error:
                future.set_exception(error)

        self._waiting.append(begin)
        return future

    def wait(self, futures: Collection[Future[Any]], seconds: float) -> None:  # noqa: ARG002
        if self._waiting and not any(future.done() for future in futures):
            self._waiting.popleft()()

    def events(self) -> Sequence[Event]:
        text = b""
        while chunk := os.read(self._descriptor, 1 << 16):
            text += chunk
        return [event_of(line) for line in text.splitlines()]


def _start(_workers: int, _device: str) -> InlinePool:
    return InlinePool()


def _workers(_device: str) -> int:
    """None, since no process works beside this one."""
    return 0


@hookimpl
def suite_executors() -> Iterator[Executor]:
    yield Executor(INLINE, _start, _workers, "this very process, for a debugger; nothing is held to a limit")


@contextlib.contextmanager
def _torch_as_before() -> Iterator[None]:
    """Leave torch as the caller has it: its threads, its generator, and whether its kernels are deterministic."""
    import torch

    threads, deterministic = torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()
    with torch.random.fork_rng(devices=[]), warnings.catch_warnings():
        try:
            yield
        finally:
            torch.set_num_threads(threads)
            torch.use_deterministic_algorithms(deterministic)
