"""Trains trials of a report again on this machine, and says at what level each agrees, and what here is other than there."""

from __future__ import annotations

import math
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Literal

from .. import api
from ..errors import SuiteError
from ..execution.local import default_workers
from ..execution.local import pool as processes_here
from ..execution.run import Work, invocation_of, run_trials
from ..keys import digest
from ..listeners.announce import Audience
from ..measures.length import NAME as LENGTH
from ..measures.scores import skill_of
from ..plan import schema
from ..report.stats import Interval, spread
from ..spec import Machine, Point
from ..store.files import finite
from ..store.ledger import Ledger
from ..store.store import Store, StoredTrial, differences, outcome_of
from ..trial import FAULTS, Learning, Outcome, Trial
from . import verify

Level = Literal["same bits", "within the interval", "apart", "not trained"]


@dataclass(frozen=True)
class Reproduced:
    """A trial that was trained again.

    key: of the trial there, which is another one here where the code is
    first: the first number that differs, and by how much; empty where none does
    skills: the test skill there and here; seeds: that of all seeds there, at the trial's task, length and learning rate
    differing: what the two rest on and differ in
    """

    key: str
    trial: Trial
    level: Level
    first: str
    skills: tuple[float, float]
    seeds: Interval
    differing: tuple[str, ...]

    @property
    def explained(self) -> bool:
        """Whether nothing is left to explain."""
        return self.level == "same bits" or (self.level == "within the interval" and bool(self.differing))


def reproduce(report: Path, keys: Sequence[str], sample: int, devices: str | None = None) -> Iterator[Reproduced]:
    """Train trials again: those of these keys (or beginnings of keys), or else a sample, which is the same each time.

    devices: the GPUs to train on, as a run takes them

    Raises SuiteError where the report does not say what it rests on, or a key names no trial of it, and for GPUs where it is of a processor.
    """
    store = verify.store_of(report)
    ledger, manifest = store.ledger(), verify.read(report)
    if isinstance(manifest, str) or ledger is None:
        raise SuiteError(f"{report}: {manifest}")
    with tempfile.TemporaryDirectory(prefix="suite-") as folder:
        plan = manifest.plan or schema.check(dict(ledger.plan), str(store.folder))
        work = api.prepare(schema.limited(plan, devices=devices), Path(folder), _device(ledger), schema.Request())
        cells = [trial.cell for trial in work.trials]
        stored = {cell: entry for cell in cells if (entry := _standing(store, ledger, cell)) and entry.status not in FAULTS}
        planned = {trial.cell: trial for trial in work.trials if trial.cell in stored}
        picked = _picked(stored, keys, sample)
        outcomes = train(work, [planned[cell] for cell in picked])
        for cell in picked:
            trial, before = planned[cell], stored[cell]
            yield compared(
                trial,
                before,
                _outcome(store, ledger, trial, before),
                outcomes[trial.key],
                _seeds(store, ledger, stored, before),
                work.machine,
            )


def _device(ledger: Ledger) -> str:
    """The device that the results come from, where there is one."""
    return "auto" if ledger.machine.device == "cuda" else "cpu"


def _standing(store: Store, ledger: Ledger, cell: str) -> StoredTrial | None:
    return store.standing(ledger.cells[cell].key)[0] if cell in ledger.cells else None


def _picked(stored: Mapping[str, StoredTrial], keys: Sequence[str], sample: int) -> list[str]:
    """The cells of the trials to train again."""
    if not stored:
        raise SuiteError("no trial of the report has a result that could come out again")
    if not keys:
        return sorted(stored, key=lambda cell: digest([cell]))[:sample]
    picked = []
    for beginning in keys:
        matches = [cell for cell, each in stored.items() if each.key.startswith(beginning)]
        if len(matches) != 1:
            raise SuiteError(
                f"--trial {beginning}: {len(matches) or 'no'} trials of the report have a key that begins so; see its manifest.json"
            )
        picked += matches
    return list(dict.fromkeys(picked))


def train(work: Work, trials: Sequence[Trial]) -> Mapping[str, Outcome]:
    """The outcomes of trials that are trained here, by key, on the GPUs that are named for the work, if any are."""
    asked = replace(work, trials=tuple(trials), timings=(), gradings=(), outcomes={}, timed={}, grades={})
    device, gpus = work.machine.device, work.executor.gpus
    workers = min(default_workers(device, work.executor.devices), max(1, len(trials)))
    with processes_here(workers, device, gpus) as executor:
        return run_trials(
            asked, invocation_of(asked, workers), executor, Audience(work.registry, {"track": False, "progress": False}), workers
        )


def _outcome(store: Store, ledger: Ledger, trial: Trial, before: StoredTrial) -> Outcome:
    """What the store has of a trial, its answers by the keys of the questions as they are asked here."""
    keys = dict(ledger.cells[trial.cell].evaluations)
    answers = {asked.key: store.evaluation(keys[asked.measure]) for asked in trial.evaluations if asked.measure in keys}
    return outcome_of(trial.key, before, answers)


def _seeds(store: Store, ledger: Ledger, stored: Mapping[str, StoredTrial], of: StoredTrial) -> Interval:
    """The test skill of all seeds at a trial's variant, task, length and learning rate: their mean and range."""
    skills = []
    for cell, each in stored.items():
        trial, other = each.trial, of.trial
        if (trial.variant, trial.task, trial.length, trial.training) == (other.variant, other.task, other.length, other.training):
            key = ledger.cells[cell].evaluations.get(LENGTH)
            answer = store.evaluation(key) if key else None
            skills.append(skill(each.status, answer.points if answer else ()))
    return spread(skills)


def skill(status: str, points: Sequence[Point]) -> float:
    """The test skill at the trained length; 0 of a trial that diverged."""
    if status == "diverged":
        return 0.0
    return next((skill_of(point) for point in points if point.at == 1), math.nan)


def compared(trial: Trial, before: StoredTrial, there: Outcome, here: Outcome, seeds: Interval, now: Machine) -> Reproduced:
    """How what a trial came to here agrees with what it came to there."""
    skills = tuple(skill(outcome.status, _points(trial, outcome, LENGTH)) for outcome in (there, here))
    first = first_difference(trial, there, here)
    level: Level = "same bits"
    if here.status in (*FAULTS, "skipped"):
        level = "not trained"
    elif first:
        level = "within the interval" if seeds.low <= skills[1] <= seeds.high else "apart"
    return Reproduced(before.key, trial, level, first, (skills[0], skills[1]), seeds, tuple(differing(before, trial, now)))


def first_difference(trial: Trial, there: Outcome, here: Outcome) -> str:
    """The first number that differs, in the order in which they came to be, in words; empty where all are the same."""
    if there.status != here.status:
        return f"it ended as {there.status} there and as {here.status} here{f': {here.reason}' if here.reason else ''}"
    for name, value_there, value_here in _numbers(trial, there, here):
        if value_there != value_here:
            return f"{name} is {value_there!r} there and {value_here!r} here{_by(value_there, value_here)}"
    return ""


def _by(value_there: object, value_here: object) -> str:
    return f", by {abs(value_there - value_here):.2g}" if isinstance(value_there, float) and isinstance(value_here, float) else ""


def _numbers(trial: Trial, there: Outcome, here: Outcome) -> Iterator[tuple[str, object, object]]:
    """Every number of the two by its name: first what was learned, step by step, then the answers in the order of the questions."""
    yield from _side_by_side(_learned(there.learning), _learned(here.learning))
    for asked in trial.evaluations:
        if asked.key not in there.evaluations:
            continue
        yield from _side_by_side(*(_answered(asked.measure, outcome.evaluations.get(asked.key, ())) for outcome in (there, here)))


def _side_by_side(numbers_there: Mapping[str, object], numbers_here: Mapping[str, object]) -> Iterator[tuple[str, object, object]]:
    yield from ((name, numbers_there.get(name), numbers_here.get(name)) for name in dict.fromkeys((*numbers_there, *numbers_here)))


def _learned(learning: Learning | None) -> dict[str, object]:
    if learning is None:
        return {}
    curve = {
        f"step {validation.step}: {name}": finite(value)
        for validation in learning.curve
        for name, value in sorted(validation.scores.items())
    }
    return {**curve, **{name: finite(value) for name, value in asdict(learning).items() if name != "curve"}}


def _answered(measure: str, points: Sequence[Point]) -> dict[str, object]:
    return {
        f"{measure} at {point.at:g}: {name}": finite(value)
        for point in points
        for name, value in sorted({**point.scores, "baseline": point.baseline, "ideal": point.ideal}.items())
    }


def _points(trial: Trial, outcome: Outcome, measure: str) -> Sequence[Point]:
    return next((outcome.evaluations.get(asked.key, ()) for asked in trial.evaluations if asked.measure == measure), ())


def differing(before: StoredTrial, trial: Trial, now: Machine) -> Iterator[str]:
    """What the two trainings rest on and differ in, with what each has: code, versions, and the machine."""
    for name in differences(before.trial, trial):
        yield f"{name}{_values(name, before.trial, trial)}"
    machine_there, machine_here = before.machine.described(), now.described()
    for name in dict.fromkeys((*machine_there, *machine_here)):
        if machine_there.get(name) != machine_here.get(name) and name not in ("torch", "numpy", "cores"):
            yield f"{name} ({machine_there.get(name, 'none')} there, {machine_here.get(name, 'none')} here)"


def _values(name: str, there: Trial, here: Trial) -> str:
    if name in there.surroundings or name in here.surroundings:
        return f" ({there.surroundings.get(name, 'none')} there, {here.surroundings.get(name, 'none')} here)"
    return " (another version)" if name in there.sources and name in here.sources else ""


def text(each: Reproduced) -> str:
    """A trial that was trained again, in a line or more."""
    lines = [f"{each.key}  {each.trial.cell}: {each.level}"]
    if each.first:
        lines.append(f"  {each.first}")
    if each.level in ("within the interval", "apart"):
        lines.append(f"  test skill {each.skills[0]:.3f} there, {each.skills[1]:.3f} here; over the seeds there {each.seeds.text(3)}")
    if each.level != "same bits":
        lines.append(
            f"  differing: {'; '.join(each.differing) or 'nothing that is known, so that this is a fault of the machine or of the suite'}"
        )
    return "\n".join(lines)
