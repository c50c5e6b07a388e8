"""Replaces a plan's lists by those of a request."""

from __future__ import annotations

from typing import Any

from ..errors import SuiteError
from ..registry.registry import Registry, options_of
from .choices import Choice, expand, parse_choices
from .schema import Plan, Request, check


def narrow(plan: Plan, request: Request, registry: Registry) -> Plan:
    """The plan with its lists replaced by those of the request.

    A task that the plan has keeps the lengths and steps of its entries: of all of them where the task is named alone, of the one
    that stands for the same options where it is named with options, else of the first.

    Raises SuiteError for a list that does not read as names with options, and for a task or an option that is not there.
    """
    changes: dict[str, Any] = {}
    try:
        if request.variants is not None:
            changes["variants"] = parse_choices(request.variants)
        if request.tasks is not None:
            changes["tasks"] = [entry for asked in parse_choices(request.tasks) for entry in _entries(plan, asked, registry)]
    except ValueError as error:
        raise SuiteError(str(error)) from None
    if isinstance(request.seeds, tuple):
        changes["seeds"] = list(request.seeds)
    elif request.seeds is not None:
        if request.seeds < 1:
            raise SuiteError(f"seeds is {request.seeds}; it takes at least 1")
        changes["seeds"] = list(range(request.seeds))
    return check({**plan.model_dump(), **changes}, f"plan {plan.name}") if changes else plan


def _entries(plan: Plan, asked: dict[str, Any], registry: Registry) -> list[dict[str, Any]]:
    """The plan's entries that a task named on the command line stands for, or the task itself where the plan has none."""
    entries = [choice for choice in plan.tasks if choice.name.casefold() == asked["name"].casefold()]
    if not asked["options"] or not entries:
        return [entry.model_dump() for entry in entries] or [asked]
    declared = options_of(registry.task(asked["name"]).noun.draw)
    wanted = list(expand(Choice(**asked), declared, "task"))
    fitting = [entry for entry in entries if all(options in list(expand(entry, declared, "task")) for options in wanted)]
    return [{**(fitting or entries)[0].model_dump(), **asked}]
