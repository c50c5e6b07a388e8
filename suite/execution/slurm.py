"""Trains in jobs of Slurm, through submitit; this machine alone writes the store."""

from __future__ import annotations

import contextlib
import itertools
import os
import shutil
import sys
import threading
import time
import uuid
from collections import deque
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future
from concurrent.futures import wait as wait_for
from dataclasses import dataclass, field
from typing import Any

from ..errors import SuiteError
from ..spec import Executor, hookimpl
from . import batch, carrying, jobs
from .batch import Cluster, Wanted
from .carrying import CHANNEL, Parcel
from .delivery import conclude
from .events import Event, event_of
from .executor import UNBOUNDED, Answer, Bounds, Died, Gone
from .jobs import Letter
from .local import default_workers

WORKERS = 16
"""So many jobs are at work at once where a run does not say."""

LARGEST_ARRAY = 1000
"""Slurm refuses larger ones unless its administrator allows them; it is halved for what is submitted next to a refusal."""

GATHER_SECONDS = 0.5
"""So long calls are waited for that may go into the same array."""

MAIL_SECONDS = 0.2
"""So often the mail is looked into."""

LOOK_SECONDS = {"slurm": 30.0, "local": 1.0, "debug": 1.0}
"""So often the state of jobs is asked for, which shows those that are lost."""

GRACE_SECONDS = 5.0
"""So much later than a job's end its last letter may be seen, through a network's file system."""

LEAVING_SECONDS = 10.0
"""So long jobs that are to end have for it, before they are cancelled."""

TRIES = 3
"""A call whose job is lost is done by another one, so often in all."""

RETRY_SECONDS = 15.0
"""So long after Slurm has refused jobs they are submitted again."""

REFUSALS = 8
"""The run ends when jobs were refused so often in a row while none of it was there."""


@dataclass
class _Call:
    """A call that waits or has been submitted: how often, what it was sent as, and why what it wrote could not be kept.

    number: of this attempt; job: None until Slurm has taken it
    """

    number: int
    call: Callable[..., Any]
    arguments: tuple[Any, ...]
    bounds: Bounds
    future: Future[Any] = field(init=False)
    tries: int = 0
    parcel: Parcel | None = None
    job: Any = None
    over: float | None = None  # since when its job is seen to have ended without a word
    fault: SuiteError | None = None


class SlurmPool:
    """A pool of so many jobs at once, each of which does one call in a process under a warden as on this machine.

    A job that is preempted, or goes beyond its time limit, is begun again by Slurm and goes on from where it was last kept. A call whose job
    is lost is done again by another one.
    """

    def __init__(self, workers: int, device: str, wanted: Wanted) -> None:
        self._workers, self._device, self._wanted = workers, device, wanted
        self.channel = CHANNEL
        self._waiting: deque[_Call] = deque()
        self._submitted: dict[int, _Call] = {}
        self._heard: deque[Event] = deque()
        self._bell = threading.Event()
        self._leaving = False
        self._gone: Gone | None = None
        self._numbers = itertools.count(1)
        self._asked = self._touched = self._looked = self._again = 0.0
        self._largest, self._refusals, self._refusal = LARGEST_ARRAY, 0, ""
        self._sending: tuple[list[_Call], Future[Sequence[Any]]] | None = None
        self._looking: Future[dict[int, str]] | None = None
        self._jobs: list[Any] = []
        self._cancellations: list[Future[None]] = []
        self._threads: list[threading.Thread] = []
        self._resources = contextlib.ExitStack()

    def __enter__(self) -> SlurmPool:
        with contextlib.ExitStack() as resources:
            self._folder = self._wanted.place / f"run-{uuid.uuid4().hex[:12]}"
            jobs.lay_out(self._folder)
            jobs.clear(self._folder)
            resources.callback(self._remove)
            self._alike = carrying.alike(self._device)
            self._executor = batch.submitter(self._wanted, self._folder, self._workers)
            self._thread = threading.Thread(target=self._dispatch, name="suite executor", daemon=True)
            self._thread.start()
            resources.callback(self._leave)
            self._resources = resources.pop_all()
        return self

    def __exit__(self, *details: Any) -> None:
        self._resources.__exit__(*details)

    def submit(self, call: Callable[..., Answer], *arguments: Any, bounds: Bounds = UNBOUNDED) -> Future[Answer]:
        waiting = _Call(next(self._numbers), call, arguments, bounds)
        waiting.future = jobs.Promise(lambda: jobs.withdraw(self._folder, waiting.number))
        self._asked = time.monotonic()
        self._waiting.append(waiting)
        self._bell.set()
        if self._gone:
            self._give_up(self._gone)
        return waiting.future

    def wait(self, futures: Collection[Future[Any]], seconds: float) -> None:
        wait_for(futures, seconds, FIRST_COMPLETED)

    def events(self) -> Sequence[Event]:
        return [self._heard.popleft() for _ in range(len(self._heard))]

    def _dispatch(self) -> None:
        """Submit calls, and hand their ends to futures, in a thread of its own; what waits for Slurm's answers does so in others."""
        try:
            while not self._leaving:
                self._bell.wait(MAIL_SECONDS)
                self._bell.clear()
                self._show()
                if self._gone:
                    self._give_up(self._gone)
                self._send()
                self._take_jobs()
                self._take_mail()
                self._look_for_lost()
        except BaseException as error:  # nobody waits for ever
            removed = isinstance(error, FileNotFoundError) and not self._folder.exists()
            why = f"{self._folder} was removed while the run was at work" if removed else f"{type(error).__name__}: {error}"
            self._gone = Gone(f"executor 'slurm': {why}; what is finished is kept")
            self._give_up(self._gone)

    def _give_up(self, error: Gone) -> None:
        for call in (*self._submitted.values(), *self._waiting):
            if not call.future.done():
                call.future.set_exception(error)
        self._submitted.clear()
        self._waiting.clear()

    def _show(self) -> None:
        """Show jobs that the run is there."""
        now = time.monotonic()
        if now - self._touched >= jobs.TOUCH_SECONDS:
            self._touched = now
            try:
                os.utime(self._folder / jobs.PRESENT)
            except FileNotFoundError:
                if not self._leaving:
                    raise

    def _room(self) -> int:
        """So many calls may be submitted now: an array does so many at once by itself, but knows of no other, which has what room it leaves."""
        if self._wanted.cluster == "slurm" and not self._submitted:
            return self._largest
        return min(self._largest, (1 if self._wanted.cluster == "debug" else self._workers) - len(self._submitted))

    def _send(self) -> None:
        """Submit what waits, which Slurm takes as an array."""
        now = time.monotonic()
        if self._sending or now < self._again or (self._wanted.cluster == "slurm" and now - self._asked < GATHER_SECONDS):
            return
        room = self._room()
        ready: list[_Call] = []
        while self._waiting and len(ready) < room:
            call = self._waiting.popleft()
            if not call.future.cancelled():
                call.tries += 1
                call.parcel = carrying.pack(call.call, call.arguments, call.bounds, self._device, self._alike)
                ready.append(call)
        if ready:
            calls = [jobs.Call(call.parcel, call.number, self._folder) for call in ready if call.parcel]
            self._submitted |= {call.number: call for call in ready}
            self._sending = ready, batch.aside(lambda: self._executor.submit_array(calls), self._bell.set)

    def _take_jobs(self) -> None:
        """Take the jobs of what was submitted, once Slurm has answered."""
        if self._sending is None or not self._sending[1].done():
            return
        (ready, answer), self._sending = self._sending, None
        if error := answer.exception():
            self._take_refusal(ready, batch.refusal(error))
            return
        self._largest, self._refusals = min(LARGEST_ARRAY, 2 * self._largest), 0
        for call, job in zip(ready, answer.result(), strict=True):
            call.job = job
            self._jobs.append(job)
            if self._wanted.cluster == "debug":  # which does a job when somebody asks for its result
                self._threads.append(threading.Thread(target=job.submission().result, name=f"suite call {call.number}"))
                self._threads[-1].start()

    def _take_refusal(self, ready: Sequence[_Call], reason: str) -> None:
        """Let calls wait again that Slurm has refused, which may pass (it is busy, or the user has as many jobs as one may have)."""
        for call in reversed(ready):
            if call.number in self._submitted and jobs.withdraw(self._folder, call.number):  # else it was begun in spite of that
                del self._submitted[call.number]
                call.number, call.tries = next(self._numbers), call.tries - 1
                self._waiting.appendleft(call)
        self._largest, self._again = max(1, len(ready) // 2), time.monotonic() + RETRY_SECONDS
        self._refusals = 0 if self._submitted else self._refusals + 1
        if self._refusals >= REFUSALS:
            self._gone = Gone(
                f"executor 'slurm': jobs could not be submitted, {REFUSALS} times in a row: {reason}; what is finished is kept"
            )
        elif reason != self._refusal:
            self._refusal = reason
            self._heard.append(Event("", note=f"jobs could not be submitted, which is tried again: {reason}", about="executor slurm"))

    def _take_mail(self) -> None:
        """Take what jobs tell: a letter of a call is there only once its job has begun it."""
        for number, letter in jobs.letters(self._folder):
            if (call := self._submitted.get(number)) is None:
                continue  # of a job that was taken to be lost
            if not call.future.running():
                call.future.set_running_or_notify_cancel()
            call.over = None
            self._receive(call, letter)

    def _receive(self, call: _Call, letter: Letter) -> None:
        assert call.parcel is not None
        try:
            carrying.bring_home(call.parcel, letter.news.files)
        except SuiteError as error:
            call.fault = error
        self._heard.extend(map(event_of, letter.news.events))
        sys.stderr.write(letter.news.printed)
        if letter.ended is not None:
            del self._submitted[call.number]
            jobs.close(self._folder, call.number)
            conclude(call.future, letter.ended, call.fault)

    def _look_for_lost(self) -> None:
        """Do again what jobs were at that have ended without saying how, as two answers say that are some time apart."""
        now = time.monotonic()
        if self._looking and self._looking.done():
            states, self._looking = self._looking.result(), None
            self._judge(states)
        elif self._looking is None and self._submitted and now - self._looked >= self._pause():
            self._looked = now
            self._forget([call for call in self._submitted.values() if call.future.cancelled() and call.job])
            asked = {call.number: call.job for call in self._submitted.values() if call.job}
            self._looking = batch.aside(lambda: self._states(asked), self._bell.set)

    def _pause(self) -> float:
        """So long nothing is asked: until the letter of a job must be there that has ended as far as one knows."""
        pause = LOOK_SECONDS[self._wanted.cluster]
        return min(pause, GRACE_SECONDS) if any(call.over is not None for call in self._submitted.values()) else pause

    def _states(self, asked: Mapping[int, Any]) -> dict[int, str]:
        """The states of jobs, by the numbers of their calls."""
        if self._wanted.cluster == "slurm":
            states = batch.states([job.job_id for job in asked.values()])
            return {number: states[job.job_id] for number, job in asked.items()}
        return {number: job.state for number, job in asked.items() if self._wanted.cluster == "local"}

    def _judge(self, states: Mapping[int, str]) -> None:
        now = time.monotonic()
        for number, state in states.items():
            if (call := self._submitted.get(number)) is None:
                continue
            if batch.at_work(state):
                call.over = None
            elif call.over is None:
                call.over = now
            elif now - call.over >= GRACE_SECONDS:
                self._lose(call, state.upper())

    def _forget(self, calls: Sequence[_Call]) -> None:
        """Cancel the jobs of calls that nobody waits for any more, and that none has begun."""
        self._cancel([call.job for call in calls])
        for call in calls:
            del self._submitted[call.number]
            if self._wanted.cluster == "slurm":  # any other is a process of this one, which is waited for
                self._jobs.remove(call.job)

    def _lose(self, call: _Call, state: str) -> None:
        del self._submitted[call.number]
        self._jobs.remove(call.job)
        jobs.close(self._folder, call.number)
        if self._wanted.cluster == "slurm":  # which may yet begin it again
            self._cancel([call.job])
        if not call.future.running() and not call.future.set_running_or_notify_cancel():
            return
        log = batch.last_lines(call.job.paths.stderr)
        if died := self._wanted.death(state, log):
            call.future.set_exception(died)
        elif call.tries < TRIES:
            call.number, call.over, call.job = next(self._numbers), None, None
            self._waiting.appendleft(call)
        else:
            hint = f"do all nodes see {self._wanted.place}, and the Python of this machine?"
            call.future.set_exception(Died(f"its job was lost in each of {TRIES} attempts (last {state}); {hint}", "crashed", log))

    def _leave(self) -> None:
        """End what is at work, which keeps how far it has come, and cancel what waits."""
        self._leaving = True
        (self._folder / jobs.PRESENT).unlink(missing_ok=True)
        self._bell.set()
        self._thread.join()
        if self._sending:
            wait_for([self._sending[1]], batch.ANSWER_SECONDS)
            self._take_jobs()
        for call in (*self._waiting, *self._submitted.values()):
            call.future.cancel()
        self._forget([call for call in self._submitted.values() if call.future.cancelled() and call.job])
        self._await(self._jobs)
        for thread in self._threads:
            thread.join(LEAVING_SECONDS)
        with contextlib.suppress(FileNotFoundError):  # the folder was removed, which has ended the run
            self._take_mail()
        self._cancel([job for job in self._jobs if not self._over(job)])
        wait_for(self._cancellations, batch.ANSWER_SECONDS)
        if self._wanted.cluster == "local":  # processes of this one, which are waited for
            self._await(self._jobs)

    def _over(self, job: Any) -> bool:
        """Whether a job has ended by itself, as far as that can be seen without asking Slurm."""
        return bool(job.done()) if self._wanted.cluster == "local" else job.paths.result_pickle.exists()

    def _await(self, jobs: Sequence[Any]) -> None:
        """Let jobs end by themselves, for a while."""
        until = time.monotonic() + LEAVING_SECONDS
        while self._wanted.cluster != "debug" and time.monotonic() < until and not all(map(self._over, jobs)):
            time.sleep(MAIL_SECONDS)

    def _cancel(self, jobs: Sequence[Any]) -> None:
        """Have the batch system forget jobs, and end those that are at work."""
        if self._wanted.cluster == "slurm" and jobs:
            numbers = [str(job.job_id) for job in jobs]
            self._cancellations.append(batch.aside(lambda: batch.cancel(numbers)))
        for job in jobs if self._wanted.cluster == "local" else ():
            job.cancel()

    def _remove(self) -> None:
        shutil.rmtree(self._folder, ignore_errors=True)
        with contextlib.suppress(OSError):  # another run's folder is there too
            self._wanted.place.rmdir()


def _start(
    workers: int,
    device: str,
    *,
    cluster: Cluster = Wanted.cluster,
    partition: str = Wanted.partition,
    account: str = Wanted.account,
    minutes: int = Wanted.minutes,
    cpus: int = Wanted.cpus,
    gpus: int = Wanted.gpus,
    memory: float = Wanted.memory,
    folder: str = Wanted.folder,
) -> SlurmPool:
    jobs = {"minutes": minutes, "cpus": cpus, "gpus": gpus, "memory": memory}
    asked = batch.wanted(device, cluster=cluster, partition=partition, account=account, folder=folder, **jobs)
    return SlurmPool(workers, device, asked)


def _workers(device: str, **options: Any) -> int:
    """A number for all clusters, since what one has room for changes from hour to hour; where it is tried out, what there is room for here.

    Raises SuiteError where there is no Slurm, or it would refuse such jobs.
    """
    asked = batch.wanted(device, **options)
    batch.check(asked)
    return {"slurm": WORKERS, "local": default_workers(device), "debug": 1}[asked.cluster]


@hookimpl
def suite_executors() -> Iterator[Executor]:
    about = (
        "jobs of Slurm; options partition, account, minutes, cpus, gpus and memory (GiB) of a job, folder that all machines see, "
        "cluster=local to try it here (pip install 'recurrent-suite[slurm]')"
    )
    yield Executor("slurm", _start, _workers, about)
