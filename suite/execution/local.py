"""Runs calls in processes on this machine, forked from a server that has torch in memory, each under a warden of its own."""

from __future__ import annotations

import concurrent.futures
import contextlib
import multiprocessing
import os
import pickle
import shutil
import sys
import tempfile
import threading
from collections import deque
from collections.abc import Callable, Collection, Iterator, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any

from .. import dropins, machine
from ..spec import Executor, hookimpl
from . import placement, server, warden
from .events import Event, event_of
from .executor import UNBOUNDED, Answer, Bounds, Died, Gone
from .placement import Device, Placement

LEAVING_SECONDS = 10.0
"""A warden should have ended its worker, and itself, after so long."""

FOLDER_SHARE = 0.5
"""The part of a disk's free space that the temporary files of all workers may take."""


def default_workers(device: str, devices: int = 1) -> int:
    """As many as cores; at most four on each GPU, which share its memory."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return cores if device == "cpu" else devices * max(1, min(4, cores // devices))


@dataclass(frozen=True)
class _Call:
    """A call, and the future that waits for it.

    begun: whether it was ever at work; failed: the devices that it has failed on, by their names
    """

    future: Future[Any]
    bounds: Bounds
    request: bytes
    begun: bool = False
    failed: frozenset[str] = frozenset()


@dataclass(frozen=True)
class _AtWork:
    """A call at work, and on which device, if it was placed on one.

    ended: how it ended, of one whose device is being tried out since that may be at fault
    """

    call: _Call
    device: Device | None = None
    ended: warden.Ended | None = None

    @property
    def order(self) -> warden.Order:
        environment = self.device.environment if self.device else {}
        if self.device and self.ended:
            request = pickle.dumps((placement.try_out, (self.device.kind,)))
            return warden.Order(Bounds(seconds=placement.TRIAL_SECONDS), request, environment)
        return warden.Order(self.call.bounds, self.call.request, environment)


class _Warden:
    """The near end of a process that watches over a worker, the call that it is at, if any, and the device of the last one."""

    def __init__(self, folder: Path, room: int) -> None:
        context = multiprocessing.get_context("forkserver")
        self.connection, theirs = context.Pipe()
        self._process = context.Process(target=warden.watch, args=(theirs, folder, room, dropins.ROOTS, dropins.FATAL), daemon=True)
        self._process.start()
        theirs.close()
        self.atwork: _AtWork | None = None
        self.device: Device | None = None

    def begin(self, atwork: _AtWork) -> None:
        self.atwork, self.device = atwork, atwork.device
        with contextlib.suppress(OSError):  # it has just ended, which is seen when it is heard
            self.connection.send(atwork.order)

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
    its output. Where there are devices, each call is placed on one; what fails on one goes to another, and a device that has fallen over is
    used no longer.
    """

    def __init__(self, workers: int, show: Callable[[str], object] | None = None, devices: Sequence[Device] = ()) -> None:
        self._workers, self._show = workers, show
        self._placement = Placement(tuple(devices), -(-workers // max(1, len(devices))))
        self._heard: deque[Event] = deque()
        self._gone: Gone | None = None
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
            resources.enter_context(server.surroundings())
            resources.callback(self._end_wardens)
            self._room = int(FOLDER_SHARE * shutil.disk_usage(self._folder).free / self._workers)
            server.begin()
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
        return [event_of(line) for line in lines] + [self._heard.popleft() for _ in range(len(self._heard))]

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
            self._give_up(error)

    def _give_up(self, error: BaseException) -> None:
        """Let nobody wait any longer."""
        atwork = [each.atwork.call for each in self._wardens if each.atwork is not None]
        for call in (*atwork, *self._waiting):
            if not call.future.done():
                call.future.set_exception(error)
        self._waiting.clear()

    def _hand_over(self) -> None:
        while not self._leaving:
            self._begin()
            busy = {each.connection: number for number, each in enumerate(self._wardens) if each.atwork is not None}
            for ready in wait([self._bell, *busy]):
                if ready is self._bell:
                    self._bell.recv_bytes()
                elif isinstance(ready, Connection):
                    self._hear(busy[ready])

    def _begin(self) -> None:
        """Hand waiting calls to wardens that are free, in their order, as long as there is a place for the next one."""
        if self._gone:
            self._give_up(self._gone)
        while self._waiting and (free := [each for each in self._wardens if each.atwork is None]):
            call = self._waiting[0]
            device = self._placement.choice(call.bounds.on_device, call.failed)
            if device is None and self._placement.devices:
                return
            self._waiting.popleft()
            if not call.begun and not call.future.set_running_or_notify_cancel():
                continue
            if device is not None:
                self._placement = self._placement.begun(device, call.bounds.on_device)
            there = min(free, key=lambda each: each.device != device)  # rather one whose process computes on the device already
            there.begin(_AtWork(replace(call, begun=True), device))

    def _hear(self, number: int) -> None:
        """Take what a warden says of the call that it was at, and where a device may be at fault, have it tried out at once."""
        atwork, ended = self._wardens[number].atwork, self._ended(number)
        assert atwork is not None
        call, device = atwork.call, atwork.device
        if device is None:
            self._conclude(call, ended)
        elif atwork.ended is not None:
            self._placement = self._placement.ended(device, call.bounds.on_device)
            self._judge(call, device, atwork.ended, ended)
        elif ended.fault or ended.status in {"crashed", "timeout"}:
            self._wardens[number].begin(replace(atwork, ended=ended))
        else:
            self._placement = self._placement.ended(device, call.bounds.on_device)
            if not ended.status:
                self._change(self._placement.blaming(call.failed))
            self._conclude(call, ended)

    def _ended(self, number: int) -> warden.Ended:
        """How the call of a warden ended; one that is gone itself is replaced."""
        watching = self._wardens[number]
        watching.atwork = None
        try:
            ended: warden.Ended = watching.connection.recv()
        except (EOFError, OSError):
            watching.leave()
            watching.join()
            self._wardens[number] = self._warden(number)
            ended = warden.Ended(status="crashed", reason=warden.UNWATCHED)
        return ended

    def _judge(self, call: _Call, device: Device, ended: warden.Ended, tried: warden.Ended) -> None:
        """Say whether a device or its call is at fault, after the device was tried out; what may yet do well elsewhere goes there."""
        fault = ended.fault or placement.device_fault(ended.printed)
        failed = call.failed | {device.name}
        why = _failure(tried)
        if why and placement.has_fallen_over(tried.status, why):
            self._change(self._placement.without(device, fault or why))
        elif not fault or not self._placement.others(failed):
            self._conclude(call, ended)
            return
        self._waiting.appendleft(replace(call, failed=failed))

    def _change(self, changed: Placement) -> None:
        """Go on with other devices, and tell of those that are lost; where none is left, nobody waits any longer."""
        for name in changed.lost.keys() - self._placement.lost.keys():
            self._heard.append(
                Event("", note=f"is used no longer: {changed.lost[name]}; its work goes to the others", about=f"device {name}")
            )
        self._placement = changed
        if changed.devices and not changed.usable:
            reasons = "; ".join(f"{name}: {reason}" for name, reason in changed.lost.items())
            self._gone = Gone(
                f"no device is left to compute on ({reasons}); what is finished is kept, and the same command goes on once a device is there"
            )

    def _conclude(self, call: _Call, ended: warden.Ended) -> None:
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


def _failure(tried: warden.Ended) -> str:
    """Why trying a device out failed; empty where it did not."""
    if tried.status:
        return tried.reason
    well, raised = pickle.loads(tried.answer)
    return "" if well else f"{type(raised).__name__}: {' '.join(str(raised).split())}"


def pool(workers: int, device: str, gpus: str = "") -> LocalPool:
    """A pool that computes on a device, or on the GPUs that are named."""
    return LocalPool(workers, devices=placement.devices(device, gpus))


def _start(workers: int, device: str, *, devices: str = "") -> LocalPool:
    return pool(workers, device, devices)


def _workers(device: str, *, devices: str = "") -> int:
    return default_workers(device, len(machine.gpu_indices(devices)) if devices else 1)


@hookimpl
def suite_executors() -> Iterator[Executor]:
    about = "processes on this machine, as many as cores unless --workers says; option devices (cuda:0,cuda:1 or all: --devices)"
    yield Executor("local", _start, _workers, about)
