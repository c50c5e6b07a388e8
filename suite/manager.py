"""Finds drop-ins and installed plugins, checks what they provide, and answers by name."""

from __future__ import annotations

import ast
import functools
import hashlib
import importlib
import importlib.machinery
import importlib.metadata
import importlib.util
import inspect
import sys
import traceback
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any, Generic, TypeVar

import pluggy

from . import dropins, guard, hookspecs
from .plan import nearest
from .spec import NAME, Broken, Corruption, Section, SuiteError, Task, Unavailable, Variant

Noun = TypeVar("Noun", Variant, Task, Corruption, Section)

API_VERSION = 1
"""Raised when a hook or a noun changes so that older plugins break; a plugin states what it needs as ``suite_api = 1``."""

HOOKS: dict[str, type[Any]] = {
    "suite_variants": Variant,
    "suite_tasks": Task,
    "suite_corruptions": Corruption,
    "suite_sections": Section,
}


@dataclass(frozen=True)
class Provided(Generic[Noun]):
    """A noun, the file or distribution it comes from, and the digests of that source and of the helpers it imports."""

    noun: Noun
    source: str
    path: Path | None
    digests: Mapping[str, str]


@dataclass(frozen=True)
class Registry:
    """Everything found, by name; what is broken; what its own plugin says is not for this machine; and notes on what is slow."""

    variants: Mapping[str, Provided[Variant]]
    tasks: Mapping[str, Provided[Task]]
    corruptions: Mapping[str, Provided[Corruption]]
    sections: Mapping[str, Provided[Section]]
    broken: tuple[Broken, ...]
    unavailable: tuple[Broken, ...]
    notes: tuple[str, ...]
    hooks: pluggy.PluginManager

    def variant(self, name: str) -> Provided[Variant]:
        return self._one("variant", self.variants, name)

    def task(self, name: str) -> Provided[Task]:
        return self._one("task", self.tasks, name)

    def corruption(self, name: str) -> Provided[Corruption]:
        return self._one("corruption", self.corruptions, name)

    def _one(self, role: str, provided: Mapping[str, Provided[Noun]], name: str) -> Provided[Noun]:
        if name in provided:
            return provided[name]
        for broken in self.broken:
            if Path(broken.source).stem == name:
                raise SuiteError(f"{role} '{name}' cannot be used: {broken.source}: {broken.reason}")
        raise SuiteError(f"unknown {role} '{name}'{nearest(name, provided)}")


def _reason(error: BaseException) -> str:
    if isinstance(error, SyntaxError):
        return f"SyntaxError in line {error.lineno}: {error.msg}"
    if isinstance(error, ModuleNotFoundError):
        return f"imports '{error.name}', which is not installed"
    if isinstance(error, SystemExit):
        return f"calls sys.exit({error.code!r}) when imported"
    return f"{type(error).__name__}: {error}"


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


def _file(module: str) -> Path | None:
    """The file of a module, imported yet or not; None for what is no module, such as a name inside one."""
    if module in sys.modules:
        file = getattr(sys.modules[module], "__file__", None)
    else:
        package = sys.modules.get(module.rpartition(".")[0])
        spec = importlib.machinery.PathFinder.find_spec(module, getattr(package, "__path__", []))
        file = spec.origin if spec and spec.has_location else None
    return Path(file) if file else None


def imported_sources(name: str) -> dict[str, str]:
    """What a plugin module's behaviour rests on, by name.

    Digests of its own file and of the modules beside it that it imports, helpers' helpers included; versions of other packages it
    imports, torch and NumPy apart, which every key has anyway.
    """
    home = dropins.__name__ if name.startswith(dropins.__name__ + ".") else name.partition(".")[0]
    found: dict[str, str] = {}
    packages: set[str] = set()
    queue = [name]
    while queue:
        current = queue.pop()
        file = None if current in found else _file(current)
        if file is None:
            continue
        source = file.read_bytes()
        found[current] = hashlib.sha256(source).hexdigest()
        if file.suffix != ".py":  # compiled
            continue
        package = current if file.name == "__init__.py" else current.rpartition(".")[0]
        for node in ast.walk(ast.parse(source)):
            if isinstance(node, ast.Import):
                targets = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                base = importlib.util.resolve_name("." * node.level + (node.module or ""), package) if node.level else node.module or ""
                targets = [base, *(f"{base}.{alias.name}" for alias in node.names)]
            else:
                continue
            queue.extend(target for target in targets if target.startswith(home + "."))
            packages |= {target.partition(".")[0] for target in targets}
    others = sorted(packages - sys.stdlib_module_names - {"suite", "torch", "numpy", home, ""})
    return {**dict(sorted(found.items())), **{f"package {one}": version for one in others if (version := _version(one))}}


def changed(digests: Mapping[str, str]) -> list[str]:
    """Those drop-in modules whose file is no longer what its digest says."""
    own = [name for name in digests if name.startswith(dropins.__name__ + ".")]
    return [name for name in own if (file := _file(name)) is None or hashlib.sha256(file.read_bytes()).hexdigest() != digests[name]]


def _version(package: str) -> str:
    """The version of the distribution an import name belongs to; empty where none is installed."""
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        if importlib.machinery.PathFinder.find_spec(package) is None:
            return ""
        names = importlib.metadata.packages_distributions().get(package, [])
        return importlib.metadata.version(names[0]) if names else ""


class _Finder:
    """Collects plugins one by one, so that a broken one stops no other."""

    def __init__(self) -> None:
        self.hooks = pluggy.PluginManager("suite")
        self.hooks.add_hookspecs(hookspecs)
        self.broken: list[Broken] = []
        self.unavailable: list[Broken] = []
        self.notes: list[str] = []
        self.nouns: dict[type[Any], dict[str, Provided[Any]]] = {noun: {} for noun in HOOKS.values()}

    def guarded(self, source: str, action: Callable[[], None]) -> None:
        try:
            action()
        except KeyboardInterrupt:
            raise
        except Unavailable as error:
            self.unavailable.append(Broken(source, str(error)))
        except SuiteError as error:
            self.broken.append(Broken(source, str(error)))
        except BaseException as error:  # a plugin may raise anything at import, SystemExit too; it is recorded and shown
            self.broken.append(Broken(source, _reason(error), traceback.format_exc()))

    def drop_ins(self) -> None:
        seen: dict[str, Path] = {}
        for name, path in _files():
            if name in seen:
                self.broken.append(Broken(str(path), f"has the name of {place(seen[name])}, which is used; rename one of the two files"))
                continue
            seen[name] = path
            self.guarded(place(path), functools.partial(self._import, place(path), functools.partial(importlib.import_module, name)))

    def stray(self, path: Path) -> None:
        """Take a file that lies in no root as if it lay in one: among plugins, where its folder has no other of the three names."""
        folder = path.parent.name if path.parent.name in dropins.FOLDERS else dropins.FOLDERS[0]
        package = sys.modules[f"{dropins.__name__}.{folder}"]
        package.__path__ = list(dict.fromkeys([*package.__path__, str(path.parent)]))

        def load() -> ModuleType:
            module = importlib.import_module(f"{package.__name__}.{path.stem}")
            if module.__file__ and Path(module.__file__) != path:
                raise SuiteError(f"has the name of {place(Path(module.__file__))}, which is used; rename one of the two files")
            return module

        self.guarded(str(path), functools.partial(self._import, str(path), load))

    def installed(self) -> None:
        for entry in sorted(importlib.metadata.entry_points(group="suite"), key=lambda entry: (entry.name, entry.value)):
            source = f"{entry.dist.name} {entry.dist.version}" if entry.dist else entry.value
            versions = {f"distribution {entry.dist.name}": entry.dist.version} if entry.dist else {}
            self.guarded(source, functools.partial(self._import, source, entry.load, versions))

    def _import(self, source: str, load: Callable[[], Any], versions: Mapping[str, str] | None = None) -> None:
        def slow(seconds: float) -> None:
            self.notes.append(f"{source}: takes {seconds:.0f} s to import, which every command waits for")

        with guard.timed(slow), guard.watched():
            plugin = load()
        self.add(plugin, source, versions or {})

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
        try:
            self._take(plugin, source, [name for name in marked if name in HOOKS], versions)
        except BaseException:
            self.hooks.unregister(plugin)
            raise

    def _take(self, plugin: Any, source: str, hooks: list[str], versions: Mapping[str, str]) -> None:
        module = plugin if isinstance(plugin, ModuleType) else inspect.getmodule(plugin)
        path = Path(module.__file__) if module and module.__file__ else None
        digests = {**(imported_sources(module.__name__) if module else {}), **versions}
        taken: list[tuple[type[Any], Any]] = []
        for hook in hooks:
            for noun in getattr(plugin, hook)():
                if not isinstance(noun, HOOKS[hook]):
                    raise SuiteError(f"{hook} yielded {type(noun).__name__}; it must yield {HOOKS[hook].__name__}")
                if not NAME.fullmatch(noun.name):
                    raise SuiteError(
                        f"{hook}: the name {noun.name!r} must be lower-case letters, digits and '_', at most 40, a letter first"
                    )
                other = self.nouns[HOOKS[hook]].get(noun.name)
                if other or any(kind is HOOKS[hook] and earlier.name == noun.name for kind, earlier in taken):
                    raise SuiteError(
                        f"{hook}: '{noun.name}' is already provided by {other.source if other else source}; rename one of the two"
                    )
                taken.append((HOOKS[hook], noun))
        if hooks and not taken:
            raise SuiteError(f"provides nothing: {', '.join(hooks)} yields no value")
        for kind, noun in taken:
            self.nouns[kind][noun.name] = Provided(noun, source, path, digests)


@functools.cache
def discover(stray: Path | None = None) -> Registry:
    """Import every drop-in and installed plugin once, and a file from anywhere if one is given; sort what they provide by name."""
    finder = _Finder()
    finder.drop_ins()
    finder.installed()
    if stray:
        finder.stray(stray)
    variants, tasks, corruptions, sections = (dict(sorted(finder.nouns[kind].items())) for kind in HOOKS.values())
    return Registry(
        variants, tasks, corruptions, sections, tuple(finder.broken), tuple(finder.unavailable), tuple(finder.notes), finder.hooks
    )


def options_of(build: Callable[..., Any]) -> dict[str, inspect.Parameter]:
    """The keyword-only parameters of a callable, annotations resolved: the options a plugin declares."""
    try:
        signature = inspect.signature(build, eval_str=True)
    except NameError:  # an annotation under TYPE_CHECKING: only its text is there
        signature = inspect.signature(build)
    return {name: parameter for name, parameter in signature.parameters.items() if parameter.kind is parameter.KEYWORD_ONLY}
