"""Prepares plans, carries them out and writes reports: what the command line and Python call."""

from __future__ import annotations

import difflib
import inspect
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from . import dropins, machine
from .errors import SuiteError
from .execution import rehearsal
from .execution.choosing import Chosen, chosen, manned
from .execution.run import Work, after, invocation_of
from .plan import schema, trials
from .plan.choices import parse_seeds
from .plan.fairness import memory_of
from .plan.narrowing import narrow
from .plan.schema import Plan, Request
from .registry.extract import importable
from .registry.finder import absent_roots, discover, search_path
from .registry.registry import Registry
from .registry.sources import changed
from .spec import Grade, Value, Variant
from .store import standing
from .store.ledger import Entered, Ledger, check_origin, entered
from .store.selection import Selection, select
from .store.store import Accepted, Store
from .trial import Grading, Invocation, Outcome, Timed, Timing, Trial

if TYPE_CHECKING:
    from .finished import Finished
    from .listeners.announce import Audience
    from .report.inputs import Written
    from .report.lint import Lint


@dataclass(frozen=True)
class Executed:
    """A run that is over.

    work: with the outcomes of its trials; report: the folder; written: whether it was written anew; stale: what was left out of it
    """

    work: Work
    report: Path
    written: bool
    stale: tuple[str, ...]


def prepare(plan: Plan, runs: Path, device: str, request: Request | None = None, *, whole: bool = False) -> Work:
    """Find the plugins, resolve the device, and list what the plan (or a part of it) asks for with what the store has of it.

    whole: whether the report shows all that the store holds, and not what is asked for alone

    Raises SuiteError for a plan that asks for what is not there, and for plugins edited since this process imported them.
    """
    from . import settled

    request, store, surroundings = request or Request(), Store(runs, plan.name), settled.surroundings_digest()
    executor = chosen(plan.executor, discover())
    registry, device, asked = _asked(plan, device, request, executor.gpus)
    check_origin(store.ledger(), request, store.folder)
    with machine.first_of(executor.gpus):
        registry, planned, timings = _planned(asked, registry, device, executor.gpus)
        gradings = trials.gradings(asked, registry, device)
        described = machine.describe(device)
    outcomes, timed, grades = _stored(store, planned, timings, gradings)
    return Work(
        plan=plan,
        request=_placed(request, runs),
        selection=None if whole else select(asked, request, registry, device),
        registry=registry,
        store=store,
        machine=described,
        executor=executor,
        trials=planned,
        timings=timings,
        gradings=tuple(gradings),
        outcomes=outcomes,
        timed=timed,
        grades=grades,
        surroundings=surroundings,
    )


def _asked(plan: Plan, device: str, request: Request, gpus: str = "") -> tuple[Registry, str, Plan]:
    """The plugins, the device, and the part of the plan that is asked for."""
    registry = discover()
    if edited := changed(registry.digests()):
        raise SuiteError(f"{', '.join(sorted(edited))} changed since this Python session imported it; start a new session")
    return registry, machine.resolve_device(device, gpus), narrow(plan, request, registry)


def _planned(plan: Plan, registry: Registry, device: str, gpus: str = "") -> tuple[Registry, tuple[Trial, ...], tuple[Timing, ...]]:
    """The plugins that can be planned in this process, and what the plan asks for."""
    registry = rehearsal.survivors(plan, registry, device, gpus)
    with machine.one_thread():
        return registry, tuple(trials.trials(plan, registry, device)), tuple(trials.timings(plan, registry, device))


def _placed(request: Request, runs: Path) -> Request:
    """The request with where it is run; folders are named from the working directory on where they lie in it."""
    working = Path.cwd()
    searched = (*search_path(), *dropins.ADDED)
    path = [str(folder.relative_to(working) if folder.is_relative_to(working) else folder) for folder in searched]
    return replace(request, path=tuple(path), runs="" if runs == Path("runs") else str(runs))


def lint(plan: Plan, device: str = "auto", request: Request | None = None) -> Lint:
    """Say of a plan, or of a part of it, how fair its comparisons are and what they could decide; runs nothing and reads no results.

    Raises SuiteError as `prepare` does.
    """
    from .report import lint as plans

    registry, device, asked = _asked(plan, device, request or Request())
    registry, planned, timings = _planned(asked, registry, device)
    said = plans.lint(plans.Planned(asked, registry, device, planned, timings))
    for sentence in complaints(registry):
        said = said.also(plans.Remark("warn", "planning", sentence))
    return said


def execute(
    work: Work,
    workers: int | None = None,
    options: Mapping[str, Value] | None = None,
    more: Sequence[object] = (),
    warn: Callable[[str], None] = warnings.warn,
) -> Executed:
    """Grade the variants, run what is pending, time the models, write the report; where there is nothing to do, only remember that.

    options: those of listeners; more: objects with hook implementations, which hear this run alone
    warn: is told at the end, however that comes, what listeners raised
    """
    from .listeners.announce import Audience

    executor = manned(work.executor, workers, work.registry)
    if executor.inline:
        machine.check_environment()
    audience = Audience(work.registry, options or {}, more)
    try:
        if _nothing_to_do(work):
            return _told_of_nothing(work, audience)
        with work.store.writing(), machine.first_of(executor.gpus):
            return _executed(_with_stored(work), executor, workers, audience)
    finally:
        for name, problem in audience.problems.items():
            warn(f"{name}: {problem}")


def _with_stored(work: Work) -> Work:
    """The work with what the store has by now: another run may have ended since it was prepared."""
    outcomes, timed, grades = _stored(work.store, work.trials, work.timings, work.gradings)
    return replace(work, outcomes=outcomes, timed=timed, grades=grades)


def _stored(
    store: Store, trials: Sequence[Trial], timings: Sequence[Timing], gradings: Sequence[Grading]
) -> tuple[dict[str, Outcome], dict[str, Timed], dict[str, Grade]]:
    """What the store has of trials, timings and gradings, by key."""
    outcomes = {trial.key: outcome for trial in trials if (outcome := store.get(trial)) is not None}
    timed = {timing.key: measured.timed for timing in timings if (measured := store.timing(timing.key)) is not None}
    grades = {grading.key: graded.grade for grading in gradings if (graded := store.grade(grading.key)) is not None}
    return outcomes, timed, grades


def _told_of_nothing(work: Work, audience: Audience) -> Executed:
    from . import settled
    from .report import inputs, telling

    invocation = invocation_of(work)
    audience.tell("suite_plan_started", invocation=invocation)
    audience.tell("suite_plan_finished", invocation=invocation)
    written = inputs.written(work.store)
    settled.remember(work, written.stale, telling.text(telling.read(written.folder)))
    return Executed(work, written.folder, False, written.stale)


def _executed(work: Work, executor: Chosen, workers: int | None, audience: Audience) -> Executed:
    """Carry the work out, telling listeners how it goes, and write the report."""
    from . import settled
    from .report import page, telling

    count = executor.count(workers, work.machine.device) if work.pending else 1
    invocation = invocation_of(work, min(count, max(1, len(work.pending))))
    work.store.keep(entered(work.store.ledger(), _entered(work)))
    audience.tell("suite_plan_started", invocation=invocation)
    try:
        outcomes = _carry_out(work, executor, invocation, audience)
        written = page.write(work.store, work.registry, work.selection)
        audience.tell("suite_report_written", invocation=invocation, folder=written.folder)
        settled.remember(after(work, outcomes), written.stale, telling.text(telling.read(written.folder)))
    finally:
        audience.tell("suite_plan_finished", invocation=invocation)
    return Executed(after(work, outcomes), written.folder, True, written.stale)


def accept(work: Work, keys: Sequence[str] | None, why: str) -> list[Accepted]:
    """Record that stale results of the plan's trials still stand, and why; without keys, of all trials for which one could.

    Raises SuiteError where a trial has no result that could stand, or the store cannot be written.
    """
    store, ledger = work.store, work.store.ledger()
    if ledger is None:
        raise SuiteError(f"{store.folder}: nothing has been run here, so that nothing is stale")
    trials = standing.stale(store, ledger, work.trials) if keys is None else standing.chosen(work.trials, keys)
    accepted = [standing.acceptance(store, ledger, trial, why) for trial in trials]
    with store.writing():
        for word in accepted:
            store.write("accepted", word.key, word)
        if accepted:
            store.keep(entered(ledger, replace(_entered(work), trials=tuple(trials), timings=(), gradings=())))
    return accepted


def _entered(work: Work) -> Entered:
    variants = work.registry.variants
    memories = {trial.cell: memory_of(variants[trial.variant.name].noun, trial.training) for trial in work.trials}
    return Entered(work.plan, work.request, work.trials, work.timings, work.gradings, work.machine, work.registry.broken, memories)


def _nothing_to_do(work: Work) -> bool:
    """Whether the store and the report hold all of the work already."""
    from .report import inputs

    if work.pending or work.untimed or work.ungraded:
        return False
    ledger = work.store.ledger()
    if ledger is None or replace(entered(ledger, _entered(work)), machine=ledger.machine) != ledger:
        return False
    return inputs.unchanged(work.store, work.registry, work.selection)


def _carry_out(work: Work, executor: Chosen, invocation: Invocation, audience: Audience) -> Mapping[str, Outcome]:
    """Grade, train and time what the store lacks; all outcomes by key. A run that was stopped by failures times nothing.

    Whatever the executor, grades and times are taken on this machine, which a plan's keys name.
    """
    from .execution import processes
    from .execution import run as running
    from .execution.inline import InlinePool
    from .execution.local import pool as processes_here

    outcomes, device, gpus = work.outcomes, work.machine.device, executor.gpus
    if executor.inline and (work.plan.limits.timeout or work.plan.limits.memory):
        audience.note(f"executor {executor.noun.name}", "work in this process is held to no limit of time or memory")
    elif work.plan.limits.memory and not processes.seen():
        audience.note("memory", "is watched on Linux alone, so that here it limits nothing")
    if work.ungraded:  # first, since that finds what forbids comparing a variant; never in this process, which it may end
        with processes_here(1, device, gpus) as pool:
            work = running.run_grades(work, pool, audience)
    if work.pending:
        with executor.start(invocation.workers, device) as pool:
            outcomes = running.run_trials(work, invocation, pool, audience, invocation.workers)
    else:
        running.tell_schedule(work, (), 1, audience)
    stopped = any(outcome.status == "skipped" for outcome in outcomes.values())
    if work.untimed and not stopped:
        with InlinePool() if executor.inline else processes_here(1, device, gpus) as pool:
            audience.tell("suite_timing_started", count=len(work.untimed))
            running.run_timings(after(work, outcomes), pool, audience)
    return outcomes


def report(
    plan: Plan, runs: Path, request: Request, *, whole: bool = False, form: str = "html", warn: Callable[[str], None] = warnings.warn
) -> Written:
    """The report of what is asked for of a plan, or of all that the plan's store holds; trains nothing.

    The page is written where it is not there or older than what it is made of; in any other of ``report.formats.FORMATS`` it is always written.

    warn: is told of files of the store that are spoiled, whose results are left out

    Raises SuiteError where there are no results, or the format is not known.
    """
    from .report import inputs

    registry, store = discover(), Store(runs, plan.name)
    ledger = store.ledger()
    check_origin(ledger, request, store.folder)
    selection = None if whole else _selection(plan, request, registry, ledger)
    if form == "html" and ledger is not None and inputs.unchanged(store, registry, selection):
        return inputs.written(store)
    from .report import page

    written = page.write(store, registry, selection) if form == "html" else page.export(store, registry, selection, form)
    for fault in store.spoiled.values():
        warn(fault)
    return written


def _selection(plan: Plan, request: Request, registry: Registry, ledger: Ledger | None) -> Selection:
    """What is asked for of a plan, as it ran."""
    device = ledger.machine.device if ledger else machine.resolve_device("auto")
    return select(narrow(plan, request, registry), request, registry, device)


def run(
    plan: str | Path | Plan,
    *,
    variants: str | Variant | Sequence[str | Variant] | None = None,
    tasks: str | Sequence[str] | None = None,
    seeds: int | Sequence[int] | None = None,
    device: str = "auto",
    workers: int | None = None,
    executor: str | None = None,
    devices: str | Sequence[str] | None = None,
    timeout: float | None = None,
    memory: float | None = None,
    retries: int | None = None,
    max_failures: int | None = None,
    fail_fast: bool = False,
    checkpoint: float | None = None,
    runs: str | Path = "runs",
    whole: bool = False,
    **options: Value,
) -> Finished:
    """Run a plan and return what it gave: the answer, the tables behind it, the report and its figures.

    plan: a packaged name, a path, or a Plan; variants, tasks and seeds replace the plan's lists, as on the command line
    variants: names, and Variant objects, whose classes may stand in a notebook's cell or a script (docs/python.md)
    seeds: how many, from 0 on, or which; executor: where to train, such as ``"local"`` or ``"ray(address=auto)"``
    workers: processes that train, by default as many as cores; 0 trains in this one, for a debugger, and says what that needs
    devices: GPUs to train on, such as ``["cuda:0", "cuda:1"]`` or ``"all"``; timeout, memory, retries, max_failures: limits in place of the
    plan's: seconds a trial, GiB a process, tries more of one whose process died, after how many failures no trial is begun (fail_fast: the
    first); checkpoint: seconds from one kept moment of a training to the next; whole: return and report all that its store holds
    options: those of listeners, such as ``track=False`` to keep trials out of MLflow; ``progress`` is on in a terminal and a notebook

    Raises SuiteError for a mistake in the plan or its options.
    """
    from .finished import Finished
    from .listeners.progress import watched
    from .store import frame

    _check_keywords(options)
    _warn_of(absent_roots())
    source, failures = "" if isinstance(plan, Plan) else str(plan), 1 if fail_fast else max_failures
    limits = {"timeout": timeout, "memory": memory, "retries": retries, "max_failures": failures, "checkpoint": checkpoint}
    loaded = schema.limited(plan if isinstance(plan, Plan) else schema.load(source), executor, _listed(devices), **limits)
    names, defined = _named(variants)
    with importable(defined, Store(Path(runs), loaded.name).defined):
        work = prepare(loaded, Path(runs), device, Request(source, names, _listed(tasks), parse_seeds(seeds)), whole=whole)
        _warn_of([*work.store.spoiled.values(), *complaints(work.registry)])
        done = execute(work, workers, {"progress": watched(), **options})
        return Finished(frame.read(work.store, work.selection), done.report)


def complaints(registry: Registry) -> list[str]:
    """A sentence for each variant of which nothing is run, since it ended or hung the process that it was planned in."""
    return [f"variant '{label}' ({registry.variant(each.variant.name).source}): {each.reason}" for label, each in registry.deadly.items()]


def _warn_of(sentences: Iterable[str]) -> None:
    """Warn whoever called `run`."""
    for sentence in sentences:
        warnings.warn(sentence, stacklevel=3)


def _check_keywords(options: Mapping[str, Value]) -> None:
    """Raises SuiteError for an option of a listener that is meant as a keyword of `run`."""
    own = [name for name, parameter in inspect.signature(run).parameters.items() if parameter.kind is parameter.KEYWORD_ONLY]
    for option in options:
        if close := difflib.get_close_matches(option, own, n=1, cutoff=0.85):
            raise SuiteError(f"run takes no '{option}'; did you mean '{close[0]}'?")


def _named(variants: str | Variant | Sequence[str | Variant] | None) -> tuple[str | None, tuple[Variant, ...]]:
    """Variants by name, as they stand on the command line, and those of them that were handed over as objects.

    Raises SuiteError for what is neither a name nor a Variant.
    """
    if variants is None or isinstance(variants, str):
        return variants, ()
    entries = [variants] if isinstance(variants, Variant) else list(variants)
    for entry in entries:
        if not isinstance(entry, str | Variant):
            shown = f"the class {entry.__name__}" if isinstance(entry, type) else type(entry).__name__
            raise SuiteError(f"variants names {shown}; it takes names, and Variant objects such as Variant('mine', Mine)")
    defined = {id(entry): entry for entry in entries if isinstance(entry, Variant)}
    return _listed([entry if isinstance(entry, str) else entry.name for entry in entries]), tuple(defined.values())


def _listed(names: str | Sequence[str] | None) -> str | None:
    """Names as they stand on the command line."""
    return names if names is None or isinstance(names, str) else ",".join(names)
