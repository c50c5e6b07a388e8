"""Keeps one atomic file per key: the source of truth for what is done and for the report."""

from __future__ import annotations

import contextlib
import os
import platform
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import Any, TypeVar

from .. import dropins
from ..errors import SuiteError
from ..keys import digest
from ..spec import Grade, Machine, Point
from ..trial import FAULTS, Evaluation, Grading, Learning, Outcome, Status, Timed, Timing, Trial
from .files import Spoiled, dump, finite, load, parse, seal, write
from .ledger import Ledger

CURE = "it counts as not done, and the next run does its work again"
HOLDER, DEFINED = ".holder", "defined"
LEDGER, LEDGER_KIND, LEDGER_CURE = "ledger.json", "ledger", "delete the file and run the plan again: finished trials are kept"

Record = TypeVar("Record")


@dataclass(frozen=True)
class StoredTrial:
    """What a trial's file holds; its evaluations have files of their own."""

    key: str
    status: Status
    reason: str
    traceback: str
    trial: Trial
    machine: Machine
    learning: Learning | None = None
    train_seconds: float | None = None
    compile_seconds: float | None = None
    members: int | None = None
    last_step: int | None = None
    ended: str = ""


@dataclass(frozen=True)
class StoredEvaluation:
    """What an evaluation's file holds."""

    key: str
    evaluation: Evaluation
    points: tuple[Point, ...]


@dataclass(frozen=True)
class StoredTiming:
    """What a timing's file holds."""

    timing: Timing
    timed: Timed


@dataclass(frozen=True)
class StoredGrade:
    """What a grading's file holds."""

    grading: Grading
    grade: Grade = field(default_factory=Grade)


@dataclass(frozen=True)
class Accepted:
    """A person's word that a stored result still stands for a trial of the plan, though the code behind it has changed since.

    key, trial: of the trial as the plan had it then, with its evaluations; when the code changes once more, no trial of the plan has this key
    stands: the key of the stored trial that stands for it; evaluations: keys of those that stand, by keys of those that are asked for
    changed: the names of what had changed
    """

    key: str
    trial: Trial
    stands: str
    evaluations: Mapping[str, str]
    changed: tuple[str, ...]
    why: str


KINDS: Mapping[str, type[Any]] = {
    "trials": StoredTrial,
    "evaluations": StoredEvaluation,
    "timings": StoredTiming,
    "grades": StoredGrade,
    "accepted": Accepted,
}
"""What each folder of records holds, one in a file; the file's name is the record's key."""


@dataclass(frozen=True)
class Holder:
    """Who is at work in a plan's folder: a process, its machine, and since when."""

    process: int
    machine: str
    since: str


def described(file: Path) -> str:
    """Whom the file of a holder names, in brackets; nothing where it names none that is known."""
    with contextlib.suppress(SuiteError):
        if holder := load(file, Holder, CURE):
            return f" (process {holder.process} on {holder.machine}, since {holder.since})"
    return ""


class Store:
    """What one plan has written under ``runs/<plan>/``.

    spoiled: what was found wrong with files that were read, by file; their records count as absent
    """

    def __init__(self, runs: Path, plan: str) -> None:
        self.folder = runs.resolve() / plan
        self.report = self.folder / "report"
        self.spoiled: dict[Path, str] = {}
        self._lock_held: tuple[int, int] | None = None
        self._ledger_kept = False

    @property
    def unfinished(self) -> Path:
        """The folder of trainings that are not done."""
        return self.folder / "unfinished"

    @property
    def defined(self) -> Path:
        """The folder of plugins that were defined in Python and handed to a run."""
        return self.folder / DEFINED

    def definitions(self) -> dict[str, Path]:
        """The files of these plugins, by the names of their modules."""
        return {
            f"{dropins.__name__}.{folder}.{path.stem}": path
            for folder in dropins.FOLDERS
            for path in sorted((self.defined / folder).glob("*.py"))
        }

    def checkpoint(self, key: str) -> Path:
        return self.folder / "checkpoints" / f"{key}.pt"

    def file(self, kind: str, key: str) -> Path:
        """The file of a record; `kind` is one of KINDS."""
        return Path(self.path(kind, key))

    def path(self, kind: str, key: str) -> str:
        """The path of a record's file, as text, which is made much sooner where there are tens of thousands."""
        return f"{self.folder}/{kind}/{key}.json"

    def keys(self, kind: str) -> list[str]:
        """The keys of all records of a kind, in order."""
        return sorted(path.stem for path in (self.folder / kind).glob("*.json") if not path.name.startswith("."))

    def read(self, kind: str, key: str) -> Any:
        """The record of a kind and key; None where there is none, and where its file is spoiled, which is noted.

        Raises SuiteError where a newer version of the suite wrote the file.
        """
        path = self.path(kind, key)
        return self._checked(path, key, lambda: load(path, KINDS[kind], CURE, kind))

    def parsed(self, kind: str, key: str, content: bytes) -> Any:
        """The record that the content of its file holds; None where that is spoiled, which is noted."""
        path = self.path(kind, key)
        return self._checked(path, key, lambda: parse(path, content, KINDS[kind], CURE, kind))

    def _checked(self, path: str, key: str, read: Callable[[], Any]) -> Any:
        try:
            record = read()
            named = getattr(record, "key", key)
            if named != key:
                raise Spoiled(f"{path}: holds the record of another key, {named}; {CURE}")
        except Spoiled as error:
            self.spoiled[Path(path)] = str(error)
            return None
        if self.spoiled:
            self.spoiled.pop(Path(path), None)  # it has been written anew
        return record

    def write(self, kind: str, key: str, record: Any) -> None:
        """Keep a record.

        Raises SuiteError where it cannot be written, and where the folder that this run holds is gone.
        """
        self.check_held()
        write(self.file(kind, key), seal(kind, record))

    @contextlib.contextmanager
    def writing(self) -> Iterator[None]:
        """Hold the plan's folder for one run; the system lets go of it when the run ends, however it does.

        Raises SuiteError when another run holds it or it cannot be written.
        """
        import filelock

        holder = self.folder / HOLDER
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            lock = filelock.FileLock(self._lock_file)
            lock.acquire(timeout=0)
            self._lock_held, self._ledger_kept = _identity(self._lock_file), False
        except filelock.Timeout:
            raise SuiteError(
                f"{self.folder}: another run is at work here{described(holder)}; wait for it, or use --runs with another folder"
            ) from None
        except OSError as error:
            raise SuiteError(f"{self.folder}: cannot be written: {error.strerror}; use --runs with another folder") from None
        try:
            write(holder, dump(Holder(os.getpid(), platform.node(), f"{datetime.now():%Y-%m-%d %H:%M}")))
            yield
        finally:
            self._lock_held = None
            with contextlib.suppress(OSError):  # the lock alone decides, and the next run names itself
                holder.unlink(missing_ok=True)
            lock.release()

    @property
    def _lock_file(self) -> Path:
        return self.folder / ".lock"

    def check_held(self) -> None:
        """Raises SuiteError where the folder that this run holds was removed, even if something has made it again since."""
        if self._lock_held is None:
            return
        if _identity(self._lock_file) != self._lock_held or (self._ledger_kept and not (self.folder / LEDGER).is_file()):
            raise SuiteError(f"{self.folder}: was removed while the run was at work, with all that it held; run again")

    # Trials

    def put(self, trial: Trial, outcome: Outcome, machine: Machine, ended: str = "") -> None:
        """Record an outcome: the trial's file, with the day on which it ended, and one file for each evaluation.

        What was learned stays, whatever becomes of a later evaluation.
        """
        for evaluation in trial.evaluations:
            if evaluation.key in outcome.evaluations:
                points = outcome.evaluations[evaluation.key]
                self.write("evaluations", evaluation.key, StoredEvaluation(evaluation.key, evaluation, points))
        stored = StoredTrial(
            key=trial.key,
            status=outcome.status,
            reason=outcome.reason,
            traceback=outcome.traceback,
            trial=replace(trial, evaluations=()),
            machine=machine,
            learning=outcome.learning,
            train_seconds=outcome.train_seconds,
            compile_seconds=outcome.compile_seconds,
            members=outcome.members,
            last_step=outcome.last_step,
            ended=ended,
        )
        earlier = None if outcome.learning else self.trial(trial.key)
        if earlier is not None:
            costs = {name: getattr(earlier, name) for name in ("train_seconds", "compile_seconds", "members")}
            stored = replace(stored, learning=earlier.learning, machine=earlier.machine, ended=earlier.ended, **costs)
        self.write("trials", trial.key, stored)

    def trial(self, key: str) -> StoredTrial | None:
        stored: StoredTrial | None = self.read("trials", key)
        return stored

    def learned(self, key: str) -> bool:
        """Whether a trial's training is done, whatever became of its evaluations."""
        stored = self.trial(key)
        return stored is not None and stored.learning is not None

    def evaluation(self, key: str) -> StoredEvaluation | None:
        stored: StoredEvaluation | None = self.read("evaluations", key)
        return stored

    def accepted(self, key: str) -> Accepted | None:
        """Who stands for the trial of a key, by a person's word; None where there is none, or the trial has been trained since."""
        accepted: Accepted | None = self.read("accepted", key)
        trained_since = accepted is not None and accepted.stands != key and os.path.isfile(self.path("trials", key))
        return None if trained_since else accepted

    def standing(self, key: str) -> tuple[StoredTrial | None, Accepted | None]:
        """What stands for a key: the trial of that key, or the one that was accepted in its place, with the word for it."""
        accepted = self.accepted(key)
        return self.trial(accepted.stands if accepted else key), accepted

    def get(self, trial: Trial) -> Outcome | None:
        """The trial's outcome as far as the store has it, or what was accepted in its place; None where it was never trained."""
        stored = self.trial(trial.key)
        evaluations = {asked.key: self.evaluation(asked.key) for asked in trial.evaluations} if stored else {}
        if (stored is None or None in evaluations.values()) and (accepted := self.accepted(trial.key)):
            stored = self.trial(accepted.stands)
            standing = {asked.key: accepted.evaluations.get(asked.key) for asked in trial.evaluations}
            evaluations |= {asked: self.evaluation(key) for asked, key in standing.items() if key}
        return None if stored is None else outcome_of(trial.key, stored, evaluations)

    # Timings and grades

    def put_timing(self, timing: Timing, timed: Timed) -> None:
        self.write("timings", timing.key, StoredTiming(timing, timed))

    def timing(self, key: str) -> StoredTiming | None:
        stored: StoredTiming | None = self.read("timings", key)
        return stored

    def put_grade(self, grading: Grading, grade: Grade) -> None:
        self.write("grades", grading.key, StoredGrade(grading, grade))

    def grade(self, key: str) -> StoredGrade | None:
        stored: StoredGrade | None = self.read("grades", key)
        return stored

    # The ledger

    def ledger(self) -> Ledger | None:
        """Which key stands for each cell of the plan; None where nothing was run."""
        return load(self.folder / LEDGER, Ledger, LEDGER_CURE, LEDGER_KIND)

    @property
    def ledger_keys(self) -> frozenset[str]:
        """The keys of the trials that stand for a cell."""
        ledger = self.ledger()
        return frozenset(entry.key for entry in ledger.cells.values()) if ledger else frozenset()

    def keep(self, ledger: Ledger) -> None:
        """Write the ledger where it says something new."""
        before = self.ledger()
        if before is None or dump(ledger) != dump(before):
            self.check_held()
            write(self.folder / LEDGER, seal(LEDGER_KIND, ledger))
        self._ledger_kept = True


def _identity(path: Path) -> tuple[int, int] | None:
    """What tells a file from any other that ever had its name; None where there is none."""
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_dev, status.st_ino


def outcome_of(key: str, stored: StoredTrial, evaluations: Mapping[str, StoredEvaluation | None]) -> Outcome:
    """The outcome of the trial of a key, from what stands for it and its answers, by the keys of the questions."""
    return Outcome(
        key=key,
        status=stored.status,
        reason=stored.reason,
        traceback=stored.traceback,
        last_step=stored.last_step,
        learning=stored.learning,
        evaluations={asked: evaluation.points for asked, evaluation in evaluations.items() if evaluation is not None},
        train_seconds=stored.train_seconds,
        compile_seconds=stored.compile_seconds,
        members=stored.members,
    )


def done(trial: Trial, outcome: Outcome | None) -> bool:
    """Whether nothing is left to do: trained with every evaluation, or diverged (which it would again)."""
    if outcome is None or outcome.status in FAULTS or outcome.status == "skipped":
        return False
    return outcome.status == "diverged" or all(evaluation.key in outcome.evaluations for evaluation in trial.evaluations)


def learning_digest(trial: Trial, outcome: Outcome) -> str:
    """A digest of what is reproducible to the bit: the curve, and each evaluation's points in the trial's order; no time, no key."""
    learning = asdict(outcome.learning) if outcome.learning else {}
    points = [[asdict(point) for point in outcome.evaluations.get(evaluation.key, ())] for evaluation in trial.evaluations]
    return digest(finite([outcome.status, learning, points]))


def differences(stored: Trial, planned: Trial) -> list[str]:
    """What differs between a stored trial and the one the plan would run now, by name."""
    then, now = asdict(stored), asdict(planned)
    pairs: dict[str, tuple[object, object]] = {}
    for mapping in ("sources", "surroundings"):
        names = {**then.pop(mapping), **now.pop(mapping)}
        pairs |= {name: (_value(stored, mapping, name), _value(planned, mapping, name)) for name in names}
    pairs |= {f"training.{name}": (then["training"][name], value) for name, value in now["training"].items()}
    apart = {"training", "evaluations", "test_samples", "budget", "causal", "state_size"}
    pairs |= {name: (then[name], value) for name, value in now.items() if name not in apart}
    return [name for name, (before, after) in pairs.items() if before != after]


def _value(trial: Trial, mapping: str, name: str) -> object:
    values: Mapping[str, str] = getattr(trial, mapping)
    return values.get(name)
