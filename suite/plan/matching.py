"""Finds the hidden size at which a variant has as many parameters as the baseline, counted once for each variant and task shape."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from ..errors import SuiteError, contained
from ..registry.registry import Registry
from ..spec import Plugin, Task
from ..training import model
from ..trial import BASELINE
from .limits import check_weights
from .schema import Matching

LARGEST = 1 << 16


@dataclass(frozen=True)
class Size:
    """How large a variant is built: its parameters are 0 where it cannot be built; budget is the baseline's count."""

    hidden_size: int
    parameters: int
    budget: int


class Matcher:
    """Gives each variant its size on a task; what it has counted once it knows."""

    def __init__(self, registry: Registry, matching: Matching, device: str) -> None:
        self._registry, self._matching, self._device = registry, matching, device
        self._sizes: dict[tuple[str, int, int, int], Size] = {}

    def size(self, variant: Plugin, task: Task, hidden_size: int) -> Size:
        """The size of a variant where the baseline has this hidden size.

        A variant that cannot be built keeps the hidden size with a count of 0: its trials then fail by themselves, with their reason.

        Raises SuiteError where a variant refuses the options asked for with a ValueError, and for a model that this machine's
        memory cannot hold.
        """
        key = (variant.label, task.input_size, task.output_size, hidden_size)
        if key not in self._sizes:
            self._sizes[key] = self._measured(variant, task, hidden_size)
        return self._sizes[key]

    def _measured(self, variant: Plugin, task: Task, hidden_size: int) -> Size:
        budget = self._parameters(BASELINE, task, hidden_size)
        check_weights(BASELINE, hidden_size, budget, self._device)
        with contained() as raised:
            if self._matching.rule == "parameters" and variant != BASELINE:
                matched = nearest_size(lambda size: self._parameters(variant, task, size), budget, hidden_size)
            else:
                matched = (hidden_size, self._parameters(variant, task, hidden_size))
        if isinstance(raised.error, ValueError) and variant.options:  # what the user asked for, refused by the plugin
            raise SuiteError(f"variant '{variant.label}': {raised.error}")
        if raised:  # building it again in its trial records the traceback
            return Size(hidden_size, 0, budget)
        check_weights(variant, *matched, self._device)
        return Size(*matched, budget)

    def _parameters(self, variant: Plugin, task: Task, hidden_size: int) -> int:
        return model.parameters_of(self._registry.variant(variant.name).noun, variant.options, task, hidden_size)


def nearest_size(parameters: Callable[[int], int], budget: int, guess: int) -> tuple[int, int]:
    """The hidden size whose count is nearest the budget (of two as near the smaller), and that count.

    The counts must grow with the size. Few are asked for: between two sizes the count is taken to grow with the square.

    Raises SuiteError where the count stays below the budget up to the largest size.
    """
    counts = {1: parameters(1)}
    low, high = 1, max(2, guess)
    while (count := counts.setdefault(high, parameters(high))) < budget:
        low, high = high, 2 * high
        if high > LARGEST:
            raise SuiteError(f"it has {count} parameters at hidden_size {low} and never reaches {budget}; does it use hidden_size?")
    while high - low > 1:
        share = (budget**0.5 - counts[low] ** 0.5) / max(counts[high] ** 0.5 - counts[low] ** 0.5, 1e-9)
        middle = min(max(low + round(share * (high - low)), low + 1), high - 1)
        counts[middle] = parameters(middle)
        low, high = (middle, high) if counts[middle] < budget else (low, middle)
    return min(((size, counts[size]) for size in (low, high)), key=lambda pair: (abs(pair[1] - budget), pair[0]))
