"""Runs the `suite` command as a user would, in a process of its own."""

from __future__ import annotations

import functools
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Mapping, Sequence
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


SECONDS = 300
"""A command that takes longer is ended."""

UNTRACKED = ("--listen", "track=false")
"""Leaves MLflow out of a run, where a test is not about it: importing it and making its database take longer than most runs."""


READ_AT_THE_START = ("PYTHON", "LC_", "LANG", "OMP_", "MKL_", "MALLOC_", "CUDA_")
"""How the names of variables begin that Python, the system or torch reads when a process starts."""


@functools.cache
def _imported() -> subprocess.Popen[str]:
    """The process that has imported all libraries; it ends when its standard input does."""
    command = [sys.executable, str(Path(__file__).with_name("imported.py"))]
    return subprocess.Popen(command, env=environment(), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def _copied(words: Sequence[str], cwd: Path, surroundings: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
    """What `python -m suite` does, in a copy of a process that has imported what takes seconds."""
    copied = _imported()
    assert copied.stdin is not None
    assert copied.stdout is not None
    with tempfile.NamedTemporaryFile("r") as output, tempfile.NamedTemporaryFile("r") as errors:
        order = {"words": words, "cwd": str(cwd), "environment": surroundings, "output": output.name, "errors": errors.name}
        print(json.dumps(order), file=copied.stdin, flush=True)
        pid = int(copied.stdout.readline())
        late = threading.Timer(SECONDS, os.kill, (pid, signal.SIGKILL))
        late.daemon = True
        late.start()
        try:
            code = int(copied.stdout.readline())
        except BaseException:  # the next command must not take this one's end for its own
            copied.kill()
            _imported.cache_clear()
            raise
        finally:
            late.cancel()
        return subprocess.CompletedProcess(words, code, output.read(), errors.read())


def suite(*words: str | Path, cwd: Path, code: int = 0, track: bool = False, **changes: str) -> subprocess.CompletedProcess[str]:
    """Run the command and check how it ends; a run tells MLflow only where `track` is true."""
    untracked = UNTRACKED if words[0] == "run" and not track else ()
    command = [*map(str, words), *untracked]
    if any(name.startswith(READ_AT_THE_START) for name in changes):
        begun = [sys.executable, "-m", "suite", *command]
        done = subprocess.run(begun, cwd=cwd, env=environment(**changes), capture_output=True, text=True, timeout=SECONDS)
    else:
        done = _copied(command, cwd, environment(**changes))
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
