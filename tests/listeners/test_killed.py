"""Kills a whole run while it is at work, and checks what MLflow shows after the next one."""

from __future__ import annotations

import contextlib
import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ..running import environment, suite, tiny_plan


def rows(database_file: Path, query: str) -> list[tuple[Any, ...]]:
    """What a database says; nothing where it is not there yet."""
    with contextlib.suppress(sqlite3.OperationalError):
        connection = sqlite3.connect(f"{database_file.as_uri()}?mode=ro", uri=True)
        with contextlib.closing(connection):
            return connection.execute(query).fetchall()
    return []


@contextlib.contextmanager
def at_work(folder: Path, plan: Path, mirrored: int) -> Iterator[subprocess.Popen[str]]:
    """A run that goes on, when it has mirrored so many trials."""
    command = [sys.executable, "-m", "suite", "run", str(plan)]
    with subprocess.Popen(
        command, cwd=folder, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    ) as process:
        try:
            deadline = time.monotonic() + 120
            while len(rows(folder / "runs" / "mlflow.db", "SELECT value FROM tags WHERE key = 'suite.content'")) < mirrored:
                assert process.poll() is None, process.communicate()
                assert time.monotonic() < deadline, "no trial was mirrored"
                time.sleep(0.02)
            yield process
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)


def slow_plan(folder: Path) -> Path:
    return tiny_plan(folder, **{"steps = 20": "steps = 300"})


def test_the_run_after_a_killed_one_leaves_nothing_running_and_nothing_doubled(tmp_path: Path) -> None:
    plan, path = slow_plan(tmp_path), tmp_path / "runs" / "mlflow.db"
    with at_work(tmp_path, plan, mirrored=2) as process:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    assert "RUNNING" in {status for (status,) in rows(path, "SELECT status FROM runs")}
    told = suite("run", plan, cwd=tmp_path, track=True).stderr.splitlines()
    assert [line for line in told if not line.startswith("waiting for MLflow at ")] == []  # it may take its time, and nothing is wrong
    trials = rows(path, "SELECT runs.status, tags.value FROM runs JOIN tags USING (run_uuid) WHERE tags.key = 'suite.trial_key'")
    assert len(trials) == len({key for _, key in trials}) == 8
    assert {status for status, _ in trials} == {"FINISHED"}
    of_kind = "SELECT status FROM runs JOIN tags USING (run_uuid) WHERE tags.key = 'suite.kind' AND tags.value = '{}' ORDER BY start_time"
    assert rows(path, of_kind.format("plan")) == [("KILLED",), ("FINISHED",)]
    assert rows(path, of_kind.format("variant")) == [("FINISHED",), ("FINISHED",)]
    assert rows(path, "SELECT key, step FROM metrics GROUP BY run_uuid, key, step HAVING count(*) > 1") == []
