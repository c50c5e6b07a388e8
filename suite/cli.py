"""Turns words into calls: the `suite` command."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .spec import SuiteError

if TYPE_CHECKING:
    from .api import Prepared
    from .manager import Registry

app = typer.Typer(
    name="suite",
    help="Benchmark recurrent networks: speed, robustness to noise, long-range accuracy.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

PlanName = Annotated[
    str, typer.Argument(metavar="PLAN", help="A packaged plan's name (see `suite list plans`) or the path of a .toml file.")
]
Runs = Annotated[Path, typer.Option("--runs", metavar="DIR", help="Where results are kept.")]
Device = Annotated[str, typer.Option(help="auto, cpu or cuda.")]
Variants = Annotated[str | None, typer.Option(help="Variants instead of the plan's: a,b or name(option=value),c.")]
Tasks = Annotated[str | None, typer.Option(help="Tasks instead of the plan's; those it has keep their lengths and steps.")]
Seeds = Annotated[int | None, typer.Option(min=1, help="Seeds 0 to N−1 instead of the plan's.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]


def say(text: str = "") -> None:
    typer.echo(text)


def warn_of_broken(registry: Registry) -> None:
    for broken in registry.broken:
        typer.echo(f"warning: {broken.source}: {broken.reason}", err=True)
    for note in registry.notes:
        typer.echo(f"warning: {note}", err=True)


def prepared(plan: str, variants: str | None, tasks: str | None, seeds: int | None, runs: Path, device: str) -> Prepared:
    from . import api
    from . import plan as plans

    found = api.prepare(api.choose(plans.load(plan), variants, tasks, seeds), runs, device)
    warn_of_broken(found.registry)
    return found


@app.command()
def run(
    plan: PlanName,
    variants: Variants = None,
    tasks: Tasks = None,
    seeds: Seeds = None,
    device: Device = "auto",
    workers: Annotated[int | None, typer.Option(min=1, help="Trials at a time; by default as many as cores.")] = None,
    runs: Runs = Path("runs"),
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be run and how long it may take.")] = False,
) -> None:
    """Run what a plan still lacks, then write its report."""
    ready = prepared(plan, variants, tasks, seeds, runs, device)
    if dry_run:
        from . import estimate

        say(estimate.describe(ready, workers))
        return
    from rich.console import Console

    from . import api
    from .progress import Display
    from .tracking import Tracking

    tracking = Tracking()
    executed = api.execute(ready, runs, workers, [Display(Console()), tracking])
    for name, problem in executed.listener_problems.items():
        typer.echo(f"warning: the listener {name} raised {problem}", err=True)
    if tracking.problem:
        typer.echo(f"warning: {tracking.problem}\nThe results are safe in {ready.store.folder}; the next run mirrors them.", err=True)
    say("dashboard: make dashboard, or: suite dashboard" if runs == Path("runs") else f"dashboard: suite dashboard --runs {runs}")
    ended = [ready.store.get(trial) for trial in ready.trials]
    bad = sum(outcome is None or outcome.status != "ok" for outcome in ended)
    if bad:
        typer.echo(f"{bad} of {len(ended)} trials did not end well; the report says which and why", err=True)
        raise typer.Exit(1)


@app.command()
def report(plan: PlanName, runs: Runs = Path("runs")) -> None:
    """Write the report of all that a plan's store holds; trains nothing."""
    from . import plan as plans
    from . import report as reports
    from .manager import discover
    from .store import Store

    registry = discover()
    warn_of_broken(registry)
    say(str(reports.write(Store(runs, plans.load(plan).name), registry) / "index.html"))


@app.command()
def status(
    plan: PlanName,
    variants: Variants = None,
    tasks: Tasks = None,
    seeds: Seeds = None,
    device: Device = "auto",
    runs: Runs = Path("runs"),
    as_json: Json = False,
) -> None:
    """Show each trial of a plan with its key and whether it is done, and what changed since where it is not."""
    from . import api

    rows = api.status(prepared(plan, variants, tasks, seeds, runs, device))
    if as_json:
        say(json.dumps(rows, indent=1))
        return
    for row in rows:
        say(f"{row['key']}  {row['status']:9} {row['cell']}" + (f"  ({row['detail']})" if row["detail"] else ""))
    counts = {state: sum(row["status"] == state for row in rows) for state in dict.fromkeys(row["status"] for row in rows)}
    say(", ".join(f"{count} {state}" for state, count in counts.items()))


@app.command("list")
def list_(
    what: Annotated[str, typer.Argument(metavar="[variants|tasks|corruptions|sections|plans]", help="One kind; all by default.")] = "all",
    as_json: Json = False,
) -> None:
    """List the plugins found and the packaged plans."""
    from . import api
    from .manager import discover
    from .plan import nearest

    registry = discover()
    warn_of_broken(registry)
    found = api.catalogue(registry)
    if what != "all" and what not in found:
        raise SuiteError(f"cannot list '{what}'{nearest(what, found)}")
    shown = found if what == "all" else {what: found[what]}
    if as_json:
        say(json.dumps(shown, indent=1))
        return
    for kind, rows in shown.items():
        say(f"{kind}:")
        for row in rows:
            say(f"  {row['name']:16} {row['about']}")


@app.command()
def new(
    kind: Annotated[str, typer.Argument(metavar="variant|task|corruption|section")],
    name: Annotated[str, typer.Argument(metavar="NAME")],
    root: Annotated[Path, typer.Option("--in", metavar="DIR", help="The folder that holds plugins/, tasks/ and reports/.")] = Path(),
) -> None:
    """Write a new plugin file that works as it stands."""
    from . import scaffold
    from .plan import nearest

    if kind not in scaffold.KINDS:
        raise SuiteError(f"cannot make a '{kind}'{nearest(kind, scaffold.KINDS)}")
    path = scaffold.write(kind, name, root)
    from .dropins import ROOTS

    where = "" if root.resolve() in ROOTS else f" --path {root}"
    say(
        f"{path}\nedit it, then: suite check {name}{where}"
        + (f"; suite run smoke --variants lstm,{name}{where}" if kind == "variant" else "")
    )


@app.command()
def check(
    target: Annotated[str, typer.Argument(metavar="NAME|FILE|PACKAGE|all", help="name(option=value) checks one choice of options.")],
    long: Annotated[bool, typer.Option("--long", help="The checks that take long, too.")] = False,
    as_json: Json = False,
) -> None:
    """Test plugins against the contract; each check says what it means and, where it fails, what to do."""
    from .check import resolve, words

    found = resolve(target)
    if as_json:
        record = words.record(found, long)
        say(json.dumps(record, indent=1))
        failed = record["failed"]
    else:
        failed = 0
        for line, bad in words.told(found, long):
            say(line)
            failed += bad
    if failed:
        raise typer.Exit(1)


@app.command()
def dashboard(
    runs: Runs = Path("runs"),
    port: Annotated[int, typer.Option(min=1, max=65535, help="The next free one is taken where it is in use.")] = 5000,
) -> None:
    """Serve the MLflow pages over the runs folder, on 127.0.0.1."""
    from . import dashboard as pages

    raise typer.Exit(pages.serve(runs, port))


@app.command()
def doctor(runs: Runs = Path("runs")) -> None:
    """Say what the suite finds here: device, versions, threads, plugins, store."""
    from . import api

    rows: dict[str, Any] = api.diagnose(runs)
    for name, value in rows.items():
        say(f"{name:18} {value}")


@app.callback()
def suite(
    path: Annotated[
        list[Path] | None,
        typer.Option(
            "--path", metavar="DIR", help="A folder whose plugins/, tasks/ and reports/ are searched too, as on SUITE_PATH; anywhere."
        ),
    ] = None,
) -> None:
    for folder in path or []:
        if not folder.is_dir():
            raise SuiteError(f"--path {folder}: no such folder")
    if path:
        # workers find the same plugins, since they inherit the environment
        os.environ["SUITE_PATH"] = os.pathsep.join([*map(str, (folder.resolve() for folder in path)), os.environ.get("SUITE_PATH", "")])


def hoisted(words: list[str]) -> list[str]:
    """The words with every ``--path DIR`` moved to the front, so that it may stand anywhere."""
    front: list[str] = []
    rest: list[str] = []
    while words:
        word, *words = words
        if word == "--path" and words:
            front += [word, words.pop(0)]
        else:
            (front if word.startswith("--path=") else rest).append(word)
    return front + rest


def main() -> None:
    """Run the command: 0 all well, 1 some trial did not end well, 2 the user's mistake, 130 interrupted."""
    try:
        app(hoisted(sys.argv[1:]))
    except SuiteError as error:
        typer.echo(f"error: {error}", err=True)
        sys.exit(2)
    except SystemExit as ended:
        if ended.code == 130:
            typer.echo("interrupted; finished trials are kept, and the same command goes on from there", err=True)
        raise
