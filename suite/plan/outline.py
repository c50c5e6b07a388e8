"""Says in one line what a plan asks for, before any plugin is imported."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

from ..errors import SuiteError
from .choices import parse_choices
from .schema import Plan, Request


def outline(plan: Plan, request: Request) -> str:
    """Such as ``plan quick: 7 variants, 4 task lengths, 3 learning rates, 5 seeds: 420 trials``; without a number where plugins decide it.

    Raises SuiteError for a list that does not read as names with options.
    """
    try:
        variants = parse_choices(request.variants) if request.variants is not None else [choice.model_dump() for choice in plan.variants]
        asked = None if request.tasks is None else {entry["name"].casefold() for entry in parse_choices(request.tasks)}
    except ValueError as error:
        raise SuiteError(str(error)) from None
    tasks = [entry for entry in plan.tasks if asked is None or entry.name.casefold() in asked]
    known = asked is None or asked == {entry.name.casefold() for entry in tasks}
    lengths = [len(entry.lengths) * _choices(entry.options) for entry in tasks if entry.lengths] if known else []
    seeds = len(request.seeds) if isinstance(request.seeds, tuple) else request.seeds or len(plan.seeds)
    counts = {
        "variant": len({f"{entry['name'].casefold()} {options}" for entry in variants for options in _expanded(entry["options"])}),
        "task length": sum(lengths),
        "learning rate": len(plan.training.learning_rates),
        "seed": seeds,
    }
    parts = [f"{count} {noun}{'s' if count > 1 else ''}" for noun, count in counts.items() if count]
    whole = len(lengths) == len(tasks) and bool(lengths)
    return f"plan {plan.name}: {', '.join(parts)}" + (f": {math.prod(counts.values())} trials" if whole else "")


def _choices(options: Mapping[str, Any]) -> int:
    """How many sets of options an entry stands for."""
    return math.prod(len(value) for value in options.values() if isinstance(value, list))


def _expanded(options: Mapping[str, Any]) -> Iterable[str]:
    """A text for each set of options that an entry stands for, the same for the same set."""
    return (f"{sorted(options.items(), key=str)} {place}" for place in range(_choices(options)))
