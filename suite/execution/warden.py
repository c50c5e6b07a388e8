"""Watches over one worker process at a time: hands it calls, holds it to their bounds, and leaves nothing behind when it ends."""

from __future__ import annotations

import contextlib
import fcntl
import os
import pickle
import shutil
import signal
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from multiprocessing import Pipe
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Literal

from .. import dropins, kinship
from . import processes, serve
from .executor import Bounds

WATCH_SECONDS = 0.1
"""So often a worker is looked at."""

FOLDER_SECONDS = 1.0
"""So often its temporary folder is looked at."""

FOLDER_FILES = 10_000
"""Of a folder with more files than this, the others are not counted."""

STACK_SECONDS = 0.3
"""So long a worker that is to be ended has to write where it stands."""

LEAVE_SECONDS = 1.0
"""So long a worker whose run is gone has to keep how far its training has come."""

GONE_SECONDS = 1.0
"""A worker that has hung up should have ended after so long."""

KEPT_BYTES = 16 << 10
"""Of what is printed during a call, so much is kept of its beginning and of its end."""

CHUNK = 1 << 20
"""So much of what is printed is read at a time."""

SET_PIPE_SIZE = getattr(fcntl, "F_SETPIPE_SZ", 1031)

GIB = 1 << 30

KILLED = "its process was killed by SIGKILL"
UNWATCHED = "its process was ended together with the one that watched over it"
"""What is said of deaths that come from outside."""


@dataclass(frozen=True)
class Order:
    """A call as a warden gets it: what bounds it, the call itself, pickled, and the variables that its process begins with."""

    bounds: Bounds
    request: bytes
    environment: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Ended:
    """How a call ended.

    answer: pickled; status, reason: of a process that ended before; printed: during the call, shortened
    fault: what the call met that its device may be at fault for
    """

    answer: bytes = b""
    status: Literal["", "crashed", "oom", "timeout"] = ""
    reason: str = ""
    printed: str = ""
    fault: str = ""


class Printed:
    """What a worker prints, through a pipe that is always read, so that it never waits; beginning and end are kept."""

    def __init__(self, descriptor: int) -> None:
        os.set_blocking(descriptor, False)
        self.descriptor: int = descriptor
        self.open = True
        self._head, self._tail, self._count = bytearray(), bytearray(), 0

    def read(self) -> None:
        """Take what is there, of one that prints without end a piece."""
        try:
            chunk = os.read(self.descriptor, CHUNK)
        except BlockingIOError:
            return
        self.open = bool(chunk)
        self._count += len(chunk)
        room = KEPT_BYTES - len(self._head)
        self._head += chunk[:room]
        self._tail = (self._tail + chunk[room:])[-KEPT_BYTES:]

    def take(self) -> str:
        """The text since this was last asked, with a word where a part of it is left out."""
        for _ in range(64):  # what a call has printed at its end; others may go on printing
            before = self._count
            self.read()
            if self._count == before:
                break
        left_out = self._count - len(self._head) - len(self._tail)
        word = f"\n[… {left_out:,} of {self._count:,} printed bytes are left out …]\n" if left_out else ""
        text = self._head.decode(errors="backslashreplace") + word + self._tail.decode(errors="backslashreplace")
        self._head, self._tail, self._count = bytearray(), bytearray(), 0
        return text


class Worker:
    """A process forked from this one, which has torch in memory already, with a temporary folder of its own."""

    def __init__(self, folder: Path, room: int, environment: Mapping[str, str], others: tuple[Connection, ...]) -> None:
        self._folder, self._room, self.environment = folder, room, environment
        folder.mkdir(exist_ok=True)
        self.connection, theirs = Pipe()
        reading, writing = os.pipe()
        with contextlib.suppress(OSError):  # a larger one has those who print much wait less, where the system has that
            fcntl.fcntl(writing, SET_PIPE_SIZE, CHUNK)
        self._killed_before = processes.killed_for_memory()
        self._code: int | None = None
        self.pid = os.fork()
        if self.pid == 0:
            for connection in (self.connection, *others):
                connection.close()
            os.close(reading)
            os.environ.update(environment)  # before anything of it has looked for a GPU
            serve.serve(theirs, writing, folder)
        theirs.close()
        os.close(writing)
        self.printed = Printed(reading)

    def leftovers(self) -> list[int]:
        """Processes that a call has begun and not ended."""
        return [pid for pid in processes.descendants(os.getpid()) if pid != self.pid]

    def memory(self, enough: int) -> int:
        """Bytes that the worker and all below it take."""
        return processes.memory(processes.descendants(os.getpid()), enough)

    def overfull(self) -> bool:
        """Whether the temporary folder holds more than its part of the free space."""
        with contextlib.suppress(OSError):  # what is written there comes and goes
            return sum(_sizes(self._folder)) > self._room
        return False

    def tell_stack(self) -> None:
        """Let the worker write where it stands, and read it."""
        if serve.TELL_STACK is None:
            return
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, serve.TELL_STACK)
        until = time.monotonic() + STACK_SECONDS
        while time.monotonic() < until and self.printed.open:
            if wait([self.printed.descriptor], timeout=0.05):
                self.printed.read()

    def let_go(self) -> None:
        """Tell it to end, and wait for that a moment."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGTERM)
        self.exit_code(LEAVE_SECONDS)

    def exit_code(self, seconds: float) -> int | None:
        """How the worker ended, negative for a signal; None where it has not after so long."""
        until = time.monotonic() + seconds
        while self._code is None:
            with contextlib.suppress(ChildProcessError):
                pid, status = os.waitpid(self.pid, os.WNOHANG)
                if pid:
                    self._code = os.waitstatus_to_exitcode(status)
            if time.monotonic() >= until:
                break
            time.sleep(0.01)
        return self._code

    def death(self, code: int | None) -> Ended:
        """A death that nobody here has brought about."""
        if code == -signal.SIGKILL and processes.killed_for_memory() > self._killed_before:
            return Ended(status="oom", reason="the system killed its process, since memory ran out; try fewer --workers, or --memory")
        if code == -signal.SIGKILL:
            return Ended(status="crashed", reason=f"{KILLED}; memory may have run out: try fewer --workers")
        if code is None:
            return Ended(status="crashed", reason="its process no longer listened, as after closing files that are not its own")
        if code < 0:
            return Ended(status="crashed", reason=f"its process was killed by {_signal_name(-code)}")
        return Ended(status="crashed", reason=f"its process ended with code {code}")

    def end(self) -> None:
        """End it with all that it has begun, and remove what it has written."""
        processes.end(self.pid)
        self.connection.close()
        os.close(self.printed.descriptor)
        shutil.rmtree(self._folder, ignore_errors=True)

    def tidy(self) -> None:
        """Empty the temporary folder."""
        for entry in self._folder.iterdir() if self._folder.is_dir() else ():
            if entry.is_dir() and not entry.is_symlink():
                shutil.rmtree(entry, ignore_errors=True)
            else:
                entry.unlink(missing_ok=True)
        self._folder.mkdir(exist_ok=True)


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:  # one without a name
        return f"signal {number}"


def _sizes(folder: Path) -> Iterator[int]:
    """Bytes on disk of the files in a folder."""
    files = (os.path.join(place, name) for place, _, names in os.walk(folder) for name in names)
    for file in islice(files, FOLDER_FILES):
        with contextlib.suppress(FileNotFoundError):
            yield os.lstat(file).st_blocks * 512


class HungUp(Exception):
    """The run has ended, or has left its executor."""


@contextlib.contextmanager
def _told_to_end_later() -> Iterator[None]:
    """Hold SIGTERM back while this lasts: a process that is just being forked would take it with its parent's handler."""
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})


def watch(run: Connection, folder: Path, room: int, roots: Sequence[Path], fatal: Mapping[str, str]) -> None:
    """Do the calls that come through the connection, each in a worker, until the run hangs up; nothing is left then.

    folder: for the worker's temporary files, which may take so much room in bytes
    roots: where the run looks for drop-ins, and so its workers
    fatal: how modules end the process that imports them, which therefore is not tried
    """
    dropins.search(roots)
    dropins.FATAL.update(fatal)
    os.setsid()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    kinship.adopt_orphans()
    worker: Worker | None = None
    try:
        while True:
            order: Order = run.recv()
            if worker is not None and worker.environment != order.environment:
                worker.end()
                worker = None
            with _told_to_end_later():
                worker = worker or Worker(folder, room, order.environment, (run,))
            ended, usable = attend(run, worker, order.bounds, order.request)
            if usable and not worker.leftovers():
                worker.tidy()
            else:
                worker.end()
                worker = None
            run.send(ended)
    except (EOFError, OSError, HungUp):  # a run that is killed ends the connection too
        return
    finally:
        if worker is not None:
            worker.end()


def attend(run: Connection, worker: Worker, bounds: Bounds, request: bytes) -> tuple[Ended, bool]:
    """Have a worker do a call within its bounds; how that ended, and whether the worker can do another.

    Raises HungUp where the run is no longer there.
    """
    with contextlib.suppress(OSError):  # it has just died, which is seen below
        worker.connection.send_bytes(request)
    now = time.monotonic()
    until = now + bounds.seconds if bounds.seconds is not None else float("inf")
    looked = looked_at_folder = now
    while True:
        watched: list[Connection | int] = [run, worker.connection]
        if worker.printed.open:
            watched.append(worker.printed.descriptor)
        ready = wait(watched, timeout=max(0.0, min(WATCH_SECONDS, until - now)))
        if worker.printed.descriptor in ready:
            worker.printed.read()
        if run in ready:
            worker.let_go()
            raise HungUp
        if worker.connection in ready:
            return _heard(worker)
        now = time.monotonic()
        if now >= until:
            worker.tell_stack()
            return _with_output(worker, Ended(status="timeout", reason=f"was not done after {bounds.seconds:g} s, its time limit")), False
        if now - looked < WATCH_SECONDS:
            continue
        looked = now
        if (code := worker.exit_code(0)) is not None and not worker.connection.poll():
            return _with_output(worker, worker.death(code)), False
        if bounds.memory is not None and (taken := worker.memory(bounds.memory)) > bounds.memory:
            worker.tell_stack()
            reason = f"its processes took {taken / GIB:.2f} GiB together, and {bounds.memory / GIB:g} GiB are allowed"
            return _with_output(worker, Ended(status="oom", reason=reason)), False
        if now - looked_at_folder > FOLDER_SECONDS:
            looked_at_folder = now
            if worker.overfull():
                return _with_output(
                    worker, Ended(status="crashed", reason="it was ended, since its temporary files filled the disk")
                ), False


def _heard(worker: Worker) -> tuple[Ended, bool]:
    """The answer of a worker that has something to say; where it hung up instead, how it ended."""
    try:
        retired, fault, answer = pickle.loads(worker.connection.recv_bytes())
    except (EOFError, OSError):
        return _with_output(worker, worker.death(worker.exit_code(GONE_SECONDS))), False
    return _with_output(worker, Ended(answer, fault=fault)), not retired


def _with_output(worker: Worker, ended: Ended) -> Ended:
    return replace(ended, printed=worker.printed.take())
