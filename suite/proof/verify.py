"""Builds a report again from its store, and names the first byte that differs, and each file of the store that is not as it was written."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from .. import dropins
from ..errors import SuiteError
from ..keys import digest
from ..plan import schema
from ..registry.finder import discover
from ..registry.registry import Registry
from ..report import inputs, manifest, page
from ..store.contents import named
from ..store.selection import Selection, select
from ..store.store import KINDS, Store

PAGE = "index.html"
AGAIN = "`suite report PLAN` writes it anew"


@dataclass(frozen=True)
class Manifest:
    """What a report says of itself, as far as building it again needs it.

    plan, request: what was selected; None for all that the store holds
    parts: the digest or version of each thing that it was made of, by name; whole: whether that is what it was written with
    """

    plan: schema.Plan | None
    request: schema.Request
    parts: Mapping[str, str]
    whole: bool


@dataclass(frozen=True)
class Verified:
    """What came of building a report again.

    files, records: how many files it has, and how many records of the store it rests on
    faults: a sentence for each thing that is not as it was written, or that comes out in another way
    changed: the code and the packages that are of another version here than where it was made
    rebuilt: whether it was built again, which is left out where what it rests on is damaged already
    """

    report: Path
    files: int
    records: int
    faults: tuple[str, ...]
    changed: tuple[str, ...]
    rebuilt: bool


def report_of(name: str, runs: Path) -> Path:
    """The folder of a report, from itself, a file in it, the folder of its plan, or the name of a plan in the runs folder.

    Raises SuiteError where there is none.
    """
    given = Path(name)
    for folder in (given, given / "report", given.parent if given.is_file() else given, runs / name / "report"):
        if (folder / manifest.MANIFEST).is_file():
            return folder.resolve()
    raise SuiteError(f"{name}: there is no report; name its folder, such as {runs / 'quick' / 'report'}, or a plan that was run")


def store_of(report: Path) -> Store:
    """The store that a report lies in.

    Raises SuiteError where it lies alone.
    """
    store = Store(report.parent.parent, report.parent.name)
    if store.ledger() is None:
        raise SuiteError(
            f"{report}: lies beside no ledger.json, so that what it rests on is not here; put it into the folder of its plan, as report/"
        )
    return store


def verify(report: Path) -> Verified:
    """Check each file of the store that a report rests on, then build it again from them; nothing is written.

    Raises SuiteError where the report lies beside no store, or its ledger is damaged.
    """
    store, registry = store_of(report), discover()
    recorded, digests = read(report), _digests(report)
    listed, damaged = {*digests, *_files(report)}, tuple(_damaged(store))
    records = sum(Path(path).is_file() for _, path in named(store, store.ledger()))
    if isinstance(recorded, str) or damaged:
        faults = (*damaged, *([recorded] if isinstance(recorded, str) else []), *_unlike(report, digests))
        return Verified(report, len(listed), records, faults, (), rebuilt=False)
    selection = selection_of(recorded, registry, store)
    now = inputs.gathered(store, registry, selection)
    changed = tuple(_changed(recorded.parts, now.parts)) if recorded.whole else ()
    faults = tuple(_replaced(recorded.parts, now.parts)) if recorded.whole else (f"{manifest.MANIFEST}: contradicts itself; {AGAIN}",)
    built = page.made(store, registry, selection).files
    faults += tuple(fault for name in _in_order({*listed, *built}) for fault in _difference(report, name, built.get(name)))
    return Verified(report, len(listed), records, faults, changed, rebuilt=True)


def read(report: Path) -> Manifest | str:
    """What the manifest of a report says; a sentence where it cannot be read."""
    place = report / manifest.MANIFEST
    try:
        plain = json.loads(place.read_bytes())
        if "made_of" not in plain:
            return f"{place.name}: does not say what the report was made of: it is damaged, or of an earlier version of the suite; {AGAIN}"
        made_of = dict(plain["made_of"])
        whole = digest({name: made_of[name] for name in ("selection", "parts")}, 64) == made_of["sha256"]
        selected, parts = made_of["selection"], dict(made_of["parts"])
        if selected is None:
            return Manifest(None, schema.Request(), parts, whole)
        request = schema.Request(**{**selected["request"], "path": tuple(selected["request"]["path"])})
        return Manifest(schema.check(selected["plan"], str(place)), request, parts, whole)
    except (OSError, SuiteError, ValueError, KeyError, TypeError) as error:
        return f"{place.name}: cannot be read ({type(error).__name__}: {error}); {AGAIN}"


def _digests(report: Path) -> dict[str, str]:
    """The digest of each file by the manifest, where that can be read; the manifest itself has none."""
    try:
        return {**json.loads((report / manifest.MANIFEST).read_bytes())["sha256"], manifest.MANIFEST: ""}
    except (OSError, ValueError, KeyError, TypeError):
        return {manifest.MANIFEST: ""}


def _unlike(report: Path, digests: Mapping[str, str]) -> Iterator[str]:
    """A sentence for each file that is not what the manifest says."""
    for name in _in_order(set(digests)):
        file = report / name
        if not file.is_file():
            yield f"{name}: is missing"
        elif digests[name] and hashlib.sha256(file.read_bytes()).hexdigest() != digests[name]:
            yield f"{name}: is not what {manifest.MANIFEST} says of it"


def selection_of(recorded: Manifest, registry: Registry, store: Store) -> Selection | None:
    """What the report shows, selected again.

    Raises SuiteError where a plugin that it rests on is not there, naming the folder of those that were defined in Python.
    """
    ledger = store.ledger()
    if recorded.plan is None or ledger is None:
        return None
    try:
        return select(recorded.plan, recorded.request, registry, ledger.machine.device)
    except SuiteError as error:
        if not store.definitions() or store.defined in dropins.ROOTS:
            raise
        raise SuiteError(f"{error}; plugins that were defined in Python lie in {store.defined}: say --path {store.defined}") from None


def _files(report: Path) -> set[str]:
    """The files that are there."""
    return {file.relative_to(report).as_posix() for file in report.rglob("*") if file.is_file()}


def _damaged(store: Store) -> Iterator[str]:
    """A sentence for each file that the ledger names and that is not as it was written."""
    for _, path in named(store, store.ledger()):
        file = Path(path)
        if file.parent.name in KINDS:
            store.read(file.parent.name, file.stem)
    yield from (store.spoiled[file] for file in sorted(store.spoiled))


def _changed(then: Mapping[str, str], now: Mapping[str, str]) -> Iterator[str]:
    """A few words for each part that is no file of the store and differs."""
    for name in sorted({*then, *now}):
        if name.startswith(inputs.STORED) or then.get(name) == now.get(name):
            continue
        if name.startswith("package "):
            yield f"{name.removeprefix('package ')} {then.get(name, 'not used')} there, {now.get(name, 'not used')} here"
        else:
            yield f"{name} {'in another version' if name in then and name in now else 'only here' if name in now else 'only there'}"


def _replaced(then: Mapping[str, str], now: Mapping[str, str]) -> Iterator[str]:
    """A sentence for each kind of files of the store that are whole, yet others than those the report was made of."""
    for name in sorted({*then, *now}):
        if name.startswith(inputs.STORED) and then.get(name) != now.get(name):
            yield f"{name.removeprefix(inputs.STORED)}: the store has others than those that the report was made of; {AGAIN}"


def _in_order(names: set[str]) -> list[str]:
    """The page first, then figures, tables and the rest, the manifest last, which says something of all of them."""
    return sorted(names, key=lambda name: (name == manifest.MANIFEST, name != PAGE, not name.startswith("figures/"), name))


def _difference(report: Path, name: str, built: bytes | None) -> list[str]:
    """A sentence where a file of the report is not what it is when built again."""
    try:
        content = (report / name).read_bytes()
    except OSError:
        return [f"{name}: is missing"]
    if built is None:
        return [f"{name}: does not come of the store; nothing else may lie in the report's folder"]
    return [] if content == built else [f"{name}: {first_difference(content, built)}"]


def first_difference(content: bytes, built: bytes) -> str:
    """Where two different contents part, in words."""
    place = next((place for place, (byte, again) in enumerate(zip(content, built, strict=False)) if byte != again), None)
    if place is None:
        place = min(len(content), len(built))
        return f"has {len(content)} bytes and {len(built)} when built again; the first {place} are the same"
    line = content.count(b"\n", 0, place) + 1
    return f"byte {place} (line {line}) is {_shown(content, place)}, and {_shown(built, place)} when built again"


def _shown(content: bytes, place: int) -> str:
    """A byte with what follows it, as text."""
    return f"0x{content[place]:02x} (…{content[place : place + 12].decode(errors='backslashreplace')!r}…)"
