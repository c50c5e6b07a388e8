"""Says which files of a store nobody needs any more, and removes them."""

from __future__ import annotations

import shutil
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, TypeAlias

from ..errors import SuiteError
from ..trial import FAULTS, Grading, Timing, Trial
from . import unfinished
from .store import KINDS, Store

Reason: TypeAlias = Literal["failed", "stale", "orphaned"]
"""Why a record may go: it holds no result (a trial, timing or grade that did not end well, or a spoiled file); another version of the
code made it than the plan has now; or the plan does not ask for it."""

UNITS = ("B", "kB", "MB", "GB", "TB")


@dataclass(frozen=True)
class Planned:
    """What a plan asks for now, as far as a store may hold it."""

    trials: Sequence[Trial]
    timings: Sequence[Timing]
    gradings: Sequence[Grading]


@dataclass(frozen=True)
class Waste:
    """A file that may go: its kind is the folder of the store that it lies in."""

    kind: str
    file: Path
    size: int


def whole(store: Store) -> list[Waste]:
    """Every file under the plan's folder."""
    return [_waste(store, file) for file in sorted(store.folder.rglob("*")) if file.is_file() and file.name != ".lock"]


def wasted(store: Store, reasons: Collection[Reason], planned: Planned) -> list[Waste]:
    """The files that may go for one of these reasons."""
    return [_waste(store, file) for file, why in _Classifier(store, planned).classified() if why & set(reasons)]


def _waste(store: Store, file: Path) -> Waste:
    parts = file.relative_to(store.folder).parts
    return Waste(parts[0] if len(parts) > 1 else "other files", file, file.stat().st_size)


class _Classifier:
    """Says of each file of a store for which reasons it may go; what the plan needs may go for none."""

    def __init__(self, store: Store, planned: Planned) -> None:
        self._store, self._planned = store, planned
        accepted = [word for trial in planned.trials if (word := store.accepted(trial.key)) is not None]
        self._cells = {trial.cell for trial in planned.trials}
        self._trials = {*(trial.key for trial in planned.trials), *(word.stands for word in accepted)}
        self._words = {word.key for word in accepted}
        asked = (evaluation for trial in planned.trials for evaluation in trial.evaluations)
        self._evaluations = {*(each.key for each in asked), *(key for word in accepted for key in word.evaluations.values())}
        self._measures = {evaluation.measure for trial in planned.trials for evaluation in trial.evaluations}
        kept: list[Trial | Timing] = [*planned.trials, *planned.timings]
        self._modules = {name for each in kept for name in each.sources}  # that a kept record rests on
        self._reasons = {key: self._of_trial(key) for key in store.keys("trials")}

    def classified(self) -> Iterator[tuple[Path, set[Reason]]]:
        store = self._store
        for path in sorted((store.folder / "checkpoints").glob("*.pt")):
            yield path, self._reasons.get(path.stem, {"orphaned"})
        for key in store.keys("evaluations"):
            yield store.file("evaluations", key), self._of_evaluation(key)
        yield from ((store.file("trials", key), why) for key, why in self._reasons.items())
        timings = {timing.key: timing.cell for timing in self._planned.timings}
        for key in store.keys("timings"):
            timing = store.timing(key)
            why = self._older(key in timings, timing.timing.cell in timings.values()) if timing else set()
            yield store.file("timings", key), why | self._failed(timing is None or timing.timed.failed != "")
        gradings = {grading.key: grading.variant.label for grading in self._planned.gradings}
        for key in store.keys("grades"):
            grade = store.grade(key)
            why = self._older(key in gradings, grade.grading.variant.label in gradings.values()) if grade else set()
            yield store.file("grades", key), why | self._failed(grade is None or grade.grade.failed != "")
        for key in store.keys("accepted"):
            word = store.read("accepted", key)
            yield store.file("accepted", key), self._older(key in self._words, word.trial.cell in self._cells) if word else {"failed"}
        for path, keys in unfinished.members(store.unfinished):
            yield path, set() if self._trials & set(keys) else {"orphaned"} if keys else {"failed"}
        for name, path in store.definitions().items():
            yield path, set() if name in self._modules else {"orphaned"}
        for kind in (*KINDS, "checkpoints", store.unfinished.name):  # what a process that was killed had begun to write
            for path in sorted((store.folder / kind).glob(".*")):
                yield path, {"orphaned"}

    def _of_trial(self, key: str) -> set[Reason]:
        stored = self._store.trial(key)
        if stored is None:
            return {"failed"}
        reasons = self._older(key in self._trials, stored.trial.cell in self._cells) | self._failed(stored.status in FAULTS)
        if "orphaned" not in reasons:
            self._modules.update(stored.trial.sources)
        return reasons

    def _of_evaluation(self, key: str) -> set[Reason]:
        """An evaluation goes with the trial whose model was asked, or by itself where it is asked for no more."""
        stored = self._store.evaluation(key)
        if stored is None:
            return {"failed"}
        trained = stored.evaluation.trained
        if trained not in self._reasons:
            return {"orphaned"}
        alone = self._older(key in self._evaluations, stored.evaluation.measure in self._measures) if trained in self._trials else set()
        return self._reasons[trained] | alone

    @staticmethod
    def _older(current: bool, in_the_plan: bool) -> set[Reason]:
        return set() if current else {"stale"} if in_the_plan else {"orphaned"}

    @staticmethod
    def _failed(failed: bool) -> set[Reason]:
        return {"failed"} if failed else set()


def summary(waste: Sequence[Waste]) -> str:
    """How many files there are and how large they are, by kind and together."""
    kinds = dict.fromkeys(each.kind for each in waste)
    parts = [_counted(kind, [each.size for each in waste if each.kind == kind]) for kind in kinds]
    return f"{', '.join(parts)}; together {_counted('files', [each.size for each in waste])}"


def _counted(kind: str, sizes: Sequence[int]) -> str:
    size, unit = float(sum(sizes)), 0
    while size >= 1000 and unit < len(UNITS) - 1:
        size, unit = size / 1000, unit + 1
    return f"{len(sizes)} {kind} ({size:.3g} {UNITS[unit]})"


def remove(store: Store, waste: Sequence[Waste], reasons: Collection[Reason], planned: Planned) -> list[Waste]:
    """Remove those files that may still go, and what the ledger says of them; the store is held meanwhile as for a run.

    waste: what may go as far as somebody was told, which may be a while ago: a run may have needed it since

    Raises SuiteError where one cannot be removed.
    """
    with store.writing():
        still = {each.file for each in wasted(store, reasons, planned)}
        removed = [each for each in waste if each.file in still]
        ledger = store.ledger()
        for each in removed:
            _unlink(each.file)
        if ledger is not None:
            gone = {(each.kind, each.file.stem) for each in removed}
            touched = {key for kind, key in gone if kind in {"trials", "accepted"}}
            cells = {cell: entry for cell, entry in ledger.cells.items() if entry.key not in touched or store.standing(entry.key)[0]}
            timings = {cell: key for cell, key in ledger.timings.items() if ("timings", key) not in gone}
            grades = {label: key for label, key in ledger.grades.items() if ("grades", key) not in gone}
            store.keep(replace(ledger, cells=cells, timings=timings, grades=grades))
    return removed


def remove_all(store: Store) -> None:
    """Remove the plan's folder with all that it holds.

    Raises SuiteError where it cannot be removed.
    """
    with store.writing():
        try:
            shutil.rmtree(store.folder)
        except OSError as error:
            raise SuiteError(f"{error.filename}: cannot be removed: {error.strerror}; remove it by hand") from None


def _unlink(file: Path) -> None:
    try:
        file.unlink(missing_ok=True)
    except OSError as error:
        raise SuiteError(f"{file}: cannot be removed: {error.strerror}; remove it by hand") from None
