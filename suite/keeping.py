"""Turns words into calls that keep a store in order: clean, accept, export, import, merge."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from .errors import SuiteError
from .options import Device, PlanName, Runs, SearchPath, prepared, say, warn

if TYPE_CHECKING:
    from .store.merging import Merged
    from .store.store import Store


def _store(plan: str, runs: Path) -> Store:
    """The store of a plan that is there."""
    from .plan import schema
    from .store.store import Store

    store = Store(runs, schema.load(plan).name)
    if not store.folder.is_dir():
        raise SuiteError(f"{store.folder}: nothing has been run here; `suite run` comes first, or name another folder with --runs")
    return store


def clean(
    plan: PlanName,
    failed: Annotated[bool, typer.Option("--failed", help="What did not end well, and files that are spoiled.")] = False,
    stale: Annotated[bool, typer.Option("--stale", help="What other versions of the code made than the plan has here and now.")] = False,
    orphaned: Annotated[bool, typer.Option("--orphaned", help="What the plan does not ask for.")] = False,
    whole: Annotated[bool, typer.Option("--all", help="The plan's whole folder, with its report.")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    device: Device = "auto",
    runs: Runs = Path("runs"),
    _path: SearchPath = None,
) -> None:
    """Remove results of a plan that nobody needs, after saying how many and how large they are; MLflow keeps what it shows."""
    from .store import cleaning

    store = _store(plan, runs)
    asked_for: dict[cleaning.Reason, bool] = {"failed": failed, "stale": stale, "orphaned": orphaned}
    reasons = [reason for reason, asked in asked_for.items() if asked]
    if bool(reasons) == whole:
        raise SuiteError("clean: say what is to go: --failed, --stale, --orphaned (or several of them), or --all")
    planned = cleaning.Planned((), (), ())
    if not whole:
        work = prepared(plan, None, None, None, runs, device)
        planned = cleaning.Planned(work.trials, work.timings, work.gradings)
    waste = cleaning.whole(store) if whole else cleaning.wasted(store, reasons, planned)
    if not waste:
        say(f"{store.folder}: there is nothing to remove")
        return
    say(f"{store.folder}: {cleaning.summary(waste)}")
    if not (yes or _agreed()):
        say("nothing was removed")
        return
    if whole:
        cleaning.remove_all(store)
    else:
        waste = cleaning.remove(store, waste, reasons, planned)
    say(f"removed {len(waste)} files")


def _agreed() -> bool:
    """Whether the person at the terminal agrees.

    Raises SuiteError where there is none.
    """
    if not sys.stdin.isatty():
        raise SuiteError("clean: asks before it removes anything, and this is no terminal; say --yes")
    return typer.confirm("Remove them?")


def accept(
    plan: PlanName,
    why: Annotated[str, typer.Option("--why", metavar="TEXT", help="Why they stand; the report shows it.")],
    keys: Annotated[
        list[str] | None, typer.Argument(metavar="KEY…", help="Keys of trials, as `suite status PLAN --keys` prints them.")
    ] = None,
    stale: Annotated[bool, typer.Option("--stale", help="All that are stale.")] = False,
    device: Device = "auto",
    runs: Runs = Path("runs"),
    _path: SearchPath = None,
) -> None:
    """Let stale results of a plan stand, as where a comment was changed; they count as done until the code changes again."""
    from . import api

    if bool(keys) == stale:
        raise SuiteError("accept: name the keys of trials (see `suite status PLAN --keys`), or say --stale for all that are stale")
    if not why.strip():
        raise SuiteError("accept: --why is empty; say why the results stand")
    accepted = api.accept(prepared(plan, None, None, None, runs, device), keys, why.strip())
    if not accepted:
        say("nothing is stale that could stand")
    for word in accepted:
        say(f"{word.key}  {word.trial.cell} stands as {word.stands} found it, though {', '.join(word.changed)} changed")


def export(
    plan: PlanName,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The archive to write (a zip).")],
    runs: Runs = Path("runs"),
) -> None:
    """Write all results of a plan into one archive, with its plan and a digest of every file."""
    from .plan import schema
    from .store import archive

    store = _store(plan, runs)
    count = archive.pack(store, file, schema.text(plan))
    for fault in store.spoiled.values():
        warn(f"left out: {fault}")
    say(f"{file}: {count} files of {store.folder}")


def import_(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="An archive that `suite export` wrote.")],
    runs: Runs = Path("runs"),
) -> None:
    """Bring the results of an archive into the runs folder, after checking every file; what is there already is kept once."""
    from .store import archive

    _conclude([archive.unpack(file, runs.resolve())])


def merge(
    folders: Annotated[list[Path], typer.Argument(metavar="DIR…", help="Other runs folders, or folders of single plans in them.")],
    runs: Runs = Path("runs"),
) -> None:
    """Bring the results of other folders together with those of the runs folder; where they contradict each other, nothing is overwritten."""
    from .store import merging
    from .store.store import Store

    stores = [store for folder in folders for store in merging.stores_in(folder)]
    _conclude([merging.merge(theirs, Store(runs, merging.plan_of(theirs))) for theirs in stores])


def _conclude(merged: Sequence[Merged]) -> None:
    """Say what was brought in; ends with 1 where something contradicts what is there."""
    for each in merged:
        taken = ", ".join(f"{count} {kind}" for kind, count in each.taken.items()) or "nothing new"
        say(f"{each.plan}: {taken}; {each.kept} records were there already")
        for note in each.notes:
            warn(note)
        for contradiction in each.contradictions:
            warn(contradiction)
    if any(each.contradictions for each in merged):
        raise typer.Exit(1)
