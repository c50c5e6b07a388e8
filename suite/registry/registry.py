"""Answers by name with what was found: variants, tasks, corruptions, measures, listeners, sections, claims and executors."""

from __future__ import annotations

import functools
import inspect
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Generic, Literal, TypeVar

import pluggy

from ..claim import Claim
from ..errors import SuiteError, nearest
from ..spec import Broken, Corruption, Executor, Listener, Measure, Plugin, Section, Task, Value, Variant

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
class Deadly:
    """A variant with options that ended the process it was planned in, or that this was ended for: none of its work is begun.

    status: of its trials; reason: in one sentence; output: what the process printed last, with the stacks it stood in where they are known
    """

    variant: Plugin
    status: Literal["crashed", "oom", "timeout"]
    reason: str
    output: str = ""


@dataclass(frozen=True)
class Registry:
    """Everything found, by name.

    broken: plugins that cannot be used; unavailable: those whose own code says that they are not for this machine
    notes: what is worth a warning though nothing is wrong; hooks: every plugin, as pluggy keeps them
    deadly: variants that end the process they are planned in, by their labels
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
    deadly: Mapping[str, Deadly] = field(default_factory=dict)

    def without(self, deadly: Mapping[str, Deadly]) -> Registry:
        """The same plugins, of which the deadly variants run no more code of theirs: they raise why they cannot be built."""
        variants = dict(self.variants)
        for name in {each.variant.name for each in deadly.values()}:
            variants[name] = replace(variants[name], noun=_refusing(variants[name].noun, deadly))
        return replace(self, variants=variants, deadly=deadly)

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


def _refusing(variant: Variant, deadly: Mapping[str, Deadly]) -> Variant:
    """The variant, which raises SuiteError in place of being built with the options that are deadly; its other options are as they were."""

    @functools.wraps(variant.build, updated=())  # it declares the same options
    def build(input_size: int, hidden_size: int, **options: Value) -> Any:
        if refused := deadly.get(Plugin(variant.name, options).label):
            raise SuiteError(refused.reason)
        return variant.build(input_size, hidden_size, **options)

    def causal(**options: Value) -> bool:
        return Plugin(variant.name, options).label in deadly or variant.is_causal(options)

    return replace(variant, build=build, causal=causal if callable(variant.causal) else variant.causal)


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
