"""Checks that a job goes on from what was kept of it, member by member, and that keeping stops no training."""

from __future__ import annotations

import errno
import itertools
import os
import signal
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from suite.execution import events, processes, worker
from suite.execution.keeping import MOST_SHARE, Keeper, Keeping, parts_of
from suite.execution.local import LocalPool
from suite.registry.finder import discover
from suite.store import unfinished
from suite.training import trainer
from suite.training.snapshot import Snapshot, from_bytes
from suite.trial import Outcome, Trial

STEPS = 20


@pytest.fixture
def keeping(tmp_path: Path) -> Keeping:
    return Keeping(tmp_path / "unfinished", 1e-9)  # whenever it may


@pytest.fixture
def trials(tiny: Trial) -> list[Trial]:
    return [replace(tiny, seed=seed, training=replace(tiny.training, steps=STEPS)) for seed in range(3)]


def job(trials: Sequence[Trial], folder: Path, keeping: Keeping | None) -> worker.Job:
    folder.mkdir(exist_ok=True)
    (folder / "events").touch()
    checkpoints = tuple(folder / "checkpoints" / trial.key for trial in trials)
    return worker.Job(tuple(trials), True, checkpoints, folder / "events", keeping=keeping)


class Broken(Exception):
    """Stands for the end of the process."""


def interrupted(trials: Sequence[Trial], keeping: Keeping, after: int) -> None:
    """Train until so many steps are done, and keep each of them."""
    variant, task = discover().variant("gru").noun, discover().task("adding").noun
    members = trainer.gather(trainer.build(trials, variant, task), trials[0].engine)
    keeper = Keeper(keeping, trials, None, pytest.fail)
    calls = iter(range(1, after + 1))

    def keep(take: Any) -> None:
        keeper._next = 0.0
        keeper(take)
        if next(calls) == after:
            raise Broken

    with pytest.raises(Broken):
        trainer.learn(trials, task, members, lambda *_: None, keep=keep)


def learned(outcomes: Sequence[Outcome]) -> list[Any]:
    return [(outcome.status, outcome.learning) for outcome in outcomes]


def heard(folder: Path) -> list[events.Event]:
    return [events.event_of(line) for line in (folder / "events").read_bytes().splitlines()]


def steps_kept(keeping: Keeping) -> list[tuple[int, int]]:
    """How many members each file has, and at which step."""
    return [(len(file.header.keys), file.header.step) for file in unfinished.trainings(keeping.folder)]


def test_an_interrupted_job_goes_on_to_the_same_bits(trials: list[Trial], keeping: Keeping, tmp_path: Path) -> None:
    whole = worker.work(job(trials, tmp_path / "whole", None))
    interrupted(trials, keeping, 12)
    assert steps_kept(keeping) == [(3, 12), (3, 11)]
    again = worker.work(job(trials, tmp_path, Keeping(keeping.folder, 60.0)))
    assert learned(again) == learned(whole)
    assert [event.begun for event in heard(tmp_path)[:3]] == [12] * 3
    assert [event.validation.step for event in heard(tmp_path) if event.validation] == [15] * 3 + [20] * 3
    assert steps_kept(keeping) == [(3, 20), (3, 12)]  # over, for whoever is interrupted before its results are stored


def test_each_member_goes_on_from_where_it_has_come_furthest(trials: list[Trial], keeping: Keeping, tmp_path: Path) -> None:
    whole = worker.work(job(trials, tmp_path / "whole", None))
    interrupted(trials[:2], keeping, 7)
    interrupted(trials[1:2], keeping, 9)
    parts = parts_of(trials, keeping, pytest.fail)
    assert [(part.places, part.begun.step if part.begun else 0) for part in parts] == [((1,), 9), ((0,), 7), ((2,), 0)]
    again = worker.work(job(trials, tmp_path, keeping))
    assert learned(again) == learned(whole)
    assert [outcome.members for outcome in again] == [1, 1, 1]


def test_where_company_matters_it_goes_on_in_the_same_company_alone(trials: list[Trial], keeping: Keeping) -> None:
    on_gpu = [replace(trial, device="cuda") for trial in trials]
    unfinished.keep(keeping.folder.resolve(), ["none of these"], 3, b"")
    interrupted(trials, keeping, 3)
    content = next(file for file in unfinished.trainings(keeping.folder) if len(file.header.keys) == 3).content()
    assert content is not None
    snapshot = from_bytes(content)
    named = {trial.key: snapshot.members[other.key] for trial, other in zip(on_gpu, trials, strict=True)}
    _put(keeping, on_gpu, replace(snapshot, members=named))
    assert [part.places for part in parts_of(on_gpu, keeping, pytest.fail)] == [(0, 1, 2)]
    assert [part.begun for part in parts_of(on_gpu[:2], keeping, pytest.fail)] == [None]
    assert [part.begun for part in parts_of(on_gpu[::-1], keeping, pytest.fail)] == [None]


def _put(keeping: Keeping, trials: Sequence[Trial], snapshot: Snapshot) -> None:
    keeper = Keeper(replace(keeping, interval=60.0), trials, snapshot, pytest.fail)
    keeper(lambda: snapshot)
    keeper.finish()


def test_a_damaged_file_is_told_of_and_the_one_before_it_used(trials: list[Trial], keeping: Keeping) -> None:
    interrupted(trials, keeping, 6)
    last, before = unfinished.trainings(keeping.folder)
    last.path.write_bytes(last.path.read_bytes()[:-10])
    notes: list[str] = []
    [part] = parts_of(trials, keeping, notes.append)
    assert part.begun is not None
    assert part.begun.step == 5
    assert notes == [f"{last.path}: is damaged and not used; the training goes on from an earlier moment, or begins anew"]
    before.path.write_bytes(before.path.read_bytes().partition(b"\n")[0])
    assert [part.begun for part in parts_of(trials, keeping, notes.append)] == [None]
    assert [part.begun for part in parts_of([replace(trials[0], length=9)], keeping, pytest.fail)] == [None]  # another key


def test_no_room_costs_a_sentence_and_no_training(
    trials: list[Trial], keeping: Keeping, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = worker.work(job(trials, tmp_path / "whole", None))

    def full(*_: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(unfinished, "put", full)
    assert learned(worker.work(job(trials, tmp_path, keeping))) == learned(whole)
    notes = {event.note for event in heard(tmp_path) if event.note}
    assert len(notes) == 1
    assert "a training could not be kept: No space left on device; it goes on" in notes.pop()


def test_a_plugin_that_removes_the_folder_loses_nothing(trials: list[Trial], keeping: Keeping, tmp_path: Path) -> None:
    whole = worker.work(job(trials, tmp_path / "whole", None))
    interrupted(trials, keeping, 6)
    for file in unfinished.trainings(keeping.folder):
        file.path.unlink()
    keeping.folder.rmdir()
    assert learned(worker.work(job(trials, tmp_path, keeping))) == learned(whole)


def test_time_before_the_interruption_is_added(trials: list[Trial], keeping: Keeping, tmp_path: Path) -> None:
    interrupted(trials, keeping, 6)
    [part] = parts_of(trials, keeping, pytest.fail)
    assert part.begun is not None
    assert 0 < part.begun.seconds < 60
    _put(keeping, trials, replace(part.begun, step=7, seconds=1000.0, compile_seconds=10.0))
    for outcome in worker.work(job(trials, tmp_path, keeping)):
        assert outcome.train_seconds is not None
        assert 1000 < outcome.train_seconds < 1060
        assert outcome.compile_seconds == 10.0


def test_a_short_training_is_not_kept(trials: list[Trial], keeping: Keeping, tmp_path: Path) -> None:
    worker.work(job(trials, tmp_path, replace(keeping, interval=60.0)))
    assert not keeping.folder.exists()


def test_writing_takes_a_small_part_of_the_time(tiny: Trial, keeping: Keeping, monkeypatch: pytest.MonkeyPatch) -> None:
    moments = iter(range(1000))
    monkeypatch.setattr("time.monotonic", lambda: float(next(moments)))  # a second passes between two looks at the clock
    keeper = Keeper(replace(keeping, interval=2.0), [tiny], None, pytest.fail)
    taken: list[int] = []

    def take() -> Snapshot:
        taken.append(next(moments))
        return Snapshot(1, {}, {})

    for _ in range(200):
        keeper(take)
    assert len(taken) >= 3
    waits = [after - before for before, after in itertools.pairwise(taken)]
    assert min(waits) >= 2 / MOST_SHARE  # writing took two seconds


@pytest.mark.skipif(sys.platform != "linux", reason="masks of signals are seen in /proc")
def test_a_run_that_ends_has_its_trainings_kept_first(trials: list[Trial], keeping: Keeping, tmp_path: Path) -> None:
    """A worker has a moment for that, whatever ended the run; and Ctrl-C does not reach what workers are forked from."""
    long = [replace(trial, training=replace(trial.training, steps=1_000_000)) for trial in trials]
    with LocalPool(1) as executor:
        whole = job(long, tmp_path, replace(keeping, interval=1000.0))
        executor.submit(worker.work, replace(whole, channel=executor.channel))
        steps = [0]
        while steps[-1] < 100:
            executor.wait([], 0.05)
            steps += [event.validation.step for event in executor.events() if event.validation]
        assert not keeping.folder.exists()
        [server] = [pid for pid in processes.descendants(os.getpid()) if b"forkserver" in Path(f"/proc/{pid}/cmdline").read_bytes()][:1]
        [blocked] = [line for line in Path(f"/proc/{server}/status").read_text().splitlines() if line.startswith("SigBlk:")]
        assert int(blocked.split()[1], 16) & 1 << signal.SIGINT - 1
    [(members, step)] = steps_kept(keeping)
    assert members == 3
    assert step >= steps[-1]
    [part] = parts_of(long, keeping, pytest.fail)
    assert part.begun is not None
