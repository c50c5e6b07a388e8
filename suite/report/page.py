"""Draws every section from a store's results and writes them as one page that needs nothing beside it."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import traceback
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import filelock
import jinja2
from markupsafe import Markup

from .. import dropins
from ..errors import SuiteError, contained
from ..plan import schema
from ..registry.registry import Provided, Registry
from ..spec import Broken, Plot, Prose, Results, Section, Table
from ..store import frame
from ..store.files import write as write_file
from ..store.selection import Selection
from . import figures, inputs

if TYPE_CHECKING:
    import pandas as pd

    from ..store.store import Store

SHORT = 26
"""A cell up to so long is not broken; a column of such numbers stands to the right."""

FILE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,79}")
"""What a figure may be called, since its file is called so too."""


@dataclass(frozen=True)
class Written:
    """A report on disk: its folder, and what was left out of it as stale."""

    folder: Path
    stale: tuple[str, ...]


@dataclass
class Drawn:
    """A section as the template takes it."""

    name: str
    title: str
    source: str
    elements: list[dict[str, Any]] = field(default_factory=list)
    figures: dict[str, bytes] = field(default_factory=dict)
    error: str = ""
    traceback: str = ""


def write(store: Store, registry: Registry, selection: Selection | None) -> Written:
    """Write the report of what the selection names, or of all that the store holds, replacing the one before as a whole.

    The same store gives the same bytes. A section that raises is shown as broken and the rest stands.

    Raises SuiteError where there are no results, or the folder cannot be written.
    """
    fingerprint = inputs.fingerprint(store, registry, selection)
    results = presentable(frame.read(store, selection), registry)
    with figures.theme():
        sections = [draw(provided, results) for provided in inputs.in_order(registry)]
    sections = list(_without_repeats(sections))
    files = {f"figures/{name}.svg": content for section in sections for name, content in section.figures.items()}
    files["results.csv"] = results.frame.to_csv(index=False, lineterminator="\n").encode()
    files["index.html"] = _page(results, sections).encode(errors="backslashreplace")  # a plugin may say anything
    files[inputs.MANIFEST] = inputs.manifest(files, fingerprint)
    _replace(store.report, files)
    return Written(store.report, tuple(f"{stale.what} ({', '.join(stale.changed)})" for stale in results.provenance.stale))


def presentable(results: Results, registry: Registry) -> Results:
    """The results with what sections need beside them: units, plugins broken by now, and tracebacks without a machine's paths."""
    broken = {(one.source, one.reason): one for one in (*results.provenance.broken, *registry.broken)}
    provenance = replace(
        results.provenance,
        broken=tuple(Broken(*map(_portable, (one.source, one.reason, one.traceback))) for one in broken.values()),
        units={name: provided.noun.unit for name, provided in registry.measures.items()},
    )
    trials = results.trials.assign(
        traceback=results.trials["traceback"].map(_portable), reason=results.trials["reason"].map(_portable)
    )
    return replace(results, trials=trials, provenance=provenance)


def _portable(text: str) -> str:
    """The text without the parts of paths and addresses that differ between machines and runs."""
    text = re.sub(r'(?<=File ")/[^"\n]*/(?=[^/"\n]+/[^/"\n]+")', "", text)
    return re.sub(r"\b0x[0-9a-f]{6,}\b", "0x…", text)


def draw(provided: Provided[Section], results: Results) -> Drawn:
    """Draw one section, inside ``figures.theme()``; what it raises becomes its error."""
    section = provided.noun
    drawn = Drawn(section.name, section.title, provided.source)
    with contained() as raised, _no_figure_left_open():
        for element in section.draw(results):
            drawn.elements.append(_element(element, drawn))
    if raised.error is not None:
        last = traceback.format_exception_only(raised.error)[-1].strip()
        return Drawn(section.name, section.title, provided.source, error=_portable(last), traceback=_portable(raised.traceback))
    return drawn


@contextlib.contextmanager
def _no_figure_left_open() -> Iterator[None]:
    """Close the figures that pyplot keeps in memory, for sections that draw with it."""
    from matplotlib import pyplot

    before = pyplot.get_fignums()
    try:
        yield
    finally:
        for number in set(pyplot.get_fignums()) - set(before):
            pyplot.close(number)


def _element(element: object, drawn: Drawn) -> dict[str, Any]:
    if isinstance(element, Prose):
        return {"kind": "prose", "paragraphs": str(element.text).split("\n")}
    if isinstance(element, Table):
        return {"kind": "table", "caption": element.caption, **_table(element.frame)}
    if isinstance(element, Plot):
        if not FILE_NAME.fullmatch(element.name):
            raise ValueError(f"the figure's name {element.name!r} names its file; use a-z, 0-9, '_' and '-'")
        if element.name in drawn.figures:
            raise ValueError(f"two figures are named {element.name!r}")
        content = figures.svg(element.figure, element.name)
        drawn.figures[element.name] = content
        return {"kind": "plot", "name": element.name, "caption": element.caption, "svg": _inline(content.decode(), element)}
    raise TypeError(f"draw yielded {type(element).__name__}; it must yield Prose, Plot or Table")


def _without_repeats(sections: list[Drawn]) -> Iterator[Drawn]:
    """The sections, one whose figure has the name of an earlier section's figure shown as broken."""
    seen: dict[str, str] = {}
    for section in sections:
        repeated = next((name for name in section.figures if name in seen), None)
        if repeated:
            reason = f"its figure '{repeated}' has the name of a figure in section '{seen[repeated]}'; rename one of the two"
            yield Drawn(section.name, section.title, section.source, error=reason)
        else:
            seen |= dict.fromkeys(section.figures, section.name)
            yield section


def _inline(svg: str, plot: Plot) -> Markup:
    """The figure as part of the page: without its own header, its ids kept apart from other figures'."""
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<!--.*?-->\n?|<metadata>.*?</metadata>\n?", "", svg, flags=re.DOTALL)
    svg = re.sub(r'\b(id="|url\(#|href="#)', rf"\g<1>{plot.name}-", svg)
    return Markup(svg.replace("<svg ", Markup('<svg role="img" aria-label="{}" ').format(plot.caption), 1))


_NUMBER = re.compile(r"[−-]?\d|–$|never|not |beyond ")  # and the words that stand where there is none


def _table(frame: pd.DataFrame) -> dict[str, Any]:
    rows = [[_cell(value) for value in row] for row in frame.itertuples(index=False, name=None)]
    columns = list(zip(*rows, strict=True))
    numeric = [index > 0 and all(map(_NUMBER.match, cells)) and max(map(len, cells)) <= SHORT for index, cells in enumerate(columns)]
    return {"head": [str(name) for name in frame.columns], "rows": rows, "numeric": numeric or [False] * len(frame.columns)}


def _cell(value: object) -> str:
    if value is None or value != value or str(value) in {"<NA>", "NaT"}:
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _page(results: Results, sections: list[Drawn]) -> str:
    folders = [str(root / "reports" / "templates") for root in dropins.ROOTS]
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(folders), autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters["code"] = _code
    return environment.get_template("index.html").render(plan=results.plan, sections=sections, short=SHORT)


def _code(text: str) -> Markup:
    """The text escaped, with what stands between backticks as code."""
    parts = str(text).split("`")
    if len(parts) % 2 == 0:
        return Markup(Markup.escape(text))
    return Markup("").join(Markup("<code>{}</code>").format(part) if index % 2 else part for index, part in enumerate(parts))


def _replace(folder: Path, files: dict[str, bytes]) -> None:
    """Let the folder hold these files and no other: made beside it, then swapped in."""
    fresh, old = (folder.with_name(f".{folder.name}.{word}") for word in ("new", "old"))
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with filelock.FileLock(folder.with_name(f".{folder.name}.lock")):
            for leftover in (fresh, old):
                _remove(leftover)
            for name, content in files.items():
                write_file(fresh / name, content)
            if folder.exists():
                os.rename(folder, old)
            os.rename(fresh, folder)
            _remove(old)
    except OSError as error:
        raise SuiteError(f"{folder}: cannot be written: {error.strerror or error}; make room or use --runs with another folder") from None


def _remove(folder: Path) -> None:
    if folder.exists():
        shutil.rmtree(folder)
