"""Checks that imports only point down, that mlflow stands in one module, and that a light import stays light."""

from __future__ import annotations

import ast
import importlib.util
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import suite

ROOT = Path(__file__).resolve().parents[1]
SUITE = ROOT / "suite"
DROP_INS = sorted(file for folder in ("plugins", "tasks", "reports") for file in (ROOT / folder).glob("*.py"))

FLOORS = (
    {"spec", "ops", "dropins"},
    {"hookspecs", "plan", "stats", "machine", "preload", "dashboard", "guard", "scaffold"},
    {"figures", "manager", "data", "model", "progress", "listeners"},
    {"matrix", "trainer", "timing", "grade"},
    {"store", "evaluate"},
    {"results", "worker", "tracking"},
    {"report", "executor"},
    {"api", "check"},
    {"estimate"},
    {"cli", "pytest_plugin"},
    {"__main__"},
)
"""A module imports only from floors below its own; `suite/__init__.py` is the door and has none."""

LAZY = {"load": "api", "run": "api"}
"""What `suite` itself hands on from a high floor; its other names come from the lowest."""


def module_of(file: Path) -> str:
    return file.relative_to(SUITE).parts[0].removesuffix(".py")


MODULES = sorted(file for file in SUITE.rglob("*.py") if file != SUITE / "__init__.py")


def imports(file: Path) -> Iterator[str]:
    """The dotted names a file imports, in functions and under TYPE_CHECKING too, relative ones resolved."""
    package = ".".join(file.relative_to(ROOT).parent.parts)
    for node in ast.walk(ast.parse(file.read_bytes())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = importlib.util.resolve_name("." * node.level + (node.module or ""), package) if node.level else node.module
            yield from (f"{base}.{alias.name}" for alias in node.names)


def floor(name: str) -> int:
    return next(number for number, modules in enumerate(FLOORS) if name in modules)


def test_every_module_has_one_floor() -> None:
    placed = [name for modules in FLOORS for name in modules]
    assert len(set(placed)) == len(placed)
    assert {module_of(file) for file in MODULES} <= set(placed)


@pytest.mark.parametrize("file", MODULES, ids=module_of)
def test_imports_point_down(file: Path) -> None:
    mine = module_of(file)
    names = {dotted.split(".")[1] for dotted in imports(file) if dotted.startswith("suite.")} - {mine}
    below = {name for modules in FLOORS[: floor(mine)] for name in modules}
    found = {LAZY.get(name, name) for name in names}
    known = {name for modules in FLOORS for name in modules}
    assert found & known <= below, f"suite/{mine} stands on floor {floor(mine)} and imports {sorted(found & known - below)}"


def test_the_door_opens_on_the_nouns_alone() -> None:
    eager = [node for node in ast.parse((SUITE / "__init__.py").read_bytes()).body if isinstance(node, ast.ImportFrom) and node.level]
    assert [node.module for node in eager] == ["spec"]


def test_only_tracking_imports_mlflow() -> None:
    users = {file.stem for file in (*SUITE.rglob("*.py"), *DROP_INS) for name in imports(file) if name.split(".")[0] == "mlflow"}
    assert users <= {"tracking"}


@pytest.mark.parametrize("file", DROP_INS, ids=lambda file: f"{file.parent.name}/{file.stem}")
def test_drop_ins_use_public_names_and_their_siblings(file: Path) -> None:
    siblings = {f"{file.parent.name}.{other.stem}" for other in file.parent.glob("*.py")}
    for name in imports(file):
        parts = name.split(".")
        if parts[0] == "suite":
            assert len(parts) == 2, f"{name} is not public; import it from suite itself"
            assert parts[1] in suite.__all__
        elif parts[0] in {"plugins", "tasks", "reports"}:
            assert any(name.startswith(f"{sibling}.") or name == sibling for sibling in siblings), name


@pytest.mark.parametrize("module", ["suite", "suite.cli"])
def test_a_light_import_stays_light(module: str) -> None:
    heavy = {"torch", "mlflow", "pandas", "matplotlib", "seaborn"}
    code = f"import sys, {module}; print(*sorted({heavy!r} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout.strip() == ""
