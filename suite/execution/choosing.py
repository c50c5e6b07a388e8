"""Chooses where populations are trained: the executor that a plan or a run names, with its options checked."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import cast

from .. import machine
from ..errors import SuiteError
from ..plan.choices import Choice, checked
from ..registry.registry import Registry, options_of
from ..spec import Executor, Value
from .executor import Pool
from .inline import INLINE


@dataclass(frozen=True)
class Chosen:
    """An executor with the options that differ from their defaults."""

    noun: Executor
    options: Mapping[str, Value]

    def count(self, workers: int | None, device: str) -> int:
        """How many calls are done at once; 0 in this process.

        Raises SuiteError where the executor cannot be reached, or has not what its options ask for.
        """
        room = self.noun.workers(device, **self.options)  # asked for a given number too, since there may be none
        return room if workers is None or self.inline else workers

    @property
    def gpus(self) -> str:
        """The GPUs of this machine that are named for its calls, as they were named; empty where none is."""
        return str(self.options.get("devices", "")) if self.noun.name == "local" else ""

    @property
    def devices(self) -> int:
        """How many devices its calls are placed on."""
        return len(machine.gpu_indices(self.gpus)) if self.gpus else 1

    @property
    def inline(self) -> bool:
        return self.noun.name == INLINE

    def start(self, workers: int, device: str) -> Pool:
        return cast(Pool, self.noun.start(workers, device, **self.options))


def chosen(choice: Choice, registry: Registry) -> Chosen:
    """The executor that is named.

    Raises SuiteError for one that is not there, an option that it does not declare, and a value of another type.
    """
    noun = registry.executor(choice.name).noun
    place = f"executor '{noun.name}'"
    single = {name: value for name, value in choice.options.items() if not isinstance(value, list)}
    if several := [name for name in choice.options if name not in single]:
        raise SuiteError(f"{place}: option {several[0]} takes one value, not a list")
    return Chosen(noun, checked(single, options_of(noun.start), place))


def manned(executor: Chosen, workers: int | None, registry: Registry) -> Chosen:
    """The executor of a run with so many workers: with none, work is done in this very process.

    Raises SuiteError for a number of workers that the executor cannot have.
    """
    if executor.inline and workers:
        raise SuiteError(f"--workers {workers}: executor '{INLINE}' does one call at a time; leave one of the two out")
    if workers == 0 and executor.noun.name not in {INLINE, "local"}:
        raise SuiteError(f"--workers 0 trains in this process, and executor '{executor.noun.name}' elsewhere; leave one of the two out")
    if workers == 0 and executor.gpus:
        raise SuiteError(
            f"--workers 0 trains in this process, on one device, and --devices names {executor.gpus}; leave one of the two out"
        )
    return chosen(Choice(name=INLINE), registry) if workers == 0 else executor
