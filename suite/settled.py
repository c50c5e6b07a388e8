"""Remembers that a run left nothing to do, and with what code, so that the same run is answered without importing what trains.

What is remembered holds only while everything that a run would look at is the same to the byte: the plan and what was asked for, the files
of the suite and of the folders of plugins, the packages that are installed, the processor, the variables that lead a run elsewhere, the
store's files, and the report's. Where anything differs, or cannot be told without importing torch, the run looks for itself.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import platform
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from . import dropins
from .errors import SuiteError
from .keys import digest
from .listeners import database
from .plan.schema import Plan, Request
from .report.manifest import MANIFEST, whole
from .store.contents import digest_of, named
from .store.files import load, seal, write
from .store.ledger import origin_of
from .store.store import Store

if TYPE_CHECKING:
    from .execution.run import Work
    from .registry.registry import Registry
    from .spec import Value

FILE = "settled.json"
KIND = "settled"

SUITE = Path(__file__).resolve().parent

DECIDING = ("SUITE_", "CUDA", "ATEN_", "TORCH", "PYTORCH", "DNNL", "ONEDNN", "MKL", "OMP")
"""How the names of variables begin that may decide what a run plans."""

SET_BY_TORCH = ("TORCHINDUCTOR_CACHE_DIR",)
"""Variables that importing torch's compiler sets, so that they tell what a process has imported; where compiled code lies decides nothing."""

DEVICES = ("nvidia*", "kfd")
"""Names in /dev of devices that torch might choose in place of the processor."""

INSTALLED = (".dist-info", ".egg-info", ".egg-link", ".pth")
"""How the names of files and folders end that say which packages are installed, in which versions."""


@dataclass(frozen=True)
class Settled:
    """A run that left nothing to do.

    asked, surroundings, contents, report: digests of the plan and request, of the code and the machine, of the store, and of the manifest
    device: that was used; trials: how many; ends: how many did not end as ok, by status
    stale: what the report leaves out; answer: its answer, in lines
    folder, shown: what MLflow must show of it: the runs folder and the content of each trial by its key, in the plan's order
    """

    asked: str
    surroundings: str
    contents: str
    report: str
    device: str
    trials: int
    ends: Mapping[str, int]
    stale: tuple[str, ...]
    answer: str
    folder: str
    shown: Mapping[str, str]


def asked_digest(plan: Plan, request: Request) -> str:
    """A digest of a plan, of what of it is asked for, and of where, so that an executor that is not there is told of."""
    return digest([plan.asked, plan.executor.model_dump(), origin_of(request), request.variants, request.tasks, request.seeds], 64)


def surroundings_digest() -> str:
    """A digest of the code that plans and reports, the packages it uses, and the machine."""
    variables = {name: value for name, value in os.environ.items() if name.startswith(DECIDING) and name not in SET_BY_TORCH}
    machine = [sys.version, platform.machine(), _processor(), _devices()]
    return digest([machine, sorted(variables.items()), sorted(_installed()), digest_of((file, file) for file in _code())], 64)


def _devices() -> list[str]:
    """The devices that torch might choose in place of the processor."""
    return sorted(path.name for pattern in DEVICES for path in Path("/dev").glob(pattern))


def _processor() -> list[str]:
    """The processor's name and abilities, as the system gives them for the first core."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").partition("\n\n")[0].splitlines()
    except OSError:
        return [platform.processor()]
    return [line for line in lines if line.startswith(("model name", "flags", "Features", "CPU part"))]


def _installed() -> Iterator[str]:
    for folder in sys.path:
        try:
            yield from (entry for entry in os.listdir(folder or ".") if entry.endswith(INSTALLED))
        except OSError:  # an archive, or a folder that is not there
            continue


def _folders() -> tuple[Path, ...]:
    """The suite's own folder, and those of plugins."""
    return (SUITE, *(root / name for root in dropins.ROOTS for name in dropins.FOLDERS))


def _code() -> Iterator[str]:
    """Every file of the suite and of the folders of plugins, compiled ones of Python apart."""
    for folder in _folders():
        for parent, folders, files in os.walk(folder):
            folders[:] = sorted(name for name in folders if name != "__pycache__")
            yield from (os.path.join(parent, name) for name in sorted(files))


def foreseeable(registry: Registry, device: str) -> bool:
    """Whether all that a run rests on can be seen without importing it: no plugin lies elsewhere or hears runs, and none has a complaint."""
    from .listeners.announce import EVENTS

    if device != "cpu" or registry.broken or registry.notes or any(getattr(registry.hooks.hook, name).get_hookimpls() for name in EVENTS):
        return False
    if any(os.path.islink(os.path.join(parent, name)) for folder in _folders() for parent, inner, _ in os.walk(folder) for name in inner):
        return False  # what lies behind a link is not looked at
    roles = (
        registry.variants,
        registry.tasks,
        registry.corruptions,
        registry.measures,
        registry.sections,
        registry.claims,
        registry.executors,
    )
    paths = [provided.path for role in roles for provided in role.values()]
    if not all(path is not None and any(path.is_relative_to(folder) for folder in _folders()) for path in paths):
        return False
    return all(provided.source.startswith("suite/listeners/") for provided in registry.listeners.values())


def report_digest(folder: Path) -> str:
    """A digest of a report's manifest; empty where there is none."""
    try:
        return hashlib.sha256((folder / MANIFEST).read_bytes()).hexdigest()
    except OSError:
        return ""


def remember(work: Work, stale: tuple[str, ...], answer: str) -> None:
    """Remember a run whose report of what was asked for is written, if it left nothing to do; where that cannot be written, the next run looks for itself.

    work: with the outcomes of the run; where its surroundings are others by now, something was edited meanwhile, and nothing is remembered
    stale, answer: what the report leaves out, and its answer in lines
    """
    store, ledger = work.store, work.store.ledger()
    timings = (store.timing(timing.key) for timing in work.timings)
    grades = (store.grade(grading.key) for grading in work.gradings)
    measured = all(each and not each.timed.failed for each in timings) and all(each and not each.grade.failed for each in grades)
    if ledger is None or work.selection is None or work.pending or not measured or not foreseeable(work.registry, work.machine.device):
        return
    if work.surroundings != surroundings_digest():
        return
    settled = Settled(
        asked=asked_digest(work.plan, work.request),
        surroundings=work.surroundings,
        contents=digest_of(named(store, ledger)),
        report=report_digest(store.report),
        device=work.machine.device,
        trials=len(work.trials),
        ends=work.ends,
        stale=stale,
        answer=answer,
        folder=database.folder_of(store.folder.parent),
        shown={trial.key: database.content_of(work.outcomes[trial.key]) for trial in work.trials},
    )
    with contextlib.suppress(SuiteError):
        write(store.folder / FILE, seal(KIND, settled))


def recall(plan: Plan, request: Request, runs: Path, device: str, options: Mapping[str, Value]) -> tuple[Store, Settled] | None:
    """The run that is remembered, where the same is asked for and nothing has changed since; else None, and a run looks for itself.

    options: those of listeners; with others than the two that are answered here too a run looks for itself
    """
    known = options.keys() <= {"track", "progress"} and all(isinstance(value, bool) for value in options.values())
    if not known or not all(map(os.path.isdir, _search_path())) or not (device == "cpu" or (device == "auto" and not _devices())):
        return None
    store = Store(runs, plan.name)
    try:
        settled = load(store.folder / FILE, Settled, "", KIND)
        if settled is None or settled.asked != asked_digest(plan, request) or settled.surroundings != surroundings_digest():
            return None
        ledger = store.ledger()
        if ledger is None or settled.contents != digest_of(named(store, ledger)):
            return None
    except SuiteError:  # whoever looks closer says what it is
        return None
    if settled.report != report_digest(store.report) or whole(store.report) is None:
        return None
    return (store, settled) if options.get("track") is False or _shown(plan, runs, settled) else None


def _search_path() -> list[str]:
    return [entry for entry in os.environ.get("SUITE_PATH", "").split(os.pathsep) if entry]


def _shown(plan: Plan, runs: Path, settled: Settled) -> bool:
    """Whether a local database of MLflow shows every trial; of a server only MLflow's own client could tell."""
    file = database.file_of(database.uri(runs))
    here = settled.folder == database.folder_of(runs)
    return file is not None and here and database.shows(file, plan.name, settled.shown, settled.folder)
