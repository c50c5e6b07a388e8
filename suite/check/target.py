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

from .. import dropins, manager
from ..manager import Provided, Registry, options_of
from ..matrix import expand
from ..plan import Choice, nearest, parse_choice
from ..spec import Broken, Options, SuiteError, Task, Variant, label
from .contract import Finding, Kind, Status, Subject

KINDS: tuple[Kind, ...] = ("variant", "task", "corruption", "section")

TRIED = 12
"""So many combinations of a plugin's options are checked at most."""


@dataclass(frozen=True)
class Target:
    """What is to be checked, and what was found unfit before any check."""

    subjects: tuple[Subject[Any], ...]
    findings: tuple[Finding, ...] = ()


def resolve(target: str) -> Target:
    """The plugins that a word stands for: ``all``, a file's path, ``name`` or ``name(option=value)``, or an installed package.

    Raises SuiteError where it stands for none.
    """
    if target == "all":
        registry = manager.discover()
        return _target(registry, lambda _: True, registry.broken, ())
    if target.endswith(".py"):
        return _file(Path(target))
    return _name(target)


def _file(path: Path) -> Target:
    if not path.is_file():
        raise SuiteError(f"{path}: no such file")
    path = path.resolve()
    within = any(path.parent == root / folder for root in dropins.ROOTS for folder in dropins.FOLDERS)
    registry = manager.discover() if within else manager.discover(path)
    sources = {str(path), manager.place(path)}
    broken, unavailable = (tuple(one for one in found if one.source in sources) for found in (registry.broken, registry.unavailable))
    found = _target(registry, lambda one: one.path is not None and one.path.resolve() == path, broken, unavailable)
    if not found.subjects and not found.findings:
        raise SuiteError(f"{path}: provides no variant, task, corruption or section, so there is nothing to check")
    return found


def _name(target: str) -> Target:
    registry = manager.discover()
    try:
        name, options = parse_choice(target).values()
    except ValueError as error:
        raise SuiteError(str(error)) from None
    chosen = [(kind, one) for kind in KINDS for one in _provided(registry, kind).values() if one.noun.name == name]
    if chosen:
        return Target(tuple(subject for kind, one in chosen for subject in _subjects(kind, one, options)))
    normal = _normal(name)
    broken, unavailable = (
        tuple(one for one in found if Path(one.source).stem == name or _normal(one.source.rpartition(" ")[0]) == normal)
        for found in (registry.broken, registry.unavailable)
    )
    found = _target(registry, lambda one: _normal(one.source.rpartition(" ")[0]) == normal, broken, unavailable)
    if found.subjects or found.findings:
        return found
    if normal in {_normal(one.name) for one in importlib.metadata.distributions()}:
        raise SuiteError(f"the package '{name}' is installed and has no plugin in the entry-point group 'suite'")
    known = [one for kind in KINDS for one in _provided(registry, kind)]
    raise SuiteError(f"unknown plugin, file or package '{name}'{nearest(name, known)}")


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def _provided(registry: Registry, kind: Kind) -> Mapping[str, Provided[Any]]:
    return {"variant": registry.variants, "task": registry.tasks, "corruption": registry.corruptions, "section": registry.sections}[kind]  # type: ignore[return-value]


def _target(
    registry: Registry, wanted: Callable[[Provided[Any]], bool], broken: tuple[Broken, ...], unavailable: tuple[Broken, ...]
) -> Target:
    subjects = [
        subject for kind in KINDS for one in _provided(registry, kind).values() if wanted(one) for subject in _subjects(kind, one, {})
    ]
    findings = [*(_loading(one, "failed") for one in broken), *(_loading(one, "skipped") for one in unavailable)]
    return Target(tuple(subjects), tuple(findings))


def _loading(broken: Broken, status: Status) -> Finding:
    means = "It can be imported, and its hooks yield what they must."
    remedy = "Mend the file; docs/plugins.md shows one of each kind."
    return Finding("file", broken.source, "loads", means, remedy, status, broken.reason)


def _subjects(kind: Kind, provided: Provided[Any], options: Mapping[str, Any]) -> Iterator[Subject[Any]]:
    """The plugin with the options given; else with its defaults and every combination of its words and truth values.

    Where those are more than TRIED, with the defaults and each other value alone.
    """
    noun = provided.noun
    declared = options_of(noun.build) if isinstance(noun, Variant) else options_of(noun.draw) if isinstance(noun, Task) else {}
    if options:
        sets: list[Options] = list(expand(Choice(name=noun.name, options=dict(options)), declared, kind))
    else:
        values = {name: found for name, parameter in declared.items() if (found := _values(parameter))}
        sets = [dict(zip(values, chosen, strict=True)) for chosen in itertools.islice(itertools.product(*values.values()), TRIED + 1)]
        if len(sets) > TRIED:
            sets = [{}, *({name: value} for name, found in values.items() for value in found)]
        sets = [{name: value for name, value in chosen.items() if value != declared[name].default} for chosen in sets]
    unique = {label(noun.name, chosen): chosen for chosen in sets}
    return (Subject(kind, noun, chosen, provided.path) for chosen in unique.values())


def _values(parameter: inspect.Parameter) -> tuple[Any, ...]:
    """The values an option may have, default first, where they can be listed."""
    kind = parameter.annotation
    values = (False, True) if kind is bool else get_args(kind) if get_origin(kind) is Literal else ()
    return tuple(sorted(values, key=lambda value: value != parameter.default))
