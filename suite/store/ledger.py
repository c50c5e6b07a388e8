"""Says which key stands for each cell of a plan, and which version of each source is the newest."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from ..errors import SuiteError
from ..keys import digest
from ..plan.schema import Plan, Request, packaged
from ..spec import Broken, Machine
from ..trial import Grading, Timing, Trial

PACKAGED_ORIGIN = "the packaged plan "


@dataclass(frozen=True)
class Entry:
    """The trial that stands for a cell: its key, its task and steps, and the keys of its evaluations by measure.

    state_size, initial_memory: what the planning that entered it said, which no key holds; 0 and empty where it did not
    """

    key: str
    task: str
    steps: int
    evaluations: Mapping[str, str]
    state_size: int = 0
    initial_memory: str = ""


@dataclass(frozen=True)
class Ledger:
    """What has been run under one plan's protocol.

    plan: as it was last run, whole, as plain data; origin: which plan that is, wherever it is asked for
    protocol, timing_protocol: digests of what all trials and all timings of a report have in common
    cells, timings, grades: keys by cell (by the variant's label for grades)
    sources: the newest digest or version of each source, by name: what rests on another one is stale
    requests: those that were run, each once, in their order, with the place where each was run last
    """

    plan: Mapping[str, Any]
    origin: str
    protocol: str
    timing_protocol: str
    cells: Mapping[str, Entry]
    timings: Mapping[str, str]
    grades: Mapping[str, str]
    sources: Mapping[str, str]
    requests: tuple[Request, ...]
    machine: Machine
    broken: tuple[Broken, ...] = ()

    def changed(self, sources: Mapping[str, str]) -> tuple[str, ...]:
        """Those of the sources that have another version by now."""
        return tuple(name for name, value in sources.items() if self.sources.get(name, value) != value)

    def placed(self, request: Request) -> Request:
        """A request with the place where it was run; one that was never run so has the folders of all that were."""
        known = [other for other in self.requests if other == request] or self.requests
        path = tuple(dict.fromkeys(folder for other in known for folder in other.path))
        return replace(request, path=path, runs=known[-1].runs if known else "")


@dataclass(frozen=True)
class Entered:
    """What a run asks for, to be entered in the ledger; the plan is whole.

    memories: what the gates of a trial's variant begin with, by its cell
    """

    plan: Plan
    request: Request
    trials: tuple[Trial, ...]
    timings: tuple[Timing, ...]
    gradings: tuple[Grading, ...]
    machine: Machine
    broken: tuple[Broken, ...] = ()
    memories: Mapping[str, str] = field(default_factory=dict)


def origin_of(request: Request) -> str:
    """Which plan is asked for: a packaged one, the file at a path, or empty for one made in Python."""
    if request.source in packaged():
        return f"{PACKAGED_ORIGIN}{request.source}"
    return str(Path(request.source).resolve()) if request.source else ""


def check_origin(ledger: Ledger | None, request: Request, folder: Path) -> None:
    """Raises SuiteError where the folder holds the runs of another plan of the same name, which is still there."""
    before, now = ledger.origin if ledger else "", origin_of(request)
    if not before or not now or before == now:
        return
    if before.startswith(PACKAGED_ORIGIN) or Path(before).is_file():
        raise SuiteError(f"{folder}: holds the runs of {before}; give this plan another name (name = …), or use --runs with another folder")


def entered(old: Ledger | None, new: Entered) -> Ledger:
    """The ledger after a run: its trials and timings stand for their cells, and the rest stays.

    What was trained under another protocol (other steps, batch, learning rates, device, …) or tested on another stream leaves the ledger,
    though not the disk: one report mixes no protocols.
    """
    plan, device = new.plan, new.machine.device
    common = plan.model_dump(include={"eval_seed": True, "matching": True, "evaluations": {"samples"}})
    protocol = digest([common, plan.training.model_dump(exclude={"steps"}), device])
    timing_protocol = digest(
        [
            plan.timing.model_dump(exclude={"lengths", "batch_sizes", "hidden_sizes", "streaming"}),
            plan.matching.rule,
            plan.training.dtype,
            device,
        ]
    )
    steps = {trial.task.label: trial.training.steps for trial in new.trials}
    same = old is not None and old.protocol == protocol
    kept = {cell: entry for cell, entry in old.cells.items() if entry.steps == steps.get(entry.task, entry.steps)} if old and same else {}
    clocked = old.timings if old and old.timing_protocol == timing_protocol else {}
    requests = (*(old.requests if old and same else ()), new.request)
    return Ledger(
        plan=plan.asked,
        origin=origin_of(new.request) or (old.origin if old else ""),
        protocol=protocol,
        timing_protocol=timing_protocol,
        cells={**kept, **{trial.cell: _entry(trial, new.memories.get(trial.cell, "")) for trial in new.trials}},
        timings={**clocked, **{timing.cell: timing.key for timing in new.timings}},
        grades={**(old.grades if old and same else {}), **{grading.variant.label: grading.key for grading in new.gradings}},
        sources={**(old.sources if old and same else {}), **_sources(new)},
        requests=tuple({request: request for request in requests}.values()),  # equal ones stay in place, as the last of them says
        machine=new.machine,
        broken=new.broken,
    )


def _entry(trial: Trial, initial_memory: str) -> Entry:
    evaluations = {evaluation.measure: evaluation.key for evaluation in trial.evaluations}
    return Entry(trial.key, trial.task.label, trial.training.steps, evaluations, trial.state_size, initial_memory)


def _sources(new: Entered) -> dict[str, str]:
    evaluations = (evaluation for trial in new.trials for evaluation in trial.evaluations)
    every: Iterable[Any] = (*new.trials, *evaluations, *new.gradings)
    sources = {name: value for record in every for name, value in record.sources.items()}
    return {**sources, **{name: value for timing in new.timings for name, value in timing_sources(timing).items()}}


def timing_sources(timing: Timing) -> dict[str, str]:
    """What a measured time rests on: the code, and the machine and versions it ran on, which no comparison may mix."""
    return {**timing.sources, **{f"timed on {name}": value for name, value in timing.surroundings.items()}}
