"""Carries calls to machines that share no files with this one, and brings back what they write there."""

from __future__ import annotations

import contextlib
import io
import pickle
import platform
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .. import dropins, machine
from ..errors import SuiteError
from ..store import unfinished
from ..store.files import put, write
from .executor import Bounds

CHANNEL = Path("events-of-this-call")
"""Stands for the channel of whatever machine a call comes to."""


@dataclass(frozen=True)
class Parcel:
    """A call on its way to another machine.

    request: pickled, without its paths; paths: of files that it reads or writes and of folders whose files it does, as they are named here
    files: the content of those that are there; device: that it computes on; alike: what its machine must have in common with this one
    fatal: how modules end the process that imports them
    """

    request: bytes
    paths: tuple[Path, ...]
    files: Mapping[Path, bytes]
    bounds: Bounds
    device: str
    alike: Mapping[str, str]
    fatal: Mapping[str, str]


@dataclass(frozen=True)
class News:
    """What a call has told since it was last asked: lines of events, files by their names here, and what was printed."""

    events: tuple[bytes, ...] = ()
    files: Mapping[Path, bytes] = field(default_factory=dict)
    printed: str = ""

    def __bool__(self) -> bool:
        return bool(self.events or self.files or self.printed)


def alike(device: str) -> dict[str, str]:
    """What decides the bits of a result beside the code, and so is part of every key."""
    return {"torch": machine.version("torch"), "numpy": machine.version("numpy"), "the device": machine.device_model(device)}


class _Packer(pickle.Pickler):
    """Pickles plain data with names in place of paths that mean nothing elsewhere."""

    def __init__(self, file: io.BytesIO, paths: Sequence[Path]) -> None:
        super().__init__(file)
        self._paths = {CHANNEL, *paths}

    def persistent_id(self, value: Any) -> str | None:
        return str(value) if isinstance(value, Path) and value in self._paths else None


class _Opener(pickle.Unpickler):
    """Unpickles with the paths of this machine."""

    def __init__(self, file: io.BytesIO, channel: Path, home: Path) -> None:
        super().__init__(file)
        self._channel, self._home = channel, home

    def persistent_load(self, name: Any) -> Path:
        return self._channel if name == str(CHANNEL) else below(self._home, Path(name))


def below(home: Path, path: Path) -> Path:
    """Where a path of another machine lies here."""
    return home.joinpath(*path.parts[1:])


def pack(call: Callable[..., Any], arguments: Sequence[Any], bounds: Bounds, device: str, alike: Mapping[str, str]) -> Parcel:
    """A call with the files that it may read, as they are now."""
    from .worker import Job  # imports torch

    jobs = [argument for argument in arguments if isinstance(argument, Job)]
    checkpoints = [path for job in jobs for path in job.checkpoints]
    folders = [job.keeping.folder for job in jobs if job.keeping]
    keys = {trial.key for job in jobs for trial in job.trials}
    begun = [file.path for folder in folders for file in unfinished.trainings(folder) if keys & set(file.header.keys)]
    trained = [path for job in jobs if not job.train for path in job.checkpoints]
    files = {}
    for path in (*begun, *trained):
        with contextlib.suppress(FileNotFoundError):  # one that is not there is made anew
            files[path] = path.read_bytes()
    request, paths = io.BytesIO(), (*checkpoints, *folders)
    _Packer(request, paths).dump((call, tuple(arguments)))
    return Parcel(request.getvalue(), paths, files, bounds, device, alike, dict(dropins.FATAL))


def lay_out(parcel: Parcel, home: Path) -> None:
    """Put what a call reads where it will look for it."""
    for path in parcel.paths:
        below(home, path).parent.mkdir(parents=True, exist_ok=True)
    for path, content in parcel.files.items():
        put(below(home, path), content)


def carry_out(request: bytes, channel: Path, home: Path, device: str, wanted: Mapping[str, str]) -> Any:
    """Do the call of a parcel in a process of the machine that it has come to.

    Raises SuiteError where its results would stand under the key of another machine.
    """
    here = alike(device)
    if different := [f"{what} is {here[what]} there and {value} here" for what, value in wanted.items() if here[what] != value]:
        raise SuiteError(
            f"machine {platform.node()} computes other bits than the one that made the plan ready: {'; '.join(different)}; "
            "leave it out, or begin the run on a machine like it"
        )
    call, arguments = _Opener(io.BytesIO(request), channel, home).load()
    return call(*arguments)


class Written:
    """What a call has written below its home, each version of a file once."""

    def __init__(self, home: Path) -> None:
        self._home = home
        self._seen = dict(self._versions())

    def take(self) -> dict[Path, bytes]:
        """The files that are new or have changed since this was last asked, by their names on the machine that the call is from."""
        files = {}
        for path, version in self._versions():
            if self._seen.get(path) != version:
                with contextlib.suppress(FileNotFoundError):  # a later one has taken its place
                    files[Path("/") / path.relative_to(self._home)] = path.read_bytes()
                    self._seen[path] = version
        return files

    def _versions(self) -> Iterator[tuple[Path, tuple[int, int]]]:
        for path in sorted(self._home.rglob("*")):
            with contextlib.suppress(FileNotFoundError):
                status = path.stat()
                if path.is_file() and not path.name.startswith("."):  # a hidden one is not written whole yet
                    yield path, (status.st_mtime_ns, status.st_size)


def bring_home(parcel: Parcel, files: Mapping[Path, bytes]) -> None:
    """Put what a call has written where it would have written it here; other paths than its own are left alone.

    Raises SuiteError where that cannot be done.
    """
    for path, content in files.items():
        if path in parcel.paths:
            write(path, content)
        elif path.parent in parcel.paths:
            try:
                unfinished.adopt(path, content)
            except OSError as error:
                raise SuiteError(f"{path}: cannot be written: {error.strerror}; finished trials are kept") from None
