"""Knows the order of the suite's rooms (its folders, and the few files beside them), and draws them from the code."""

from __future__ import annotations

import ast
import importlib.util
from collections.abc import Iterator
from pathlib import Path

SUITE = Path(__file__).resolve().parents[1] / "suite"

ORDER = (
    "__main__", "cli", "keeping", "proving", "showing", "options", "completion", "watch", "status", "estimate", "proof", "api", "finished", "loaded", "check", "settled", "execution", "report", "listeners", "store", "plan", "measures",
    "training", "registry", "palette", "trial", "machine", "ops", "spec", "claim", "shown", "lines", "answers", "errors", "keys", "kinship", "dropins",
)  # fmt: skip
"""A room imports only from those that stand behind it here."""


def room_of(file: Path) -> str:
    """The folder of a module of the suite, or its own name where it stands beside the folders."""
    return file.relative_to(SUITE).parts[0].removesuffix(".py")


def imports(file: Path) -> Iterator[str]:
    """The dotted names a file of the suite imports, in functions and under TYPE_CHECKING too, relative ones resolved."""
    package = ".".join(file.relative_to(SUITE.parent).parent.parts)
    for node in ast.walk(ast.parse(file.read_bytes())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = importlib.util.resolve_name("." * node.level + (node.module or ""), package) if node.level else node.module
            yield from (f"{base}.{alias.name}" for alias in node.names)


def rooms_imported(file: Path) -> set[str]:
    """The rooms that a module of the suite imports from, its own perhaps among them."""
    dotted = (name.split(".") for name in imports(file) if name.startswith("suite."))
    return {parts[1] for parts in dotted} & set(ORDER)


def arrows() -> dict[str, set[str]]:
    """Which rooms each room imports from, itself left out."""
    drawn: dict[str, set[str]] = {room: set() for room in ORDER}
    for file in SUITE.rglob("*.py"):
        if file != SUITE / "__init__.py":
            drawn[room_of(file)] |= rooms_imported(file) - {room_of(file)}
    return drawn


def diagram() -> str:
    """The rooms with their modules as a Mermaid flowchart; an arrow that others imply is left out."""
    every = arrows()
    reached: dict[str, set[str]] = {}
    for room in reversed(ORDER):
        reached[room] = every[room].union(*(reached[other] for other in every[room]))
    lines = ["```mermaid", "flowchart TB"]
    for room in ORDER[1:]:
        modules = sorted(file.stem for file in (SUITE / room).glob("*.py") if file.stem != "__init__")
        inside = "<br/>" + " · ".join(modules) if modules else ""
        lines.append(f'  {room}["<b>{room}{"/" if (SUITE / room).is_dir() else ".py"}</b>{inside}"]')
    for room in ORDER[1:]:
        implied = set().union(*(reached[other] for other in every[room]))
        lines += [f"  {room} --> {other}" for other in ORDER if other in every[room] - implied]
    return "\n".join([*lines, "```"])
