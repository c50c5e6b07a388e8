"""Gives the tests of listeners a runs folder with a tracking database, and a run of a plan that trains nothing."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from suite import machine
from suite.listeners import database, tracking
from suite.spec import Machine

from .pretended import Pretended


@pytest.fixture(autouse=True)
def _own_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """No tracking server of the user's is written to, what MLflow is told here reaches no other test, and a busy machine has its time."""
    monkeypatch.setattr(tracking, "INTERRUPTED_SECONDS", 60.0)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    for name, value in {**database.ENVIRONMENT, **database.LOCAL_ENVIRONMENT}.items():
        monkeypatch.setenv(name, value)


@pytest.fixture(scope="session")
def empty_database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database as MLflow makes it, which takes seconds."""
    path = tmp_path_factory.mktemp("database") / "mlflow.db"
    with pytest.MonkeyPatch.context() as patch:
        for name, value in {**database.ENVIRONMENT, **database.LOCAL_ENVIRONMENT}.items():
            patch.setenv(name, value)
        assert database.ensure(path) == ""
    return path


@pytest.fixture
def runs(tmp_path: Path, empty_database: Path) -> Path:
    """A runs folder in which nothing was tracked yet."""
    folder = tmp_path / "runs"
    folder.mkdir()
    shutil.copy(empty_database, folder / "mlflow.db")
    return folder


@pytest.fixture(scope="session")
def this_machine() -> Machine:
    return machine.describe("cpu")


@pytest.fixture
def plan(runs: Path, this_machine: Machine) -> Pretended:
    return Pretended(runs, this_machine)


@pytest.fixture
def _made_at_once(monkeypatch: pytest.MonkeyPatch, empty_database: Path) -> None:
    """A database is copied from one that MLflow made, where how it is made is not in question."""
    monkeypatch.setattr(database, "_create", lambda path: shutil.copy(empty_database, path))
