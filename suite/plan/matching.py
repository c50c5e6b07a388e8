"""Finds the hidden size at which a variant has as many parameters as the baseline, or carries as large a state, each counted once."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from ..errors import SuiteError, contained
from ..registry.registry import Registry
from ..spec import Options, Plugin, Task, Variant
from ..training import model
from ..trial import BASELINE
from .limits import bytes_a_weight, check_weights
from .schema import Plan
from .state import UNKNOWN, States

LARGEST = 1 << 16

SMALL = (1, 2)
"""The sizes at which a readout's input size is read."""

UNITS = (1, 2, 4, 8, 16)
"""Some variants take only sizes that a number of heads divides: those are matched among multiples."""

WIDEST = 16
"""A state is looked for up to so many times the baseline's hidden size: it is counted of real models."""

CHECKED = 1024
"""Up to this size a real model is cheap enough to check what was predicted of it."""


@dataclass(frozen=True)
class Size:
    """How large a variant is built: its parameters are 0 where it cannot be built; budget is the baseline's count."""

    hidden_size: int
    parameters: int
    budget: int


class Matcher:
    """Gives each variant its size on a task; what it has counted once it knows.

    states: counts what variants carry from step to step; lengths: after which a state must be as large as the baseline's, where that is the rule
    """

    def __init__(self, registry: Registry, plan: Plan, device: str, states: States, lengths: Sequence[int]) -> None:
        self._registry, self._matching, self._device = registry, plan.matching, device
        self._states, self._lengths = states, (min(lengths), max(lengths))
        self._bytes_each = bytes_a_weight(plan.training)
        self._sizes: dict[tuple[str, int, int, int], Size] = {}
        self._counters: dict[tuple[str, int, int], Counter] = {}

    def size(self, variant: Plugin, task: Task, hidden_size: int) -> Size:
        """The size of a variant where the baseline has this hidden size.

        A variant that cannot be built keeps the hidden size with a count of 0: its trials then fail by themselves, with their reason.
        One that can, but cannot be matched, keeps it with its own count, which the report flags.

        Raises SuiteError where a variant refuses the options asked for with a ValueError, for a model that this machine's memory cannot
        hold, and for one that is to be matched by a state which is not known, or grows with the sequence.
        """
        key = (variant.label, task.input_size, task.output_size, hidden_size)
        if key not in self._sizes:
            self._sizes[key] = self._measured(variant, task, hidden_size)
        return self._sizes[key]

    def _measured(self, variant: Plugin, task: Task, hidden_size: int) -> Size:
        budget = self._counter(BASELINE, task)(hidden_size)
        check_weights(BASELINE, hidden_size, budget, self._bytes_each, self._device)
        counter = self._counter(variant, task)
        with contained() as raised:
            matched = (hidden_size, counter(hidden_size))
        if isinstance(raised.error, ValueError) and variant.options:  # what the user asked for, refused by the plugin
            raise SuiteError(f"variant '{variant.label}': {raised.error}")
        if raised:  # building it again in its trial records the traceback
            return Size(hidden_size, 0, budget)
        if self._matching.rule == "parameters" and variant != BASELINE:
            for unit in UNITS:
                with contained() as raised:
                    matched = counter.nearest(budget, hidden_size, unit)
                if not raised:
                    break
        if self._matching.rule == "state_size" and variant != BASELINE:
            size = self._size_by_state(variant, task, hidden_size)
            matched = (size, counter(size))
        check_weights(variant, *matched, self._bytes_each, self._device)
        return Size(*matched, budget)

    def _size_by_state(self, variant: Plugin, task: Task, hidden_size: int) -> int:
        """The hidden size at which the variant carries as many numbers as the baseline, as nearly as can be."""
        wanted = self._state(BASELINE, task, hidden_size)
        for unit in UNITS:
            counted = functools.partial(self._state, variant, task, unit=unit)
            with contained() as raised:
                units, _ = nearest_size(counted, wanted, max(1, hidden_size // unit), "numbers to carry on", WIDEST * hidden_size)
                return units * unit
        raise SuiteError(f"[matching] rule = \"state_size\": variant '{variant.label}': {raised.reason}")

    def _state(self, variant: Plugin, task: Task, units: int, unit: int = 1) -> int:
        """What the variant carries after every length, with a hidden size of so many units.

        Raises SuiteError where that is not known, or not one number.
        """
        size = units * unit
        counts = [self._states.counted(variant, task.width, size, length) for length in self._lengths]
        first, last = (count.size for count in counts)
        if first == UNKNOWN:
            raise SuiteError(f"what it carries is not known: {counts[0].why}; let it state that (Variant.state), or take another rule")
        if first != last:
            short, long = self._lengths
            raise SuiteError(
                f"of hidden size {size} it carries {first:,} numbers after {short} steps and {last:,} after {long}, so that none has the "
                f"state of {BASELINE.label} at every length; leave it out, train at one length, or take another rule"
            )
        return first

    def _counter(self, variant: Plugin, task: Task) -> Counter:
        key = (variant.label, task.input_size, task.output_size)
        if key not in self._counters:
            self._counters[key] = Counter(self._registry.variant(variant.name).noun, variant.options, task)
        return self._counters[key]


class Counter:
    """Counts the parameters of a variant's whole model on a task, readout included, at any hidden size.

    The core is counted on torch's meta device, which holds no numbers. The readout's input size is read from a forward at two
    small sizes and taken to be affine in the hidden size; `nearest` checks that where it matters.
    """

    def __init__(self, variant: Variant, options: Options, task: Task) -> None:
        self._variant, self._options, self._task = variant, options, task
        self._exact: dict[int, tuple[int, int]] = {}
        with contained() as raised:
            self._exact |= {size: self._counted(size) for size in SMALL}
        self._affine = not raised  # else it cannot be built so small: each size is then built for real
        if self._affine:
            (_, first), (_, second) = self._exact.values()
            self._slope = (second - first) / (SMALL[1] - SMALL[0])
            self._offset = first - self._slope * SMALL[0]

    def __call__(self, hidden_size: int) -> int:
        if not self._affine and hidden_size not in self._exact:
            self._exact[hidden_size] = self._counted(hidden_size)
        if hidden_size in self._exact:
            parameters, outputs = self._exact[hidden_size]
            return parameters + (outputs + 1) * self._task.output_size
        with contained() as raised, torch.device("meta"):
            core = self._core(hidden_size)
        if raised:
            core = self._core(hidden_size)
        return model.count_parameters(core) + (self._predicted(hidden_size) + 1) * self._task.output_size

    def nearest(self, budget: int, guess: int, unit: int = 1) -> tuple[int, int]:
        """The multiple of `unit` as hidden size whose count is nearest the budget, and that count."""
        units, count = nearest_size(lambda size: self(size * unit), budget, max(1, guess // unit))
        size = units * unit
        if self._affine and size <= CHECKED and self._counted(size)[1] != self._predicted(size):
            self._affine = False
            return self.nearest(budget, guess, unit)
        return size, count

    def _predicted(self, hidden_size: int) -> int:
        return round(self._offset + self._slope * hidden_size)

    def _core(self, hidden_size: int) -> nn.Module:
        return model.build_core(self._variant, self._options, self._task.width, hidden_size, seed=0)

    def _counted(self, hidden_size: int) -> tuple[int, int]:
        """Parameters and output size of a core that is built for real."""
        core = self._core(hidden_size)
        return model.count_parameters(core), model.output_size(self._variant, core, self._task.width)


def nearest_size(count: Callable[[int], int], budget: int, guess: int, what: str = "parameters", largest: int = LARGEST) -> tuple[int, int]:
    """The hidden size whose count is nearest the budget (of two as near the smaller), and that count; `what` is counted.

    The counts must grow with the size. Few are asked for, since between known sizes a count is nearly quadratic.

    Raises SuiteError where the count stays below the budget up to the largest size.
    """
    counts = {size: count(size) for size in {1, 2, max(3, guess)}}
    while True:
        low = max((size for size in counts if counts[size] < budget), default=1)
        high = min((size for size in counts if size > low and counts[size] >= budget), default=0)
        if high == low + 1:
            return min(((size, counts[size]) for size in (low, high)), key=lambda pair: (abs(pair[1] - budget), pair[0]))
        if not high and low >= largest:
            raise SuiteError(f"it has {counts[low]} {what} at hidden_size {low} and never reaches {budget}; does it use hidden_size?")
        following = min(max(_predicted(counts, budget), low + 1), high - 1) if high else min(2 * low, largest)
        counts[following] = count(following)


def _predicted(counts: Mapping[int, int], budget: int) -> int:
    """Where a parabola through the three known sizes whose counts are nearest the budget meets it."""
    sizes = sorted(counts, key=lambda size: abs(counts[size] - budget))[:3]
    parabola = np.polyfit(sizes, [counts[size] - budget for size in sizes], 2)
    roots = [root.real for root in np.roots(parabola) if abs(root.imag) < 1e-9 and root.real > 0]
    return int(max(roots, default=sum(sizes[:2]) / 2))
