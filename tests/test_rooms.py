"""Checks that imports only point down the order of rooms, that mlflow stands in one place, and that a light import stays light."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import suite

from .rooms import ORDER, imports, room_of, rooms_imported

ROOT = Path(__file__).resolve().parents[1]
SUITE = ROOT / "suite"
MODULES = sorted(file for file in SUITE.rglob("*.py") if file != SUITE / "__init__.py")
DROP_INS = sorted(file for folder in ("plugins", "tasks", "reports") for file in (ROOT / folder).glob("*.py"))


def test_every_room_has_its_place_in_the_order() -> None:
    assert sorted({room_of(file) for file in MODULES}) == sorted(ORDER)


@pytest.mark.parametrize("file", MODULES, ids=lambda file: str(file.relative_to(SUITE)))
def test_imports_point_down(file: Path) -> None:
    mine = room_of(file)
    above = set(ORDER[: ORDER.index(mine)])
    assert not rooms_imported(file) & above, f"suite/{mine} imports from a room above it"


def test_the_door_opens_on_the_nouns_alone() -> None:
    eager = [node for node in ast.parse((SUITE / "__init__.py").read_bytes()).body if isinstance(node, ast.ImportFrom) and node.level]
    assert [node.module for node in eager] == ["claim", "errors", "shown", "spec"]


def test_only_listeners_import_mlflow() -> None:
    users = {file.relative_to(ROOT) for file in (*MODULES, *DROP_INS) for name in imports(file) if name.split(".")[0] == "mlflow"}
    assert {file.parent for file in users} <= {Path("suite/listeners")}


@pytest.mark.parametrize("file", [*MODULES, *DROP_INS], ids=lambda file: str(file.relative_to(ROOT)))
def test_modules_and_functions_can_be_read(file: Path) -> None:
    text = file.read_text(encoding="utf-8")
    assert len(text.splitlines()) <= 400
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef):
            assert node.end_lineno is not None
            assert node.end_lineno - node.lineno < 50, f"{node.name} is too long to be read without scrolling"
    assert ast.get_docstring(ast.parse(text)), "a module opens with a sentence that says what it does"


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
    """And looks for no drop-ins, since where they lie a command may still say."""
    heavy = {"torch", "mlflow", "pandas", "matplotlib", "seaborn", "suite.dropins"}
    code = f"import sys, {module}; print(*sorted({heavy!r} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout.strip() == ""


def test_no_engine_is_named_outside_the_table_of_engines() -> None:
    """Nor in the sections: who adds an engine edits one file."""
    names = {engine.name for engine in suite.ops.ENGINES}
    spelt = {
        str(file.relative_to(ROOT))
        for file in (*MODULES, *DROP_INS)
        for node in ast.walk(ast.parse(file.read_bytes()))
        if isinstance(node, ast.Constant) and node.value in names
    }
    assert spelt <= {"suite/ops/engines.py"}
