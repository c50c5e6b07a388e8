"""Finds what to check: a plugin by name, a file anywhere, an installed package, or everything."""

from __future__ import annotations

import importlib.metadata
import inspect
import itertools
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

from .. import dropins
from ..errors import SuiteError, nearest
from ..plan.choices import Choice, expand, parse_choice
from ..registry.finder import discover, place
from ..registry.registry import Provided, Registry, normalised, options_of
from ..spec import Broken, Options, Task, Variant, label
from .contract import Finding, Kind, Status, Subject

KINDS: tuple[Kind, ...] = ("variant", "task", "corruption", "section")

TRIED = 12
"""At most so many combinations of a plugin's options are checked."""

LOADS = "It can be imported, and its hooks yield what they must."


@dataclass(frozen=True)
class Target:
    """What is to be checked, and what can be said of the plugins behind it before any check."""

    subjects: tuple[Subject[Any], ...]
    findings: tuple[Finding, ...] = ()


def resolve(target: str) -> Target:
    """The plugins that a word stands for: ``all``, a file's path, ``name`` or ``name(option=value)``, or an installed package.

    Raises SuiteError where it stands for none.
    """
    if target == "all":
        registry = discover()
        return Target(tuple(_subjects_of(registry, lambda _: True)), _unloaded(registry, lambda _: True))
    path = Path(target)
    if target.endswith(".py") and (path.is_file() or not _known(target)):
        return _file(path)
    return _name(target)


def _known(name: str) -> bool:
    """Whether a plugin is called so, since a name may end in ``.py`` as a file does."""
    return any(name.casefold() == known.casefold() for known in _names(discover()))


def known_with(target: str) -> Registry:
    """All plugins, with those of a file that is to be checked and lies in none of the folders that drop-ins are looked for in."""
    path = Path(target).resolve()
    within = any(path.parent == root / folder for root in dropins.ROOTS for folder in dropins.FOLDERS)
    return discover(path) if target.endswith(".py") and path.is_file() and not within else discover()


def _file(path: Path) -> Target:
    if not path.is_file():
        raise SuiteError(f"{path}: no such file")
    registry, path = known_with(str(path)), path.resolve()
    sources = {str(path), place(path)}
    target = _gathered(
        registry,
        lambda provided: provided.path is not None and provided.path.resolve() == path,
        lambda broken: broken.source in sources,
    )
    if target.subjects or target.findings:
        return target
    if any(getattr(plugin, "__file__", None) == str(path) for plugin in registry.hooks.get_plugins()):
        return Target((), (_unchecked(place(path), "listens to runs"),))
    raise SuiteError(f"{path}: provides no variant, task, corruption or section, so there is nothing to check")


def _name(target: str) -> Target:
    registry = discover()
    try:
        name, options = parse_choice(target).values()
    except ValueError as error:
        raise SuiteError(str(error)) from None

    def so_called(provided: Provided[Any]) -> bool:
        return bool(provided.noun.name.casefold() == name.casefold())

    subjects = tuple(_subjects_of(registry, so_called, options))
    if subjects:
        return Target(subjects)
    normal = normalised(name)
    by_name = _without_checks(registry, so_called)
    of_package = _gathered(
        registry,
        lambda provided: _distribution(provided.source) == normal,
        lambda broken: normal in {normalised(Path(broken.source).stem), _distribution(broken.source)},
    )
    if by_name or of_package.subjects or of_package.findings:
        return Target(of_package.subjects, (*by_name, *of_package.findings))
    if normal in {normalised(distribution.name) for distribution in importlib.metadata.distributions()}:
        raise SuiteError(f"the package '{name}' is installed and has no plugin in the entry-point group 'suite'")
    raise SuiteError(f"unknown plugin, file or package '{name}'{nearest(name, _names(registry))}")


def _names(registry: Registry) -> list[str]:
    """The names of all plugins that have checks."""
    return [name for kind in KINDS for name in _provided(registry, kind)]


def _distribution(source: str) -> str:
    """The distribution that a source such as ``suite-plugin-example 1.0`` names, as package indexes compare it."""
    return normalised(source.rpartition(" ")[0])


def _provided(registry: Registry, kind: Kind) -> Mapping[str, Provided[Any]]:
    return {"variant": registry.variants, "task": registry.tasks, "corruption": registry.corruptions, "section": registry.sections}[kind]  # type: ignore[return-value]


def _gathered(registry: Registry, wanted: Callable[[Provided[Any]], bool], concerned: Callable[[Broken], bool]) -> Target:
    """The plugins wanted, and findings on those that could not be loaded; where nothing has checks, a finding that says so."""
    subjects = tuple(_subjects_of(registry, wanted))
    findings = _unloaded(registry, concerned)
    return Target(subjects, findings if subjects or findings else _without_checks(registry, wanted))


def _subjects_of(
    registry: Registry, wanted: Callable[[Provided[Any]], bool], options: Mapping[str, Any] | None = None
) -> Iterator[Subject[Any]]:
    for kind in KINDS:
        for provided in _provided(registry, kind).values():
            if wanted(provided):
                yield from _subjects(kind, provided, options or {}, tuple(registry.corruptions))


def _unloaded(registry: Registry, concerned: Callable[[Broken], bool]) -> tuple[Finding, ...]:
    """Findings on the plugins that are broken, and on those that have nothing to offer on this machine."""
    broken = (_loading(entry.source, "failed", entry.reason, _where(entry)) for entry in registry.broken if concerned(entry))
    unavailable = (_loading(entry.source, "skipped", entry.reason) for entry in registry.unavailable if concerned(entry))
    return (*broken, *unavailable)


def _without_checks(registry: Registry, wanted: Callable[[Provided[Any]], bool]) -> tuple[Finding, ...]:
    """Findings on the measures, listeners and executors wanted, of which no check is there yet."""
    plugins: dict[str, Mapping[str, Provided[Any]]] = {
        "measure": registry.measures,
        "listener": registry.listeners,
        "executor": registry.executors,
    }
    return tuple(
        _unchecked(provided.source, f"provides the {kind} '{provided.noun.name}'")
        for kind, by_name in plugins.items()
        for provided in by_name.values()
        if wanted(provided)
    )


def _unchecked(source: str, what: str) -> Finding:
    return _loading(source, "skipped", f"{what}; there are no checks of measures, listeners and executors yet")


def _where(broken: Broken) -> str:
    """The line of the plugin's file that it did not get past, as the stack of the thread has it that fell, or the last one."""
    stacks = re.split(r"^(?=(?:Current thread|Thread) 0x|Traceback \(most recent call last\):)", broken.traceback, flags=re.MULTILINE)
    stack = next((fell for fell in stacks if fell.startswith("Current thread")), stacks[-1])
    end = Path(broken.source).parts
    lines = [line for file, line in re.findall(r'File "([^"]+)", line (\d+)', stack) if Path(file).parts[-len(end) :] == end]
    innermost = 0 if "(most recent call first)" in stack else -1
    return f"{broken.source}:{lines[innermost]}" if lines else ""


def _loading(source: str, status: Status, reason: str, where: str = "") -> Finding:
    remedy = "Mend the file; docs/plugins.md shows one of each kind."
    return Finding("file", source, "loads", LOADS, remedy, status, reason, where)


def _subjects(kind: Kind, provided: Provided[Any], options: Mapping[str, Any], corruptions: tuple[str, ...]) -> Iterator[Subject[Any]]:
    """The plugin with the options given; else with its defaults and every combination of its words and truth values.

    Where those are more than TRIED, with the defaults and each other value alone.
    """
    noun = provided.noun
    declared = options_of(noun.build) if isinstance(noun, Variant) else options_of(noun.draw) if isinstance(noun, Task) else {}
    if options:
        sets: list[Options] = list(expand(Choice(name=noun.name, options=dict(options)), declared, kind))
    else:
        values = {name: listed for name, parameter in declared.items() if (listed := _values(parameter))}
        sets = [dict(zip(values, chosen, strict=True)) for chosen in itertools.islice(itertools.product(*values.values()), TRIED + 1)]
        if len(sets) > TRIED:
            sets = [{}, *({name: value} for name, listed in values.items() for value in listed)]
        sets = [{name: value for name, value in chosen.items() if value != declared[name].default} for chosen in sets]
    unique = {label(noun.name, chosen): chosen for chosen in sets}
    return (Subject(kind, noun, chosen, provided.path, corruptions) for chosen in unique.values())


def _values(parameter: inspect.Parameter) -> tuple[Any, ...]:
    """The values an option may have, default first, where they can be listed."""
    kind = parameter.annotation
    values = (False, True) if kind is bool else get_args(kind) if get_origin(kind) is Literal else ()
    return tuple(sorted(values, key=lambda value: value != parameter.default))
