"""Defines a check (one function, one sentence on what it means, one on what to do) and the finding it comes to."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any, Generic, Literal, TypeAlias, TypeVar, get_args, get_origin

from ..registry.registry import options_of
from ..spec import Corruption, Options, Section, Task, Variant, label

Noun = TypeVar("Noun", Variant, Task, Corruption, Section)
Kind: TypeAlias = Literal["variant", "task", "corruption", "section"]
Status: TypeAlias = Literal["ok", "failed", "skipped"]


class Failed(Exception):
    """The plugin does not keep the contract; the message says how."""


class Skipped(Exception):
    """The check does not apply; the message says why."""


@dataclass(frozen=True)
class Subject(Generic[Noun]):
    """A plugin with one set of options.

    path: the file it comes from
    corruptions: names of those that were found with it; none where nobody looked
    """

    kind: Kind
    noun: Noun
    options: Options = field(default_factory=dict)
    path: Path | None = None
    corruptions: tuple[str, ...] = ()

    @property
    def label(self) -> str:
        return label(self.noun.name, self.options)


@dataclass(frozen=True)
class Check:
    """A promise that plugins keep.

    means: what it checks, in a sentence; remedy: what to do where it fails
    first: whether the checks after it are skipped when it fails
    long: whether it runs only where long checks are asked for
    """

    name: str
    means: str
    remedy: str
    body: Callable[[Any], None]
    first: bool = False
    long: bool = False


@dataclass(frozen=True)
class Finding:
    """What a check said of a plugin; `where` is the line of the plugin's file that an exception came through."""

    kind: str
    plugin: str
    check: str
    means: str
    remedy: str
    status: Status
    reason: str = ""
    where: str = ""
    seconds: float = 0.0


def check(remedy: str, *, first: bool = False, long: bool = False) -> Callable[[Callable[[Subject[Any]], None]], Check]:
    """Make a check of a function: its name is the check's, its docstring what it means."""

    def make(body: Callable[[Subject[Any]], None]) -> Check:
        return Check(body.__name__, inspect.getdoc(body) or "", remedy, body, first, long)

    return make


def checks_in(module: ModuleType) -> tuple[Check, ...]:
    """The checks of a module, in the order of its file."""
    return tuple(value for value in vars(module).values() if isinstance(value, Check))


def require(kept: object, reason: str) -> None:
    """Raises Failed, with the reason, for what is not kept."""
    if not kept:
        raise Failed(reason)


def check_options(build: Callable[..., Any], positional: int) -> None:
    """Raises Failed for an option without a default or of a type that no plan can hold, and for one that is not keyword-only."""
    for name, parameter in options_of(build).items():
        require(parameter.default is not parameter.empty, f"option '{name}' has no default")
        kind = parameter.annotation
        plain = kind in (bool, int, float, str) or get_origin(kind) is Literal
        written = "no type" if kind is parameter.empty else f"type {getattr(kind, '__name__', kind)}"
        require(plain, f"option '{name}' has {written}; it takes bool, int, float, str or Literal")
        fits = parameter.default in get_args(kind) if get_origin(kind) is Literal else isinstance(parameter.default, kind)
        require(fits or (kind is float and type(parameter.default) is int), f"option '{name}' has a default of another type")
    by_position = [
        name
        for name, parameter in inspect.signature(build).parameters.items()
        if parameter.kind in (parameter.POSITIONAL_ONLY, parameter.POSITIONAL_OR_KEYWORD)
    ]
    extra = by_position[positional:]
    require(not extra, f"'{extra[0] if extra else ''}' can be given by position, so no plan can set it")
