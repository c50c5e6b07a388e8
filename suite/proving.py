"""Turns words into calls that put results to the proof: check, verify, compare, reproduce."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from . import completion
from .errors import SuiteError
from .lines import painted
from .options import Devices, Json, Runs, SearchPath, say, warn, warn_of_broken

SHOWN = 20
"""So many faults are told, and how many more there are."""

ReportName = Annotated[str, typer.Argument(metavar="REPORT", help="The folder of a report, or the name of a plan that was run.")]


def check(
    target: Annotated[
        str,
        typer.Argument(
            metavar="NAME|FILE|PACKAGE|all",
            help="name(option=value) checks one choice of options.",
            show_default=False,
            autocompletion=completion.plugins,
        ),
    ] = "",
    long: Annotated[bool, typer.Option("--long", help="The checks that take long, too.")] = False,
    against_reference: Annotated[
        bool, typer.Option("--against-reference", help="Train a little here, and hold it against published results; a few minutes.")
    ] = False,
    as_json: Json = False,
    _path: SearchPath = None,
) -> None:
    """Test plugins against the contract, or this machine against published results; each check says what it means and what to do."""
    from .check.target import known_with

    if bool(target) == against_reference:
        raise SuiteError("check: name a plugin, a file, a package or all; or say --against-reference, alone")
    if against_reference and (long or as_json):
        raise SuiteError("check: --against-reference knows neither --long nor --json")
    for note in known_with(target).notes:
        warn(note)
    failed = _reference() if against_reference else _contract(target, long, as_json)
    if failed:
        raise typer.Exit(1)


def _contract(target: str, long: bool, as_json: bool) -> int:
    """Tell the checks of what is named; how many failed."""
    from .check import prose, resolve

    subjects = resolve(target)
    if as_json:
        record = prose.record(subjects, long)
        say(json.dumps(record, indent=1))
        return int(record["failed"])
    failed = 0
    for line, bad in prose.report(subjects, long):
        say(painted(line[: prose.INDENT]) + line[prose.INDENT :])
        failed += bad
    return failed


def _reference() -> int:
    """Tell how a part of the reference comes out here; how many bands it falls outside of."""
    from . import machine
    from .proof import reference

    published = reference.read()
    bands = reference.part_of(published)
    say(
        f"{len(bands)} bands of the plan {published.plan['name']}, {reference.SEEDS} seeds of each: "
        f"about {reference.seconds(bands):.0f} s of one core like the reference's ({published.machine.cpu}), with some to begin"
    )
    failed = 0
    for held in reference.check(published):
        say(reference.text(held))
        failed += bool(held.faults)
    differing = reference.differing(published, machine.describe("cpu"))
    say(f"differing from the reference: {'; '.join(differing) or 'nothing'}")
    return failed


def verify(report: ReportName, runs: Runs = Path("runs"), _path: SearchPath = None) -> None:
    """Build a report again from its store and name the first byte that differs, file by file; ends with 1 where one does."""
    from .proof import verify as verifying
    from .registry.finder import discover

    folder = verifying.report_of(report, runs)
    warn_of_broken(discover())
    verified = verifying.verify(folder)
    for fault in verified.faults[:SHOWN]:
        say(fault)
    if len(verified.faults) > SHOWN:
        say(f"and {len(verified.faults) - SHOWN} more")
    if verified.changed:
        shown = "; ".join(verified.changed[:SHOWN])
        more = f"; and {len(verified.changed) - SHOWN} more" if len(verified.changed) > SHOWN else ""
        warn(f"the report was made by another version of what draws it: {shown}{more}")
    if not verified.rebuilt:
        say(f"{folder}: was not built again, since what it would be built from is damaged")
    if verified.faults:
        raise typer.Exit(1)
    say(f"{folder}: {verified.files} files, built again from {verified.records} files of the store to the same bytes")


def compare(
    a: Annotated[
        str,
        typer.Argument(
            metavar="A",
            help="A plan's folder, an archive that `suite export` wrote, a plan that was run, or with --plan a commit, such as HEAD~1.",
        ),
    ],
    b: Annotated[str, typer.Argument(metavar="B", help="Another one.")],
    plan: Annotated[
        str,
        typer.Option(
            metavar="PLAN", help="Runs it under the code of each commit, where the runs folder lacks that.", autocompletion=completion.plans
        ),
    ] = "",
    fail_on: Annotated[
        list[str] | None, typer.Option("--fail-on", metavar="WHAT", help='End with 1 where B is so: worse, or such as "speed>10%".')
    ] = None,
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="Where the page is written.")] = Path("comparison"),
    as_json: Json = False,
    runs: Runs = Path("runs"),
    _path: SearchPath = None,
) -> None:
    """Say what changed from one store or commit to another: every variant against itself on every axis, as a page and in Markdown."""
    from .proof import changes, commits, comparison, sides

    changes.check_conditions(fail_on or [])
    if sides.commits_among((a, b), plan) and (uncommitted := commits.uncommitted()):
        warn(uncommitted)
    with sides.opened(a, runs, plan) as side_a, sides.opened(b, runs, plan) as side_b:
        compared = comparison.compare(side_a, side_b)
        page = comparison.write(compared, side_a, out)
    say(json.dumps(comparison.plain(compared), indent=1) if as_json else comparison.markdown(compared))
    if not as_json:
        say(page.resolve().as_uri())
    failing = changes.failing(compared.changes, fail_on or [])
    for change in failing:
        typer.echo(f"{change.variant}, {comparison.titled(change)}: worse, {comparison.shown(change)}", err=True)
    if failing:
        raise typer.Exit(1)


def reproduce(
    report: ReportName,
    trial: Annotated[
        list[str] | None, typer.Option("--trial", metavar="KEY", help="A trial's key, or its beginning; several may be named.")
    ] = None,
    sample: Annotated[int, typer.Option(min=1, metavar="N", help="So many trials of the report, each time the same.")] = 5,
    devices: Devices = None,
    runs: Runs = Path("runs"),
    _path: SearchPath = None,
) -> None:
    """Train trials of a report again here, and say at what level each agrees and what here is other; ends with 1 where one is not explained."""
    from .proof import reproduce as reproducing
    from .proof import verify as verifying
    from .registry.finder import discover

    folder = verifying.report_of(report, runs)
    warn_of_broken(discover())
    counts: dict[str, int] = {}
    unexplained = 0
    for each in reproducing.reproduce(folder, trial or [], sample, devices):
        say(reproducing.text(each))
        counts[each.level] = counts.get(each.level, 0) + 1
        unexplained += not each.explained
    say(", ".join(f"{count} {level}" for level, count in counts.items()))
    if unexplained:
        raise typer.Exit(1)


WORDS = (check, verify, compare, reproduce)
"""The commands, in the order in which help shows them."""
