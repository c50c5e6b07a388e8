"""Executes the notebook in a kernel of its own, as a reader would."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import nbformat

from .running import environment

EXAMPLES = Path(__file__).resolve().parents[1] / "examples"

EXECUTED = """
import nbformat
from nbclient import NotebookClient

notebook = nbformat.read("first_steps.ipynb", as_version=4)
NotebookClient(notebook, timeout=240, kernel_name="python3").execute()
nbformat.write(notebook, "executed.ipynb")
"""


def outputs(cell: Any) -> list[dict[str, str]]:
    return [dict(output.data) for output in cell.outputs if "data" in output]


def test_the_notebook_runs_and_shows_what_it_says(tmp_path: Path) -> None:
    for name in ("first_steps.ipynb", "first_steps.toml"):
        shutil.copy(EXAMPLES / name, tmp_path)
    done = subprocess.run([sys.executable, "-c", EXECUTED], cwd=tmp_path, env=environment(), capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    cells = {cell.source.splitlines()[0]: cell for cell in nbformat.read(tmp_path / "executed.ipynb", as_version=4).cells}
    comparison = cells['done = suite.run("first_steps.toml", variants=["lstm", mgu], seeds=[0, 1], device="cpu", track=False)']
    printed = "".join(output.get("text", "") for output in comparison.outputs)
    assert "plan first_steps on cpu: 4 trials, 0 finished before, 4 to do" in printed
    *progress, answer = outputs(comparison)
    assert progress
    assert not any(output["text/plain"] for output in progress)  # what showed the run is gone
    assert "<td>mgu</td>" in answer["text/html"]
    assert "image/svg+xml" in outputs(cells['done.figures["scoreboard_skill"]  # a figure of the report'])[0]
    assert "Point(at=10.0" in outputs(cells['model.evaluate(corruption="gaussian_noise", severity=10.0, samples=512)'])[0]["text/plain"]
    assert (tmp_path / "runs" / "first_steps" / "defined" / "plugins" / "mgu.py").is_file()


def test_the_notebook_is_stored_without_outputs() -> None:
    notebook = nbformat.read(EXAMPLES / "first_steps.ipynb", as_version=4)
    assert not any(cell.outputs or cell.execution_count for cell in notebook.cells if cell.cell_type == "code")
