"""Kills a real tracking server while a run is at work and starts it again: nothing waits for it, and each trial stands in it once."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from suite.listeners import database
from suite.listeners.dashboard import free_port
from suite.trial import Trial

from .pretended import Pretended, asked, learned

MOST_SECONDS = 2.0
"""How long the run may be kept from hearing its workers."""

TRIALS, KILLED_AT, BACK_AT = 12, 4, 8


SERVE = """
import os, signal, sys
from werkzeug.serving import run_simple
from mlflow.server import app

signal.signal(signal.SIGCHLD, signal.SIG_IGN)
print("ready", flush=True)
for _ in sys.stdin:
    if (pid := os.fork()) == 0:
        run_simple("127.0.0.1", int(sys.argv[1]), app, threaded=True)
    print(pid, flush=True)
"""
"""Serves MLflow's tracking server in a child for each line it reads, so that its imports, which take seconds, are done once."""


class Server:
    """MLflow's tracking server over the database of a runs folder, on a port of its own; it may be killed and started again."""

    def __init__(self, runs: Path, log: Path) -> None:
        self._port = free_port(20_000 + os.getpid() % 10_000)
        self.address = f"http://127.0.0.1:{self._port}"
        self._pid = 0
        surroundings = {
            **os.environ,
            "_MLFLOW_SERVER_FILE_STORE": f"sqlite:///{runs / 'mlflow.db'}",
            "_MLFLOW_SERVER_ARTIFACT_ROOT": "mlflow-artifacts:/",
            "_MLFLOW_SERVER_ARTIFACT_DESTINATION": str(runs / "artifacts"),
            "_MLFLOW_SERVER_SERVE_ARTIFACTS": "true",
        }
        with log.open("ab") as errors:
            self._process = subprocess.Popen(
                [sys.executable, "-c", SERVE, str(self._port)],
                env=surroundings,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
                start_new_session=True,
            )
        assert self._line() == "ready", log.read_text()

    def _line(self) -> str:
        assert self._process.stdout is not None
        return self._process.stdout.readline().strip()

    def start(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write("again\n")
        self._process.stdin.flush()
        self._pid = int(self._line())

    def wait(self) -> None:
        """Until it answers."""
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            with contextlib.suppress(OSError), urllib.request.urlopen(f"{self.address}/health", timeout=1):
                return
            time.sleep(0.05)
        raise AssertionError("the server does not answer")

    def kill(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(self._pid, signal.SIGKILL)

    def end(self) -> None:
        self.kill()
        self._process.communicate()


@pytest.fixture
def server(runs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    server = Server(runs, tmp_path / "server.log")
    try:
        server.start()
        server.wait()
        monkeypatch.setenv("MLFLOW_TRACKING_URI", server.address)
        monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")
        yield server
    finally:
        server.end()


def mirrored(plan: Pretended) -> int:
    """How many trials the server shows whole."""
    return sum(database.CONTENT in run.data.tags for run in plan.shown())


def test_a_server_that_dies_and_comes_back_stalls_nothing_and_has_each_trial_once(plan: Pretended, tiny: Trial, server: Server) -> None:
    waited, told = [], [time.monotonic()]

    def during(trial: Trial) -> None:
        waited.append(time.monotonic() - told[0])  # since the end before: the record, and all that listeners took
        if trial.seed == KILLED_AT:
            deadline = time.monotonic() + 60
            while mirrored(plan) < 1 and time.monotonic() < deadline:
                time.sleep(0.05)
            server.kill()
        if trial.seed == BACK_AT:
            time.sleep(1.0)  # it is gone for a while, in which mirroring was tried
            server.start()
        if trial.seed == TRIALS - 1:
            server.wait()
        told[0] = time.monotonic()

    trials = [asked(tiny, seed=seed) for seed in range(TRIALS)]
    plan.run(*((trial, learned(trial)) for trial in trials), during=during)
    assert max(waited) < MOST_SECONDS
    assert plan.problems == []
    assert set(plan.children()) == {trial.key for trial in trials}
    assert {run.info.status for run in plan.shown()} == {"FINISHED"}
