"""Says what a module's behaviour rests on: digests of its file and of those it imports, and versions of packages."""

from __future__ import annotations

import ast
import functools
import hashlib
import importlib.machinery
import importlib.metadata
import importlib.util
import sys
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from .. import dropins

SUITE = "suite"


def imported_sources(name: str) -> dict[str, str]:
    """What the behaviour of a module rests on, by name.

    Digests of its own file and of the modules of its home that it imports, theirs included: for a drop-in the files beside it, for
    a module of the suite or of a package the rest of that. Versions of the other packages it imports, torch and NumPy apart,
    which every key has anyway.
    """
    home = dropins.__name__ if name.startswith(dropins.__name__ + ".") else name.partition(".")[0]
    digests: dict[str, str] = {}
    packages: set[str] = set()
    queue = [name]
    while queue:
        module = queue.pop()
        file = None if module in digests else file_of(module)
        if file is None:
            continue
        status = file.stat()
        digests[module], imports = _read(file, module, (status.st_mtime_ns, status.st_size))
        own = [target for target in imports if target.startswith(home + ".")]
        queue += [*own, *(parent for target in own if (parent := target.rpartition(".")[0]) != home)]
        packages |= {target.partition(".")[0] for target in imports}
    if home == SUITE:  # what it needs is pinned with it; torch and NumPy are in every key
        packages = set()
    others = sorted(packages - sys.stdlib_module_names - {SUITE, "torch", "numpy", home, ""})
    return {**dict(sorted(digests.items())), **{f"package {other}": version for other in others if (version := _version(other))}}


def harness_sources(module: str) -> dict[str, str]:
    """Digests of one of the suite's own modules and of all those of the suite that it imports."""
    return dict(_harness(f"{SUITE}.{module}"))


@functools.cache
def _harness(name: str) -> dict[str, str]:
    return imported_sources(name)


def changed(digests: Mapping[str, str]) -> list[str]:
    """Those drop-in modules whose file is no longer what its digest says."""
    own = [name for name in digests if name.startswith(dropins.__name__ + ".")]
    return [name for name in own if (file := file_of(name)) is None or hashlib.sha256(file.read_bytes()).hexdigest() != digests[name]]


def file_of(module: str) -> Path | None:
    """The file of a module, imported yet or not; None for what is no module, such as a name inside one."""
    if module in sys.modules:
        file = getattr(sys.modules[module], "__file__", None)
        return Path(file) if file else None
    parent = module.rpartition(".")[0]
    if parent and parent not in sys.modules and file_of(parent) is None:
        return None
    spec = importlib.machinery.PathFinder.find_spec(module, _search_path(parent) if parent else None)
    return Path(spec.origin) if spec and spec.has_location and spec.origin else None


def _search_path(package: str) -> list[str]:
    if package in sys.modules:
        return list(getattr(sys.modules[package], "__path__", []))
    file = file_of(package)
    return [str(file.parent)] if file and file.name == "__init__.py" else []


@functools.cache
def _read(file: Path, module: str, _version: tuple[int, int]) -> tuple[str, tuple[str, ...]]:
    """The digest of a file, and the dotted names it imports when it runs; a file is read once in each of its versions."""
    content = file.read_bytes()
    value = hashlib.sha256(content).hexdigest()
    if file.suffix != ".py":  # compiled
        return value, ()
    package = module if file.name == "__init__.py" else module.rpartition(".")[0]
    return value, tuple(_imports(ast.parse(content).body, package))


def _imports(statements: Iterable[ast.AST], package: str) -> Iterator[str]:
    """What statements import, those inside functions too; what stands under TYPE_CHECKING never runs."""
    for node in statements:
        if isinstance(node, ast.If) and any(
            "TYPE_CHECKING" in {getattr(part, "id", ""), getattr(part, "attr", "")} for part in ast.walk(node.test)
        ):
            yield from _imports(node.orelse, package)
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = importlib.util.resolve_name("." * node.level + (node.module or ""), package) if node.level else node.module or ""
            yield from (base, *(f"{base}.{alias.name}" for alias in node.names))
        else:  # an import is a statement, so expressions need no look
            for field in ("body", "orelse", "handlers", "finalbody", "cases"):
                yield from _imports(getattr(node, field, ()), package)


def _version(package: str) -> str:
    """The version of the distribution an import name belongs to; empty where none is installed."""
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        if importlib.machinery.PathFinder.find_spec(package) is None:
            return ""
        names = importlib.metadata.packages_distributions().get(package, [])
        return importlib.metadata.version(names[0]) if names else ""
