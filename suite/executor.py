"""Runs trials in worker processes: a failure is an Outcome, never a lost row."""

from __future__ import annotations

import contextlib
import json
import multiprocessing
import os
import signal
import sys
import tempfile
from collections.abc import Iterator
from concurrent.futures import FIRST_COMPLETED, Future, wait
from pathlib import Path
from typing import Any

from pebble import ProcessExpired, ProcessPool

from . import machine, matrix
from .listeners import Listeners
from .manager import Registry
from .spec import Grading, Invocation, Measure, Outcome, Timing, Trial
from .store import Store
from .worker import Job, without, work, work_grade, work_timings

POLL_SECONDS = 0.1


def default_workers(device: str) -> int:
    """As many as cores; on a GPU at most four, which share its memory."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return cores if device == "cpu" else min(4, cores)


def _ignore_interrupt() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to hear: it ends its workers


@contextlib.contextmanager
def _pool(workers: int) -> Iterator[ProcessPool]:
    """A pool forked from a server that has torch in memory; environment and caller are as they were afterwards."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["suite.preload"])
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


class _Events:
    """A pipe with a name, on which workers tell of their progress."""

    def __init__(self, folder: str) -> None:
        self.path = Path(folder) / "events"
        os.mkfifo(self.path)
        self._descriptor = os.open(self.path, os.O_RDWR | os.O_NONBLOCK)
        self._rest = b""

    def read(self) -> list[dict[str, Any]]:
        """What has arrived since the last call."""
        with contextlib.suppress(BlockingIOError):  # nothing more for now
            while chunk := os.read(self._descriptor, 1 << 16):
                self._rest += chunk
        *lines, self._rest = self._rest.split(b"\n")
        return [json.loads(line) for line in lines]

    def close(self) -> None:
        os.close(self._descriptor)


def run_trials(invocation: Invocation, listeners: Listeners, store: Store, workers: int) -> None:
    """Do the pending trials, telling listeners what happens; every outcome is in the store before they hear of it."""
    waiting = {trial.key: trial for trial in invocation.trials if trial.key in invocation.pending}
    if not waiting:
        return
    with tempfile.TemporaryDirectory(prefix="suite-") as folder, _pool(min(workers, len(waiting))) as pool:
        events = _Events(folder)
        try:
            futures: dict[Future[Outcome], Trial] = {
                pool.schedule(work, args=[_job(trial, invocation.finished.get(trial.key), store, events.path)]): trial
                for trial in waiting.values()
            }
            while futures:
                done, _ = wait(futures, timeout=POLL_SECONDS, return_when=FIRST_COMPLETED)
                for event in events.read():
                    _tell(listeners, waiting[event["key"]], event)
                for future in [one for one in futures if one in done]:  # in the plan's order
                    trial = futures.pop(future)
                    outcome = _outcome(trial, future)
                    store.put(trial, outcome, invocation.provenance)
                    complete = store.get(trial)
                    assert complete is not None
                    listeners.tell("suite_trial_finished", trial=trial, outcome=complete)
        finally:
            events.close()


def _job(trial: Trial, before: Outcome | None, store: Store, events: Path) -> Job:
    checkpoint = store.checkpoint(trial.key)
    trained = before is not None and before.status != "diverged" and bool(before.learning) and checkpoint.is_file()
    lacking = without(trial, before.evaluations) if before is not None and trained else trial
    return Job(lacking, not trained, checkpoint, events)


def _tell(listeners: Listeners, trial: Trial, event: dict[str, Any]) -> None:
    if event["event"] == "started":
        listeners.tell("suite_trial_started", trial=trial)
    else:
        listeners.tell("suite_measured", trial=trial, measure=Measure(event["step"], event["scores"]))


def _outcome(trial: Trial, future: Future[Outcome]) -> Outcome:
    """The worker's outcome, or why there is none."""
    try:
        return future.result()
    except ProcessExpired as error:
        return Outcome(trial.key, "failed", reason=_died(error))
    except Exception as error:
        return Outcome(trial.key, "failed", reason=f"{type(error).__name__}: {error}", traceback=str(getattr(error, "traceback", "")))


def run_timings(timings: list[Timing], registry: Registry, listeners: Listeners, store: Store) -> None:
    """Measure the latencies the store lacks, with the baseline of the same engine and length beside them, alone on the machine."""
    lacking = [timing for timing in timings if "seconds" not in (store.timing(timing.key) or {})]
    if not lacking:
        return
    shapes = {(timing.engine, timing.length) for timing in lacking}
    beside = [one for one in timings if _is_baseline(one) and (one.engine, one.length) in shapes and one not in lacking]
    listeners.tell("suite_timing_started", count=len(lacking))
    with _pool(1) as pool:
        for length in sorted({timing.length for timing in lacking}):
            group = [timing for timing in (*lacking, *beside) if timing.length == length]
            for key, record in _records(pool, group).items():
                timing = next(one for one in group if one.key == key)
                if timing in lacking:
                    store.put_timing(timing, {"causal": registry.variants[timing.variant].noun.is_causal(timing.variant_options), **record})


def run_grades(gradings: list[Grading], store: Store) -> None:
    """Grade the variants the store has no grade of."""
    lacking = [grading for grading in gradings if "failed" in (store.grade(grading.key) or {"failed": ""})]
    if not lacking:
        return
    with _pool(1) as pool:
        for grading in lacking:
            try:
                record = pool.schedule(work_grade, args=[grading]).result()
            except ProcessExpired as error:
                record = {"failed": _died(error)}
            store.put_grade(grading, record)


def _records(pool: ProcessPool, group: list[Timing]) -> dict[str, dict[str, Any]]:
    """Seconds of each timing and of its baseline in the same rounds, by key; if the process dies, each is tried without the others."""
    baselines = {timing.engine: timing for timing in group if _is_baseline(timing)}
    others = [timing for timing in group if not _is_baseline(timing)]
    try:
        seconds, failed = pool.schedule(work_timings, args=[group]).result()
    except ProcessExpired as error:
        if len(others) > 1:
            found: dict[str, dict[str, Any]] = {}
            for timing in others:
                for key, record in _records(pool, [baselines[timing.engine], timing]).items():
                    if "failed" in found.get(key, {"failed": ""}):  # a baseline beside a killer dies too: a later pair has it
                        found[key] = record
            return found
        return {timing.key: {"failed": _died(error)} for timing in group}
    for timing in group:
        if baselines[timing.engine].key in failed and timing.key not in failed:
            failed[timing.key] = f"the baseline it is compared with failed: {failed[baselines[timing.engine].key]}"
    return {
        timing.key: {"failed": failed[timing.key]}
        if timing.key in failed
        else {"seconds": seconds[timing.key], "baseline_seconds": seconds[baselines[timing.engine].key]}
        for timing in group
    }


def _died(error: ProcessExpired) -> str:
    code = error.exitcode
    if code == -signal.SIGKILL:
        return "its process was killed (SIGKILL); memory may have run out: try fewer --workers"
    return f"its process {'was killed by ' + signal.Signals(-code).name if code is not None and code < 0 else f'ended with code {code}'}"


def _is_baseline(timing: Timing) -> bool:
    return timing.variant == matrix.BASELINE and not timing.variant_options
