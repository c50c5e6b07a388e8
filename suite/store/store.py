"""Keeps one atomic file per key: the source of truth for what is done and for the report."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

from ..errors import SuiteError
from ..keys import digest
from ..spec import Grade, Machine, Point
from ..trial import FAULTS, Evaluation, Grading, Learning, Outcome, Status, Timed, Timing, Trial
from .files import dump, finite, load, write
from .ledger import Ledger

CURE = "delete the file and its work is done again"


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


class Store:
    """What one plan has written under ``runs/<plan>/``."""

    def __init__(self, runs: Path, plan: str) -> None:
        self.folder = runs.resolve() / plan
        self.report = self.folder / "report"

    def checkpoint(self, key: str) -> Path:
        return self.folder / "checkpoints" / f"{key}.pt"

    def file(self, kind: str, key: str) -> Path:
        """The file of a record; `kind` is trials, evaluations, timings or grades."""
        return self.folder / kind / f"{key}.json"

    @contextlib.contextmanager
    def writing(self) -> Iterator[None]:
        """Hold the plan's folder for one run.

        Raises SuiteError when another run holds it or it cannot be written.
        """
        import filelock

        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            lock = filelock.FileLock(self.folder / ".lock")
            lock.acquire(timeout=0)
        except filelock.Timeout:
            raise SuiteError(f"{self.folder}: another run is at work here; wait for it, or use --runs with another folder") from None
        except OSError as error:
            raise SuiteError(f"{self.folder}: cannot be written: {error.strerror}; use --runs with another folder") from None
        try:
            yield
        finally:
            lock.release()

    # Trials

    def put(self, trial: Trial, outcome: Outcome, machine: Machine, ended: str = "") -> None:
        """Record an outcome: the trial's file, with the day on which it ended, and one file for each evaluation.

        What was learned stays, whatever becomes of a later evaluation.
        """
        for evaluation in trial.evaluations:
            if evaluation.key in outcome.evaluations:
                points = outcome.evaluations[evaluation.key]
                write(self.file("evaluations", evaluation.key), dump(StoredEvaluation(evaluation.key, evaluation, points)))
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
        write(self.file("trials", trial.key), dump(stored))

    def trial(self, key: str) -> StoredTrial | None:
        return load(self.file("trials", key), StoredTrial, CURE)

    def evaluation(self, key: str) -> StoredEvaluation | None:
        return load(self.file("evaluations", key), StoredEvaluation, CURE)

    def get(self, trial: Trial) -> Outcome | None:
        """The trial's outcome as far as the store has it; None where it was never trained."""
        stored = self.trial(trial.key)
        if stored is None:
            return None
        evaluations = [self.evaluation(evaluation.key) for evaluation in trial.evaluations]
        return Outcome(
            key=trial.key,
            status=stored.status,
            reason=stored.reason,
            traceback=stored.traceback,
            last_step=stored.last_step,
            learning=stored.learning,
            evaluations={evaluation.key: evaluation.points for evaluation in evaluations if evaluation is not None},
            train_seconds=stored.train_seconds,
            compile_seconds=stored.compile_seconds,
            members=stored.members,
        )

    # Timings and grades

    def put_timing(self, timing: Timing, timed: Timed) -> None:
        write(self.file("timings", timing.key), dump(StoredTiming(timing, timed)))

    def timing(self, key: str) -> StoredTiming | None:
        return load(self.file("timings", key), StoredTiming, CURE)

    def put_grade(self, grading: Grading, grade: Grade) -> None:
        write(self.file("grades", grading.key), dump(StoredGrade(grading, grade)))

    def grade(self, key: str) -> StoredGrade | None:
        return load(self.file("grades", key), StoredGrade, CURE)

    # The ledger

    def ledger(self) -> Ledger | None:
        """Which key stands for each cell of the plan; None where nothing was run."""
        return load(self.folder / "ledger.json", Ledger, "delete the file and run the plan again: finished trials are kept")

    def keep(self, ledger: Ledger) -> None:
        """Write the ledger where it says something new."""
        before = self.ledger()
        if before is None or dump(ledger) != dump(before):
            write(self.folder / "ledger.json", dump(ledger))


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
