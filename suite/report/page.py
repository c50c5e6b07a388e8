"""Draws every section from a store's results and writes them as one page that needs nothing beside it."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import traceback
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

import filelock
import jinja2
from markupsafe import Markup

from .. import dropins
from ..errors import SuiteError, contained, nearest
from ..registry.registry import Provided, Registry
from ..spec import Results, Section
from ..store import frame
from ..store.files import write as write_file
from ..store.selection import Selection
from . import elements, figures, formats, inputs, telling, verdict
from .elements import Folded, Grid, Picture, Rests, Shown, flat
from .portable import portable, portable_plugin
from .vector import classed

if TYPE_CHECKING:
    from ..store.store import Store


@dataclass
class Drawn:
    """A section as the template takes it."""

    name: str
    title: str
    source: str
    elements: list[Shown] = field(default_factory=list)
    error: str = ""
    traceback: str = ""
    folded: bool = False

    @property
    def pictures(self) -> Iterator[Picture]:
        """The section's figures, those of its parts included."""
        return (element for element in flat(self.elements) if isinstance(element, Picture))

    @property
    def rests(self) -> dict[str, Rests]:
        """What each of the section's tables and figures rests on, by its place in the page."""
        return {element.place: element.rests for element in flat(self.elements) if isinstance(element, Grid | Picture) and element.rests}

    @property
    def figures(self) -> dict[str, bytes]:
        """The files of the section's figures, by name."""
        return {picture.name: picture.content for picture in self.pictures}


@dataclass(frozen=True)
class Made:
    """A report before it is written: its files by name, and what was left out of it as stale."""

    files: Mapping[str, bytes]
    stale: tuple[str, ...]


def write(store: Store, registry: Registry, selection: Selection | None) -> inputs.Written:
    """Write the report of what the selection names, or of all that the store holds, replacing the one before as a whole.

    Raises SuiteError where there are no results, or the folder cannot be written.
    """
    report = made(store, registry, selection)
    replace_folder(store.report, report.files)
    return inputs.Written(store.report, report.stale)


def made(store: Store, registry: Registry, selection: Selection | None) -> Made:
    """The report of what the selection names, or of all that the store holds.

    The same store gives the same bytes. A section that raises is shown as broken, and the others stay as they are.

    Raises SuiteError where there are no results.
    """
    if store.ledger() is None:
        raise SuiteError(
            f"{store.folder}: nothing has been run here, or the folder was removed while the run was at work; `suite run` comes first"
        )
    made_of = inputs.gathered(store, registry, selection)  # taken first, so that it does not fit what changes while sections are drawn
    results, sections = drawn(store, registry, selection)
    files = {f"figures/{name}.svg": content for section in sections for name, content in section.figures.items()}
    files |= {f"figures/{picture.name}.csv": picture.data for section in sections for picture in section.pictures if picture.data}
    files["results.csv"] = formats.csv(formats.table_of(results))
    answered = verdict.answer(results)
    files[telling.ANSWER] = (json.dumps(telling.plain(answered), indent=1) + "\n").encode()
    files[telling.MARKDOWN] = telling.markdown(answered, results.plan["question"]).encode(errors="backslashreplace")
    files["index.html"] = html(results, sections).encode(errors="backslashreplace")  # a plugin may say anything
    stale = _stale(results)
    rests = {place: {row: list(own) for row, own in behind.items()} for section in sections for place, behind in section.rests.items()}
    files[inputs.MANIFEST] = inputs.manifest(files, made_of, stale, rests, results.provenance.sources)
    return Made(files, stale)


def export(store: Store, registry: Registry, selection: Selection | None, form: str) -> inputs.Written:
    """Write what the report holds in another of ``formats.FORMATS``, into a folder beside it that is replaced as a whole.

    Raises SuiteError for a format that is not known, where there are no results, or the folder cannot be written.
    """
    if form not in formats.FORMATS:
        raise SuiteError(
            f"--format {form}: there is no such format{nearest(form, formats.FORMATS)}; use html, {', '.join(formats.FORMATS)}"
        )
    results, sections = drawn(store, registry, selection)
    folder = store.folder / "exports" / form
    replace_folder(folder, formats.FORMATS[form](results, sections))
    return inputs.Written(folder, _stale(results))


def drawn(store: Store, registry: Registry, selection: Selection | None) -> tuple[Results, list[Drawn]]:
    """What the selection asks for, and every section of it."""
    results = presentable(frame.read(store, selection), registry)
    with figures.theme():
        return results, list(_without_repeats([draw(provided, results) for provided in inputs.in_order(registry)]))


def _stale(results: Results) -> tuple[str, ...]:
    return tuple(f"{stale.what} ({', '.join(stale.changed)})" for stale in results.provenance.stale)


def presentable(results: Results, registry: Registry) -> Results:
    """The results with what sections need beside them: units, claims, the plugins that are broken now, and texts that are portable."""
    broken = {(plugin.source, plugin.reason): plugin for plugin in (*results.provenance.broken, *registry.broken)}
    provenance = replace(
        results.provenance,
        broken=tuple(portable_plugin(plugin) for plugin in broken.values()),
        units={name: provided.noun.unit for name, provided in registry.measures.items()},
        origins=inputs.origins(registry, {digest for _, digest in results.provenance.sources}),
    )
    texts = {name: results.trials[name].map(portable) for name in ("reason", "traceback")}
    claims = tuple(provided.noun for provided in registry.claims.values())
    return replace(results, trials=results.trials.assign(**texts), provenance=provenance, claims=claims)


def draw(provided: Provided[Section], results: Results) -> Drawn:
    """Draw one section, inside ``figures.theme()``; what it raises becomes its error."""
    section = provided.noun
    drawn = Drawn(section.name, section.title, provided.source, folded=section.folded)
    with contained() as raised, _no_figure_left_open():
        for index, element in enumerate(section.draw(results), 1):
            drawn.elements.append(elements.shown(element, drawn.figures, f"{section.name}-{index}"))
    if raised.error is not None:
        last = traceback.format_exception_only(raised.error)[-1].strip()
        return Drawn(section.name, section.title, provided.source, error=portable(last), traceback=portable(raised.traceback))
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


def _without_repeats(sections: Iterable[Drawn]) -> Iterator[Drawn]:
    """The sections; one whose figure has the name of an earlier section's figure, whatever the case, is shown as broken."""
    owners: dict[str, str] = {}
    for section in sections:
        repeated = next((name for name in section.figures if name.casefold() in owners), None)
        if repeated:
            owner = owners[repeated.casefold()]
            reason = f"its figure '{repeated}' has the name of a figure in section '{owner}'; rename one of the two"
            yield Drawn(section.name, section.title, section.source, error=reason)
        else:
            owners |= dict.fromkeys((name.casefold() for name in section.figures), section.name)
            yield section


def html(results: Results, sections: list[Drawn]) -> str:
    """The page that shows these sections of the results."""
    folders = [str(root / "reports" / "templates") for root in dropins.ROOTS]
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(folders), autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters["inline"] = _inline
    pictures = [picture for section in sections for picture in section.pictures]
    drawings, rules = classed([str(picture.svg) for picture in pictures])
    svgs = {picture.name: Markup(drawing) for picture, drawing in zip(pictures, drawings, strict=True)}
    return environment.get_template("index.html").render(
        svgs=svgs,
        rules=Markup(rules),
        plan=results.plan,
        sections=sections,
        short=elements.SHORT,
        about=_about(results),
        names=_names(results),
        **_behind(results, sections),
    )


def _about(results: Results) -> Iterator[str]:
    """What stands below the question: the plan, when its last trial ended, on which machine, and how many seeds."""
    machine, seeds = results.provenance.machine, len(results.plan["seeds"])
    yield f"plan {results.plan['name']}"
    if results.provenance.ended:
        yield f"last trial {results.provenance.ended}"
    yield f"{machine.device} ({machine.device_model}), {machine.cpu}"
    yield f"{seeds} {'seed' if seeds == 1 else 'seeds'}"


def _names(results: Results) -> dict[str, list[str]]:
    """What tables and figures can be narrowed to by a reader."""
    variants = list(figures.looks(results, timed=True))
    tasks, lengths = (list(dict.fromkeys(map(str, results.trials[name]))) for name in ("task", "length"))
    return {"variant": variants, "task": tasks, "length": lengths}


def _behind(results: Results, sections: list[Drawn]) -> dict[str, Mapping[str, object]]:
    """What the page says of the trials behind a table or figure, by variant: its part of the page, its source's digest, and how many are stale."""
    names = set(results.trials["variant"]) | set(results.frame["variant"])
    parts = {
        element.title.removesuffix(f" {figures.MARK}"): element.place
        for section in sections
        for element in section.elements
        if isinstance(element, Folded)
    }
    stale = Counter(stale.what.partition(" | ")[0] for stale in results.provenance.stale)
    digests = {source.rpartition(".")[2]: value[:12] for source, value in results.provenance.sources}
    origins = {name: digests.get(name.partition("(")[0], "") for name in names}
    return {"parts": parts, "stale": defaultdict(int, stale), "origins": defaultdict(str, origins)}


STRONG = re.compile(r"\*\*(\S[^*]*\S)\*\*")


def _inline(text: str) -> Markup:
    """The text escaped, with what stands between backticks as code, and between two asterisks on either side as strong."""
    parts = str(text).split("`")
    if len(parts) % 2 == 0:
        return Markup(Markup.escape(text))
    return Markup("").join(Markup("<code>{}</code>").format(part) if index % 2 else _strong(part) for index, part in enumerate(parts))


def _strong(text: str) -> Markup:
    return Markup(STRONG.sub(r"<strong>\1</strong>", str(Markup.escape(text))))


def replace_folder(folder: Path, files: Mapping[str, bytes]) -> None:
    """Let the folder hold these files and no other: written beside it first, then renamed to it."""
    fresh, old = (folder.with_name(f".{folder.name}.{state}") for state in ("new", "old"))
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
