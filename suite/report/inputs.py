"""Tells whether a report would come out the same as the one that is there, without drawing it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from .. import LATER, dropins
from ..keys import digest
from ..machine import version
from ..registry.registry import Provided, Registry
from ..registry.sources import harness_sources
from ..spec import Origin, Section
from ..store.contents import digest_of, named
from ..store.selection import Selection
from ..store.store import Store
from . import manifest as manifests
from .portable import portable, portable_plugin

MANIFEST = manifests.MANIFEST

DRAWING = ("jinja2", "kiwisolver", "markupsafe", "matplotlib", "numpy", "pandas", "scipy", "seaborn")
"""Packages whose version may change a report's bytes."""

OWN = ("report.page", *LATER.values())
"""The suite's modules that a report is made by, with all that they import: the page, and what sections build on."""


@dataclass(frozen=True)
class Written:
    """A report on disk: its folder, and what was left out of it as stale."""

    folder: Path
    stale: tuple[str, ...]


def fingerprint(store: Store, registry: Registry, selection: Selection | None) -> str:
    """A digest of all that a report is made of: what is selected, the files of the store, the sections, the suite's own code.

    The folder that the store or the suite lies in is no part of it.
    """
    selected = asdict(selection) if selection else None
    sections = [(provided.noun.name, provided.noun.title, dict(provided.digests)) for provided in in_order(registry)]
    claims = [asdict(provided.noun) for provided in registry.claims.values()]
    broken = [asdict(portable_plugin(plugin)) for plugin in registry.broken]
    units = {name: provided.noun.unit for name, provided in registry.measures.items()}
    files = [(name, provided.source, provided.noun.paper, dict(provided.digests)) for name, provided in registry.variants.items()]
    versions = {package: version(package) for package in DRAWING}
    own = {name: value for module in OWN for name, value in harness_sources(module).items()}
    stored = digest_of(named(store, store.ledger()))
    return digest([selected, sections, claims, broken, units, files, versions, own, digest_of(_templates()), stored], 64)


def origins(registry: Registry, digests: Collection[str]) -> dict[str, Origin]:
    """Where each variant is from, by the plugin's name, with the text of its file where that has one of these digests."""
    origins = {}
    for name, provided in registry.variants.items():
        content = provided.path.read_bytes() if provided.path is not None and provided.path.is_file() else b""
        text = content.decode(errors="replace") if hashlib.sha256(content).hexdigest() in digests else ""
        origins[name] = Origin(provided.noun.paper, portable(provided.source), text)
    return origins


def in_order(registry: Registry) -> list[Provided[Section]]:
    return sorted(registry.sections.values(), key=lambda provided: (provided.noun.order, provided.noun.name))


def manifest(
    files: Mapping[str, bytes], inputs: str, stale: Sequence[str], rests: Mapping[str, Any], sources: Sequence[tuple[str, str]]
) -> bytes:
    """The manifest of a report: the digest of each file, the fingerprint it was made from, what was left out of it as stale, and what it rests on.

    rests: the keys of trials and timings behind each table and figure, by its place in the page and by variant
    sources: the digests of each file behind the learning results, more than one where it was changed meanwhile
    """
    digests = {name: hashlib.sha256(content).hexdigest() for name, content in sorted(files.items())}
    versions: dict[str, list[str]] = {}
    for name, value in sources:
        versions.setdefault(name, []).append(value)
    manifest = {"inputs": inputs, "sha256": digests, "stale": list(stale), "sources": versions, "rests": dict(rests)}
    return (json.dumps(manifest, indent=1) + "\n").encode()


def written(store: Store) -> Written:
    """The report that is there, as its manifest describes it."""
    return Written(store.report, tuple(json.loads((store.report / MANIFEST).read_bytes())["stale"]))


def unchanged(store: Store, registry: Registry, selection: Selection | None) -> bool:
    """Whether the report that is there was made from the same inputs, and each of its files is as it was."""
    recorded = manifests.whole(store.report)
    return recorded is not None and bool(recorded.get("inputs") == fingerprint(store, registry, selection))


def _templates() -> Iterator[tuple[str, str]]:
    for root in dropins.ROOTS:
        yield from ((path.name, str(path)) for path in sorted((root / "reports" / "templates").glob("*")) if path.is_file())
