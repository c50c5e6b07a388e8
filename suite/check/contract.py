"""Judges a plugin by a check: one function, one sentence on what it means, one on what to do, one finding."""

from __future__ import annotations

import contextlib
import inspect
import os
import random
import time
import traceback
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any, Generic, Literal, TypeAlias, TypeVar, get_args, get_origin

import numpy as np
import torch

from .. import guard, machine
from ..manager import options_of
from ..spec import Corruption, Options, Section, SuiteError, Task, Variant, label

Noun = TypeVar("Noun", Variant, Task, Corruption, Section)
Kind: TypeAlias = Literal["variant", "task", "corruption", "section"]
Status: TypeAlias = Literal["ok", "failed", "skipped"]


class Failed(Exception):
    """The plugin does not keep the contract; the message says how."""


class Skipped(Exception):
    """The check does not apply; the message says why."""


@dataclass(frozen=True)
class Subject(Generic[Noun]):
    """A plugin with one set of options, and the file it comes from."""

    kind: Kind
    noun: Noun
    options: Options = field(default_factory=dict)
    path: Path | None = None

    @property
    def label(self) -> str:
        return label(self.noun.name, self.options)


@dataclass(frozen=True)
class Check:
    """A promise that plugins keep.

    means: what it checks, in a sentence; remedy: what to do where it fails
    first: whether the checks after it say nothing while it fails
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
    if not kept:
        raise Failed(reason)


def judge(subject: Subject[Any], one: Check) -> Finding:
    """Run one check; whatever the plugin raises becomes the finding's reason."""
    start = time.perf_counter()
    status: Status = "ok"
    reason = where = ""
    try:
        with sealed():
            one.body(subject)
    except Failed as error:
        status, reason = "failed", str(error)
    except Skipped as error:
        status, reason = "skipped", str(error)
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # a plugin may raise anything, SystemExit too
        status = "failed"
        reason = str(error) if isinstance(error, SuiteError) else traceback.format_exception_only(error)[-1].strip().splitlines()[0]
        where = _where(error, subject.path)
    return Finding(subject.kind, subject.label, one.name, one.means, one.remedy, status, reason, where, time.perf_counter() - start)


def judge_all(subject: Subject[Any], checks: Iterable[Check]) -> Iterator[Finding]:
    """Run checks in their order; after a first one has failed, the rest are skipped."""
    failed = ""
    for one in checks:
        if failed:
            reason = f"says nothing until '{failed}' holds"
            yield Finding(subject.kind, subject.label, one.name, one.means, one.remedy, "skipped", reason)
            continue
        finding = judge(subject, one)
        if one.first and finding.status == "failed":
            failed = one.name
        yield finding


def _where(error: BaseException, path: Path | None) -> str:
    frames = traceback.extract_tb(error.__traceback__)
    own = [frame for frame in frames if path and Path(frame.filename) == path]
    return f"{_short(Path(own[-1].filename))}:{own[-1].lineno}" if own else ""


def _short(path: Path) -> Path:
    return path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path


@contextlib.contextmanager
def unchanged_surroundings(doing: str) -> Iterator[None]:
    """Raises Failed where something that all plugins share differs afterwards."""
    before = guard.shared()
    yield
    changed = [name for name, (value, _) in guard.shared().items() if value != before[name][0]]
    require(not changed, f"{doing} changes {' and '.join(changed)}")


def shuffle_global_generators(seed: int) -> None:
    """Put the global generators elsewhere, so that what comes from them differs."""
    torch.manual_seed(seed)
    np.random.seed(seed)
    random.seed(seed)


@contextlib.contextmanager
def sealed() -> Iterator[None]:
    """A worker's surroundings (one thread, deterministic kernels), and the caller's again afterwards, whatever the plugin did."""
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", machine.ENVIRONMENT["CUBLAS_WORKSPACE_CONFIG"])  # before CUDA starts
    before = guard.shared()
    torch.set_num_threads(1)
    torch.set_grad_enabled(True)
    torch.use_deterministic_algorithms(True)
    try:
        yield
    finally:
        for value, restore in before.values():
            restore(value)


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
