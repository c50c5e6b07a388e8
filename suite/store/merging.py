"""Brings two stores of one plan together: what both have is kept once, and where they contradict each other nothing is overwritten."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, TypeAlias

from ..errors import SuiteError
from ..plan.schema import NAME
from ..trial import FAULTS
from .files import finite, write
from .ledger import PACKAGED_ORIGIN, Ledger
from .store import KINDS, LEDGER, Store, StoredEvaluation, StoredGrade, StoredTiming, StoredTrial

Verdict: TypeAlias = Literal["take", "keep", "contradiction"]
"""What becomes of a record that both stores have: theirs in place of ours, ours, or neither in place of the other."""


@dataclass(frozen=True)
class Merged:
    """What a merge did.

    taken: how many files of each kind were taken; kept: how many records were there already
    contradictions: a sentence for each record of which the two stores say different things; notes: what else is to be known
    """

    plan: str
    taken: Mapping[str, int]
    kept: int
    contradictions: tuple[str, ...]
    notes: tuple[str, ...]


@dataclass
class _Decisions:
    """What is to be done with each record of the other store; nothing is written while it is decided."""

    take: list[tuple[str, str]] = field(default_factory=list)
    contradictions: list[str] = field(default_factory=list)
    apart: set[str] = field(default_factory=set)  # keys of trials that contradict each other
    kept: int = 0


def stores_in(folder: Path) -> list[Store]:
    """The stores that a folder holds: a whole runs folder's, or the one of a plan's own folder.

    Raises SuiteError where there is none.
    """
    try:
        candidates = [folder, *sorted(child for child in folder.iterdir() if child.is_dir() and not child.name.startswith("."))]
    except OSError as error:
        raise SuiteError(f"{folder}: {error.strerror}; name a runs folder, or the folder of one plan in it") from None
    stores = [Store(place.resolve().parent, place.resolve().name) for place in candidates if _is_store(place)]
    if not stores:
        raise SuiteError(f"{folder}: holds no results; name a runs folder, or the folder of one plan in it")
    return stores


def _is_store(folder: Path) -> bool:
    return (folder / LEDGER).is_file() or (folder / "trials").is_dir()


def plan_of(store: Store) -> str:
    """The name of the plan that a store is of, whatever its folder is called.

    Raises SuiteError for one that cannot name a folder.
    """
    ledger = store.ledger()
    name = str(ledger.plan["name"]) if ledger else store.folder.name
    if not NAME.fullmatch(name):
        raise SuiteError(f"{store.folder / LEDGER}: names the plan '{name}', which cannot name a folder")
    return name


def merge(theirs: Store, ours: Store) -> Merged:
    """Take from another store of the same plan what ours lacks, its ledger included; ours is held as for a run.

    Raises SuiteError where a file cannot be read or written, or is of a newer version; it is read whole before anything is written.
    """
    if theirs.folder == ours.folder:
        raise SuiteError(f"{theirs.folder}: cannot be merged with itself; name another folder, or other --runs")
    with ours.writing():
        ledger = theirs.ledger()
        decisions = _decided(theirs, ours)
        taken = Counter(kind for kind, _ in decisions.take)
        for kind, key in decisions.take:
            write(ours.file(kind, key), theirs.file(kind, key).read_bytes())
        taken.update(_with_files_beside(theirs, ours, decisions))
        notes = [f"left out: {fault}" for fault in theirs.spoiled.values()]
        notes += _defined_otherwise(theirs, ours)
        joined, note = join(ours.ledger(), ledger, lambda kind, key: _has(ours, kind, key))
        if joined is not None:
            ours.keep(joined)
        notes += [f"{theirs.folder}: {note}"] if note else []
    return Merged(ours.folder.name, dict(taken), decisions.kept, tuple(decisions.contradictions), tuple(notes))


def _has(store: Store, kind: str, key: str) -> bool:
    return store.file(kind, key).is_file() or (kind == "trials" and store.file("accepted", key).is_file())


def _decided(theirs: Store, ours: Store) -> _Decisions:
    decisions = _Decisions()
    for kind in KINDS:  # trials come first
        for key in theirs.keys(kind):
            record = theirs.read(kind, key)
            if record is None or (kind == "evaluations" and record.evaluation.trained in decisions.apart):
                continue
            mine = ours.read(kind, key)
            verdict = VERDICTS[kind](mine, record) if mine is not None else "take"
            if verdict == "take":
                decisions.take.append((kind, key))
            elif verdict == "keep":
                decisions.kept += 1
            else:
                one, other = ours.file(kind, key), theirs.file(kind, key)
                decisions.contradictions.append(f"{one} and {other} contradict each other ({_what(record)}); both are left as they are")
                if kind == "trials":
                    decisions.apart.add(key)
    return decisions


def _what(record: Any) -> str:
    """What a record is of, as a person names it."""
    if isinstance(record, StoredTrial):
        return record.trial.cell
    return str(record.evaluation.measure if isinstance(record, StoredEvaluation) else record.grading.variant.label)


def _trials(ours: StoredTrial, theirs: StoredTrial) -> Verdict:
    """What was learned must be the same; a trial that did not end well says nothing against one that did."""
    if theirs.status in FAULTS:
        return "keep"
    if ours.status in FAULTS:
        return "take"
    same = ours.status == theirs.status and _plain(ours.learning) == _plain(theirs.learning)
    return "keep" if same else "contradiction"


def _evaluations(ours: StoredEvaluation, theirs: StoredEvaluation) -> Verdict:
    return "keep" if _plain(ours) == _plain(theirs) else "contradiction"


def _timings(ours: StoredTiming, theirs: StoredTiming) -> Verdict:
    """Times are measurements, so two on one kind of hardware may differ: ours stand, unless they failed."""
    return "take" if ours.timed.failed and not theirs.timed.failed else "keep"


def _grades(ours: StoredGrade, theirs: StoredGrade) -> Verdict:
    if theirs.grade.failed:
        return "keep"
    return "take" if ours.grade.failed else "keep" if ours.grade == theirs.grade else "contradiction"


def _accepted(_ours: Any, _theirs: Any) -> Verdict:
    """Both say that the result stands, each for its own reason."""
    return "keep"


VERDICTS: Mapping[str, Callable[[Any, Any], Verdict]] = {
    "trials": _trials,
    "evaluations": _evaluations,
    "timings": _timings,
    "grades": _grades,
    "accepted": _accepted,
}


def _plain(record: Any) -> Any:
    """A record as plain data that can be compared: NaN, which equals nothing, is None."""
    return finite(asdict(record)) if record is not None else None


def _with_files_beside(theirs: Store, ours: Store, decisions: _Decisions) -> Counter[str]:
    """Take the weights of trials that were taken or are the same, and where there are none the plan's file and plugins that were defined in Python.

    How many of each is the answer.
    """
    taken: Counter[str] = Counter()
    fresh = {key for kind, key in decisions.take if kind == "trials"}
    for source in sorted((theirs.folder / "checkpoints").glob("*.pt")):
        place = ours.checkpoint(source.stem)
        if source.stem in fresh or (
            source.stem not in decisions.apart and ours.file("trials", source.stem).is_file() and not place.is_file()
        ):
            write(place, source.read_bytes())
            taken["checkpoints"] += 1
    for source in sorted(theirs.folder.glob("*.toml")):
        if not (ours.folder / source.name).exists():
            write(ours.folder / source.name, source.read_bytes())
            taken["plan files"] += 1
    for source in theirs.definitions().values():
        place = ours.folder / source.relative_to(theirs.folder)
        if not place.exists():
            write(place, source.read_bytes())
            taken["plugins defined in Python"] += 1
    return taken


def _defined_otherwise(theirs: Store, ours: Store) -> Iterator[str]:
    """A sentence for each plugin defined in Python that the two stores have in different versions."""
    mine = ours.definitions()
    for name, source in theirs.definitions().items():
        if name in mine and mine[name].read_bytes() != source.read_bytes():
            yield f"{mine[name]} and {source} define the same plugin in different ways; the first stays, and what rests on the other is stale"


def join(ours: Ledger | None, theirs: Ledger | None, stored: Callable[[str, str], bool]) -> tuple[Ledger | None, str]:
    """Our ledger with what theirs names and ours does not, or names without having it; and what a person should know of it.

    stored: whether a record of a kind and key is in our store by now
    """
    if theirs is None:
        return ours, "has no ledger; what was taken from it is found by its keys when the plan is run again"
    if ours is None:  # the place of a plan's file on another machine means nothing here
        return replace(theirs, origin=theirs.origin if theirs.origin.startswith(PACKAGED_ORIGIN) else ""), ""
    if ours.protocol != theirs.protocol:
        return ours, "was run under another protocol or on another kind of device; its records are kept, and no report mixes the two"
    cells = {
        cell: entry for cell, entry in theirs.cells.items() if cell not in ours.cells or _missing(ours.cells[cell].key, entry.key, stored)
    }
    timings = theirs.timings if ours.timing_protocol == theirs.timing_protocol else {}
    joined = replace(
        ours,
        cells={**ours.cells, **cells},
        timings={**ours.timings, **_lacking(ours.timings, timings, lambda key: stored("timings", key))},
        grades={**ours.grades, **_lacking(ours.grades, theirs.grades, lambda key: stored("grades", key))},
        sources={**theirs.sources, **ours.sources},
        requests=(*ours.requests, *(request for request in theirs.requests if request not in ours.requests)),
    )
    return joined, ""


def _missing(ours: str, theirs: str, stored: Callable[[str, str], bool]) -> bool:
    return not stored("trials", ours) and stored("trials", theirs)


def _lacking(ours: Mapping[str, str], theirs: Mapping[str, str], stored: Callable[[str], bool]) -> dict[str, str]:
    """What theirs names that ours does not, or names without having it."""
    return {cell: key for cell, key in theirs.items() if cell not in ours or (not stored(ours[cell]) and stored(key))}
