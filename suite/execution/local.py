"""Runs calls in processes on this machine, forked from a server that has torch in memory."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from pathlib import Path
from typing import Any

from pebble import ProcessExpired, ProcessPool

from .. import machine
from .events import Event, event_of
from .executor import Answer, Died


def default_workers(device: str) -> int:
    """As many as cores; on a GPU at most four, which share its memory."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return cores if device == "cpu" else min(4, cores)


class LocalExecutor:
    """An executor with so many processes, each doing one call at a time."""

    def __init__(self, workers: int) -> None:
        self._workers = workers
        self._resources = contextlib.ExitStack()
        self._unread = b""

    def __enter__(self) -> LocalExecutor:
        with contextlib.ExitStack() as resources:
            folder = resources.enter_context(tempfile.TemporaryDirectory(prefix="suite-"))
            self.channel = Path(folder) / "events"
            os.mkfifo(self.channel)
            self._descriptor = os.open(self.channel, os.O_RDWR | os.O_NONBLOCK)
            resources.callback(os.close, self._descriptor)
            self._pool = resources.enter_context(_pool(self._workers))
            self._resources = resources.pop_all()
        return self

    def __exit__(self, *details: Any) -> None:
        self._resources.__exit__(*details)

    def submit(self, call: Callable[..., Answer], *arguments: Any) -> Future[Answer]:
        answer: Future[Answer] = Future()
        done: Future[Answer] = self._pool.schedule(call, args=arguments)
        done.add_done_callback(lambda future: _pass_on(future, answer))
        return answer

    def events(self) -> Sequence[Event]:
        with contextlib.suppress(BlockingIOError):  # nothing more for now
            while chunk := os.read(self._descriptor, 1 << 16):
                self._unread += chunk
        *lines, self._unread = self._unread.split(b"\n")
        return [event_of(line) for line in lines]


def _pass_on(done: Future[Answer], answer: Future[Answer]) -> None:
    """Give a finished call's answer to the one who waits, the death of its process in the executor's terms."""
    if done.cancelled():
        answer.cancel()
        return
    error = done.exception()
    if isinstance(error, ProcessExpired):
        answer.set_exception(Died(_cause(error)))
    elif error is not None:
        answer.set_exception(error)
    else:
        answer.set_result(done.result())


def _cause(error: ProcessExpired) -> str:
    code = error.exitcode
    if code == -signal.SIGKILL:
        return "its process was killed (SIGKILL); memory may have run out: try fewer --workers"
    return f"its process {'was killed by ' + signal.Signals(-code).name if code is not None and code < 0 else f'ended with code {code}'}"


def _ignore_interrupt() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent, which ends its workers


@contextlib.contextmanager
def _pool(workers: int) -> Iterator[ProcessPool]:
    """A pool of processes; environment and caller are as they were afterwards."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["suite.execution.preload"])
    main = sys.modules["__main__"]
    hidden: dict[str, Any] = {name: main.__dict__[name] for name in ("__file__", "__spec__") if name in main.__dict__}
    before = {name: os.environ.get(name) for name in machine.ENVIRONMENT}
    os.environ.update(machine.ENVIRONMENT)
    # A worker needs nothing of the caller's script: unseen, it is not run again in each of them.
    main.__dict__.pop("__file__", None)
    main.__spec__ = None
    pool = ProcessPool(max_workers=workers, context=context, initializer=_ignore_interrupt)
    try:
        yield pool
        pool.close()  # type: ignore[no-untyped-call]
    except BaseException:
        pool.stop()  # type: ignore[no-untyped-call]
        raise
    finally:
        pool.join()
        main.__dict__.update(hidden)
        for name, value in before.items():
            os.environ.pop(name) if value is None else os.environ.__setitem__(name, value)
