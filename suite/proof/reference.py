"""Holds what the plan `standard` gave where it was published, and tries whether a small part of it comes out the same here."""

from __future__ import annotations

import math
import statistics
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from .. import api
from ..errors import SuiteError
from ..measures.length import NAME as LENGTH
from ..plan import schema
from ..registry.finder import discover
from ..registry.sources import harness_sources
from ..report import inference
from ..report.answer import SEED
from ..report.counted import steps, trials
from ..report.stats import Interval
from ..spec import Machine
from ..store.files import load
from ..store.ledger import Ledger
from ..trial import Outcome, Trial
from .reproduce import skill, train

if TYPE_CHECKING:
    from pandas import DataFrame

    from ..spec import Results

FILE, KIND = Path(__file__).with_name("reference.json"), "bands"

VARIANTS, SEEDS = ("lstm", "gru"), 3
"""What is trained again: so many seeds of these, at the shortest length of each task."""


@dataclass(frozen=True)
class Counted:
    """A trial that counts: its seed, the learning rate that the other seeds chose for it, its test skill, and its steps if it solved."""

    seed: int
    learning_rate: float
    skill: float
    steps: int | None


@dataclass(frozen=True)
class Band:
    """What the seeds of a variant on a task at a length came to.

    solved: how many of them solved it; skill: their mean with its interval at 95 %; steps: least, median and most of those that solved
    seconds: of one core, for training one of them
    """

    variant: str
    task: str
    length: int
    solved: int
    skill: tuple[float, float, float]
    steps: tuple[float, float, float] | None
    seconds: float
    trials: tuple[Counted, ...]


@dataclass(frozen=True)
class Reference:
    """Published results: of which plan, on what machine, with what code, and the bands."""

    plan: Mapping[str, object]
    machine: Machine
    sources: Mapping[str, str]
    bands: tuple[Band, ...]


@dataclass(frozen=True)
class Held:
    """What a part of a band came to here.

    same: how many trials have the very skill and steps of the reference; faults: what lies outside the band, in sentences
    """

    band: Band
    skill: float
    solved: int
    steps: float
    trials: int
    same: int
    faults: tuple[str, ...]


def measured(results: Results, ledger: Ledger) -> Reference:
    """The reference that results of a plan are."""
    counted = trials(results)
    counted = counted.merge(steps(results)[["key", "value", "censored"]], on="key", suffixes=("", "_steps"))
    bands = [
        _band(str(variant), str(task), int(length), rows)  # type: ignore[call-overload]
        for (variant, task, length), rows in counted.groupby(["variant", "task", "length"], sort=False)
    ]
    return Reference(ledger.plan, ledger.machine, ledger.sources, tuple(bands))


def _band(variant: str, task: str, length: int, rows: DataFrame) -> Band:
    columns = ("seed", "learning_rate", "value", "value_steps", "censored")
    values = sorted(zip(*(rows[name].tolist() for name in columns), strict=True))
    counted = tuple(
        Counted(int(seed), float(rate), float(value), None if never else int(count)) for seed, rate, value, count, never in values
    )
    solved_after = [trial.steps for trial in counted if trial.steps is not None]
    interval = inference.skill_interval([trial.skill for trial in counted], np.random.default_rng(SEED))
    spread = (float(min(solved_after)), statistics.median(solved_after), float(max(solved_after))) if solved_after else None
    return Band(variant, task, length, int(rows["solved"].sum()), interval[:3], spread, float(rows["seconds"].mean()), counted)


def read() -> Reference:
    """The reference that comes with the suite.

    Raises SuiteError where it is gone or damaged.
    """
    reference = load(FILE, Reference, "install the suite again", KIND)
    if reference is None:
        raise SuiteError(f"{FILE}: is gone; install the suite again")
    return reference


def part_of(reference: Reference) -> list[Band]:
    """The bands that are tried: of the shortest length of each task, for the variants that are trained again."""
    shortest: dict[str, int] = {}
    for band in reference.bands:
        shortest[band.task] = min(band.length, shortest.get(band.task, band.length))
    return [band for band in reference.bands if band.variant in VARIANTS and band.length == shortest[band.task]]


def seconds(bands: list[Band]) -> float:
    """How long training takes of one core of the machine of the reference."""
    return sum(SEEDS * band.seconds for band in bands)


def check(reference: Reference) -> Iterator[Held]:
    """Train a part of the reference's plan here, and hold it against the bands.

    Raises SuiteError where the plan that comes with the suite asks for something else by now.
    """
    plan = schema.load(str(reference.plan["name"]))
    published = schema.check(dict(reference.plan), str(FILE)).asked
    edited = [name for name, value in plan.asked.items() if value != published[name] and name not in ("question", "timing")]
    if edited:
        raise SuiteError(f"the plan {plan.name} says something else of {', '.join(edited)} than when the reference was made")
    bands = part_of(reference)
    with tempfile.TemporaryDirectory(prefix="suite-") as folder:
        work = api.prepare(plan, Path(folder), "cpu", schema.Request(plan.name, variants=",".join(VARIANTS)))
        named = {_name(trial): trial for trial in work.trials}
        asked = {
            (band.variant, band.task, trial.seed): _only_tested(
                named[band.variant, band.task, band.length, trial.seed, trial.learning_rate]
            )
            for band in bands
            for trial in band.trials[:SEEDS]
        }
        outcomes = train(work, list(asked.values()))
        for band in bands:
            own = {trial.seed: asked[band.variant, band.task, trial.seed] for trial in band.trials[:SEEDS]}
            yield held(band, own, outcomes)


def _name(trial: Trial) -> tuple[str, str, int, int, float]:
    return trial.variant.label, trial.task.label, trial.length, trial.seed, trial.training.learning_rate


def _only_tested(trial: Trial) -> Trial:
    """The trial, asked for nothing but its test at the trained length."""
    return replace(trial, evaluations=tuple(asked for asked in trial.evaluations if asked.measure == LENGTH))


def held(band: Band, own: Mapping[int, Trial], outcomes: Mapping[str, Outcome]) -> Held:
    """What the trials of a band, by seed, came to here, and in what that lies outside it."""
    counted = {seed: _counted(trial, outcomes[trial.key]) for seed, trial in own.items()}
    same = sum(counted[trial.seed] == trial for trial in band.trials if trial.seed in counted)
    solved_after = [each.steps for each in counted.values() if each.steps is not None]
    mean, middle = float(np.mean([each.skill for each in counted.values()])), statistics.median(solved_after) if solved_after else math.nan
    solved = len(solved_after)
    return Held(band, mean, solved, middle, len(counted), same, tuple(_faults(band, mean, solved, len(counted), middle)))


def _counted(trial: Trial, outcome: Outcome) -> Counted:
    points = outcome.evaluations.get(trial.evaluations[0].key, ())
    solved_after = outcome.learning.steps_to_solve if outcome.learning and outcome.status == "ok" else None
    return Counted(trial.seed, trial.training.learning_rate, skill(outcome.status, points), solved_after)


def _faults(band: Band, mean: float, solved: int, count: int, middle: float) -> Iterator[str]:
    if math.isnan(mean):
        yield "a trial did not end well here"
        return
    known = [*band.skill, *(trial.skill for trial in band.trials)]
    if not min(known) <= mean <= max(known):
        yield f"its skill is {mean:.3f}, and the reference's {Interval(*band.skill, 2).text(3)}, of seeds {min(known):.3f} to {max(known):.3f}"
    rate = inference.solve_rate(band.solved, len(band.trials))
    if not rate.low <= solved / count <= rate.high:
        yield f"{solved} of {count} trials solved it, and {band.solved} of {len(band.trials)} of the reference"
    if band.steps and not math.isnan(middle) and not band.steps[0] <= middle <= band.steps[2]:
        yield f"it solved after {middle:g} steps, and in the reference after {band.steps[0]:g} to {band.steps[2]:g}"


def differing(reference: Reference, machine: Machine) -> list[str]:
    """What this machine and this version of the suite have other than where the reference was made."""
    published, present = reference.machine.described(), machine.described()
    names = [
        f"{name} ({published[name]} there, {present.get(name, 'none')} here)" for name in published if published[name] != present.get(name)
    ]
    now = {**harness_sources("training.trainer"), **discover().digests()}
    return names + [f"{name} (another version)" for name, value in reference.sources.items() if now.get(name, value) != value]


def text(held: Held) -> str:
    """A band that was tried, in a line or more."""
    band = held.band
    steps = "" if math.isnan(held.steps) else f" after {held.steps:g} steps"
    head = f"{'✗' if held.faults else '✓'} {band.variant} on {band.task}, T = {band.length}: skill {held.skill:.3f}"
    counts = f"{held.solved} of {held.trials} solved it{steps}; {held.same} of {held.trials} the very numbers of the reference"
    return "\n".join([f"{head} (reference {Interval(*band.skill, 2).text(3)}), {counts}", *(f"  {fault}" for fault in held.faults)])
