"""Checks what of the drop-ins other machines get."""

from __future__ import annotations

from pathlib import Path

import pytest

from suite import dropins
from suite.execution import cluster


def test_what_ends_the_process_that_imports_it_stays_at_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = tmp_path / "root"
    for folder in ("plugins", "tasks"):
        (root / folder).mkdir(parents=True)
        for name in ("ends", "well"):
            (root / folder / f"{name}.py").touch()
    monkeypatch.setitem(dropins.FATAL, "suite.dropins.plugins.ends", "ends its process with exit code 0 when imported")
    with dropins.beside(root):
        path = cluster.ship(tmp_path / "shipped")
    shipped = tmp_path / "shipped" / path.split(":")[-1]
    files = [str(file.relative_to(shipped)) for file in sorted(shipped.rglob("*.py"))]
    assert files == ["plugins/well.py", "tasks/ends.py", "tasks/well.py"]
