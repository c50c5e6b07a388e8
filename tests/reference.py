"""Writes the references of the documentation, of plans from their models and of Python's names from their docstrings."""

from __future__ import annotations

import ast
import inspect
import itertools
import re
import sys
import textwrap
from collections.abc import Iterator
from typing import Any

from pydantic import BaseModel

import suite
from suite.loaded import LoadedModel
from suite.plan.choices import Choice
from suite.plan.schema import EvaluationPlan, Limits, Matching, Plan, TaskChoice, TimingPlan, TrainingPlan

TABLES: dict[str, type[BaseModel]] = {
    "The plan": Plan,
    "An entry of `variants`": Choice,
    "An entry of `tasks`": TaskChoice,
    "`[matching]`": Matching,
    "`[training]`": TrainingPlan,
    "`[evaluations]`": EvaluationPlan,
    "`[timing]`": TimingPlan,
    "`[limits]`": Limits,
}
"""The tables of a plan, with the models that check them."""

ABSENT = "must be given"


def meanings(model: type[BaseModel]) -> dict[str, str]:
    """What a model's docstring says of each key, in lines such as ``steps: of training``; a line that is indented goes on."""
    texts: dict[str, str] = {}
    for base in reversed(model.__mro__):
        name = ""
        for line in inspect.cleandoc(base.__doc__ or "").splitlines() if issubclass(base, BaseModel) else ():
            head = re.match(r"([a-z_]+): (.+)", line)
            name = head[1] if head else name if line.startswith(" ") else ""
            if name:
                texts[name] = head[2] if head else f"{texts[name]} {line.strip()}"
    return texts


def form(schema: dict[str, Any], names: dict[str, Any]) -> str:
    """What values a key takes, from the JSON schema of its field."""
    if "$ref" in schema:
        return "table"
    if "anyOf" in schema:
        return " or ".join(dict.fromkeys(form(each, names) for each in schema["anyOf"] if each.get("type") != "null"))
    if "enum" in schema:
        return " or ".join(f"`{value}`" for value in schema["enum"])
    if "const" in schema:
        return f"`{schema['const']}`"
    if schema.get("type") == "array":
        least = f", {schema['minItems']} or more" if schema.get("minItems") else ""
        return f"list of {form(schema['items'], names)}{least}"
    kinds = {"integer": "whole number", "number": "number", "string": "text", "boolean": "`true` or `false`", "object": "table"}
    limits = {"minimum": "≥", "exclusiveMinimum": ">", "maximum": "≤", "exclusiveMaximum": "<"}
    bounds = [f"{sign} {bound(schema[limit])}" for limit, sign in limits.items() if limit in schema]
    return " ".join([kinds[schema["type"]], ", ".join(bounds)]).strip()


def bound(number: float) -> str:
    return "2⁶³" if number == 2**63 else f"{number:g}" if number < 1e4 else f"{number:,.0f}".replace(",", " ")


def default(model: type[BaseModel], key: str) -> str:
    field = model.model_fields[key]
    if field.is_required():
        return ABSENT
    value = field.default
    if isinstance(value, Choice):
        return f"`{value.name}`"
    if isinstance(value, BaseModel):
        return "each key's own"
    if value is None or value in ("", {}):
        return "none"
    text = str(value).lower() if isinstance(value, bool) else str(list(value)) if isinstance(value, tuple) else str(value)
    return f"`{text}`"


def plan_keys() -> Iterator[str]:
    """The tables of a plan, each key with what it takes, its default and its meaning."""
    for title, model in TABLES.items():
        schema = model.model_json_schema()
        said, own = meanings(model), inspect.cleandoc(model.__doc__ or "").partition("\n")[0]
        yield from ("", f"## {title}", "", own, "", "| key | takes | default | meaning |", "|---|---|---|---|")
        for key in model.model_fields:
            cells = (f"`{key}`", form(schema["properties"][key], schema.get("$defs", {})), default(model, key), said[key])
            yield "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def api_page() -> Iterator[str]:
    """Every public name of Python with its signature and docstring."""
    yield from ("# Python's names", "", "All that `suite` offers to Python, in alphabetical order; everything is typed (`py.typed`).")
    yield "[From Python and notebooks](python.md) shows them at work, [Writing plugins](plugins.md) those that plugins use."
    for name in sorted(suite.__all__, key=str.casefold):
        yield from entry(f"suite.{name}", getattr(suite, name))
        if name == "load":
            for method in ("evaluate", "predict"):
                yield from entry(f"suite.load(key).{method}", getattr(LoadedModel, method))
        if inspect.ismodule(getattr(suite, name)):
            yield from members(name, getattr(suite, name))


def members(name: str, module: Any) -> Iterator[str]:
    for member in sorted(module.__all__):
        yield from entry(f"suite.{name}.{member}", getattr(module, member))


def entry(name: str, thing: Any) -> Iterator[str]:
    """A heading, and in a block how it is called and what its docstring says."""
    own = name.rpartition(".")[2]
    callable_ = inspect.isfunction(thing) or (inspect.isclass(thing) and not issubclass(thing, BaseException))
    described = inspect.isclass(thing) or inspect.isroutine(thing) or inspect.ismodule(thing)
    text = (inspect.getdoc(thing) if described else beside(own, thing)) or ""
    parts = [*(["\n".join(signature(own, thing))] if callable_ else []), *([text] if text else [])]
    yield from ("", f"## `{name}`", "", "```text", "\n\n".join(parts), "```")


def beside(name: str, value: Any) -> str:
    """What stands below an assignment in the module of the suite that makes it."""
    for module in [
        module for place, module in sorted(sys.modules.items()) if place.startswith("suite.") and vars(module).get(name) is value
    ]:
        body = ast.parse(inspect.getsource(module)).body
        for statement, following in itertools.pairwise(body):
            targets = [statement.target] if isinstance(statement, ast.AnnAssign) else getattr(statement, "targets", [])
            said = following.value if isinstance(following, ast.Expr) else None
            if isinstance(said, ast.Constant) and any(isinstance(target, ast.Name) and target.id == name for target in targets):
                return inspect.cleandoc(str(said.value))
    return ""


def signature(name: str, thing: Any) -> list[str]:
    """How it is called, in lines that are not too long."""
    called = inspect.signature(thing)
    shown = called.replace(parameters=[each for each in called.parameters.values() if each.name != "self"])
    if inspect.isclass(thing):
        shown = shown.replace(return_annotation=called.empty)
    plain = re.sub(r"ForwardRef\((.*?)\)", r"\1", f"{name}{shown}")
    text = re.sub(r"(: |-> )(?:'([^']*)'|\"([^\"]*)\")", lambda match: match[1] + (match[2] or match[3]), plain)
    return textwrap.wrap(text, 110, subsequent_indent="    ", break_long_words=False, break_on_hyphens=False)
