"""Runs the `suite` command as a user would, in a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

TINY = """
name = "tiny"
variants = ["lstm", "gru"]
tasks = [{ name = "adding", lengths = [6] }, { name = "noisy", lengths = [6] }]
seeds = [0, 1]
eval_seed = 7
[matching]
hidden_size = 6
[training]
learning_rates = [0.01]
steps = 20
validate_every = 10
evaluation_samples = 32
[evaluations]
lengths = [2]
corruptions = ["gaussian_noise"]
"""


def environment(**changes: str) -> dict[str, str]:
    """This process's environment without what would lead a run elsewhere."""
    kept = {name: value for name, value in os.environ.items() if name not in {"SUITE_PATH", "MLFLOW_TRACKING_URI"}}
    return {**kept, "COLUMNS": "200", **changes}


UNTRACKED = ("--listen", "track=false")
"""Leaves MLflow out of a run, where a test is not about it: importing it and making its database take longer than most runs."""


def suite(*words: str | Path, cwd: Path, code: int = 0, track: bool = False, **changes: str) -> subprocess.CompletedProcess[str]:
    """Run the command and check how it ends; a run tells MLflow only where `track` is true."""
    untracked = UNTRACKED if words[0] == "run" and not track else ()
    command = [sys.executable, "-m", "suite", *map(str, words), *untracked]
    done = subprocess.run(command, cwd=cwd, env=environment(**changes), capture_output=True, text=True, timeout=300)
    assert done.returncode == code, f"{words}: exit {done.returncode}\n{done.stdout}\n{done.stderr}"
    assert "Traceback" not in done.stderr, done.stderr
    return done


def tiny_plan(folder: Path, **changes: str) -> Path:
    """A plan of eight trials that take a second, with parts of its text replaced."""
    text = TINY
    for old, new in changes.items():
        text = text.replace(old, new)
    path = folder / "tiny.toml"
    path.write_text(text)
    return path
