"""Trains on the nodes of a Ray cluster, an existing one or one begun here; this machine alone writes the store."""

from __future__ import annotations

import concurrent.futures
import contextlib
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Collection, Iterator, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any

from ..errors import SuiteError
from ..spec import Executor, hookimpl
from . import carrying, cluster
from .carrying import CHANNEL, News, Parcel
from .cluster import Wanted
from .delivery import Ended, conclude, deliver
from .events import Event, event_of
from .executor import POLL_SECONDS, UNBOUNDED, Answer, Bounds, Died

TRIES = 3
"""A call whose node is lost is done on another one, so often in all."""

LOOK_SECONDS = 2.0
"""So often the cluster is asked which nodes it still has."""

PATIENCE_SECONDS = 10.0
"""So long a cluster may have no node that can do the calls before they are given up."""

LEAVING_SECONDS = 5.0
"""So long calls that are to end have for it, before Ray ends their processes."""


class Mailbox:
    """Takes what calls on other nodes tell, for the run to fetch; an actor on the run's own node."""

    def __init__(self) -> None:
        self._news: list[tuple[str, News]] = []

    def put(self, call: str, news: News) -> None:
        self._news.append((call, news))

    def take(self) -> list[tuple[str, News]]:
        news, self._news = self._news, []
        return news


def _serve(parcel: Parcel, name: str, mailbox: Any) -> Ended | None:
    """Do a call on the node that this is, and tell the run of it."""
    import ray

    return deliver(parcel, lambda news: ray.get(mailbox.put.remote(name, news)))


@dataclass
class _Call:
    """A call that waits or is at work: how often it was begun, what it was sent as, and why what it wrote could not be kept."""

    future: Future[Any]
    call: Callable[..., Any]
    arguments: tuple[Any, ...]
    bounds: Bounds
    tries: int = 0
    parcel: Parcel | None = None
    name: str = ""
    fault: SuiteError | None = None


class RayPool:
    """A pool of so many places on the nodes of a cluster, each call in a process under a warden as on this machine.

    A call whose node is lost is done again on another one, from where it was last kept.
    """

    def __init__(self, workers: int, device: str, wanted: Wanted) -> None:
        self._workers, self._device, self._wanted = workers, device, wanted
        self.channel = CHANNEL
        self._waiting: deque[_Call] = deque()
        self._atwork: dict[Any, _Call] = {}  # by the reference to its end
        self._heard: deque[Event] = deque()
        self._bell = threading.Event()
        self._leaving = False
        self._gone = ""
        self._began = 0
        self._looked = self._possible = time.monotonic()
        self._resources = contextlib.ExitStack()

    def __enter__(self) -> RayPool:
        with contextlib.ExitStack() as resources:
            ray = cluster.connected(self._wanted)
            resources.callback(ray.shutdown)
            self._alike = carrying.alike(self._device)
            self._mailbox = ray.remote(Mailbox).options(num_cpus=0, scheduling_strategy=cluster.here()).remote()
            # a process of Ray that has a GPU does one call: what its calls are forked from keeps the GPU that it saw first
            self._serve = ray.remote(max_calls=int(self._wanted.gpus > 0))(_serve).options(**self._wanted.resources, max_retries=0)
            self._thread = threading.Thread(target=self._dispatch, name="suite executor", daemon=True)
            self._thread.start()
            resources.callback(self._leave)
            self._resources = resources.pop_all()
        return self

    def __exit__(self, *details: Any) -> None:
        self._resources.__exit__(*details)

    def submit(self, call: Callable[..., Answer], *arguments: Any, bounds: Bounds = UNBOUNDED) -> Future[Answer]:
        future: Future[Answer] = Future()
        self._waiting.append(_Call(future, call, arguments, bounds))
        self._bell.set()
        if self._gone:
            self._give_up(self._gone)
        return future

    def wait(self, futures: Collection[Future[Any]], seconds: float) -> None:
        concurrent.futures.wait(futures, seconds, concurrent.futures.FIRST_COMPLETED)

    def events(self) -> Sequence[Event]:
        return [self._heard.popleft() for _ in range(len(self._heard))]

    def _leave(self) -> None:
        """End what is at work, and cancel what waits."""
        import ray

        self._leaving = True
        self._bell.set()
        self._thread.join()
        references = list(self._atwork)
        with contextlib.suppress(ray.exceptions.RayError):  # the cluster may be gone
            for force in (False, True):
                for reference in references:
                    ray.cancel(reference, force=force)
                _, references = ray.wait(references, num_returns=len(references), timeout=LEAVING_SECONDS) if references else ([], [])
        for call in self._waiting:
            call.future.cancel()

    def _dispatch(self) -> None:
        """Send calls to the cluster and hand their ends to futures, in a thread of its own."""
        try:
            while not self._leaving:
                self._bell.clear()
                self._begin()
                self._hear()
                self._check_nodes()
        except BaseException as error:  # as where the cluster is gone: nobody waits for ever
            self._gone = f"the Ray cluster cannot be reached any more: {error}"
            self._give_up(self._gone)

    def _give_up(self, reason: str) -> None:
        """Let nobody wait any longer."""
        while self._waiting:
            call = self._waiting.popleft()
            if call.tries or call.future.set_running_or_notify_cancel():
                call.future.set_exception(Died(reason))
        for reference in list(self._atwork):
            self._atwork.pop(reference).future.set_exception(Died(reason))

    def _begin(self) -> None:
        while self._waiting and len(self._atwork) < self._workers:
            call = self._waiting.popleft()
            if call.tries or call.future.set_running_or_notify_cancel():
                call.tries += 1
                self._began += 1
                call.name = f"call {self._began}"
                call.parcel = carrying.pack(call.call, call.arguments, call.bounds, self._device, self._alike)
                self._atwork[self._serve.remote(call.parcel, call.name, self._mailbox)] = call

    def _hear(self) -> None:
        """Take what calls have told, and then the ends of those that have ended, so that nothing is heard of one afterwards."""
        import ray

        if not self._atwork:
            self._bell.wait(POLL_SECONDS)
            return
        ended, _ = ray.wait(list(self._atwork), num_returns=1, timeout=POLL_SECONDS)
        atwork = {call.name: call for call in self._atwork.values()}
        for name, news in ray.get(self._mailbox.take.remote()):
            if name in atwork:  # else of a call whose node was taken to be lost
                self._receive(atwork[name], news)
        for reference in ended:
            self._end(reference)

    def _receive(self, call: _Call, news: News) -> None:
        assert call.parcel is not None
        try:
            carrying.bring_home(call.parcel, news.files)
        except SuiteError as error:
            call.fault = error
        self._heard.extend(map(event_of, news.events))
        sys.stderr.write(news.printed)

    def _end(self, reference: Any) -> None:
        import ray

        call = self._atwork.pop(reference)
        try:
            ended: Ended = ray.get(reference)
        except ray.exceptions.RayTaskError as error:
            call.future.set_exception(RuntimeError(str(error)))
        except ray.exceptions.RayError as error:
            if call.tries < TRIES:
                self._waiting.appendleft(call)
            else:
                call.future.set_exception(Died(f"its node was lost in each of {TRIES} attempts: {error}"))
        else:
            conclude(call.future, ended, call.fault)

    def _check_nodes(self) -> None:
        """Give up all calls where no node has been able to do them for a while: Ray would let them wait for ever."""
        now = time.monotonic()
        if now - self._looked < LOOK_SECONDS:
            return
        self._looked = now
        if self._wanted.places():
            self._possible = now
        elif now - self._possible > PATIENCE_SECONDS:
            self._give_up(self._wanted.refusal())


def _start(workers: int, device: str, *, address: str = "", cpus: float = 1.0, gpus: float = 0.0) -> RayPool:
    return RayPool(workers, device, cluster.wanted(device, address, cpus, gpus))


def _workers(device: str, *, address: str = "", cpus: float = 1.0, gpus: float = 0.0) -> int:
    """As many calls as the cluster has room for.

    Raises SuiteError where it cannot be reached, or has room for none.
    """
    wanted = cluster.wanted(device, address, cpus, gpus)
    cluster.connected(wanted, afresh=True)
    if not (places := wanted.places()):
        raise SuiteError(wanted.refusal())
    return places


@hookimpl
def suite_executors() -> Iterator[Executor]:
    about = "a Ray cluster; options address (host:port or auto, else begun here), cpus and gpus of a population (pip install 'recurrent-suite[ray]')"
    yield Executor("ray", _start, _workers, about)
