"""Runs calls in processes on this machine, forked from a server that has torch in memory, each under a warden of its own."""

from __future__ import annotations

import concurrent.futures
import contextlib
import multiprocessing
import os
import pickle
import shutil
import signal
import sys
import tempfile
import threading
from collections import deque
from collections.abc import Callable, Collection, Iterator, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any

from .. import dropins, machine
from ..spec import Executor, hookimpl
from . import warden
from .events import Event, event_of
from .executor import UNBOUNDED, Answer, Bounds, Died

LEAVING_SECONDS = 10.0
"""A warden should have ended its worker, and itself, after so long."""

FOLDER_SHARE = 0.5
"""The part of a disk's free space that the temporary files of all workers may take."""


def default_workers(device: str) -> int:
    """As many as cores; on a GPU at most four, which share its memory."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return cores if device == "cpu" else min(4, cores)


@dataclass(frozen=True)
class _Call:
    """A call as its warden gets it, and the future that waits for it."""

    future: Future[Any]
    bounds: Bounds
    request: bytes


def _begin_server() -> None:
    """Begin the process that wardens are forked from, deaf to Ctrl-C, which would interrupt it while it imports torch."""
    from multiprocessing import forkserver, resource_tracker  # which only those need who begin processes

    multiprocessing.get_context("forkserver").set_forkserver_preload(["suite.execution.preload"])
    resource_tracker.ensure_running()  # which the server would begin otherwise, and which lets Ctrl-C through afterwards
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})  # which a new process inherits
    try:
        forkserver.ensure_running()
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


class _Warden:
    """The near end of a process that watches over a worker, and the call that it is at, if any."""

    def __init__(self, folder: Path, room: int) -> None:
        context = multiprocessing.get_context("forkserver")
        self.connection, theirs = context.Pipe()
        self._process = context.Process(target=warden.watch, args=(theirs, folder, room, dropins.ROOTS), daemon=True)
        self._process.start()
        theirs.close()
        self.call: _Call | None = None

    def begin(self, call: _Call) -> None:
        self.call = call
        with contextlib.suppress(OSError):  # it has just ended, which is seen when it is heard
            self.connection.send((call.bounds, call.request))

    def leave(self) -> None:
        """Hang up, upon which it ends its worker with all that this has begun, and then itself."""
        self.connection.close()

    def join(self) -> None:
        self._process.join(LEAVING_SECONDS)
        if self._process.is_alive():
            self._process.kill()
            self._process.join()
        self._process.close()


class LocalPool:
    """A pool of so many processes, each doing one call at a time.

    What a call prints is shown when it ends well, on standard error unless `show` says, shortened where it is long; with Died it comes in
    its output.
    """

    def __init__(self, workers: int, show: Callable[[str], object] | None = None) -> None:
        self._workers, self._show = workers, show
        self._waiting: deque[_Call] = deque()
        self._wardens: list[_Warden] = []
        self._resources = contextlib.ExitStack()
        self._leaving = False
        self._unread = b""

    def __enter__(self) -> LocalPool:
        with contextlib.ExitStack() as resources:
            self._folder = Path(resources.enter_context(tempfile.TemporaryDirectory(prefix="suite-", ignore_cleanup_errors=True)))
            self.channel = self._folder / "events"
            os.mkfifo(self.channel)
            self._descriptor = os.open(self.channel, os.O_RDWR | os.O_NONBLOCK)
            resources.callback(os.close, self._descriptor)
            resources.enter_context(_surroundings())
            resources.callback(self._end_wardens)
            self._room = int(FOLDER_SHARE * shutil.disk_usage(self._folder).free / self._workers)
            _begin_server()
            for number in range(self._workers):
                self._wardens.append(self._warden(number))
            self._bell, self._ringing = multiprocessing.Pipe(duplex=False)
            self._thread = threading.Thread(target=self._dispatch, name="suite executor", daemon=True)
            self._thread.start()
            resources.callback(self._end_thread)
            self._resources = resources.pop_all()
        return self

    def __exit__(self, *details: Any) -> None:
        self._resources.__exit__(*details)

    def submit(self, call: Callable[..., Answer], *arguments: Any, bounds: Bounds = UNBOUNDED) -> Future[Answer]:
        future: Future[Answer] = Future()
        self._waiting.append(_Call(future, bounds, pickle.dumps((call, arguments))))
        self._ringing.send_bytes(b"!")
        return future

    def wait(self, futures: Collection[Future[Any]], seconds: float) -> None:
        concurrent.futures.wait(futures, seconds, concurrent.futures.FIRST_COMPLETED)

    def events(self) -> Sequence[Event]:
        with contextlib.suppress(BlockingIOError):  # nothing more for now
            while chunk := os.read(self._descriptor, 1 << 16):
                self._unread += chunk
        *lines, self._unread = self._unread.split(b"\n")
        return [event_of(line) for line in lines]

    def _warden(self, number: int) -> _Warden:
        return _Warden(self._folder / f"worker-{number}", self._room)

    def _end_wardens(self) -> None:
        for each in self._wardens:
            each.leave()
        for each in self._wardens:
            each.join()

    def _end_thread(self) -> None:
        self._leaving = True
        self._ringing.send_bytes(b"!")
        self._thread.join()
        self._bell.close()
        self._ringing.close()
        for call in self._waiting:
            call.future.cancel()

    def _dispatch(self) -> None:
        """Hand calls to wardens and their ends to futures, in a thread of its own, so that workers never wait for the run."""
        try:
            self._hand_over()
        except BaseException as error:  # as where no process can be begun: nobody waits for ever
            atwork = [each.call for each in self._wardens if each.call is not None]
            for call in (*atwork, *self._waiting):
                if not call.future.done():
                    call.future.set_exception(error)

    def _hand_over(self) -> None:
        while not self._leaving:
            for free in (each for each in self._wardens if each.call is None):
                if (call := self._next()) is not None:
                    free.begin(call)
            busy = {each.connection: number for number, each in enumerate(self._wardens) if each.call is not None}
            for ready in wait([self._bell, *busy]):
                if ready is self._bell:
                    self._bell.recv_bytes()
                elif isinstance(ready, Connection):
                    self._hear(busy[ready])

    def _next(self) -> _Call | None:
        """The next call that nobody has cancelled."""
        while self._waiting:
            call = self._waiting.popleft()
            if call.future.set_running_or_notify_cancel():
                return call
        return None

    def _hear(self, number: int) -> None:
        """Take what a warden says of the call that it was at; one that is gone is replaced."""
        told = self._wardens[number]
        call, told.call = told.call, None
        assert call is not None
        try:
            ended: warden.Ended = told.connection.recv()
        except (EOFError, OSError):
            told.leave()
            told.join()
            self._wardens[number] = self._warden(number)
            ended = warden.Ended(status="crashed", reason="its process was ended together with the one that watched over it")
        if ended.status:
            call.future.set_exception(Died(ended.reason, ended.status, ended.printed))
            return
        if ended.printed:
            (self._show or sys.stderr.write)(ended.printed)
        try:
            well, answer = pickle.loads(ended.answer)
        except Exception as error:  # of classes that are not here
            well, answer = False, error
        call.future.set_result(answer) if well else call.future.set_exception(answer)


def _start(workers: int, _device: str) -> LocalPool:
    return LocalPool(workers)


@hookimpl
def suite_executors() -> Iterator[Executor]:
    yield Executor("local", _start, default_workers, "processes on this machine, as many as cores unless --workers says")


@contextlib.contextmanager
def _surroundings() -> Iterator[None]:
    """What the server of processes starts with; environment and caller are as they were afterwards."""
    main = sys.modules["__main__"]
    hidden: dict[str, Any] = {name: main.__dict__[name] for name in ("__file__", "__spec__") if name in main.__dict__}
    before = {name: os.environ.get(name) for name in machine.ENVIRONMENT}
    os.environ.update(machine.ENVIRONMENT)
    # A worker needs nothing of the caller's script: unseen, it is not run again in each of them.
    main.__dict__.pop("__file__", None)
    main.__spec__ = None
    try:
        yield
    finally:
        main.__dict__.update(hidden)
        for name, value in before.items():
            os.environ.pop(name) if value is None else os.environ.__setitem__(name, value)
