"""Opens MLflow's store, and keeps its SQLite file whole: it is made under another name, and one left unfinished is made again."""

from __future__ import annotations

import contextlib
import itertools
import logging
import os
import platform
import shutil
import sqlite3
import tempfile
import time
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypeAlias
from urllib.parse import urlsplit

from ..errors import SuiteError
from ..keys import digest
from ..trial import Outcome

if TYPE_CHECKING:
    from mlflow import MlflowClient

Condition: TypeAlias = Literal["absent", "unfinished", "unreadable", "made"]

TRIAL_KEY, CONTENT, FOLDER = "suite.trial_key", "suite.content", "suite.folder"
"""Tags of a run in MLflow: the trial it shows, a digest of what it shows, and the runs folder that it was written from."""

REPORTED = "suite.reported"
"""A tag of an invocation's run, "no" from its beginning until the report is attached to it, whole."""

LAID_OUT = 2
"""Counts up when metrics get other names or steps, so that runs written before are written anew."""

CONNECTED_SECONDS = 1
"""So long MLflow uses a connection to a file."""

ENVIRONMENT = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_LOGGING_LEVEL": "WARNING",
    # with MLflow's own defaults a server that is gone blocks each call for about four minutes
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",
    "MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR": "1",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "10",
}
"""What is set before MLflow is imported, unless the user has set it."""

LOCAL_ENVIRONMENT = {
    # one that is kept for ever would go on writing into a file that was renamed or deleted
    "MLFLOW_SQLALCHEMYSTORE_POOL_RECYCLE": str(CONNECTED_SECONDS),
}
"""The same for a database in a file."""

_opened: set[Path] = set()
"""The files that this process has had a client for."""

QUIET = {
    "alembic": logging.WARNING,  # announces each of about seventy migrations
    "mlflow.store.db.utils": logging.CRITICAL,  # prints the traceback of an error that it also raises
    "urllib3.connectionpool": logging.ERROR,  # announces each retry
}
"""Loggers that say too much, with the lowest level that they may print."""

MADE_BY_MIGRATIONS = frozenset({"alembic_version", "workspaces"})
"""Tables that have rows before anybody has written anything."""

SPOILED = frozenset({sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB})
"""SQLite's error codes for a file that it cannot read, now or later."""

LOCKED_SECONDS = 20.0
"""How long a reader waits for another process's transaction; MLflow waits as long."""

MAKING_SECONDS = 120.0
"""How long to wait for another process that makes the same database; it takes about five seconds on an idle machine."""

FAILED_TO_MAKE: Mapping[Condition, str] = {
    "absent": "cannot be made",
    "unfinished": "was left unfinished and cannot be made again",
    "unreadable": "cannot be read and cannot be made again",
}


def uri(runs: Path) -> str:
    """The tracking URI: MLFLOW_TRACKING_URI, or a database in the runs folder."""
    return os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{default(runs)}"


def default(runs: Path) -> Path:
    """The database in the runs folder."""
    return runs.resolve() / "mlflow.db"


def content_of(outcome: Outcome) -> str:
    """A digest that changes when an outcome has more, or something else, to show in MLflow."""
    return digest([LAID_OUT, outcome.status, sorted(outcome.evaluations), outcome.train_seconds])


def folder_of(runs: Path) -> str:
    """A digest of this machine's name and the runs folder, which tells its runs from others on a shared server."""
    return digest([platform.node(), str(runs.resolve())])


def file_of(address: str) -> Path | None:
    """The SQLite file of a tracking URI; None for a server."""
    path = address.removeprefix("sqlite:///")
    return Path(path).absolute() if path not in {address, "", ":memory:"} and "?" not in path else None


def shown(address: str) -> str:
    """A tracking URI without user name and password, so that it may be printed."""
    place = urlsplit(address).netloc
    return address.replace(place, f"…@{place.rpartition('@')[2]}", 1) if "@" in place else address


def client(address: str) -> MlflowClient:
    """MLflow's client for a tracking URI."""
    if file := file_of(address):
        _opened.add(file)
    for name, value in {**ENVIRONMENT, **(LOCAL_ENVIRONMENT if file else {})}.items():
        os.environ.setdefault(name, value)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # MLflow's imports warn of what only its developers can change
        from mlflow import MlflowClient

        for name, level in QUIET.items():
            logging.getLogger(name).setLevel(level)
        return MlflowClient(tracking_uri=address)


def condition(path: Path) -> Condition:
    """How a database file stands.

    unfinished: it has nothing but empty tables, as when a process was killed in the middle of MLflow's migrations; nothing can be lost
    unreadable: it is no SQLite database, or a truncated one
    made: anything else, also a file that cannot be looked at now
    """
    if not path.is_file():
        return "absent"
    try:
        # it is opened for writing, so that SQLite undoes what a killed process had begun to write
        with contextlib.closing(sqlite3.connect(f"{path.as_uri()}?mode=rw", uri=True, timeout=LOCKED_SECONDS)) as connection:
            return "made" if any(_filled(connection)) else "unfinished"
    except sqlite3.DatabaseError as error:
        return "unreadable" if error.sqlite_errorcode & 0xFF in SPOILED else "made"


def _filled(connection: sqlite3.Connection) -> Iterator[bool]:
    """For each table that only users fill, whether it has a row."""
    tables = [name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
    for table in tables:
        if table not in MADE_BY_MIGRATIONS:
            [(filled,)] = connection.execute(f'SELECT EXISTS (SELECT 1 FROM "{table}")')
            yield bool(filled)


def ensure(path: Path) -> str:
    """Make the database where there is none, and again where it is unfinished or unreadable; an unreadable file keeps another name.

    Returns what was wrong with the file, as the end of a sentence, or nothing.

    Raises SuiteError where the database cannot be made.
    """
    import filelock

    state = condition(path)
    if state == "made":
        return ""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        # several processes that make a database at once spoil its migrations
        with filelock.FileLock(path.with_name(f".{path.stem}.lock"), timeout=MAKING_SECONDS):
            state = condition(path)
            return _made(path, state) if state != "made" else ""
    except filelock.Timeout:
        raise SuiteError(f"{path}: another process has been making it for two minutes; end that one, or wait") from None
    except OSError as error:
        raise SuiteError(f"{path} {FAILED_TO_MAKE[state]}: {error.strerror or error}") from None
    except Exception as error:  # whatever MLflow and its libraries raise
        raise SuiteError(f"{path} {FAILED_TO_MAKE[state]}: {type(error).__name__}: {' '.join(str(error).split())[:300]}") from None


def _made(path: Path, state: Condition) -> str:
    """Make a database in a folder of its own and rename it into place: a kill at any time leaves nothing unfinished under its name."""
    for leftover in path.parent.glob(f".{path.name}-*"):
        shutil.rmtree(leftover, ignore_errors=True)
    folder = Path(tempfile.mkdtemp(prefix=f".{path.name}-", dir=path.parent))
    try:
        partial = folder / path.name
        _create(partial)
        kept = _set_aside(path) if state == "unreadable" else path
        for beside in ("-journal", "-wal", "-shm"):  # SQLite would apply what the old file left to the new one
            path.with_name(path.name + beside).unlink(missing_ok=True)
        partial.replace(path)
        if path in _opened:  # whose connections go on with the file that was there
            time.sleep(CONNECTED_SECONDS + 0.2)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    if state == "unreadable":
        return f"could not be read and has been made again; the unreadable file is kept as {kept.name}"
    return "was left unfinished and has been made again" if state == "unfinished" else ""


def _create(path: Path) -> None:
    """Let MLflow make its tables in a file that is not there, which takes seconds."""
    client(f"sqlite:///{path}")


def _set_aside(path: Path) -> Path:
    """Rename a file to the first free name like ``mlflow.db.unreadable-1``."""
    names = (path.with_name(f"{path.name}.unreadable-{number}") for number in itertools.count(1))
    return path.rename(next(name for name in names if not name.exists()))


def experiments(path: Path) -> list[tuple[str, str]]:
    """Name and id of each experiment that has a run, the one that was changed last first; read as `shows` reads."""
    query = """
        SELECT experiments.name, experiments.experiment_id, MAX(runs.start_time)
        FROM experiments JOIN runs USING (experiment_id)
        WHERE experiments.lifecycle_stage = 'active' AND runs.lifecycle_stage = 'active'
        GROUP BY experiments.experiment_id ORDER BY 3 DESC
    """
    try:
        with contextlib.closing(sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True, timeout=LOCKED_SECONDS)) as connection:
            return [(str(name), str(experiment)) for name, experiment, _ in connection.execute(query)]
    except sqlite3.Error:  # another version's schema
        return []


def shows(path: Path, plan: str, contents: Mapping[str, str], folder: str) -> bool:
    """Whether the experiment of a plan has a run with the right content for each trial, and of the folder none running or without its report.

    The file is read without MLflow, whose import takes seconds. The answer is no also where it cannot be read or has another schema.
    """
    query = """
        SELECT runs.run_uuid, runs.status, runs.start_time, tags.key, tags.value
        FROM runs JOIN experiments USING (experiment_id) JOIN tags USING (run_uuid)
        WHERE experiments.name = ? AND experiments.lifecycle_stage = 'active' AND runs.lifecycle_stage = 'active'
        AND tags.key IN (?, ?, ?, ?)
    """
    try:
        with contextlib.closing(sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True, timeout=LOCKED_SECONDS)) as connection:
            rows = connection.execute(query, (plan, TRIAL_KEY, CONTENT, FOLDER, REPORTED)).fetchall()
    except sqlite3.Error:
        return False
    tags: dict[str, dict[str, str]] = {}
    started: dict[str, int] = {}
    for run, status, start, key, value in rows:
        if status == "RUNNING" and key == FOLDER and value == folder:
            return False
        if status == "RUNNING" and key == CONTENT:  # written before its files
            continue
        tags.setdefault(run, {})[key] = value
        started[run] = start
    invocations = [run for run, of_run in tags.items() if REPORTED in of_run and of_run.get(FOLDER) == folder]
    if invocations and tags[max(invocations, key=started.__getitem__)][REPORTED] == "no":
        return False
    mirrored = {(run.get(TRIAL_KEY), run.get(CONTENT)) for run in tags.values()}
    return mirrored.issuperset(contents.items())
