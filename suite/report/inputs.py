"""Says what a report is made of, and so whether it would come out the same as the one that is there, without drawing it."""

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
from ..store.contents import digest_of, digests_by_kind
from ..store.selection import Selection
from ..store.store import Store
from . import manifest as manifests
from .portable import portable_place, portable_plugin

MANIFEST = manifests.MANIFEST

DRAWING = ("jinja2", "kiwisolver", "markupsafe", "matplotlib", "numpy", "pandas", "scipy", "seaborn")
"""Packages whose version may change a report's bytes."""

OWN = ("report.page", *LATER.values())
"""The suite's modules that a report is made by, with all that they import: the page, and what sections build on."""

STORED = "store: "
"""How the names of those parts begin that are files of the store, by their kind."""


@dataclass(frozen=True)
class Written:
    """A report on disk: its folder, and what was left out of it as stale."""

    folder: Path
    stale: tuple[str, ...]


@dataclass(frozen=True)
class Inputs:
    """What a report is made of.

    selection: what it shows; None for all that the store holds
    parts: a digest of everything else, or its version, by name; the folder that the store or the suite lies in is no part of it
    """

    selection: Selection | None
    parts: Mapping[str, str]

    @property
    def fingerprint(self) -> str:
        """A digest of it all."""
        return digest([asdict(self.selection) if self.selection else None, dict(self.parts)], 64)

    @property
    def plain(self) -> dict[str, Any]:
        """As plain data, from which the same can be selected again: the plan, narrowed to what is shown, and what was asked for."""
        selected = None
        if self.selection:
            selected = {"plan": dict(self.selection.plan), "request": asdict(self.selection.request)}
        plain = {"selection": selected, "parts": dict(sorted(self.parts.items()))}
        return {**plain, "sha256": digest(plain, 64)}


def gathered(store: Store, registry: Registry, selection: Selection | None) -> Inputs:
    """What a report of a selection is made of, here and now."""
    sections, claims, ledger = in_order(registry), registry.claims.values(), store.ledger()
    trained = {cell.partition(" | ")[0].partition("(")[0] for cell in ledger.cells} if ledger else set()
    variants = {name: provided for name, provided in registry.variants.items() if name in trained}
    drawing: list[Provided[Any]] = [*sections, *claims, *variants.values()]
    described = {
        "sections": [(provided.noun.name, provided.noun.title) for provided in sections],
        "claims": [asdict(provided.noun) for provided in claims],
        "plugins that cannot be used": [asdict(portable_plugin(plugin)) for plugin in registry.broken],
        "units": {name: provided.noun.unit for name, provided in registry.measures.items()},
        "variants": [(name, portable_place(provided.source), provided.noun.paper) for name, provided in variants.items()],
    }
    parts = {name: digest(value) for name, value in described.items()}
    parts |= {f"package {package}": version(package) for package in DRAWING}
    parts |= {name: value for module in OWN for name, value in harness_sources(module).items()}
    parts |= {name: value for provided in drawing for name, value in provided.digests.items()}
    parts |= {f"template {name}": digest_of([(name, path)]) for name, path in _templates()}
    parts |= {f"{STORED}{kind}": value for kind, value in digests_by_kind(store, ledger).items()}
    return Inputs(selection, parts)


def fingerprint(store: Store, registry: Registry, selection: Selection | None) -> str:
    """A digest of all that a report is made of."""
    return gathered(store, registry, selection).fingerprint


def origins(registry: Registry, digests: Collection[str]) -> dict[str, Origin]:
    """Where each variant is from, by the plugin's name, with the text of its file where that has one of these digests."""
    origins = {}
    for name, provided in registry.variants.items():
        content = provided.path.read_bytes() if provided.path is not None and provided.path.is_file() else b""
        text = content.decode(errors="replace") if hashlib.sha256(content).hexdigest() in digests else ""
        origins[name] = Origin(provided.noun.paper, portable_place(provided.source), text)
    return origins


def in_order(registry: Registry) -> list[Provided[Section]]:
    return sorted(registry.sections.values(), key=lambda provided: (provided.noun.order, provided.noun.name))


def manifest(
    files: Mapping[str, bytes], made_of: Inputs, stale: Sequence[str], rests: Mapping[str, Any], sources: Sequence[tuple[str, str]]
) -> bytes:
    """The manifest of a report: the digest of each file, what it was made of, what was left out of it as stale, and what it rests on.

    rests: the keys of trials and timings behind each table and figure, by its place in the page and by variant
    sources: the digests of each file behind the learning results, more than one where it was changed meanwhile
    """
    digests = {name: hashlib.sha256(content).hexdigest() for name, content in sorted(files.items())}
    versions: dict[str, list[str]] = {}
    for name, value in sources:
        versions.setdefault(name, []).append(value)
    manifest = {
        "inputs": made_of.fingerprint,
        "sha256": digests,
        "stale": list(stale),
        "sources": versions,
        "rests": dict(rests),
        "made_of": made_of.plain,
    }
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
