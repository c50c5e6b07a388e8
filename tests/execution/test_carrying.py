"""Checks that a call finds on another machine what it reads, and that what it writes there comes home."""

from __future__ import annotations

import os
import pickle
import platform
from concurrent.futures import Future
from dataclasses import replace
from pathlib import Path

import pytest

from suite import SuiteError
from suite.execution import carrying, delivery, serve
from suite.execution.carrying import CHANNEL, News
from suite.execution.events import event_of
from suite.execution.executor import UNBOUNDED, Died
from suite.execution.keeping import Keeping
from suite.execution.worker import Job
from suite.store import unfinished

from ..plan.planned import trials as planned
from .test_placement import pretended

ALIKE = carrying.alike("cpu")


def job(folder: Path, train: bool) -> Job:
    trials = planned(variants=["lstm"])[:2]
    checkpoints = tuple(folder / "checkpoints" / f"{trial.key}.pt" for trial in trials)
    return Job(tuple(trials), train, checkpoints, CHANNEL, keeping=Keeping(folder / "unfinished", 60.0))


def look(job: Job) -> tuple[Path, Path, list[bytes], list[int]]:
    """What a job finds where it is carried out, which then writes a checkpoint and how far a training has come."""
    assert job.keeping
    there = [path.read_bytes() for path in job.checkpoints if path.exists()]
    steps = [file.header.step for file in unfinished.trainings(job.keeping.folder)]
    job.checkpoints[0].parent.mkdir(exist_ok=True)
    job.checkpoints[0].write_bytes(b"weights")
    unfinished.keep(job.keeping.folder, [trial.key for trial in job.trials], 30, b"state")
    return job.channel, job.checkpoints[0], there, steps


@pytest.mark.parametrize("train", [True, False])
def test_a_job_finds_its_files_and_they_come_home(tmp_path: Path, train: bool) -> None:
    here, home, channel = tmp_path / "here", tmp_path / "home", tmp_path / "channel"
    sent = job(here, train)
    keys = [trial.key for trial in sent.trials]
    for path in sent.checkpoints:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"before")
    for step in (10, 20):
        unfinished.keep(here / "unfinished", keys, step, b"state")
    unfinished.keep(here / "unfinished", ["another"], 99, b"state")
    parcel = carrying.pack(look, (sent,), UNBOUNDED, "cpu", ALIKE)
    carrying.lay_out(pickle.loads(pickle.dumps(parcel)), home)
    written = carrying.Written(home)
    told, checkpoint, there, steps = carrying.carry_out(parcel.request, channel, home, "cpu", ALIKE)
    assert (told, steps) == (channel, [20, 10])
    assert there == ([] if train else [b"before", b"before"])
    assert checkpoint.is_relative_to(home)
    files = written.take()
    assert {path.relative_to(here).parent for path in files} == {Path("checkpoints"), Path("unfinished")}
    assert written.take() == {}
    carrying.bring_home(parcel, {**files, tmp_path / "elsewhere": b"no"})
    assert sent.checkpoints[0].read_bytes() == b"weights"
    assert [file.header.step for file in unfinished.trainings(here / "unfinished")] == [99, 30, 20]  # of one training the last two
    assert not (tmp_path / "elsewhere").exists()


def test_a_machine_that_computes_other_bits_is_refused(tmp_path: Path) -> None:
    parcel = carrying.pack(os.getpid, (), UNBOUNDED, "cpu", {**ALIKE, "torch": "2.0.0"})
    with pytest.raises(SuiteError, match=r"torch is \S+ there and 2\.0\.0 here; leave it out"):
        carrying.carry_out(parcel.request, tmp_path, tmp_path, "cpu", parcel.alike)


def test_what_cannot_be_written_here_is_told(tmp_path: Path) -> None:
    sent = job(tmp_path / "here", True)
    (tmp_path / "here").write_text("no folder")
    parcel = carrying.pack(look, (sent,), UNBOUNDED, "cpu", ALIKE)
    for path in (sent.checkpoints[0], tmp_path / "here" / "unfinished" / "abc-00000030.training"):
        with pytest.raises(SuiteError, match="cannot be written"):
            carrying.bring_home(parcel, {path: b"x"})
    assert replace(parcel, files={}) == parcel


def fall_over() -> None:
    serve.retire("CUDA error: pretended")


@pytest.mark.parametrize("broken", [True, False])
def test_a_device_of_another_machine_that_has_fallen_over_is_said_to_have(monkeypatch: pytest.MonkeyPatch, broken: bool) -> None:
    monkeypatch.setattr(delivery, "devices_of", lambda _parcel: pretended("cuda of node", broken=["cuda of node"] if broken else []))
    told: list[News] = []
    ended = delivery.deliver(carrying.pack(fall_over, (), UNBOUNDED, "cpu", carrying.alike("cpu")), told.append)
    future: Future[None] = Future()
    assert ended is not None
    delivery.conclude(future, ended, None)
    notes = [event_of(line).note for news in told for line in news.events]
    if not broken:
        assert (future.result(), notes) == (None, [])  # so that it is the plugin's own fault, which its answer tells
        return
    with pytest.raises(Died, match=r"no device is left to compute on \(cuda of node: CUDA error: pretended\)") as died:
        future.result()
    assert died.value.status == "crashed"
    assert notes == ["is used no longer: CUDA error: pretended; its work goes to the others"]


def test_a_gpu_is_named_with_its_machine(tmp_path: Path) -> None:
    parcel = carrying.pack(look, (job(tmp_path, True),), UNBOUNDED, "cpu", ALIKE)
    assert delivery.devices_of(parcel) == ()
    [device] = delivery.devices_of(replace(parcel, device="cuda"))
    assert (device.name, device.kind) == (f"cuda of {platform.node()}", "cuda")
