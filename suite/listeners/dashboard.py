"""Serves the MLflow pages over the runs folder, on this machine alone."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

from ..errors import SuiteError
from . import database, views

PORTS = 100
"""How many ports are tried, from the asked one on."""


def free_port(first: int) -> int:
    """The first port from `first` on that nothing listens at on 127.0.0.1."""
    for port in range(first, min(first + PORTS, 65536)):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:  # taken: the next one
                continue
            return port
    raise SuiteError(f"no free port from {first} on; choose another with --port")


def usable(runs: Path) -> Path:
    """The database in the runs folder; one that was left unfinished is made again, and a line says so.

    Raises SuiteError where nothing was tracked yet, and where the database cannot be made again.
    """
    file = database.default(runs)
    if database.condition(file) == "absent":
        raise SuiteError(f"{file}: nothing has been tracked yet; `suite run quick` comes first")
    if fault := database.ensure(file):
        print(f"{file} {fault}; `suite run PLAN` mirrors what is stored", flush=True)  # noqa: T201
    return file


def addresses(file: Path, server: str) -> list[str]:
    """What a person is told: where the runs of each plan are shown, the latest one first, rather than MLflow's own first page."""
    lines = [f"dashboard: {server} (Ctrl-C ends it)"]
    for plan, experiment in database.experiments(file):
        lines.append(f"  {plan}: {views.address(server, experiment, views.SCOREBOARD, charts=True)}")
        lines.append(f"  {' ' * len(plan)}  {views.address(server, experiment, views.OVERVIEW)} (the list)")
    return lines


def serve(runs: Path, port: int) -> int:
    """Serve until interrupted; returns the server's exit code.

    Raises SuiteError where there is no database to serve, or no free port.
    """
    file = usable(runs)
    port = free_port(port)
    command = [sys.executable, "-m", "mlflow", "server", "--backend-store-uri", f"sqlite:///{file}"]
    command += ["--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    # the server's job runner would start a dozen more processes that nothing here uses
    environment = {**os.environ, "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", "MLFLOW_DISABLE_TELEMETRY": "true"}
    address = f"http://127.0.0.1:{port}"
    for line in addresses(file, address):
        print(line, flush=True)  # noqa: T201
    server = subprocess.Popen(command, env=environment, start_new_session=True)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))  # so that the server's processes end with this one
    try:
        return server.wait()
    except KeyboardInterrupt:
        return 0
    finally:
        with contextlib.suppress(ProcessLookupError):  # it ended by itself
            os.killpg(server.pid, signal.SIGTERM)
        server.wait()
