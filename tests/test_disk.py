"""Checks in this process that a disk that was full, a store that is read-only, and a spoiled file change nothing of what is learned."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from suite import SuiteError, api
from suite.execution.inline import InlinePool
from suite.execution.run import Work, after, invocation_of, run_trials
from suite.listeners.announce import Audience
from suite.plan import schema
from suite.status import status

from .running import tiny_plan

SMALL = {'"lstm", "gru"': '"lstm"', "gaussian_noise": "step_drop", "seeds = [0, 1]": "seeds = [0, 1, 2]"}


def work(folder: Path, runs: Path) -> Work:
    return api.prepare(schema.load(str(folder / "tiny.toml")), runs, "cpu", schema.Request(str(folder / "tiny.toml"), tasks="adding"))


def trained(folder: Path, runs: Path) -> list[str]:
    """Do what is pending of the plan, without report; what each trial learned."""
    ready = work(folder, runs)
    with ready.store.writing(), InlinePool() as executor:
        audience = Audience(ready.registry, {"track": False, "progress": False})
        outcomes = run_trials(ready, invocation_of(ready, 0), executor, audience, 0)
    rows = status(after(ready, outcomes))
    assert {row.status for row in rows} == {"ok"}
    return [row.learning_digest for row in rows]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the plan lies."""
    folder = tmp_path_factory.mktemp("plan")
    tiny_plan(folder, **SMALL)
    return folder


@pytest.fixture(scope="module")
def undisturbed(folder: Path) -> list[str]:
    return trained(folder, folder / "runs")


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 24 kB."""
    place = tmp_path / "disk"
    place.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=24k", "tmpfs", str(place)], capture_output=True, text=True)
    if mounted.returncode:
        pytest.skip(f"no small file system can be mounted here: {mounted.stderr.strip()}")
    yield place
    subprocess.run(["umount", str(place)], check=True)


def remount(disk: Path, options: str) -> None:
    subprocess.run(["mount", "-o", f"remount,{options}", str(disk)], check=True)


def test_when_a_full_disk_has_room_again_the_same_is_learned(folder: Path, undisturbed: list[str], disk: Path) -> None:
    with pytest.raises(SuiteError, match=r"cannot be written: No space left on device; finished trials are kept"):
        trained(folder, disk)
    for file in disk.rglob("*.json"):
        json.loads(file.read_text())
    remount(disk, "size=64m")
    assert trained(folder, disk) == undisturbed
    remount(disk, "ro")
    assert work(folder, disk).pending == ()
    ready = work(folder, disk)
    with (
        pytest.raises(SuiteError, match="cannot be written: Read-only file system; use --runs with another folder") as caught,
        ready.store.writing(),
    ):
        pass
    assert "\n" not in str(caught.value)


def test_a_spoiled_files_trial_alone_is_done_again(folder: Path, undisturbed: list[str]) -> None:
    store = work(folder, folder / "runs").store
    first, second, _ = (store.file("trials", trial.key) for trial in work(folder, folder / "runs").trials)
    kept = second.stat().st_mtime_ns
    first.write_text(first.read_text()[:-9])
    ready = work(folder, folder / "runs")
    assert [trial.key for trial in ready.pending] == [first.stem]
    assert [str(first) in fault for fault in ready.store.spoiled.values()] == [True]
    assert trained(folder, folder / "runs") == undisturbed
    assert second.stat().st_mtime_ns == kept
