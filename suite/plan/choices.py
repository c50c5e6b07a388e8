"""Reads which plugins are meant, with which options: ``attention(score=additive)`` and lists of such; and which seeds."""

from __future__ import annotations

import contextlib
import inspect
import itertools
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal, get_args, get_origin

from pydantic import BaseModel, ConfigDict, StrictBool, StrictFloat, StrictInt, StrictStr

from ..errors import SuiteError, nearest
from ..spec import Value

Scalar = StrictBool | StrictInt | StrictFloat | StrictStr


class Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class Choice(Strict):
    """A plugin by name, with options; as a text it reads ``name(option=value)``.

    name: of the plugin
    options: those that differ from their defaults; one that is a list stands for one choice an entry
    """

    name: str
    options: dict[str, Scalar | list[Scalar]] = {}


def _split(text: str) -> list[str]:
    """Split at the commas outside parentheses and brackets."""
    parts, depth = [""], 0
    for character in text:
        depth += (character in "([") - (character in ")]")
        if character == "," and depth == 0:
            parts.append("")
        else:
            parts[-1] += character
    return [part.strip() for part in parts]


def parse_value(text: str) -> Value | list[Value]:
    """A truth value, a number, a word, or a list of these in brackets."""
    if text.startswith("[") and text.endswith("]"):
        return [parse_value(part) for part in _split(text[1:-1])]  # type: ignore[misc]
    if text in {"true", "false"}:
        return text == "true"
    for kind in (int, float):
        with contextlib.suppress(ValueError, OverflowError):  # not a number of this kind, or of no use
            if math.isfinite(number := kind(text)):
                return number
    return text.strip("'\"")


def parse_choice(text: str) -> dict[str, Any]:
    """``attention(score=additive, depth=[1,2])`` becomes its name and options.

    Raises ValueError where the text has another form.
    """
    match = re.fullmatch(r"\s*([A-Za-z0-9_.-]+)\s*(?:\((.*)\))?\s*", text, flags=re.DOTALL)
    if not match:
        raise ValueError(f"'{text}' is not of the form name or name(option=value, …)")
    name, inside = match.groups()
    options = {}
    for part in _split(inside) if inside else []:
        key, equals, value = part.partition("=")
        if not equals or not key.strip() or not value.strip():
            raise ValueError(f"'{part}' in '{text}' is not of the form option=value")
        options[key.strip()] = parse_value(value.strip())
    return {"name": name, "options": options}


def parse_choices(text: str) -> list[dict[str, Any]]:
    """A comma-separated list of choices, commas inside parentheses kept."""
    return [parse_choice(part) for part in _split(text) if part]


def parse_seeds(asked: int | Sequence[int] | str | None) -> int | tuple[int, ...] | None:
    """Seeds as a request has them: how many from 0 on, or these; from numbers, or from ``3`` or ``[0,2,5]`` on the command line.

    Raises SuiteError for anything else.
    """
    seeds = parse_value(asked.strip()) if isinstance(asked, str) else asked
    if seeds is None or type(seeds) is int:
        return seeds
    if not isinstance(seeds, Sequence) or isinstance(seeds, str) or not seeds or any(type(seed) is not int for seed in seeds):
        raise SuiteError(f"seeds is {asked!r}; it takes how many there are to be, such as 3, or which, such as [0, 2, 5]")
    return len(seeds) if list(seeds) == list(range(len(seeds))) else tuple(seeds)  # type: ignore[arg-type]


def expand(choice: Choice, parameters: Mapping[str, inspect.Parameter], role: str) -> Iterator[dict[str, Value]]:
    """The option sets a choice stands for, defaults left out so that naming a default changes no key.

    Raises SuiteError for an option the plugin does not declare, or a value of another type.
    """
    lists = [value if isinstance(value, list) else [value] for value in choice.options.values()]
    for values in itertools.product(*lists):
        yield checked(dict(zip(choice.options, values, strict=True)), parameters, f"{role} '{choice.name}'")


def checked(options: Mapping[str, Value], parameters: Mapping[str, inspect.Parameter], place: str) -> dict[str, Value]:
    """The options that differ from their defaults, sorted; `place` stands in the messages.

    Raises SuiteError for an option that is not declared, or a value of another type.
    """
    for name in options:
        if name not in parameters:
            known = nearest(name, parameters) if parameters else "; it takes none"
            raise SuiteError(f"{place}: unknown option '{name}'{known}")
    values = {name: _checked(f"{place}: option {name}", value, parameters[name]) for name, value in options.items()}
    return {name: value for name, value in sorted(values.items()) if value != parameters[name].default}


def _checked(place: str, value: Value, parameter: inspect.Parameter) -> Value:
    wanted = parameter.annotation
    if get_origin(wanted) is Literal:
        if not any(value == member and type(value) is type(member) for member in get_args(wanted)):
            raise SuiteError(f"{place}: {value!r} is not one of {', '.join(map(str, get_args(wanted)))}")
        return value
    if wanted is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if wanted in (bool, int, float, str) and type(value) is not wanted:
        raise SuiteError(f"{place}: {value!r} is {type(value).__name__}, not {wanted.__name__}")
    return value
