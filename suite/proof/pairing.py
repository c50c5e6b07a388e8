"""Finds what of two stores compares: the same variant on the same data under the same protocol; all else is named, with the reason."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import pandas as pd

from ..measures.length import NAME as LENGTH
from ..plan import schema
from ..registry.registry import Registry
from ..spec import Results
from ..store.frame import choose
from ..trial import FAULTS, UNUSED
from .sides import Side

APART = {"training": ("steps", "engine", "recompute")}
"""Fields of these tables of a plan that belong to no protocol: steps are of a task, and engines agree to the last digits, whatever is done again."""

PROTOCOL = ("training", "matching")
"""Tables of a plan in which two must agree, or what was learned does not compare; so must `eval_seed`, the size of the test streams, and the
steps of each task."""

CLOCKED = ("batch_size", "hidden_size", "input_size")
"""Fields of a plan's timing in which two must agree, or times do not compare."""

TRIAL = ["variant", "task", "length", "seed", "learning_rate"]
"""Columns that name a trial."""

TASKS, DATA = "suite.dropins.tasks.", "suite.training.data"


@dataclass(frozen=True)
class Apart:
    """Something that is compared with nothing, and why."""

    what: str
    why: str


@dataclass(frozen=True)
class Pairing:
    """What of two sides compares.

    learned: each variant twice, once of each side, by the names that `sided` gives, with the trials that both have
    variants: that both have trials of, in the order of the first; timed: whether times compare
    apart: what does not compare; differing: what the answers of the two rest on and differ in, with what each has
    """

    learned: Results
    variants: tuple[str, ...]
    timed: bool
    apart: tuple[Apart, ...]
    differing: Mapping[str, tuple[str, str]]


def sided(variant: str, side: str) -> str:
    """A variant's name where it stands for one side, A or B."""
    return f"{variant} [{side}]"


def pair(a: Side, b: Side, registry: Registry) -> Pairing:
    """What of two sides compares, and what does not."""
    apart = [each for tell in (_spoiled, _stale, _lost) for side, letter in ((a, "A"), (b, "B")) for each in tell(side, letter)]
    protocol = list(_protocol(a, b))
    apart += [
        Apart("all that was learned", f"the plans differ in {name}: {value_a!r} in A, {value_b!r} in B")
        for name, value_a, value_b in protocol
    ]
    tasks = {task: reason for task in _tasks(a, b) if (reason := _task_apart(task, a, b, registry))}
    apart += [Apart(task, reason) for task, reason in tasks.items()]
    ours, theirs = ([] if protocol else _kept(a, tasks)), ([] if protocol else _kept(b, tasks))
    common = pd.MultiIndex.from_tuples([key for key in ours if key in set(theirs)], names=TRIAL)
    if not protocol:
        apart += [*_only("A", ours, set(theirs)), *_only("B", theirs, set(ours))]
    answers = list(_answers_apart(a, b))
    apart += [Apart(f"{axis}: {measure}", why) for axis, measure, why in answers]
    learned = _joined(_of(a, "A", common), _of(b, "B", common), {measure for _, measure, _ in answers})
    clocks = [(name, x, y) for name in CLOCKED if (x := a.ledger.plan["timing"][name]) != (y := b.ledger.plan["timing"][name])]
    apart += [Apart("all times", f"the plans differ in timing.{name}: {value_a} in A, {value_b} in B") for name, value_a, value_b in clocks]
    variants = tuple(dict.fromkeys(common.get_level_values("variant")))
    return Pairing(learned, variants, not clocks, tuple(apart), dict(_differing(a, b)))


def _stale(side: Side, letter: str) -> Iterator[Apart]:
    stale = side.results.provenance.stale
    if stale:
        changed = sorted({name for result in stale for name in result.changed})
        yield Apart(
            f"{len(stale)} results of {letter}", f"they are stale: {', '.join(changed)} changed since; `suite run` makes them again"
        )


def _spoiled(side: Side, letter: str) -> Iterator[Apart]:
    yield from (Apart(f"a file of {letter}", fault) for fault in side.store.spoiled.values())


def _lost(side: Side, letter: str) -> Iterator[Apart]:
    """A line for each variant with trials that say nothing of what it learns."""
    trials = side.results.trials
    lost = trials[trials["status"].isin(FAULTS)]
    for (variant, status), rows in lost.groupby(["variant", "status"], sort=False):
        yield Apart(f"{len(rows)} {'trial' if len(rows) == 1 else 'trials'} of {variant} in {letter}", f"they ended as {status}")


def _protocol(a: Side, b: Side) -> Iterator[tuple[str, Any, Any]]:
    """Each field of the protocol in which two plans differ, with what each says."""
    plan_a, plan_b = _plan(a), _plan(b)
    fields = [("eval_seed", plan_a["eval_seed"], plan_b["eval_seed"])]
    fields += [("evaluations.samples", plan_a["evaluations"]["samples"], plan_b["evaluations"]["samples"])]
    fields += [
        (f"{table}.{name}", value, plan_b[table][name])
        for table in PROTOCOL
        for name, value in plan_a[table].items()
        if name not in APART.get(table, ())
    ]
    yield from (field for field in fields if field[1] != field[2])


def _plan(side: Side) -> dict[str, Any]:
    """The plan of a side, with the defaults of fields that it was run before there were."""
    asked = schema.check(dict(side.ledger.plan), f"{side.store.folder}: ledger.json").asked
    return {**asked, "training": {**UNUSED, **asked["training"]}}


def _tasks(a: Side, b: Side) -> list[str]:
    """The tasks that both have trials of."""
    theirs = set(b.results.trials["task"])
    return [str(task) for task in dict.fromkeys(a.results.trials["task"]) if task in theirs]


def _task_apart(task: str, a: Side, b: Side, registry: Registry) -> str:
    """Why nothing of a task compares; empty where it does."""
    steps = [sorted({entry.steps for entry in side.ledger.cells.values() if entry.task == task}) for side in (a, b)]
    if steps[0] != steps[1]:
        numbers = [" and ".join(map(str, own)) for own in steps]
        return f"it was trained for {numbers[0]} steps in A and {numbers[1]} in B"
    name = task.partition("(")[0]
    own = set(registry.tasks[name].digests) if name in registry.tasks else set()
    edited = [
        source
        for source in sorted({*a.ledger.sources, *b.ledger.sources})
        if (source in own or source == f"{TASKS}{name}") and a.ledger.sources.get(source) != b.ledger.sources.get(source)
    ]
    if a.ledger.sources.get(DATA) != b.ledger.sources.get(DATA) and not _drawn_alike(task, a, b):
        edited.append(DATA)
    return f"its data may be others: {', '.join(edited)} is of another version in B" if edited else ""


def _drawn_alike(task: str, a: Side, b: Side) -> bool:
    """Whether the ideal predictor's loss on the test stream shows that both drew the same one; it cannot for a task that states none."""
    ideals_a, ideals_b = (_ideals(task, side) for side in (a, b))
    shared = ideals_a.keys() & ideals_b.keys()
    return bool(shared) and all(ideals_a[length] == ideals_b[length] != 0 for length in shared)


def _ideals(task: str, side: Side) -> dict[int, float]:
    """The loss of the ideal predictor of a task on the undamaged test stream, by length."""
    ideals: dict[int, float] = {}
    for entry in side.ledger.cells.values():
        stored = side.store.evaluation(entry.evaluations[LENGTH]) if entry.task == task and LENGTH in entry.evaluations else None
        for point in stored.points if stored else ():
            if point.at == 1:
                ideals[point.length] = point.ideal
    return ideals


def _kept(side: Side, tasks: Mapping[str, str]) -> list[tuple[Any, ...]]:
    """The trials of a side by name, without those of tasks that do not compare."""
    trials = side.results.trials
    return list(trials.loc[~trials["task"].isin(list(tasks)), TRIAL].itertuples(index=False, name=None))


def _only(letter: str, own: list[tuple[Any, ...]], others: set[tuple[Any, ...]]) -> Iterator[Apart]:
    """A line for each variant, and each task at a length, that has trials on one side alone."""
    counts: dict[str, int] = {}
    for variant, task, length, seed, rate in own:
        if (variant, task, length, seed, rate) not in others:
            name = f"{variant} on {task}, T = {length}"
            counts[name] = counts.get(name, 0) + 1
    yield from (Apart(name, f"{count} {'trial is' if count == 1 else 'trials are'} in {letter} alone") for name, count in counts.items())


def _answers_apart(a: Side, b: Side) -> Iterator[tuple[str, str, str]]:
    """Axis, measure and reason for each measure that both asked, in another way or by another version of the code."""
    asked_a, asked_b = (_asked(side) for side in (a, b))
    for name, (axis, at, sources) in asked_a.items():
        if name not in asked_b:
            continue
        _, their_at, their_sources = asked_b[name]
        edited = [source for source, value in sources.items() if source in their_sources and their_sources[source] != value]
        if at != their_at:
            yield axis, name, f"it was asked at {_listed(at)} in A and at {_listed(their_at)} in B"
        elif edited := [source for source in edited if source.startswith(TASKS)]:
            yield axis, name, f"{', '.join(edited)} is of another version in B"


def _listed(points: tuple[float, ...]) -> str:
    return ", ".join(f"{point:g}" for point in points)


def _asked(side: Side) -> dict[str, tuple[str, tuple[float, ...], Mapping[str, str]]]:
    """Axis, points and sources of each measure of a side that damages its input, as one of its answers has them.

    The trained length is asked by all at its factor 1, which is what compares of it.
    """
    asked: dict[str, tuple[str, tuple[float, ...], Mapping[str, str]]] = {}
    for entry in side.ledger.cells.values():
        for measure, key in entry.evaluations.items():
            stored = None if measure in asked else side.store.evaluation(key)
            if stored is not None and stored.evaluation.axis == "robustness":
                asked[measure] = (stored.evaluation.axis, stored.evaluation.at, stored.evaluation.sources)
    return asked


def _of(side: Side, letter: str, common: pd.MultiIndex) -> Results:
    """The results of a side with the common trials alone, variants and keys under names of their own."""
    trials = side.results.trials
    trials = trials[pd.MultiIndex.from_frame(trials[TRIAL]).isin(common)]
    rows = side.results.frame
    rows = rows[rows["key"].isin(set(trials["key"])) & ~rows["axis"].isin(["learning", "speed"])]
    names = {
        "variant": lambda table: table["variant"].map(lambda name: sided(name, letter)),
        "key": lambda table: f"{letter}-" + table["key"].astype(str),
    }
    provenance = side.results.provenance
    grades = {sided(name, letter): grade for name, grade in provenance.grades.items()}
    return replace(side.results, trials=trials.assign(**names), frame=rows.assign(**names), provenance=replace(provenance, grades=grades))


def _joined(a: Results, b: Results, left_out: set[str]) -> Results:
    """The results of both sides as one; the learning rates are chosen again, on the seeds that both have."""
    trials = choose(pd.concat([a.trials, b.trials], ignore_index=True))
    rows = pd.concat([a.frame, b.frame], ignore_index=True)
    rows = rows[~rows["condition"].isin(left_out)]
    rows = rows.assign(chosen=rows["key"].isin(set(trials.loc[trials["chosen"], "key"])))
    provenance = replace(a.provenance, grades={**a.provenance.grades, **b.provenance.grades})
    return replace(a, trials=trials, frame=rows, provenance=provenance)


def _differing(a: Side, b: Side) -> Iterator[tuple[str, tuple[str, str]]]:
    """Each source, property of the machine and version in which the two differ."""
    machines = [side.ledger.machine.described() for side in (a, b)]
    for mappings in (machines, [a.ledger.sources, b.ledger.sources]):
        values_a, values_b = mappings
        for name in dict.fromkeys((*values_a, *values_b)):
            if values_a.get(name) != values_b.get(name):
                yield name, (_short(values_a.get(name, "–")), _short(values_b.get(name, "–")))


def _short(value: str) -> str:
    """A digest by its beginning, and any other value whole."""
    return value[:12] if len(value) == 64 else value
