"""Digests what a ledger names, file by file."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Iterator

from .ledger import Ledger
from .store import KINDS, LEDGER, Store


def named(store: Store, ledger: Ledger | None) -> Iterator[tuple[str, str]]:
    """The ledger, and the store's files that it names, with what was accepted in their place; each with its name."""
    yield "ledger", str(store.folder / LEDGER)
    if ledger is None:
        return
    accepted = set(store.keys("accepted"))
    for entry in ledger.cells.values():
        yield entry.key, store.path("trials", entry.key)
        for key in entry.evaluations.values():
            yield key, store.path("evaluations", key)
        if entry.key in accepted and (word := store.accepted(entry.key)) is not None:
            yield entry.key, store.path("accepted", entry.key)
            yield word.stands, store.path("trials", word.stands)
            yield from ((key, store.path("evaluations", key)) for key in word.evaluations.values())
    for kind, keys in (("timings", ledger.timings), ("grades", ledger.grades)):
        yield from ((key, store.path(kind, key)) for key in keys.values())


def digests_by_kind(store: Store, ledger: Ledger | None) -> dict[str, str]:
    """A digest of all files of each kind that the ledger names, by the name of their folder; the ledger is a kind of its own."""
    kinds: dict[str, list[tuple[str, str]]] = {}
    for name, path in named(store, ledger):
        folder = os.path.basename(os.path.dirname(path))
        kinds.setdefault(folder if folder in KINDS else name, []).append((name, path))
    return {kind: digest_of(files) for kind, files in kinds.items()}


def digest_of(files: Iterable[tuple[str, str]]) -> str:
    """One digest of many files, given as name and path; an absent file is not the same as an empty one."""
    total = hashlib.sha256()
    for name, path in files:
        try:
            with open(path, "rb") as file:
                content = file.read()
        except OSError:  # a trial that has not been run yet
            total.update(f"{name} absent\n".encode())
            continue
        total.update(f"{name} {hashlib.sha256(content).hexdigest()}\n".encode())
    return total.hexdigest()
