"""Gathers what a stranger needs beside a store to verify its report and to train its trials again: the suite, plugins, versions, commands."""

from __future__ import annotations

import hashlib
import importlib.metadata
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from .. import dropins
from ..errors import SuiteError
from ..registry.finder import discover
from ..registry.registry import Provided, Registry
from ..registry.sources import file_of
from ..report import inputs, manifest
from ..store.ledger import Ledger
from ..store.store import Store
from . import verify
from .wheel import DISTRIBUTION, own_roots, wheel

DROPINS = f"{dropins.__name__}."


@dataclass(frozen=True)
class Capsule:
    """What lies beside the store: files by name; notes: what a reader should know of them."""

    files: Mapping[str, bytes]
    notes: tuple[str, ...]


def capsule(store: Store) -> Capsule:
    """What a capsule of a store holds beside it.

    Raises SuiteError where its report is not there, not whole, or older than the store or the code.
    """
    registry, recorded, ledger = discover(), manifest.whole(store.report), store.ledger()
    made_of = verify.read(store.report) if recorded else ""
    cure = f"suite report {store.folder.name} first"
    if recorded is None or isinstance(made_of, str) or ledger is None:
        raise SuiteError(f"{store.report}: is no whole report of this version of the suite; {cure}")
    selection = verify.selection_of(made_of, registry, store)
    if inputs.fingerprint(store, registry, selection) != recorded["inputs"]:
        raise SuiteError(f"{store.report}: is older than the store or the code that draws it; {cure}")
    plugins, gone = _plugins(registry, ledger)
    name, content = wheel()
    prefix = f"runs/{store.folder.name}/report/"
    files = {f"{prefix}{file}": (store.report / file).read_bytes() for file in (*sorted(recorded["sha256"]), manifest.MANIFEST)}
    beside = {"README.md": _readme(store, name, bool(plugins)).encode(), "constraints.txt": _constraints().encode(), name: content}
    return Capsule({**beside, **plugins, **files}, tuple(gone))


def _plugins(registry: Registry, ledger: Ledger) -> tuple[dict[str, bytes], list[str]]:
    """The drop-ins that do not come with the suite and that results or sections rest on, helpers included; and what is not as it was."""
    drawing: list[Provided[Any]] = [*registry.sections.values(), *registry.claims.values()]
    names = dict(ledger.sources) | {name: value for provided in drawing for name, value in provided.digests.items()}
    files, notes = {}, []
    for name, digest in sorted(names.items()):
        path = file_of(name) if name.startswith(("suite.", DROPINS)) else None
        content = path.read_bytes() if path else b""
        if name.startswith("suite.") and hashlib.sha256(content).hexdigest() != digest:
            notes.append(f"{name} is {'of another version now' if path else 'gone'}; results that rest on it may come out to other bits")
        if path and name.startswith(DROPINS) and not any(path.is_relative_to(root) for root in own_roots()):
            root = next(root for root in dropins.ROOTS if path.is_relative_to(root))
            files[path.relative_to(root).as_posix()] = content
    return files, notes


def _constraints() -> str:
    """The version of every package that is installed here, in pip's words; a local part, such as +cpu, is found on no index."""
    installed = {each.name: each.version.partition("+")[0] for each in importlib.metadata.distributions() if each.name != DISTRIBUTION}
    return "".join(f"{name}=={version}\n" for name, version in sorted(installed.items(), key=lambda item: item[0].casefold()))


def _packages() -> Iterator[str]:
    """The installed packages that provide plugins, with their versions."""
    for entry in sorted(importlib.metadata.entry_points(group="suite"), key=lambda entry: entry.name):
        if entry.dist:
            yield f"{entry.dist.name}=={entry.dist.version}"


def _readme(store: Store, name: str, plugins: bool) -> str:
    path = " --path ." if plugins else ""
    report = f"runs/{store.folder.name}/report"
    others = " ".join(dict.fromkeys(_packages()))
    return f"""# The plan {store.folder.name}, with all that its report rests on

`{report}/index.html` is the report. `runs/{store.folder.name}/` holds every result behind it, and the plan. To see that it follows from
them to the byte, and to train some of its trials again, with Python 3.11 or newer:

```sh
python3 -m venv venv
venv/bin/pip install -c constraints.txt ./{name}{f" {others}" if others else ""}
venv/bin/suite verify {report}{path}
venv/bin/suite reproduce {report} --sample 5{path}
```

On a machine without a GPU, pip may be told where torch keeps its smaller build for CPUs (pytorch.org, "Start locally"). `constraints.txt` holds
the versions of all packages where this was made; `manifest.json` the SHA-256 of every file.
"""
