"""Checks what jobs of a batch system ask for, and how they and their run tell each other by files."""

from __future__ import annotations

import os
import shutil
import sys
import time
from pathlib import Path

import pytest

from suite import SuiteError
from suite.execution import batch, jobs
from suite.execution.carrying import News
from suite.execution.choosing import chosen
from suite.plan.choices import Choice
from suite.registry.finder import discover


def test_what_to_install_is_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(sys.modules, "submitit", None)
    with pytest.raises(SuiteError, match=r"needs the package submitit: pip install -c constraints\.txt 'recurrent-suite\[slurm\]'"):
        chosen(Choice(name="slurm"), discover()).count(None, "cpu")
    assert list(tmp_path.iterdir()) == []


def test_a_job_takes_a_gpu_where_it_computes_on_one() -> None:
    assert batch.wanted("cpu").gpus == 0
    assert batch.wanted("cuda").gpus == 1
    assert batch.wanted("cuda", gpus=2, partition="gpu", account="lab", minutes=90, memory=0.5).flags == [
        "--partition=gpu",
        "--account=lab",
        "--time=90",
        "--cpus-per-task=1",
        "--gpus-per-node=2",
        "--mem=512MB",
    ]


def test_the_turn_of_a_call_is_one_partys_alone(tmp_path: Path) -> None:
    jobs.lay_out(tmp_path / "run")
    assert jobs.withdraw(tmp_path / "run", 1)
    call = jobs.Call(None, 1, tmp_path / "run")  # type: ignore[arg-type]
    call()
    assert list(jobs.letters(tmp_path / "run")) == []
    assert jobs._taken(tmp_path / "run", 2, jobs.JOB)
    assert not jobs.withdraw(tmp_path / "run", 2)
    assert jobs._taken(tmp_path / "run", 2, jobs.JOB)  # a job that begins again


def test_a_run_that_has_gone_is_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    jobs.lay_out(tmp_path / "run")
    monkeypatch.setattr(jobs, "LOOK_SECONDS", 0.0)
    presence = jobs._Presence(tmp_path / "run")
    assert not presence.gone()
    monkeypatch.setattr(jobs, "ABSENT_SECONDS", 0.0)
    time.sleep(0.01)
    assert presence.gone()
    monkeypatch.undo()
    monkeypatch.setattr(jobs, "LOOK_SECONDS", 0.0)
    presence = jobs._Presence(tmp_path / "run")
    (tmp_path / "run" / jobs.PRESENT).unlink()
    assert presence.gone()


def test_of_a_training_the_last_moment_is_kept(tmp_path: Path) -> None:
    jobs.lay_out(tmp_path / "run")
    post = jobs._Post(tmp_path / "run", 1)
    moments = [Path(f"/unfinished/abc-{step:08d}.training") for step in (10, 20)]
    for moment in moments:
        post.send(jobs.Letter(News(files={moment: b"state"})))
    post.send(jobs.Letter(News(files={Path("/checkpoints/key.pt"): b"weights"})))
    assert set(jobs._Post(tmp_path / "run", 1).files) == {moments[1], Path("/checkpoints/key.pt")}
    assert [number for number, _ in jobs.letters(tmp_path / "run")] == [1, 1, 1]


def test_a_job_never_makes_a_removed_folder_anew(tmp_path: Path) -> None:
    jobs.lay_out(tmp_path / "run")
    post = jobs._Post(tmp_path / "run", 1)
    post.send(jobs.Letter())
    shutil.rmtree(tmp_path / "run")
    with pytest.raises(FileNotFoundError):
        post.send(jobs.Letter(News(files={Path("/checkpoints/key.pt"): b"weights"})))
    assert list(tmp_path.iterdir()) == []


def test_a_call_that_has_ended_keeps_nothing_and_is_not_begun_again(tmp_path: Path) -> None:
    jobs.lay_out(tmp_path / "run")
    assert jobs._taken(tmp_path / "run", 1, jobs.JOB)
    jobs._Post(tmp_path / "run", 1).send(jobs.Letter(News(files={Path("/checkpoints/key.pt"): b"weights"})))
    jobs.close(tmp_path / "run", 1)
    assert list((tmp_path / "run" / jobs.KEPT).iterdir()) == []
    assert not jobs._taken(tmp_path / "run", 1, jobs.JOB)


def test_what_killed_runs_left_is_removed_by_a_later_one_and_nothing_else(tmp_path: Path) -> None:
    for name in ("run-killed", "run-left", "run-there", "run-own"):
        jobs.lay_out(tmp_path / name)
    old = time.time() - jobs.ABSENT_SECONDS - 60
    (tmp_path / "run-left" / jobs.PRESENT).unlink()
    (tmp_path / "run-of-something-else").mkdir()
    for path in ("run-killed/present", "run-left", "run-of-something-else"):
        os.utime(tmp_path / path, (old, old))
    jobs.clear(tmp_path / "run-own")
    assert {path.name for path in tmp_path.iterdir()} == {"run-there", "run-own", "run-of-something-else"}
