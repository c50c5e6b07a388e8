"""Keeps trainings that are not done yet as files, of which a damaged one is recognised and the one before it used."""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from ..errors import contained
from ..keys import digest
from .files import put

FORM = 1
"""The version of the files; those of another one are not used."""

KEPT = 2
"""So many files are kept of a training: the last one, and the one before it, should the last be damaged."""

SUFFIX = ".training"

LONGEST_LINE = 1 << 16
"""No first line is longer, of whatever file."""


@dataclass(frozen=True)
class Header:
    """What a file says of itself in its first line.

    keys: of the trials that are trained together, in their order; step: the last one that is done; digest: of all after the line
    """

    form: int
    keys: tuple[str, ...]
    step: int
    digest: str


@dataclass(frozen=True)
class Unfinished:
    """A training that is not done, as a file has it."""

    path: Path
    header: Header

    def content(self) -> bytes | None:
        """What was kept; None where the file is damaged or gone."""
        with contextlib.suppress(OSError):
            _, _, content = self.path.read_bytes().partition(b"\n")
            return content if hashlib.sha256(content).hexdigest() == self.header.digest else None
        return None


def keep(folder: Path, keys: Sequence[str], step: int, content: bytes) -> None:
    """Write how far a training has come, and remove all but the file before this one.

    Raises OSError where that cannot be done; what was kept before stays.
    """
    header = Header(FORM, tuple(keys), step, hashlib.sha256(content).hexdigest())
    name = digest(list(keys))
    adopt(folder / f"{name}-{step:08d}{SUFFIX}", json.dumps(asdict(header)).encode() + b"\n" + content)


def adopt(path: Path, whole: bytes) -> None:
    """Keep a file as it was written, here or on another machine, and remove all of its training but the one before it.

    Raises OSError where that cannot be done.
    """
    path.parent.mkdir(exist_ok=True)  # in the plan's own folder, which is not made again where somebody has removed it
    put(path, whole)
    name, _, step = path.stem.rpartition("-")
    files = {int(file.stem.rpartition("-")[2]): file for file in path.parent.glob(f"{name}-*{SUFFIX}")}
    earlier = sorted(at for at in files if at <= int(step))[-KEPT:]
    for at in files.keys() - set(earlier):  # later ones were damaged, or this training would have gone on from them
        files[at].unlink(missing_ok=True)


def trainings(folder: Path) -> Iterator[Unfinished]:
    """All trainings that are not done, those that have come furthest first; none where the folder cannot be read."""
    files = [Unfinished(path, header) for path in sorted(folder.glob(f"*{SUFFIX}")) if (header := _header(path)) is not None]
    yield from sorted(files, key=lambda file: -file.header.step)


def members(folder: Path) -> Iterator[tuple[Path, tuple[str, ...]]]:
    """Every file, with the keys of the trials whose training it keeps; none of a file that cannot be read."""
    for path in sorted(folder.glob(f"*{SUFFIX}")):
        header = _header(path)
        yield path, header.keys if header else ()


def steps(folder: Path) -> dict[str, int]:
    """How far the trials have come that are not done, by their keys."""
    return {key: file.header.step for file in reversed(list(trainings(folder))) for key in file.header.keys}


def tidy(folder: Path, done: Callable[[str], bool]) -> None:
    """Remove the files of which every trial is done, by its key, and those that cannot be read."""
    for path, keys in members(folder):
        if all(map(done, keys)):
            with contextlib.suppress(OSError):  # a folder that cannot be written to keeps them
                path.unlink(missing_ok=True)


def clear(folder: Path) -> None:
    """Remove what writers have left behind that were killed while they wrote, and an empty folder; called while nobody writes."""
    for partial in folder.glob(f".*{SUFFIX}.*"):
        with contextlib.suppress(OSError):
            partial.unlink(missing_ok=True)
    with contextlib.suppress(OSError):  # there is something in it
        folder.rmdir()


def _header(path: Path) -> Header | None:
    """What a file says of itself; None where it says nothing that is understood."""
    with contained(), path.open("rb") as file:
        fields = json.loads(file.readline(LONGEST_LINE))
        header = Header(fields["form"], tuple(fields["keys"]), int(fields["step"]), fields["digest"])
        return header if header.form == FORM else None
    return None
