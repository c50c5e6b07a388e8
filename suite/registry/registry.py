"""Answers by name with what was found: variants, tasks, corruptions, measures, listeners, sections, claims and executors."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

import pluggy

from ..claim import Claim
from ..errors import SuiteError, nearest
from ..spec import Broken, Corruption, Executor, Listener, Measure, Section, Task, Variant

Noun = TypeVar("Noun", Variant, Task, Corruption, Measure, Listener, Section, Claim, Executor)

API_VERSION = 2
"""Raised when a hook or a noun changes so that older plugins break; a plugin states what it needs as ``suite_api = 1``."""

HOOKS: dict[str, type[Any]] = {
    "suite_variants": Variant,
    "suite_tasks": Task,
    "suite_corruptions": Corruption,
    "suite_measures": Measure,
    "suite_listeners": Listener,
    "suite_sections": Section,
    "suite_claims": Claim,
    "suite_executors": Executor,
}
"""What the hooks of plugins yield."""


@dataclass(frozen=True)
class Provided(Generic[Noun]):
    """A noun, the file or distribution it comes from, and the digests of that source and of the helpers it imports."""

    noun: Noun
    source: str
    path: Path | None
    digests: Mapping[str, str]


@dataclass(frozen=True)
class Registry:
    """Everything found, by name.

    broken: plugins that cannot be used; unavailable: those whose own code says that they are not for this machine
    notes: what is worth a warning though nothing is wrong; hooks: every plugin, as pluggy keeps them
    """

    variants: Mapping[str, Provided[Variant]]
    tasks: Mapping[str, Provided[Task]]
    corruptions: Mapping[str, Provided[Corruption]]
    measures: Mapping[str, Provided[Measure]]
    listeners: Mapping[str, Provided[Listener]]
    sections: Mapping[str, Provided[Section]]
    claims: Mapping[str, Provided[Claim]]
    executors: Mapping[str, Provided[Executor]]
    broken: tuple[Broken, ...]
    unavailable: tuple[Broken, ...]
    notes: tuple[str, ...]
    hooks: pluggy.PluginManager

    def variant(self, name: str) -> Provided[Variant]:
        return self._named("variant", self.variants, name)

    def task(self, name: str) -> Provided[Task]:
        return self._named("task", self.tasks, name)

    def corruption(self, name: str) -> Provided[Corruption]:
        return self._named("corruption", self.corruptions, name)

    def measure(self, name: str) -> Provided[Measure]:
        return self._named("measure", self.measures, name)

    def executor(self, name: str) -> Provided[Executor]:
        return self._named("executor", self.executors, name)

    def digests(self) -> dict[str, str]:
        """The digests of every source behind a variant, a task, a corruption or a measure."""
        roles: tuple[Mapping[str, Provided[Any]], ...] = (self.variants, self.tasks, self.corruptions, self.measures)
        return {name: value for role in roles for provided in role.values() for name, value in provided.digests.items()}

    def _named(self, role: str, provided: Mapping[str, Provided[Noun]], name: str) -> Provided[Noun]:
        """The plugin of a name, whatever the case of its letters."""
        for known, plugin in provided.items():
            if known.casefold() == name.casefold():
                return plugin
        for broken in self.broken:
            if normalised(Path(broken.source).stem) == normalised(name):
                raise SuiteError(f"{role} '{name}' cannot be used: {broken.source}: {broken.reason}")
        raise SuiteError(f"unknown {role} '{name}'{nearest(name, provided)}")


def normalised(name: str) -> str:
    """A name as it is compared: case does not count, nor which of `-`, `_` and `.` stands in it."""
    return re.sub(r"[-_.]+", "-", name).casefold()


def options_of(build: Callable[..., Any]) -> dict[str, inspect.Parameter]:
    """The keyword-only parameters of a callable, annotations resolved: the options a plugin declares."""
    try:
        signature = inspect.signature(build, eval_str=True)
    except NameError:  # an annotation under TYPE_CHECKING: only its text is there
        signature = inspect.signature(build)
    return {name: parameter for name, parameter in signature.parameters.items() if parameter.kind is parameter.KEYWORD_ONLY}
