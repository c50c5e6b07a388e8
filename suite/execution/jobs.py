"""Does a call as a job of a batch system, which tells of itself by files in a folder that all machines see.

In the folder of a run are ``mail`` (letters from jobs to the run), ``turns`` (whose calls are: each job's, or withdrawn), ``kept`` (how far
calls have come, from where a job that begins again goes on), and ``present``, a file that the run touches as long as it is there.
"""

from __future__ import annotations

import contextlib
import os
import pickle
import shutil
import signal
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from . import delivery
from .carrying import News, Parcel
from .delivery import Ended

MAIL, TURNS, KEPT, PRESENT = "mail", "turns", "kept", "present"

JOB, WITHDRAWN = "job", "withdrawn"
"""Whose turn a call is."""

TOUCH_SECONDS = 5.0
"""So often a run shows that it is present."""

LOOK_SECONDS = 1.0
"""So often a job looks whether its run is."""

ABSENT_SECONDS = 600.0
"""A run that has not shown itself for so long is gone, and its jobs end."""

PREEMPTION_SECONDS = 60.0
"""So long a job that was told to end waits for being told to begin again; else the batch system ends it, or it ends as lost."""


@dataclass(frozen=True)
class Letter:
    """What a job tells its run: what is new of its call, and at last how that ended."""

    news: News = field(default_factory=News)
    ended: Ended | None = None


def lay_out(folder: Path) -> None:
    """Make the folder of a run, which nobody else can read."""
    folder.mkdir(parents=True, mode=0o700)
    for name in (MAIL, TURNS, KEPT):
        (folder / name).mkdir()
    (folder / PRESENT).touch()


def clear(folder: Path) -> None:
    """Remove the folders beside that of a run whose own runs are gone: killed ones cannot do so. Their age is by the clock of the file system."""
    now = (folder / PRESENT).stat().st_mtime
    for other in folder.parent.glob("run-*"):
        with contextlib.suppress(OSError):  # another run removes it too
            shown = other / PRESENT
            age = now - (shown if shown.exists() else other).stat().st_mtime
            if age > ABSENT_SECONDS and all((other / name).is_dir() for name in (MAIL, TURNS, KEPT)):  # none that only has such a name
                shutil.rmtree(other, ignore_errors=True)


def _taken(folder: Path, call: int, whose: str) -> bool:
    """Whether the turn of a call is somebody's; it is theirs who asks first, whatever the machine."""
    turn = folder / TURNS / f"{call:06d}"
    with contextlib.suppress(FileExistsError):  # a link is made with its content, so that nobody sees one without
        os.symlink(whose, turn)
    return os.readlink(turn) == whose


def withdraw(folder: Path, call: int) -> bool:
    """Let no job begin a call; false where one has already."""
    return _taken(folder, call, WITHDRAWN)


class Promise(Future[Any]):
    """A future that can be cancelled as long as no job has begun its call."""

    def __init__(self, withdraw: Callable[[], bool]) -> None:
        super().__init__()
        self._withdraw = withdraw

    def cancel(self) -> bool:
        if self.running() or self.done():
            return super().cancel()
        return self._withdraw() and super().cancel()


def close(folder: Path, call: int) -> None:
    """Let no job begin a call again, as one would that is requeued after the call's end, and remove how far it had come."""
    turn = folder / TURNS / f"{call:06d}"
    withdrawn = turn.with_name(f".{turn.name}")
    os.symlink(WITHDRAWN, withdrawn)
    withdrawn.replace(turn)
    (folder / KEPT / turn.name).unlink(missing_ok=True)


def letters(folder: Path) -> Iterator[tuple[int, Letter]]:
    """What has come in from jobs, each once, in the order in which each of them wrote, with the numbers of their calls."""
    for path in sorted((folder / MAIL).iterdir()):
        if not path.name.startswith("."):  # a hidden one is not written whole yet
            letter = pickle.loads(path.read_bytes())
            path.unlink()
            yield int(path.name.partition("-")[0]), letter


def _series(path: Path) -> Path:
    """What a file is a version of: the last kept moment of a training takes the place of those before it."""
    return path.with_name(path.name.rpartition("-")[0] or path.name)


def _put(path: Path, content: bytes) -> None:
    """Replace a file as a whole; an OSError where its folder is no longer there, which would be made again for nobody."""
    partial = path.with_name(f".{path.name}")
    with partial.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    partial.replace(path)


class _Post:
    """Puts the letters of a job into its run's mail, and keeps how far its call has come."""

    def __init__(self, folder: Path, call: int) -> None:
        self._folder, self._call, self._count = folder, call, 0
        self._began = time.time_ns()  # a job that begins again writes after what it wrote before
        self._kept = folder / KEPT / f"{call:06d}"
        self.files: dict[Path, bytes] = pickle.loads(self._kept.read_bytes()) if self._kept.exists() else {}

    def send(self, letter: Letter) -> None:
        if letter.news.files:
            newer = {_series(path) for path in letter.news.files}
            self.files = {path: content for path, content in self.files.items() if _series(path) not in newer} | dict(letter.news.files)
            _put(self._kept, pickle.dumps(self.files))
        self._count += 1
        _put(self._folder / MAIL / f"{self._call:06d}-{self._began:020d}-{self._count:06d}", pickle.dumps(letter))


class _Presence:
    """Whether the run is there, by a clock of this machine alone."""

    def __init__(self, folder: Path) -> None:
        self._file, self._shown = folder / PRESENT, 0
        self._changed = self._looked = time.monotonic()
        self._gone = False

    def gone(self) -> bool:
        now = time.monotonic()
        if not self._gone and now - self._looked >= LOOK_SECONDS:
            self._looked = now
            try:
                shown = self._file.stat().st_mtime_ns
            except OSError:  # the run has left, or its folder was removed
                self._gone = True
                return True
            if shown != self._shown:
                self._shown, self._changed = shown, now
            self._gone = now - self._changed > ABSENT_SECONDS
        return self._gone


class Call:
    """A call as it is handed to the batch system: plain data on the way, and in a job a callable that can be left and begun again."""

    def __init__(self, parcel: Parcel, number: int, folder: Path) -> None:
        self.parcel, self.number, self.folder = parcel, number, folder

    def __call__(self) -> None:
        """Do the call in a thread, so that signals, which come to the main one, never meet a lock that is held there."""
        if not _taken(self.folder, self.number, JOB):
            return
        self._left, self._ending, self._cut_off = threading.Event(), threading.Event(), False
        raised: list[BaseException] = []
        self._thread = threading.Thread(target=self._do, args=(raised,), name="suite job")
        with self._deaf_to_the_end():
            self._thread.start()
            while self._thread.is_alive():
                self._thread.join(0.2)
            until = time.monotonic() + PREEMPTION_SECONDS
            while self._cut_off and time.monotonic() < until:
                time.sleep(0.2)  # for the signal upon which it is begun again
        if raised:
            raise raised[0]

    def checkpoint(self) -> Any:
        """Leave the call, with how far it has come kept; what is begun again, by this job when it has its next turn."""
        from submitit.helpers import DelayedSubmission

        self._left.set()
        self._thread.join()
        return DelayedSubmission(Call(self.parcel, self.number, self.folder))

    @contextlib.contextmanager
    def _deaf_to_the_end(self) -> Iterator[None]:
        """Hear that the job is to end without ending: what dies of it meanwhile is no fault of the call's."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before = signal.signal(signal.SIGTERM, lambda *_: self._ending.set())
        try:
            yield
        finally:
            signal.signal(signal.SIGTERM, before)

    def _do(self, raised: list[BaseException]) -> None:
        try:
            post, presence = _Post(self.folder, self.number), _Presence(self.folder)
            post.send(Letter())
            parcel = replace(self.parcel, files={**self.parcel.files, **post.files})
            leaving: Callable[[], bool] = lambda: self._left.is_set() or presence.gone()  # noqa: E731
            ended = delivery.deliver(parcel, lambda news: post.send(Letter(news)), leaving)
            self._cut_off = ended is not None and bool(ended.died) and self._ending.is_set()
            if ended is not None and not self._cut_off:
                post.send(Letter(ended=ended))
        except BaseException as error:  # told by the batch system, since the mail may be what fails
            raised.append(error)
