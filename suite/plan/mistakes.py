"""Says in a line or two what is wrong with a plan."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from pydantic import ValidationError

from ..errors import nearest


def explained(error: ValidationError, place: str, keys: Callable[[tuple[Any, ...]], Iterable[str]]) -> str:
    """The first two mistakes, a line each, and how many more there are.

    place: what stands in the messages; keys: those that a table takes, by its place in the plan
    """
    entries = error.errors(include_url=False)
    # a list whose entries are wrong is then said to be too short as well
    inner = {entry["loc"][: len(entry["loc"]) - back] for entry in entries for back in range(1, len(entry["loc"]))}
    lines = [_explain(entry, place, keys) for entry in entries if entry["type"] != "too_short" or entry["loc"] not in inner]
    more = f" (and {len(lines) - 2} more)" if len(lines) > 2 else ""
    return "\n".join(dict.fromkeys(lines[:2])) + more


def _explain(entry: Any, source: str, keys: Callable[[tuple[Any, ...]], Iterable[str]]) -> str:
    place = ".".join(str(part) for part in entry["loc"])
    if entry["type"] == "extra_forbidden":
        return f"{source}: {place}: unknown key{nearest(str(entry['loc'][-1]), keys(entry['loc'][:-1]))}"
    if entry["type"] == "missing":
        return f"{source}: {place}: missing"
    if entry["type"] == "too_short":
        return f"{source}: {place}: names none; it takes at least one"
    if entry["type"] == "tuple_type":
        return f"{source}: {place}: must be a list, not {entry['input']!r}"
    given = "" if isinstance(entry["input"], dict) else f", not {entry['input']!r}"
    return f"{source}: {place or 'plan'}: {entry['msg'].removeprefix('Value error, ').rstrip('.')}{given}"
