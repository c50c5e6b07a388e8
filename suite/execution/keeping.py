"""Keeps how far a training has come while it goes on, and finds from where one that was interrupted can go on."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from ..errors import contained
from ..ops.engines import compile_seconds
from ..store import unfinished
from ..training.snapshot import Snapshot, Take, from_bytes, to_bytes
from ..trial import Trial
from . import serve
from .populations import splits

MOST_SHARE = 0.05
"""Where writing takes long, a training is kept less often, so that no more than this part of its time goes into it."""

Note = Callable[[str], None]


@dataclass(frozen=True)
class Keeping:
    """Where trainings that are not done are kept, and how many seconds apart."""

    folder: Path
    interval: float


@dataclass(frozen=True)
class Part:
    """Trials, by their places in a job, that are trained together from one moment on; from the beginning where `begun` is None."""

    places: tuple[int, ...]
    begun: Snapshot | None = None


def parts_of(trials: Sequence[Trial], keeping: Keeping | None, note: Note) -> list[Part]:
    """The trials of a job by where each can go on, which is where it has come furthest.

    Where numbers depend on the company, it goes on in the very same company or not at all. `note` is told of a file that is damaged.
    """
    keys = tuple(trial.key for trial in trials)
    waiting = dict(zip(keys, range(len(keys)), strict=True))
    parts = []
    for file in unfinished.trainings(keeping.folder) if keeping else ():
        mine = tuple(key for key in keys if key in waiting and key in file.header.keys)
        if not mine or not (splits(trials[0]) or file.header.keys == keys):
            continue
        snapshot = _read(file, mine)
        if snapshot is None:
            note(f"{file.path}: is damaged and not used; the training goes on from an earlier moment, or begins anew")
            continue
        parts.append(Part(tuple(waiting.pop(key) for key in mine), snapshot))
    if waiting:
        parts.append(Part(tuple(waiting.values())))
    return parts


def _read(file: unfinished.Unfinished, keys: Sequence[str]) -> Snapshot | None:
    content = file.content()
    if content is None:
        return None
    with contained():
        snapshot = from_bytes(content).of(keys)
        return snapshot if set(snapshot.members) == set(keys) else None
    return None


class Keeper:
    """Writes a training down as often as it is to be kept; where that fails, the training goes on, and `note` is told."""

    def __init__(self, keeping: Keeping, trials: Sequence[Trial], begun: Snapshot | None, note: Note) -> None:
        self._keeping, self._note = keeping, note
        self._keys = tuple(trial.key for trial in trials)
        self._spent = spending(len(trials), begun)
        self._next = time.monotonic() + keeping.interval
        self._take: Take | None = None
        self._long = begun is not None  # whether the training takes longer than what may be lost
        self._ending = False

    def __call__(self, take: Take) -> None:
        """Keep the training as it is now, where it is time to."""
        self._take = take
        if self._ending or time.monotonic() >= self._next:
            self._long = True
            self._write(take)
        if self._ending:
            serve.leave()

    def end(self) -> None:
        """Let the process end after the step that it is at."""
        self._ending = True

    def finish(self) -> None:
        """Keep a long training that is over, so that nobody trains again who is interrupted while it is evaluated."""
        if self._long and self._take is not None:
            self._write(self._take)

    def _write(self, take: Take) -> None:
        start = time.monotonic()
        with contained() as raised:
            snapshot = take()
            seconds, compiling = self._spent()
            content = to_bytes(replace(snapshot, seconds=seconds, compile_seconds=compiling))
            unfinished.keep(self._keeping.folder, self._keys, snapshot.step, content)
        if raised:
            reason = getattr(raised.error, "strerror", None) or raised.reason
            self._note(f"{self._keeping.folder}: a training could not be kept: {reason}; it goes on, and an interruption costs more of it")
        end = time.monotonic()
        self._next = end + max(self._keeping.interval, (end - start) / MOST_SHARE)


def spending(members: int, begun: Snapshot | None = None) -> Callable[[], tuple[float, float]]:
    """A function that says what a member's training took from now on, with what it took before: seconds without compiling, and of that."""
    start, compiled = time.perf_counter(), compile_seconds()
    before = (begun.seconds, begun.compile_seconds) if begun else (0.0, 0.0)

    def spent() -> tuple[float, float]:
        compiling = compile_seconds() - compiled
        training = time.perf_counter() - start - compiling
        return before[0] + training / members, before[1] + compiling / members

    return spent
