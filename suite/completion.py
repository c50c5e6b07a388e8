"""Completes words of the command line by the names of plans, variants and tasks, read from files without importing any."""

from __future__ import annotations

import ast
import contextlib
import glob
import os
from collections.abc import Iterable, Iterator


def plans(incomplete: str) -> list[str]:
    """Packaged plans, and files and folders beside the word."""
    from .plan.schema import packaged

    names = [name for name in packaged() if name.startswith(incomplete)]
    beside = sorted(glob.glob(f"{glob.escape(incomplete)}*"))
    return [*names, *(f"{path}/" if os.path.isdir(path) else path for path in beside if os.path.isdir(path) or path.endswith(".toml"))]


def variants(incomplete: str) -> list[str]:
    """The last of the names that commas part."""
    return _listed(incomplete, _names("Variant"))


def tasks(incomplete: str) -> list[str]:
    """The last of the names that commas part."""
    return _listed(incomplete, _names("Task"))


def plugins(incomplete: str) -> list[str]:
    """Variants, tasks, corruptions and sections, as `suite check` takes them."""
    names = {name for kind in ("Variant", "Task", "Corruption", "Section") for name in _names(kind)}
    return [name for name in sorted({*names, "all"}) if name.startswith(incomplete)]


def _listed(incomplete: str, names: Iterable[str]) -> list[str]:
    before, comma, last = incomplete.rpartition(",")
    chosen = before.split(",")
    return [f"{before}{comma}{name}" for name in sorted(set(names)) if name.startswith(last) and name not in chosen]


def _names(kind: str) -> Iterator[str]:
    """The names that drop-ins give to nouns of a kind, as far as they stand there as text."""
    from . import dropins  # which reads where they lie when it is imported, and the command line may say more of that before

    for root in dropins.ROOTS:
        for folder in dropins.FOLDERS:
            for file in sorted((root / folder).glob("[!_]*.py")):
                with contextlib.suppress(OSError, SyntaxError, ValueError):  # a broken plugin has no names to offer
                    yield from _given(ast.parse(file.read_bytes()), kind)


def _given(tree: ast.Module, kind: str) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and getattr(node.func, "attr", getattr(node.func, "id", "")) == kind:
            texts = [*node.args[:1], *(keyword.value for keyword in node.keywords if keyword.arg == "name")]
            yield from (text.value for text in texts if isinstance(text, ast.Constant) and isinstance(text.value, str))
