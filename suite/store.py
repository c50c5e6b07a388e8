"""Keeps one atomic file per key: the source of truth for what is done and for the report."""

from __future__ import annotations

import contextlib
import json
import math
import os
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .matrix import digest
from .spec import Outcome, SuiteError, Trial

if TYPE_CHECKING:
    from .plan import Plan
    from .spec import Broken, Grading, Timing


def write(path: Path, text: str | bytes) -> None:
    """Replace a file as a whole: what is read there is the old content or the new, never a part.

    Raises SuiteError where the disk is full or the folder cannot be written.
    """
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with partial.open("wb") as file:
            file.write(text if isinstance(text, bytes) else text.encode())
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    except OSError as error:
        with contextlib.suppress(OSError):  # what is left of it is a hidden file that nothing reads
            partial.unlink(missing_ok=True)
        raise SuiteError(f"{path}: cannot be written: {error.strerror}; finished trials are kept, run again once there is room") from None


def _dump(value: Any) -> str:
    return json.dumps(_finite(value), indent=1, allow_nan=False, ensure_ascii=False) + "\n"


def _finite(value: Any) -> Any:
    """The same data with null for NaN and infinity, which JSON has no words for."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {key: _finite(entry) for key, entry in value.items()}
    return [_finite(entry) for entry in value] if isinstance(value, list | tuple) else value


def _load(path: Path, cure: str) -> dict[str, Any] | None:
    """What a file holds; None where there is none. Raises SuiteError, with the cure, for one that cannot be read."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))  # type: ignore[no-any-return]
    except (FileNotFoundError, NotADirectoryError):  # a folder that is none is told of when it is written
        return None
    except (OSError, ValueError) as error:
        raise SuiteError(f"{path}: cannot be read: {error}; {cure}") from None


class Store:
    """What one plan has written under ``runs/<plan>/``."""

    def __init__(self, runs: Path, plan: str) -> None:
        self.folder = runs.resolve() / plan
        self.report = self.folder / "report"

    def checkpoint(self, key: str) -> Path:
        return self.folder / "checkpoints" / f"{key}.pt"

    def trial_file(self, key: str) -> Path:
        return self.folder / "trials" / f"{key}.json"

    def _read(self, kind: str, key: str) -> dict[str, Any] | None:
        return _load(self.folder / kind / f"{key}.json", "delete the file and its work is done again")

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

    def put(self, trial: Trial, outcome: Outcome, provenance: Mapping[str, Any]) -> None:
        """Record an outcome: the trial's file, and one file for each evaluation."""
        for evaluation in trial.evaluations:
            if evaluation.key in outcome.evaluations:
                points = outcome.evaluations[evaluation.key]
                record = {"key": evaluation.key, "trial": trial.key, "kind": evaluation.kind, "name": evaluation.name, "points": points}
                write(self.folder / "evaluations" / f"{evaluation.key}.json", _dump(record))
        described = asdict(trial)
        del described["evaluations"]
        # what was learned stays, whatever becomes of a later evaluation
        earlier = {} if outcome.learning else self.trial(trial.key) or {}
        record = {
            "key": trial.key,
            "status": outcome.status,
            "reason": outcome.reason,
            "traceback": outcome.traceback,
            "trial": described,
            "learning": outcome.learning or earlier.get("learning", {}),
            "measured": outcome.measured or earlier.get("measured", {}),
            "provenance": earlier.get("provenance", dict(provenance)),
        }
        write(self.trial_file(trial.key), _dump(record))

    def trial(self, key: str) -> dict[str, Any] | None:
        return self._read("trials", key)

    def get(self, trial: Trial) -> Outcome | None:
        """The trial's outcome as far as the store has it; None where it was never trained."""
        record = self.trial(trial.key)
        if record is None:
            return None
        found = {one.key: self._read("evaluations", one.key) for one in trial.evaluations}
        return Outcome(
            key=trial.key,
            status=record["status"],
            reason=record["reason"],
            traceback=record["traceback"],
            learning=record["learning"],
            evaluations={key: value["points"] for key, value in found.items() if value},
            measured=record["measured"],
        )

    def done(self, trial: Trial, outcome: Outcome | None) -> bool:
        """Whether nothing is left to do: trained with every evaluation, or diverged (which it would again)."""
        if outcome is None or outcome.status == "failed":
            return False
        return outcome.status == "diverged" or all(one.key in outcome.evaluations for one in trial.evaluations)

    # Timings

    def put_timing(self, timing: Timing, record: Mapping[str, Any]) -> None:
        write(self.folder / "timings" / f"{timing.key}.json", _dump({"timing": asdict(timing), **record}))

    def timing(self, key: str) -> dict[str, Any] | None:
        return self._read("timings", key)

    def put_grade(self, grading: Grading, record: Mapping[str, Any]) -> None:
        write(self.folder / "grades" / f"{grading.key}.json", _dump({**asdict(grading), **record}))

    def grade(self, key: str) -> dict[str, Any] | None:
        return self._read("grades", key)

    def evaluation(self, key: str) -> dict[str, Any] | None:
        return self._read("evaluations", key)

    # The ledger: which key stands for each cell of the plan at present

    def ledger(self) -> dict[str, Any] | None:
        return _load(self.folder / "ledger.json", "delete the file and run the plan again: finished trials are kept")

    def enter(
        self,
        plan: Plan,
        trials: list[Trial],
        timings: list[Timing],
        gradings: list[Grading],
        broken: tuple[Broken, ...],
        provenance: Mapping[str, Any],
    ) -> None:
        """Let these trials and timings stand for their cells.

        A run of a part of the plan keeps what the rest of it has in the ledger. What was trained under another protocol
        (other steps, batch, learning rates, device, …) leaves the ledger, though not the disk: one report mixes no protocols.
        """
        shared = digest(
            [plan.model_dump(include={"eval_seed", "matching"}), plan.training.model_dump(exclude={"steps"}), provenance["device"]]
        )
        timed = digest([plan.timing.model_dump(exclude={"lengths"}), plan.matching.rule, plan.training.dtype, provenance["device"]])
        steps = {trial.task_label: trial.training.steps for trial in trials}
        old = self.ledger() or {}
        cells = {
            cell: entry
            for cell, entry in old.get("cells", {}).items()
            if old["protocol"] == shared and entry["steps"] == steps.get(entry["task"], entry["steps"])
        }
        for trial in trials:
            cells[trial.cell] = {
                "key": trial.key,
                "task": trial.task_label,
                "steps": trial.training.steps,
                "evaluations": [one.key for one in trial.evaluations],
            }
        clock = {cell: key for cell, key in old.get("timings", {}).items() if old["timing_protocol"] == timed}
        clock |= {timing.cell: timing.key for timing in timings}
        grades = {name: key for name, key in old.get("grades", {}).items() if old["protocol"] == shared}
        grades |= {grading.variant_label: grading.key for grading in gradings}
        ledger = {
            "plan": plan.model_dump(mode="json"),
            "protocol": shared,
            "timing_protocol": timed,
            "cells": cells,
            "timings": clock,
            "grades": grades,
            "broken": [asdict(one) for one in broken],
            "provenance": dict(provenance),
        }
        write(self.folder / "ledger.json", _dump(ledger))


def learning_digest(outcome: Outcome) -> str:
    """A digest of what is reproducible to the bit: the curve and every evaluation, no time among them."""
    return digest(_finite([outcome.status, outcome.learning, dict(sorted(outcome.evaluations.items()))]))


def why_stale(record: Mapping[str, Any], trial: Trial) -> list[str]:
    """What differs between a stored trial and the one the plan would run now, by name."""
    then, now = record["trial"], asdict(trial)
    apart = {"key", "ingredients", "evaluations", "training", "budget", "causal"}
    pairs = [
        *((name, then["ingredients"].get(name), now["ingredients"].get(name)) for name in {**then["ingredients"], **now["ingredients"]})
    ]
    pairs += [(name, then.get(name), value) for name, value in now.items() if name not in apart]
    pairs += [(f"training.{name}", then["training"].get(name), value) for name, value in now["training"].items()]
    return [name for name, before, after in pairs if before != after]
