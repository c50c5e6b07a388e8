"""Turns words into calls that show what is there and change nothing: status, watch, list, log, doctor."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from .errors import SuiteError, nearest
from .lines import painted, wrapped
from .options import (
    Device,
    Json,
    PlanName,
    Runs,
    SearchPath,
    Seeds,
    Tasks,
    Variants,
    prepared,
    request,
    say,
    say_table,
    warn_of_broken,
)


def status(
    plan: PlanName,
    variants: Variants = None,
    tasks: Tasks = None,
    seeds: Seeds = None,
    device: Device = "auto",
    runs: Runs = Path("runs"),
    keys: Annotated[bool, typer.Option("--keys", help="Each trial with its key, in place of counts.")] = False,
    as_json: Json = False,
    _path: SearchPath = None,
) -> None:
    """Show how many trials of a plan are done, by variant and task, and what changed since where one is stale."""
    from dataclasses import asdict

    from . import status as states
    from .plan import schema

    known = states.remembered(schema.load(plan), request(plan, variants, tasks, seeds), runs, device)
    rows = known or states.status(prepared(plan, variants, tasks, seeds, runs, device))
    if as_json:
        say(json.dumps([asdict(row) for row in rows], indent=1))
        return
    if keys:
        for row in rows:
            say(f"{row.key}  {painted(f'{row.status:9}')} {row.cell}" + (f"  ({row.reason})" if row.reason else ""))
    else:
        say_table(states.grid(rows))
        for reason in states.reasons(rows):
            say(painted(reason))
    say(painted(states.counts(rows)))


def watch(
    plan: PlanName,
    runs: Runs = Path("runs"),
) -> None:
    """Show how a run of a plan goes that was begun in another terminal, until it ends; Ctrl-C ends the showing alone."""
    from . import watch as watching
    from .plan import schema

    name = schema.load(plan).name
    try:
        say(painted(watching.shown(runs, name)))
    except KeyboardInterrupt:  # of the showing, which nothing depends on
        raise typer.Exit from None


def list_(
    what: Annotated[
        str,
        typer.Argument(
            metavar="[variants|tasks|corruptions|measures|listeners|sections|claims|executors|plans]",
            help="One kind; all by default.",
        ),
    ] = "all",
    as_json: Json = False,
    _path: SearchPath = None,
) -> None:
    """List the plugins found and the packaged plans, each with a sentence to choose it by."""
    from . import status as states
    from .registry.finder import discover

    registry = discover()
    warn_of_broken(registry)
    kinds = states.catalogue(registry)
    if what != "all" and what not in kinds:
        raise SuiteError(f"cannot list '{what}'{nearest(what, kinds)}")
    shown = kinds if what == "all" else {what: kinds[what]}
    if as_json:
        say(json.dumps(shown, indent=1))
        return
    for kind, rows in shown.items():
        say(typer.style(f"{kind}:", bold=True))
        width = max((len(row["name"]) for row in rows), default=0)
        for row in rows:
            for line in wrapped(f"  {row['name']:{width}}  ", row["about"]):
                say(line)


def log(
    key: Annotated[
        str, typer.Argument(metavar="KEY", help="A trial's key, or the beginning of it, as `suite status PLAN --keys` prints it.")
    ],
    runs: Runs = Path("runs"),
) -> None:
    """Show how a trial went: its validations, how it ended, and the traceback where it raised."""
    from . import status as states

    for line in states.log(key, runs):
        say(line)


def doctor(runs: Runs = Path("runs"), _path: SearchPath = None) -> None:
    """Say what the suite finds here: device, versions, threads, plugins, store."""
    from . import status as states

    for name, value in states.diagnose(runs).items():
        say(f"{name:18} {value}")
