"""Turns words into calls that put results to the proof: check, verify."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from .options import Runs, SearchPath, say, warn, warn_of_broken

SHOWN = 20
"""So many faults are told, and how many more there are."""

ReportName = Annotated[str, typer.Argument(metavar="REPORT", help="The folder of a report, or the name of a plan that was run.")]


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
