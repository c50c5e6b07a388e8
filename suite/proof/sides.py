"""Opens what is to be compared: a plan's folder, an archive of one, or the name of a plan that was run."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from ..errors import SuiteError
from ..plan import schema
from ..spec import Results
from ..store import archive, frame, merging
from ..store.ledger import Ledger
from ..store.store import Store


@dataclass(frozen=True)
class Side:
    """One of two that are compared: how it was named, its store, and what that holds, without what is stale."""

    name: str
    store: Store
    ledger: Ledger
    results: Results


@contextlib.contextmanager
def opened(name: str, runs: Path) -> Iterator[Side]:
    """A side by its name, while it is looked at; an archive is unpacked meanwhile.

    Raises SuiteError where there is nothing of that name, several plans, or nothing was run.
    """
    with contextlib.ExitStack() as at_work:
        store = _store(name, runs, at_work)
        ledger = store.ledger()
        if ledger is None:
            raise SuiteError(f"{store.folder}: nothing has been run here; `suite run` comes first, or name another folder")
        yield Side(name, store, ledger, frame.read(store))


def _store(name: str, runs: Path, at_work: contextlib.ExitStack) -> Store:
    place = Path(name)
    if place.is_file() and place.suffix != ".toml":
        folder = Path(at_work.enter_context(tempfile.TemporaryDirectory(prefix="suite-")))
        return Store(folder, archive.unpack(place, folder).plan)
    if place.is_dir():
        stores = merging.stores_in(place)
        if len(stores) > 1:
            plans = ", ".join(store.folder.name for store in stores)
            raise SuiteError(f"{name}: holds several plans ({plans}); name the folder of one of them, such as {stores[0].folder}")
        return stores[0]
    return Store(runs, schema.load(name).name)
