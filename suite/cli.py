"""Turns words into calls: the `suite` command."""

from __future__ import annotations

import contextlib
import faulthandler
import json
import os
import shlex
import signal
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from . import keeping, proving, showing
from .errors import SuiteError, nearest
from .lines import painted
from .options import (
    Checkpoint,
    Device,
    Devices,
    Json,
    PlanName,
    Runs,
    SearchPath,
    Seeds,
    Tasks,
    Variants,
    Where,
    journal_options,
    listener_options,
    prepared,
    request,
    say,
    warn,
    warn_of_broken,
)
from .registry import forked

if TYPE_CHECKING:
    from .execution.run import Work
    from .spec import Value

MOST_NAMED = 5
"""Of stale results, so many are named on the terminal."""

INTERRUPTED = 130


app = typer.Typer(
    name="suite",
    help="Benchmark recurrent networks: speed, robustness to noise, long-range accuracy.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)


@app.callback()
def suite(_path: SearchPath = None) -> None:
    pass


@app.command()
def run(
    plan: PlanName,
    variants: Variants = None,
    tasks: Tasks = None,
    seeds: Seeds = None,
    device: Device = "auto",
    workers: Annotated[
        int | None,
        typer.Option(min=0, help="Processes that train; by default as many as cores. 0: in this process, for a debugger, without limits."),
    ] = None,
    executor: Where = None,
    devices: Devices = None,
    timeout: Annotated[float | None, typer.Option(metavar="SECONDS", help="Wall time of a trial; what takes longer is ended.")] = None,
    memory: Annotated[float | None, typer.Option(metavar="GIB", help="Memory of a process that trains, with all that it begins.")] = None,
    retries: Annotated[int | None, typer.Option(min=0, help="How often a trial whose process died is tried again.")] = None,
    max_failures: Annotated[int | None, typer.Option(min=1, metavar="N", help="Begin no more trials after N that failed.")] = None,
    fail_fast: Annotated[bool, typer.Option("--fail-fast", help="Begin no more trials after the first that failed.")] = False,
    checkpoint: Checkpoint = None,
    runs: Runs = Path("runs"),
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be run and how long it may take.")] = False,
    listen: Annotated[
        list[str] | None, typer.Option(metavar="NAME=VALUE", help="An option of a listener, such as track=false for no MLflow.")
    ] = None,
    events: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Append what happens to this file, a JSON object a line (docs/watching.md).")
    ] = None,
    _path: SearchPath = None,
) -> None:
    """Run what a plan, or the part of it that is asked for, still lacks, then write its report."""
    options = {**listener_options(listen), **journal_options(events)}
    failures = 1 if fail_fast else max_failures
    limits = {"timeout": timeout, "memory": memory, "retries": retries, "max_failures": failures, "checkpoint": checkpoint}
    from .plan import schema

    if inline := workers == 0 or schema.limited(schema.load(plan), executor).executor.name == "inline":
        from . import machine

        os.environ.update(machine.ENVIRONMENT)  # before torch is imported
    from .execution import server

    if dry_run:
        server.begin()
        from . import estimate

        say(estimate.describe(prepared(plan, variants, tasks, seeds, runs, device, executor, devices, **limits), workers))
    elif inline or not told_of_settled(plan, variants, tasks, seeds, runs, device, options, executor, devices, **limits):
        tell_outline(plan, variants, tasks, seeds, options)
        if not inline:
            server.begin()
        executed(prepared(plan, variants, tasks, seeds, runs, device, executor, devices, **limits), workers, options, runs)


def tell_outline(plan: str, variants: str | None, tasks: str | None, seeds: str | None, options: Mapping[str, Value]) -> None:
    """Say at once what is asked for: importing what trains and finding what is there take seconds."""
    from .plan import schema
    from .plan.outline import outline

    if options.get("progress"):
        say(outline(schema.load(plan), request(plan, variants, tasks, seeds)))


def executed(work: Work, workers: int | None, options: Mapping[str, Value], runs: Path) -> None:
    """Carry the work out, and say what came of it."""
    from . import api
    from .report import telling

    done = api.execute(work, workers, options, warn=warn)
    warn_of_stale(done.stale)
    say(painted(telling.text(telling.read(done.report))))
    conclude(done.report, done.written, len(work.trials), done.work.ends, runs)


def told_of_settled(
    plan: str,
    variants: str | None,
    tasks: str | None,
    seeds: str | None,
    runs: Path,
    device: str,
    options: Mapping[str, Value],
    executor: str | None = None,
    devices: str | None = None,
    **limits: float | None,
) -> bool:
    """Whether an earlier run left nothing to do and nothing has changed since, which is then told as a run tells it."""
    from . import settled
    from .listeners.progress import opening
    from .plan import schema

    loaded = schema.limited(schema.load(plan), executor, devices, **limits)
    remembered = settled.recall(loaded, request(plan, variants, tasks, seeds), runs, device, options)
    if remembered is None:
        return False
    store, known = remembered
    if options.get("progress"):
        say(opening(loaded.name, known.device, known.trials, 0))
    warn_of_stale(known.stale)
    say(painted(known.answer))
    conclude(store.report, False, known.trials, known.ends, runs)
    return True


def conclude(report: Path, written: bool, trials: int, ends: Mapping[str, int], runs: Path) -> None:
    """Say where the report is, and what did not go well; ends with 1 where a trial did not."""
    page_link = (report / "index.html").as_uri()
    say(page_link if written else f"nothing has changed: {page_link}")
    say("dashboard: make dashboard, or: suite dashboard" if runs == Path("runs") else f"dashboard: suite dashboard --runs {runs}")
    if ends:
        counts = ", ".join(f"{count} {end}" for end, count in ends.items())
        typer.echo(f"{sum(ends.values())} of {trials} trials did not end well ({counts}); the report says which and why", err=True)
        raise typer.Exit(1)


def warn_of_stale(stale: tuple[str, ...]) -> None:
    if stale:
        more = f"; and {len(stale) - MOST_NAMED} more, which the report's manifest.json names" if len(stale) > MOST_NAMED else ""
        warn(f"left out of the report, since the code behind them has changed: {'; '.join(stale[:MOST_NAMED])}{more}")


@app.command()
def report(
    plan: PlanName,
    variants: Variants = None,
    tasks: Tasks = None,
    seeds: Seeds = None,
    whole: Annotated[bool, typer.Option("--all", help="All that the plan's store holds, beyond the plan too.")] = False,
    form: Annotated[
        str, typer.Option("--format", metavar="FORMAT", help="html (the page), md, latex, csv, parquet or pdf-figures.")
    ] = "html",
    runs: Runs = Path("runs"),
    _path: SearchPath = None,
) -> None:
    """Write the report of a plan, or of a part of it, from what its store holds, where it is older than that; trains nothing."""
    from . import api
    from .plan import schema
    from .registry.finder import discover

    asked = request(plan, variants, tasks, seeds)
    if whole and asked.lists:
        raise SuiteError(f"--all shows everything, so it does not go with {asked.lists[0]}")
    loaded = schema.load(plan)
    warn_of_broken(discover())
    written = api.report(loaded, runs, asked, whole=whole, form=form, warn=warn)
    warn_of_stale(written.stale)
    say(str(written.folder / "index.html" if form == "html" else written.folder))


@app.command()
def answer(
    plan: PlanName,
    variants: Variants = None,
    tasks: Tasks = None,
    seeds: Seeds = None,
    runs: Runs = Path("runs"),
    as_json: Json = False,
    _path: SearchPath = None,
) -> None:
    """Say what is found of each variant against lstm, on speed, robustness and memory; writes the report first where it is older."""
    from . import api
    from .plan import schema
    from .registry.finder import discover
    from .report import telling

    loaded = schema.load(plan)
    warn_of_broken(discover())
    written = api.report(loaded, runs, request(plan, variants, tasks, seeds), warn=warn)
    warn_of_stale(written.stale)
    rows = telling.read(written.folder)
    say(json.dumps(rows, indent=1) if as_json else painted(telling.text(rows)))


@app.command()
def lint(
    plan: PlanName,
    variants: Variants = None,
    tasks: Tasks = None,
    seeds: Seeds = None,
    device: Device = "auto",
    runs: Runs = Path("runs"),
    time: Annotated[bool, typer.Option("--time", help="Also estimate how long it takes, from a few timed steps.")] = False,
    strict: Annotated[bool, typer.Option("--strict", help="End with 1 where there is a warning.")] = False,
    as_json: Json = False,
    _path: SearchPath = None,
) -> None:
    """Say of a plan, before anything is trained, how fair its comparisons are and what they could decide."""
    from . import api
    from .execution import server
    from .plan import schema

    if time:
        server.begin()
    said = api.lint(schema.load(plan), device, request(plan, variants, tasks, seeds))
    if time:
        from . import estimate

        said = said.also(estimate.remark(prepared(plan, variants, tasks, seeds, runs, device)))
    say(json.dumps(said.plain(), indent=1) if as_json else said.text())
    if strict and said.warned:
        raise typer.Exit(1)


@app.command()
def new(
    kind: Annotated[str, typer.Argument(metavar="variant|task|corruption|section")],
    name: Annotated[str, typer.Argument(metavar="NAME")],
    root: Annotated[Path, typer.Option("--in", metavar="DIR", help="The folder that holds plugins/, tasks/ and reports/.")] = Path(),
    _path: SearchPath = None,
) -> None:
    """Write a new plugin file that works as it stands."""
    from .dropins import ROOTS
    from .registry import scaffold

    if kind not in scaffold.KINDS:
        raise SuiteError(f"cannot make a '{kind}'{nearest(kind, scaffold.KINDS)}")
    path = scaffold.write(kind, name, root)
    where = "" if root.resolve() in ROOTS else f" --path {shlex.quote(str(root))}"
    run_it = f"; suite run smoke --variants lstm,{name}{where}" if kind == "variant" else ""
    say(f"{path}\nedit it, then: suite check {name}{where}{run_it}")


@app.command()
def dashboard(
    runs: Runs = Path("runs"),
    port: Annotated[int, typer.Option(min=1, max=65535, help="The next free one is taken where it is in use.")] = 5000,
) -> None:
    """Serve the MLflow pages over the runs folder, on 127.0.0.1."""
    from .listeners import dashboard as pages

    raise typer.Exit(pages.serve(runs, port))


for word in (showing.status, showing.watch, showing.list_, showing.log, showing.doctor, *keeping.WORDS, *proving.WORDS):
    app.command(word.__name__.rstrip("_"))(word)


def _interrupt(*_: object) -> None:
    raise KeyboardInterrupt


def main() -> None:
    """Run the command: 0 all well, 1 a trial did not end well or a check says no, 2 the user's mistake, 130 interrupted (Ctrl-C, SIGTERM)."""
    signal.signal(signal.SIGTERM, _interrupt)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)  # whoever began this may ignore it, and then nobody is told how processes end
    forked.GUARDED = True
    with contextlib.suppress(RuntimeError, ValueError, OSError):  # standard error may be closed
        faulthandler.enable()  # plugins are imported in this process, and planned once they are known to survive it: one that ends it is seen in the stack
    try:
        app()
    except SuiteError as error:
        typer.echo(f"error: {error}", err=True)
        sys.exit(2)
    except SystemExit as ended:
        if ended.code == INTERRUPTED:
            typer.echo("interrupted; finished trials are kept, and the same command goes on, also with trainings that had begun", err=True)
        raise
