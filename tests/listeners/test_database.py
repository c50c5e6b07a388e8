"""Kills processes that make a tracking database, spoils its file, and checks that it is whole wherever it is next used."""

from __future__ import annotations

import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from suite import SuiteError
from suite.listeners import dashboard, database, tracking
from suite.trial import Trial

from ..running import environment, suite, tiny_plan
from .pretended import Pretended, alter, asked, learned

OLD_WAY = "import sys; from mlflow import MlflowClient; MlflowClient(tracking_uri='sqlite:///' + sys.argv[1])"
"""Makes the database where it is to be, as MLflow does by itself."""

OUR_WAY = "import sys; from pathlib import Path; from suite.listeners import database; database.ensure(Path(sys.argv[1]))"


def killed_while_making(script: str, path: Path, moment: Callable[[], bool]) -> None:
    """Kill a process that makes a database, at a moment."""
    command = [sys.executable, "-c", script, str(path)]
    with subprocess.Popen(command, cwd=Path(__file__).parents[2], env=environment(**database.ENVIRONMENT)) as process:
        deadline = time.monotonic() + 60
        while not moment():
            assert process.poll() is None, "it was done before the moment came"
            assert time.monotonic() < deadline
            time.sleep(0.001)
        process.send_signal(signal.SIGKILL)
        assert process.wait() == -signal.SIGKILL


def tables(path: Path) -> set[str]:
    connection = sqlite3.connect(path)
    try:
        return {name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    finally:
        connection.close()


def is_whole(path: Path, like: Path) -> bool:
    return database.condition(path) == "made" and tables(path) == tables(like)


@pytest.fixture(scope="module")
def half_migrated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database whose maker was killed in the middle of MLflow's migrations."""
    path = tmp_path_factory.mktemp("killed") / "mlflow.db"
    killed_while_making(OLD_WAY, path, lambda: path.is_file() and path.stat().st_size > 200_000)
    return path


def truncated(source: Path, path: Path) -> None:
    path.write_bytes(source.read_bytes()[: source.stat().st_size // 2 + 100])


def test_a_maker_that_is_killed_leaves_what_is_recognised(half_migrated: Path, empty_database: Path, tmp_path: Path) -> None:
    assert database.condition(half_migrated) == "unfinished"
    assert database.condition(empty_database) == "made"
    path = tmp_path / "mlflow.db"
    assert database.condition(path) == "absent"
    killed_while_making(OLD_WAY, path, path.is_file)
    assert database.condition(path) == "unfinished"


def test_our_maker_that_is_killed_leaves_nothing_in_the_place(tmp_path: Path, empty_database: Path) -> None:
    path = tmp_path / "mlflow.db"
    killed_while_making(OUR_WAY, path, lambda: any(part.stat().st_size > 200_000 for part in tmp_path.glob(".mlflow.db-*/mlflow.db")))
    assert not path.exists()
    assert len(list(tmp_path.glob(".mlflow.db-*"))) == 1
    assert database.ensure(path) == ""
    assert is_whole(path, empty_database)
    assert sorted(entry.name for entry in tmp_path.iterdir()) == [".mlflow.lock", "mlflow.db"]


def spoil_empty(path: Path, *_: Path) -> str:
    path.touch()
    return "was left unfinished and has been made again"


def spoil_half_migrated(path: Path, half: Path, _: Path) -> str:
    shutil.copy(half, path)
    return "was left unfinished and has been made again"


def spoil_without_version(path: Path, _: Path, whole: Path) -> str:
    shutil.copy(whole, path)
    alter(path, "DELETE FROM experiments")
    alter(path, "DELETE FROM alembic_version")
    return "was left unfinished and has been made again"


def spoil_truncated(path: Path, _: Path, whole: Path) -> str:
    truncated(whole, path)
    return "could not be read and has been made again; the unreadable file is kept as mlflow.db.unreadable-1"


def spoil_text(path: Path, *_: Path) -> str:
    path.write_text("This is no database, but somebody's text." * 100)
    return "could not be read and has been made again; the unreadable file is kept as mlflow.db.unreadable-1"


Spoil = Callable[[Path, Path, Path], str]

spoilt = pytest.mark.parametrize("spoil", [spoil_empty, spoil_half_migrated, spoil_without_version, spoil_truncated, spoil_text])


@spoilt
@pytest.mark.usefixtures("_made_at_once")
def test_a_run_makes_it_again_and_says_so(spoil: Spoil, plan: Pretended, tiny: Trial, half_migrated: Path, empty_database: Path) -> None:
    done = asked(tiny), learned(asked(tiny))
    plan.run(done)
    path = plan.runs / "mlflow.db"
    path.unlink()
    fault = spoil(path, half_migrated, empty_database)
    plan.run((asked(tiny, seed=1), learned(asked(tiny, seed=1))), before=(done,))
    assert plan.problems == [f"{path} {fault}"]
    assert is_whole(path, empty_database)
    assert len(plan.children()) == 2
    assert all(run.info.status == "FINISHED" for run in plan.shown())


@spoilt
@pytest.mark.usefixtures("_made_at_once")
def test_a_run_with_nothing_to_do_makes_it_again(
    spoil: Spoil, plan: Pretended, tiny: Trial, half_migrated: Path, empty_database: Path
) -> None:
    done = asked(tiny), learned(asked(tiny))
    plan.run(done)
    path = plan.runs / "mlflow.db"
    path.unlink()
    fault = spoil(path, half_migrated, empty_database)
    plan.run(before=(done,), report=False)
    assert plan.problems == [f"{path} {fault}"]
    assert len(plan.children()) == 1


@spoilt
@pytest.mark.usefixtures("_made_at_once")
def test_the_dashboard_and_doctor_make_it_again(
    spoil: Spoil, tmp_path: Path, half_migrated: Path, empty_database: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "mlflow.db"
    fault = spoil(path, half_migrated, empty_database)
    assert dashboard.usable(tmp_path) == path
    assert capsys.readouterr().out == f"{path} {fault}; `suite run PLAN` mirrors what is stored\n"
    assert is_whole(path, empty_database)
    assert dashboard.usable(tmp_path) == path
    assert capsys.readouterr().out == ""
    path.unlink()
    fault = spoil(path, half_migrated, empty_database).replace("-1", "-2")
    assert tracking.state(tmp_path) == f"sqlite:///{path}: the file {fault}; `suite run PLAN` mirrors what is stored"
    assert is_whole(path, empty_database)
    assert tracking.state(tmp_path) == f"sqlite:///{path}"


def test_what_is_absent_is_not_made_by_looking(tmp_path: Path) -> None:
    with pytest.raises(SuiteError, match="nothing has been tracked yet; `suite run quick` comes first"):
        dashboard.usable(tmp_path / "runs")
    assert tracking.state(tmp_path / "runs") == f"sqlite:///{tmp_path}/runs/mlflow.db (not there yet; the first run makes it)"
    assert not (tmp_path / "runs").exists()


@pytest.mark.usefixtures("_made_at_once")
def test_an_unreadable_file_keeps_its_content_under_another_name(tmp_path: Path) -> None:
    path = tmp_path / "mlflow.db"
    for number in (1, 2):
        path.write_text(f"text {number}" * 100)
        database.ensure(path)
        assert (tmp_path / f"mlflow.db.unreadable-{number}").read_text() == f"text {number}" * 100


@pytest.mark.usefixtures("_made_at_once")
def test_what_an_old_file_left_beside_it_does_not_reach_the_new_one(tmp_path: Path, empty_database: Path) -> None:
    path = tmp_path / "mlflow.db"
    path.write_text("no database" * 100)
    for beside in ("-journal", "-wal", "-shm"):
        path.with_name(path.name + beside).write_bytes(b"\xd9\xd5\x05\xf9\x20\xa1\x63\xd7" * 100)
    database.ensure(path)
    assert is_whole(path, empty_database)


def test_an_older_schema_with_runs_is_kept_and_mlflows_advice_passed_on(plan: Pretended, tiny: Trial) -> None:
    done = asked(tiny), learned(asked(tiny))
    plan.run(done)
    path = plan.runs / "mlflow.db"
    # MLflow looks at the schema when a process opens a file for the first time
    moved = Pretended(plan.runs.rename(plan.runs.with_name("moved")), plan.machine)
    path = moved.runs / "mlflow.db"
    alter(path, "UPDATE alembic_version SET version_num = '75868b020152'")
    before = path.read_bytes()
    moved.run((asked(tiny, seed=1), learned(asked(tiny, seed=1))), before=(done,))
    [problem] = moved.problems
    assert "\n" not in problem
    assert problem.startswith(f"MLflow at sqlite:///{path}: MlflowException: Detected out-of-date database schema")
    assert f"run 'mlflow db upgrade sqlite:///{path}' to migrate" in problem
    assert problem.endswith(f"the results are safe in {moved.store.folder}, and the next run mirrors them")
    assert path.read_bytes() == before
    assert tracking.state(moved.runs) == f"sqlite:///{path}"


def test_a_folder_that_cannot_be_written_is_told(half_migrated: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "mlflow.db"
    shutil.copy(half_migrated, path)

    def full(*_: object, **__: object) -> str:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("tempfile.mkdtemp", full)
    assert tracking.state(tmp_path) == f"sqlite:///{path}: {path} was left unfinished and cannot be made again: No space left on device"
    with pytest.raises(SuiteError, match="was left unfinished and cannot be made again: No space left on device"):
        dashboard.usable(tmp_path)


def test_a_locked_database_is_taken_for_whole(runs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(database, "LOCKED_SECONDS", 0.1)
    writer = sqlite3.connect(runs / "mlflow.db", isolation_level=None)
    writer.execute("BEGIN EXCLUSIVE")
    assert database.condition(runs / "mlflow.db") == "made"
    assert not database.shows(runs / "mlflow.db", "tiny", {}, "")
    writer.execute("COMMIT")
    writer.close()


def test_two_processes_make_one_database(tmp_path: Path, empty_database: Path) -> None:
    path = tmp_path / "mlflow.db"
    command = [sys.executable, "-c", OUR_WAY, str(path)]
    root = Path(__file__).parents[2]
    makers = [subprocess.Popen(command, cwd=root, env=environment(), stderr=subprocess.PIPE, text=True) for _ in range(2)]
    assert [(maker.communicate()[1], maker.returncode) for maker in makers] == [("", 0), ("", 0)]
    assert is_whole(path, empty_database)


@pytest.mark.parametrize(
    ("address", "path"),
    [
        ("sqlite:////abs/mlflow.db", Path("/abs/mlflow.db")),
        ("sqlite:///relative.db", Path.cwd() / "relative.db"),
        ("sqlite:///:memory:", None),
        ("sqlite://", None),
        ("sqlite:////abs/mlflow.db?timeout=3", None),
        ("http://localhost:5000", None),
        ("postgresql://user:secret@host/mlflow", None),
    ],
)
def test_the_file_of_a_tracking_uri(address: str, path: Path | None) -> None:
    assert database.file_of(address) == path
    assert "secret" not in database.shown(address)


@pytest.mark.slow
def test_the_commands_make_it_again(tmp_path: Path, half_migrated: Path) -> None:
    plan, path = tiny_plan(tmp_path), tmp_path / "runs" / "mlflow.db"
    path.parent.mkdir()
    shutil.copy(half_migrated, path)
    assert f"sqlite:///{path}: the file was left unfinished and has been made again" in suite("doctor", cwd=tmp_path).stdout
    assert database.condition(path) == "made"
    shutil.copy(half_migrated, path)
    words = ("run", plan, "--tasks", "adding", "--seeds", "1")
    assert f"{path} was left unfinished and has been made again" in suite(*words, cwd=tmp_path, track=True).stderr
    content, written = path.read_bytes(), path.stat().st_mtime_ns
    assert suite(*words, cwd=tmp_path, track=True).stderr == ""
    assert (path.read_bytes(), path.stat().st_mtime_ns) == (content, written)
    connection = sqlite3.connect(path)
    assert connection.execute("SELECT count(*) FROM tags WHERE key = 'suite.content'").fetchall() == [(2,)]
    assert connection.execute("SELECT DISTINCT status FROM runs").fetchall() == [("FINISHED",)]
    connection.close()
