"""Draws reports of imagined stores, whole or a section at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from suite import Element, Part, Results, Section, Table
from suite.check.imagined import fill
from suite.ops.engines import REFERENCE, VENDOR
from suite.registry.finder import discover
from suite.registry.registry import Provided, Registry
from suite.report import page
from suite.store import frame
from suite.store.store import Store

TIMES = {("lstm", REFERENCE.name): 2.0, ("gru", REFERENCE.name): 1.0, ("bilstm", REFERENCE.name): 0.5, ("lstm", VENDOR.name): 1.0}

GRU = "suite.dropins.plugins.gru"
"""The source behind the trials of gru."""


def one_trial(runs: Path) -> Store:
    return fill(runs, variants=["gru"], tasks=["adding"], lengths=[10], seeds=1)


def nothing_learned(runs: Path) -> Store:
    return fill(runs, lambda *_: 0.0, times=TIMES)


def mixed(runs: Path) -> Store:
    """Trials that ended in every way, with a grid of learning rates."""
    ways: list[float | str | None] = [0.95, "failed", 0.5, None, "missing"]
    return fill(runs, lambda v, t, n, s: ways[(len(v) + len(t) + n + s) % 5], seeds=3, rates=[0.01, 0.1], times=TIMES)


def large(runs: Path) -> Store:
    variants: list[str | tuple[str, dict[str, Any]]] = ["lstm", "bilstm", *(("attention", {"depth": depth}) for depth in range(10))]
    return fill(runs, variants=variants, lengths=[10, 1000], seeds=5, times=TIMES)


def age(store: Store, *sources: str) -> Store:
    """Let the sources have changed since the store's trials were run."""
    ledger = store.ledger()
    assert ledger is not None
    store.keep(replace(ledger, sources={**ledger.sources, **dict.fromkeys(sources, "another digest")}))
    return store


def working() -> Registry:
    """The plugins, without those that cannot be used on this machine."""
    return replace(discover(), broken=())


def provided(name: str, draw: Callable[[Results], Iterator[Element]], order: int = 5) -> Provided[Section]:
    return Provided(Section(name, name.title(), draw, order), f"reports/{name}.py", None, {})


def with_sections(*added: Provided[Section]) -> Registry:
    """The plugins with these sections beside the answer and the failures."""
    kept = {name: discover().sections[name] for name in ("answer", "failures")}
    return replace(working(), sections={**kept, **{section.noun.name: section for section in added}})


def write(store: Store, registry: Registry | None = None) -> Path:
    """The folder of the store's report."""
    return page.write(store, registry or working(), None).folder


def text_of(folder: Path) -> str:
    return (folder / "index.html").read_text()


def section_of(folder: Path, name: str) -> str:
    return text_of(folder).partition(f'<section id="{name}">')[2].partition("</section>")[0]


def elements_of(name: str, results: Results) -> list[Element]:
    """What a section yields, the elements of its parts in the place of the part."""
    drawn = discover().sections[name].noun.draw(results)
    return [inner for element in drawn for inner in (element.elements if isinstance(element, Part) else (element,))]


def tables_of(name: str, results: Results) -> list[Table]:
    return [element for element in elements_of(name, results) if isinstance(element, Table)]


def answers(store: Store) -> dict[str, str]:
    """The sentences of the answer, by variant, and how far to trust it."""
    return dict(tables_of("answer", frame.read(store))[-1].frame.itertuples(index=False))
