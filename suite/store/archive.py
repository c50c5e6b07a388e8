"""Packs a plan's store into one archive with a digest of every file, and unpacks one after checking them."""

from __future__ import annotations

import contextlib
import hashlib
import json
import re
import shutil
import tempfile
import zipfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import IO

from ..dropins import FOLDERS
from ..errors import SuiteError
from ..machine import version
from ..plan.schema import NAME
from .merging import Merged, merge
from .store import DEFINED, KINDS, LEDGER, Store

FORM, CAPSULE_FORM = 1, 2
"""The versions of archives: of a store alone, and of a capsule, which holds other files beside it. Raise them where an older suite would
misread them."""

MANIFEST = "manifest.json"
EPOCH = (1980, 1, 1, 0, 0, 0)
"""The date of every entry, so that equal stores give equal archives."""

PERMITTED = re.compile(
    rf"{re.escape(LEDGER)}|[A-Za-z0-9][A-Za-z0-9_.-]*\.toml|(?:{'|'.join(KINDS)})/[0-9a-f]+\.json|checkpoints/[0-9a-f]+\.pt"
    rf"|{DEFINED}/(?:{'|'.join(FOLDERS)})/[A-Za-z_][A-Za-z0-9_]*\.py"
)
"""The names that entries of a store may have; none leads out of the folder."""

BESIDE = re.compile(r"(?:[A-Za-z0-9_][A-Za-z0-9_.+-]*/)*[A-Za-z0-9_][A-Za-z0-9_.+-]*")
"""And those of what a capsule holds beside its store."""

CHUNK = 1 << 20


def pack(store: Store, file: Path, plan: str, beside: Callable[[], Mapping[str, bytes]] | None = None) -> int:
    """Write a store's records, ledger and weights into an archive, with the text of its plan where there is one; how many files it has.

    The store is held meanwhile as by a run, and each of its files is read once. What is spoiled is left out, and noted in the store.

    beside: gives, while the store is held, the files by name that lie beside it in a capsule, where it has the folder that it has among runs

    Raises SuiteError where there is nothing to pack, a run is at work, the file exists already, or it cannot be written.
    """
    if file.exists():
        raise SuiteError(f"{file}: is there already; name another file, or remove it")
    if not (store.folder / LEDGER).is_file() and not any(store.keys(kind) for kind in KINDS):
        raise SuiteError(f"{store.folder}: holds no results to export; `suite run` comes first")
    store.ledger()  # one that is spoiled is told of before anything is written
    name = store.folder.name
    head: dict[str, object] = {"form": FORM, "suite": version("recurrent-suite"), "plan": name}
    if beside:
        head |= {"form": CAPSULE_FORM, "store": f"runs/{name}/"}
    partial = file.with_name(f".{file.name}.partial")
    try:
        with store.writing(), zipfile.ZipFile(partial, "w", zipfile.ZIP_DEFLATED) as archive:
            digests = {}
            for entry, content in _entries(store, plan, str(head.get("store", "")), beside() if beside else {}):
                digests[entry] = hashlib.sha256(content).hexdigest()
                archive.writestr(zipfile.ZipInfo(entry, EPOCH), content, zipfile.ZIP_DEFLATED)
            manifest = {**head, "files": dict(sorted(digests.items()))}
            archive.writestr(zipfile.ZipInfo(MANIFEST, EPOCH), json.dumps(manifest, indent=1) + "\n", zipfile.ZIP_DEFLATED)
        partial.replace(file)
    except OSError as error:
        raise SuiteError(f"{file}: cannot be written: {error.strerror}; name a file in a folder with room") from None
    finally:
        with contextlib.suppress(OSError):
            partial.unlink(missing_ok=True)
    return len(digests)


def _entries(store: Store, plan: str, prefix: str, beside: Mapping[str, bytes]) -> Iterator[tuple[str, bytes]]:
    """Everything that an archive holds, by its place in it."""
    yield from beside.items()
    for name, content in _contents(store):
        yield f"{prefix}{name}", content
    if plan:
        yield f"{prefix}{store.folder.name}.toml", plan.encode()


def _contents(store: Store) -> Iterator[tuple[str, bytes]]:
    """The files of a store that an archive holds, by their place in the store."""
    if (store.folder / LEDGER).is_file():
        yield LEDGER, _content(store.folder / LEDGER)
    for kind in KINDS:
        for key in store.keys(kind):
            content = _content(store.file(kind, key))
            if store.parsed(kind, key, content) is not None:
                yield f"{kind}/{key}.json", content
    for path in sorted((store.folder / "checkpoints").glob("*.pt")):
        if not path.name.startswith("."):
            yield f"checkpoints/{path.name}", _content(path)
    for path in store.definitions().values():
        yield path.relative_to(store.folder).as_posix(), _content(path)


def _content(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise SuiteError(f"{path}: cannot be read: {error.strerror}; nothing was exported, export again") from None


def unpack(file: Path, runs: Path) -> Merged:
    """Bring an archive's store into a runs folder, as a merge does; nothing is brought in where any file of it is not what it should be.

    Raises SuiteError where the archive is damaged, of a newer version, or names a place outside the store.
    """
    try:
        archive = zipfile.ZipFile(file)
    except (OSError, zipfile.BadZipFile) as error:
        raise SuiteError(f"{file}: cannot be read: {getattr(error, 'strerror', None) or error}; export it again") from None
    with archive:
        plan, digests, prefix = _manifest(file, archive)
        try:
            runs.mkdir(parents=True, exist_ok=True)
            folder = Path(tempfile.mkdtemp(prefix=".import-", dir=runs))
        except OSError as error:
            raise SuiteError(f"{runs}: cannot be written: {error.strerror}; use --runs with another folder") from None
        try:
            for name, digest in digests.items():
                if place := _place(name, prefix):
                    _extract(file, archive, name, digest, folder / plan / place)
            return merge(Store(folder, plan), Store(runs, plan))
        finally:
            shutil.rmtree(folder, ignore_errors=True)


def _manifest(file: Path, archive: zipfile.ZipFile) -> tuple[str, Mapping[str, str], str]:
    """The plan's name, the digests of the files by their names, and how the names of those of the store begin.

    The names are checked, and that the archive holds these files alone.
    """
    try:
        manifest = json.loads(archive.read(MANIFEST))
        form, plan, digests = manifest["form"], str(manifest["plan"]), dict(manifest["files"])
        prefix = str(manifest.get("store", ""))
    except (KeyError, TypeError, ValueError, zipfile.BadZipFile, OSError):
        raise SuiteError(f"{file}: has no {MANIFEST} that can be read, so it is no export of the suite, or a damaged one") from None
    if not isinstance(form, int) or form > CAPSULE_FORM:
        raise SuiteError(
            f"{file}: is of form {form}, which version {manifest.get('suite')} of the suite wrote, and this one reads forms up to {CAPSULE_FORM}; "
            "upgrade the suite"
        )
    names = [name for name in archive.namelist() if name != MANIFEST]
    for name in (*digests, *names):
        if not _place(name, prefix) and not (prefix and BESIDE.fullmatch(name)):
            raise SuiteError(f"{file}: names '{name}', which is no file of a store; nothing was imported")
    if not NAME.fullmatch(plan):
        raise SuiteError(f"{file}: names the plan '{plan}', which cannot name a folder; nothing was imported")
    if sorted(names) != sorted(digests):
        odd = sorted({*names} ^ {*digests}) or sorted({name for name in names if names.count(name) > 1})
        raise SuiteError(f"{file}: its {MANIFEST} and its files do not agree on {odd[0]}; nothing was imported, export it again")
    return plan, digests, prefix


def _place(name: str, prefix: str) -> str:
    """The place in the store of an entry; empty for what is no file of a store."""
    place = name.removeprefix(prefix)
    return place if name.startswith(prefix) and PERMITTED.fullmatch(place) else ""


def _extract(file: Path, archive: zipfile.ZipFile, name: str, digest: str, place: Path) -> None:
    """Write one file of an archive to its place.

    Raises SuiteError where its content is not what the manifest says.
    """
    place.parent.mkdir(parents=True, exist_ok=True)
    try:
        with archive.open(name) as source, place.open("wb") as target:
            found = _copied(source, target)
    except (zipfile.BadZipFile, OSError, EOFError, ValueError) as error:
        raise SuiteError(f"{file}: {name} cannot be unpacked: {getattr(error, 'strerror', None) or error}; nothing was imported") from None
    if found != digest:
        raise SuiteError(f"{file}: {name} is not what its digest says; nothing was imported, export it again")


def _copied(source: IO[bytes], target: IO[bytes]) -> str:
    """Copy everything, and return its digest."""
    total = hashlib.sha256()
    while chunk := source.read(CHUNK):
        total.update(chunk)
        target.write(chunk)
    return total.hexdigest()
