"""Finds drop-ins, installed plugins and the suite's own, and takes what their hooks yield, each plugin whole or not at all."""

from __future__ import annotations

import contextlib
import functools
import importlib
import importlib.metadata
import importlib.util
import inspect
import math
import os
import re
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import ModuleType
from typing import Any

import pluggy

from .. import dropins
from ..answers import Mark
from ..errors import Raised, SuiteError, Unavailable, contained, nearest
from ..spec import NAME, Broken, Corruption, Measure
from . import forked, guard, hookspecs
from .registry import API_VERSION, HOOKS, Provided, Registry
from .sources import SUITE, imported_sources

BUILT_IN = ("measures", "listeners", "execution")
"""Folders of the suite whose modules are plugins like any other, where they implement a hook."""

LATE = "suite_measures"
"""This hook is called when all corruptions are known, since it is handed them."""


def _reason(raised: Raised) -> str:
    """Why a plugin cannot be used, in its author's terms."""
    error = raised.error
    if isinstance(error, SyntaxError):
        return f"SyntaxError in line {error.lineno}: {error.msg}"
    if isinstance(error, ModuleNotFoundError):
        return f"imports '{error.name}', which is not installed"
    if isinstance(error, SystemExit):
        return f"calls sys.exit({error.code!r}) when imported"
    return raised.reason


def place(path: Path) -> str:
    """The path as a person would write it: from its root on where the suite itself lies there, else in full."""
    own = [root for root in dropins.ROOTS if (root / "plugins" / "lstm.py").is_file() and path.is_relative_to(root)]
    return str(path.relative_to(own[0])) if own else str(path)


def _files() -> Iterator[tuple[str, Path]]:
    """Every drop-in as (module name, file), roots in their order, names sorted."""
    for folder in dropins.FOLDERS:
        for root in dropins.ROOTS:
            for path in sorted((root / folder).glob("*.py")):
                if not path.name.startswith("_"):
                    yield f"{dropins.__name__}.{folder}.{path.stem}", path


def search_path() -> list[Path]:
    """The entries of SUITE_PATH, which `--path` adds to; some may be no folder."""
    return [Path(entry) for entry in os.environ.get("SUITE_PATH", "").split(os.pathsep) if entry]


def absent_roots() -> list[str]:
    """A sentence for each entry of SUITE_PATH that is no folder."""
    return [f"SUITE_PATH names {entry}, which is no folder; nothing is looked for there" for entry in search_path() if not entry.is_dir()]


@dataclass(frozen=True)
class Found:
    """A plugin that is not imported yet: whose it is, its module, what imports it, and the versions it rests on."""

    source: str
    module: str
    load: Callable[[], Any]
    versions: Mapping[str, str] = field(default_factory=dict)


def _stray(path: Path) -> Found:
    """A file that lies in no root, as if it lay in one: among plugins, where its folder has no other of the three names."""
    folder = path.parent.name if path.parent.name in dropins.FOLDERS else dropins.FOLDERS[0]
    package = sys.modules[f"{dropins.__name__}.{folder}"]
    package.__path__ = list(dict.fromkeys([*package.__path__, str(path.parent)]))
    name = f"{package.__name__}.{path.stem}"
    if "." in path.stem:
        return _refused(path, "no module can have such a name; rename the file, without a dot before its ending")
    spec = importlib.util.find_spec(name)
    used = Path(spec.origin) if spec and spec.origin else path
    if used.resolve() != path.resolve():
        return _refused(path, f"has the name of {place(used)}, which is used; rename one of the two files")
    return Found(str(path), name, functools.partial(importlib.import_module, name))


def _refused(path: Path, reason: str) -> Found:
    def load() -> ModuleType:
        raise SuiteError(reason)

    return Found(str(path), "", load)


def _say_slow(found: Found) -> None:
    """Tell, at once, whom a command waits for."""
    with contextlib.suppress(OSError, ValueError, AttributeError):  # standard error may be closed
        sys.stderr.write(f"{found.source}: is still being imported, which is waited for up to {forked.SECONDS} s\n")
        sys.stderr.flush()


def _installed() -> Iterator[Found]:
    for entry in sorted(importlib.metadata.entry_points(group="suite"), key=lambda entry: (entry.name, entry.value)):
        source = f"{entry.dist.name} {entry.dist.version}" if entry.dist else entry.value
        versions = {f"distribution {entry.dist.name}": entry.dist.version} if entry.dist else {}
        yield Found(source, entry.module, entry.load, versions)


def _basis(found: Found) -> Any:
    """What decides how the import of a plugin ends, as far as it can be known before; None where its source cannot be read."""
    with contained() as raised:
        sources = imported_sources(found.module)
    return None if raised else [found.source, sources, dict(found.versions), sys.version, importlib.metadata.version("torch")]


class _Finder:
    """Collects plugins one by one, so that a broken one stops no other."""

    def __init__(self) -> None:
        self.hooks = pluggy.PluginManager(SUITE)
        self.hooks.add_hookspecs(hookspecs)
        self.broken: list[Broken] = []
        self.unavailable: list[Broken] = []
        self.notes = absent_roots()
        self.nouns: dict[type[Any], dict[str, Provided[Any]]] = {noun: {} for noun in HOOKS.values()}
        self._printed: dict[str, str] = {}
        self._late: list[tuple[Any, str, Mapping[str, str]]] = []
        self._marks: list[Mark] = []

    def guarded(self, source: str, action: Callable[[], None]) -> None:
        """Do something with a plugin; what it raises is recorded, and shown wherever plugins are listed."""
        own = os.getpid()
        try:
            with contained() as raised:
                action()
        finally:
            if os.getpid() != own:  # the plugin forked, and its child came back through the plugin's own code
                os._exit(0)
        if isinstance(raised.error, Unavailable):
            self.unavailable.append(Broken(source, raised.reason))
        elif isinstance(raised.error, SuiteError):
            self.broken.append(Broken(source, raised.reason))
        elif raised:
            self.broken.append(Broken(source, _reason(raised), raised.traceback))

    def built_in(self) -> None:
        for folder in BUILT_IN:
            for path in sorted((Path(__file__).parents[1] / folder).glob("*.py")):
                if re.search(rb"^@hookimpl", path.read_bytes(), re.MULTILINE):
                    load = functools.partial(importlib.import_module, f"{SUITE}.{folder}.{path.stem}")
                    source = f"{SUITE}/{folder}/{path.name}"
                    self.guarded(source, functools.partial(self._import, source, load, {}))

    def drop_ins(self) -> Iterator[Found]:
        seen: dict[str, Path] = {}
        for name, path in _files():
            if name in seen:
                self.broken.append(Broken(str(path), f"has the name of {place(seen[name])}, which is used; rename one of the two files"))
                continue
            seen[name] = path
            yield Found(place(path), name, functools.partial(importlib.import_module, name))

    def import_all(self, found: Sequence[Found]) -> None:
        """Import plugins one after another; of one that ends its process on import, that is said in place of importing it."""
        if forked.GUARDED:
            self._try([each for each in found if each.module not in dropins.FATAL])
        for each in found:
            if each.module in dropins.FATAL:
                self.broken.append(Broken(each.source, dropins.FATAL[each.module], self._printed.get(each.module, "")))
            else:
                self._import_guarded(each)

    def remember(self) -> None:
        """Mark the plugins that this process has imported and outlived, so that the next one need not try them."""
        for mark in self._marks:
            mark.make()

    def _try(self, found: Sequence[Found]) -> None:
        """Find out which plugins end a process that imports them.

        Marks of the others are taken away until all is done: should one mislead, this process ends, and the next one tries that plugin again.
        """
        bases = [_basis(each) for each in found]
        marks = [None if basis is None else Mark("imported", basis) for basis in bases]
        untried = [number for number, mark in enumerate(marks) if mark is None or not mark.stands()]
        imports: list[forked.Action] = [(number, functools.partial(self._import_guarded, found[number])) for number in untried]
        late: list[forked.Action] = [(number, functools.partial(self._ask_late, found[number])) for number in untried]
        fatal = forked.fatal([*imports, *late], lambda number: _say_slow(found[number]))
        forked.GUARDED = False
        for number, ending in fatal.items():
            dropins.FATAL[found[number].module] = f"{ending.reason} when imported"
            self._printed[found[number].module] = ending.printed
        well = [mark for number, mark in enumerate(marks) if mark is not None and number not in fatal]
        for mark in well:
            mark.take_away()
        self._marks += well

    def _ask_late(self, found: Found) -> None:
        """Take what a plugin yields late, in a copy of the process that has imported all that are tried."""
        every = self._late
        self._late = [late for late in every if late[1] == found.source]
        if self._late:
            self.measures()
        self._late = every

    def _import_guarded(self, found: Found) -> None:
        self.guarded(found.source, functools.partial(self._import, found.source, found.load, found.versions))

    def _import(self, source: str, load: Callable[[], Any], versions: Mapping[str, str]) -> None:
        def slow(seconds: float) -> None:
            self.notes.append(f"{source}: takes {seconds:.0f} s to import, which every command waits for")

        with guard.timed(slow), guard.watched():
            plugin = load()
        self.add(plugin, source, versions)

    def add(self, plugin: Any, source: str, versions: Mapping[str, str]) -> None:
        """Register a module (or class, or instance) and take what its hooks yield; nothing of it stays if any part is wrong."""
        wanted = getattr(plugin, "suite_api", API_VERSION)
        if wanted > API_VERSION:
            raise SuiteError(f"is written for plugin API {wanted} and this suite has {API_VERSION}; upgrade recurrent-suite")
        marked = [name for name in dir(plugin) if isinstance(getattr(getattr(plugin, name, None), "suite_impl", None), dict)]
        known = [name for name in dir(hookspecs) if name.startswith("suite_")]
        for name in marked:
            if name not in known:
                raise SuiteError(f"@hookimpl on '{name}', which is no hook{nearest(name, known)}")
        if not marked:
            bare = [name for name in known if callable(getattr(plugin, name, None))]
            hint = f"{bare[0]} lacks @hookimpl" if bare else "it has no @hookimpl function such as suite_variants"
            raise SuiteError(f"provides nothing: {hint}")
        self.hooks.register(plugin)
        with self._whole(plugin):
            self._take(plugin, source, [name for name in marked if name in HOOKS and name != LATE], versions)
        if LATE in marked:
            self._late.append((plugin, source, versions))

    def measures(self) -> None:
        """Take what asks questions, now that all corruptions are known."""

        def take(plugin: Any, source: str, versions: Mapping[str, str]) -> None:
            corruptions = {name: provided.noun for name, provided in sorted(self.nouns[HOOKS["suite_corruptions"]].items())}
            with self._whole(plugin):
                self._take(plugin, source, [LATE], versions, corruptions=corruptions)

        for plugin, source, versions in self._late:
            self.guarded(source, functools.partial(take, plugin, source, versions))
        known = self.nouns[HOOKS["suite_corruptions"]]
        measures = self.nouns[HOOKS[LATE]]  # one of a corruption whose plugin has turned out to be broken goes with it
        self.nouns[HOOKS[LATE]] = {
            name: measure for name, measure in measures.items() if not measure.noun.corruption or measure.noun.corruption in known
        }

    @contextlib.contextmanager
    def _whole(self, plugin: Any) -> Iterator[None]:
        """Take the plugin out again, with all its nouns, where something inside raises."""
        before = {kind: dict(provided) for kind, provided in self.nouns.items()}
        try:
            yield
        except BaseException:
            path = _path(plugin)
            self.nouns = {
                kind: {name: provided for name, provided in nouns.items() if path is None or provided.path != path}
                for kind, nouns in before.items()
            }
            self.hooks.unregister(plugin)
            raise

    def _take(self, plugin: Any, source: str, hooks: Sequence[str], versions: Mapping[str, str], **arguments: Any) -> None:
        module = plugin if isinstance(plugin, ModuleType) else inspect.getmodule(plugin)
        digests = {**(imported_sources(module.__name__) if module else {}), **versions}
        yielded = False
        for hook in hooks:
            implementation = getattr(plugin, hook)
            accepted = inspect.signature(implementation).parameters
            for noun in implementation(**{name: value for name, value in arguments.items() if name in accepted}):
                self._keep(hook, Provided(noun, source, _path(plugin), digests))
                yielded = True
        if hooks and not yielded and LATE not in hooks:  # where there is no corruption, there is no measure of one
            raise SuiteError(f"provides nothing: {', '.join(hooks)} yields no value")

    def _keep(self, hook: str, provided: Provided[Any]) -> None:
        noun, kind = provided.noun, HOOKS[hook]
        if not isinstance(noun, kind):
            raise SuiteError(f"{hook} yielded {type(noun).__name__}; it must yield {kind.__name__}")
        if not NAME.fullmatch(noun.name):
            raise SuiteError(f"{hook}: the name {noun.name!r} must be letters, digits, '_', '-' and '.', at most 40, a letter first")
        other = next((known for name, known in self.nouns[kind].items() if name.casefold() == noun.name.casefold()), None)
        if other:
            raise SuiteError(f"{hook}: '{noun.name}' is already provided by {other.source}; rename one of the two")
        self.nouns[kind][noun.name] = replace(provided, noun=_numbered(hook, noun))


def _numbered(hook: str, noun: Any) -> Any:
    """The noun with its severities or points as plain numbers.

    Raises SuiteError where they are none, or not finite.
    """
    field = "severities" if isinstance(noun, Corruption) else "points" if isinstance(noun, Measure) else ""
    if not field:
        return noun
    with contained() as raised:
        numbers = tuple(float(value) for value in getattr(noun, field))
    if raised or not numbers or not all(map(math.isfinite, numbers)):
        raise SuiteError(f"{hook}: '{noun.name}' has the {field} {getattr(noun, field)!r}; they must be finite numbers, at least one")
    return replace(noun, **{field: numbers})


def _path(plugin: Any) -> Path | None:
    module = plugin if isinstance(plugin, ModuleType) else inspect.getmodule(plugin)
    return Path(module.__file__) if module and module.__file__ else None


@functools.cache
def discover(stray: Path | None = None) -> Registry:
    """Import every drop-in and installed plugin once, and a file from anywhere if one is given; sort what they provide by name."""
    finder = _Finder()
    finder.built_in()
    finder.import_all([*finder.drop_ins(), *_installed(), *([_stray(stray)] if stray else [])])
    finder.measures()
    finder.remember()
    variants, tasks, corruptions, measures, listeners, sections, claims, executors = (
        dict(sorted(finder.nouns[kind].items())) for kind in HOOKS.values()
    )
    return Registry(
        variants,
        tasks,
        corruptions,
        measures,
        listeners,
        sections,
        claims,
        executors,
        broken=tuple(finder.broken),
        unavailable=tuple(finder.unavailable),
        notes=tuple(finder.notes),
        hooks=finder.hooks,
    )
