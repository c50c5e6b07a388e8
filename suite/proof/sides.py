"""Opens what is to be compared: a plan's folder, an archive of one, the name of a plan that was run, or a commit that a plan is run under."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from ..errors import SuiteError
from ..plan import schema
from ..spec import Results
from ..store import archive, frame, merging
from ..store.ledger import Ledger
from ..store.store import Store
from . import commits


@dataclass(frozen=True)
class Side:
    """One of two that are compared: how it was named, its store, and what that holds, without what is stale."""

    name: str
    store: Store
    ledger: Ledger
    results: Results


@contextlib.contextmanager
def opened(name: str, runs: Path, plan: str = "") -> Iterator[Side]:
    """A side by its name, while it is looked at; an archive is unpacked meanwhile.

    plan: is run under the code of a name that is a commit's

    Raises SuiteError where there is nothing of that name, several things, or nothing was run.
    """
    with contextlib.ExitStack() as at_work:
        title, store = _store(name, runs, plan, at_work)
        ledger = store.ledger()
        if ledger is None:
            raise SuiteError(f"{store.folder}: nothing has been run here; `suite run` comes first, or name another folder")
        yield Side(title, store, ledger, frame.read(store))


def commits_among(names: Sequence[str], plan: str) -> list[commits.Commit]:
    """Those of the names that are of commits, where a plan is to be run under them.

    Raises SuiteError for a name of nothing, and where the plan is not there, or would be run under none.
    """
    if not plan:
        return []
    schema.load(plan)
    named = [commits.commit_of(name) for name in names if not _stored(name)]
    if not named:
        raise SuiteError(f"--plan {plan}: is run under commits, and neither {' nor '.join(names)} is one")
    return named


def _stored(name: str) -> bool:
    """Whether a name is that of a folder, a file or a packaged plan."""
    return Path(name).exists() or name in schema.packaged()


def _store(name: str, runs: Path, plan: str, at_work: contextlib.ExitStack) -> tuple[str, Store]:
    """What a side is called, and its store."""
    place = Path(name)
    if plan and _stored(name) and commits.is_commit(name):
        raise SuiteError(f"{name}: is a commit, and a folder, file or plan, too; name the commit as {name}^0, a folder as ./{name}")
    if plan and not _stored(name):
        commit = commits.commit_of(name)
        return str(commit), commits.ran(commit, plan, runs)
    if place.is_file() and place.suffix != ".toml":
        folder = Path(at_work.enter_context(tempfile.TemporaryDirectory(prefix="suite-")))
        return name, Store(folder, archive.unpack(place, folder).plan)
    if place.is_dir():
        stores = merging.stores_in(place)
        if len(stores) > 1:
            plans = ", ".join(store.folder.name for store in stores)
            raise SuiteError(f"{name}: holds several plans ({plans}); name the folder of one of them, such as {stores[0].folder}")
        return name, stores[0]
    if not _stored(name) and commits.is_commit(name):
        raise SuiteError(f"{name}: is a commit; say with --plan what is to be run under its code, such as --plan smoke")
    return name, Store(runs, schema.load(name).name)
