"""Packs a plan's store into one archive with a digest of every file, and unpacks one after checking them."""

from __future__ import annotations

import contextlib
import hashlib
import json
import re
import shutil
import tempfile
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO

from ..errors import SuiteError
from ..machine import version
from ..plan.schema import NAME
from .merging import Merged, merge
from .store import KINDS, LEDGER, Store

FORM = 1
"""The version of archives. Raise it where an older suite would misread them."""

MANIFEST = "manifest.json"
EPOCH = (1980, 1, 1, 0, 0, 0)
"""The date of every entry, so that equal stores give equal archives."""

PERMITTED = re.compile(
    rf"{re.escape(LEDGER)}|[A-Za-z0-9][A-Za-z0-9_.-]*\.toml|(?:{'|'.join(KINDS)})/[0-9a-f]+\.json|checkpoints/[0-9a-f]+\.pt"
)
"""The names that entries may have; none leads out of the folder."""

CHUNK = 1 << 20


def pack(store: Store, file: Path, plan: str) -> int:
    """Write a store's records, ledger and weights into an archive, with the text of its plan where there is one; how many files it has.

    What is spoiled is left out, and noted in the store.

    Raises SuiteError where there is nothing to pack, the file exists already, or it cannot be written.
    """
    if file.exists():
        raise SuiteError(f"{file}: is there already; name another file, or remove it")
    store.ledger()  # one that is spoiled is told of before anything is written
    files = {name: store.folder / name for name in _names(store)}
    if not files:
        raise SuiteError(f"{store.folder}: holds no results to export; `suite run` comes first")
    texts = {f"{store.folder.name}.toml": plan.encode()} if plan else {}
    digests = {
        **{name: _digest(path) for name, path in files.items()},
        **{name: hashlib.sha256(text).hexdigest() for name, text in texts.items()},
    }
    manifest = {"form": FORM, "suite": version("recurrent-suite"), "plan": store.folder.name, "files": dict(sorted(digests.items()))}
    partial = file.with_name(f".{file.name}.partial")
    try:
        with zipfile.ZipFile(partial, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr(zipfile.ZipInfo(MANIFEST, EPOCH), json.dumps(manifest, indent=1) + "\n", zipfile.ZIP_DEFLATED)
            for name in manifest["files"]:  # type: ignore[attr-defined]
                content = texts[name] if name in texts else files[name].read_bytes()
                archive.writestr(zipfile.ZipInfo(name, EPOCH), content, zipfile.ZIP_DEFLATED)
        partial.replace(file)
    except OSError as error:
        raise SuiteError(f"{file}: cannot be written: {error.strerror}; name a file in a folder with room") from None
    finally:
        with contextlib.suppress(OSError):
            partial.unlink(missing_ok=True)
    return len(digests)


def _names(store: Store) -> Iterator[str]:
    """The files of a store that an archive holds, by their place in it."""
    if (store.folder / LEDGER).is_file():
        yield LEDGER
    for kind in KINDS:
        yield from (f"{kind}/{key}.json" for key in store.keys(kind) if store.read(kind, key) is not None)
    yield from (f"checkpoints/{path.name}" for path in sorted((store.folder / "checkpoints").glob("*.pt")) if not path.name.startswith("."))


def unpack(file: Path, runs: Path) -> Merged:
    """Bring an archive's store into a runs folder, as a merge does; nothing is brought in where any file of it is not what it should be.

    Raises SuiteError where the archive is damaged, of a newer version, or names a place outside the store.
    """
    try:
        archive = zipfile.ZipFile(file)
    except (OSError, zipfile.BadZipFile) as error:
        raise SuiteError(f"{file}: cannot be read: {getattr(error, 'strerror', None) or error}; export it again") from None
    with archive:
        plan, digests = _manifest(file, archive)
        try:
            runs.mkdir(parents=True, exist_ok=True)
            folder = Path(tempfile.mkdtemp(prefix=".import-", dir=runs))
        except OSError as error:
            raise SuiteError(f"{runs}: cannot be written: {error.strerror}; use --runs with another folder") from None
        try:
            for name, digest in digests.items():
                _extract(file, archive, name, digest, folder / plan / name)
            return merge(Store(folder, plan), Store(runs, plan))
        finally:
            shutil.rmtree(folder, ignore_errors=True)


def _manifest(file: Path, archive: zipfile.ZipFile) -> tuple[str, Mapping[str, str]]:
    """The plan's name, and the digests of the files by their names, which are checked; so is that the archive holds these alone."""
    try:
        manifest = json.loads(archive.read(MANIFEST))
        form, plan, digests = manifest["form"], str(manifest["plan"]), dict(manifest["files"])
    except (KeyError, TypeError, ValueError, zipfile.BadZipFile, OSError):
        raise SuiteError(f"{file}: has no {MANIFEST} that can be read, so it is no export of the suite, or a damaged one") from None
    if not isinstance(form, int) or form > FORM:
        raise SuiteError(
            f"{file}: is of form {form}, which version {manifest.get('suite')} of the suite wrote, and this one reads forms up to {FORM}; "
            "upgrade the suite"
        )
    names = [name for name in archive.namelist() if name != MANIFEST]
    for name in (*digests, *names):
        if not PERMITTED.fullmatch(name):
            raise SuiteError(f"{file}: names '{name}', which is no file of a store; nothing was imported")
    if not NAME.fullmatch(plan):
        raise SuiteError(f"{file}: names the plan '{plan}', which cannot name a folder; nothing was imported")
    if sorted(names) != sorted(digests):
        odd = sorted({*names} ^ {*digests}) or sorted({name for name in names if names.count(name) > 1})
        raise SuiteError(f"{file}: its {MANIFEST} and its files do not agree on {odd[0]}; nothing was imported, export it again")
    return plan, digests


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


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
