"""Checks the slurm executor without Slurm: in jobs of this machine, in this process, and with commands that stand in for Slurm's."""

from __future__ import annotations

import os
import re
import signal
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

import pytest

from suite import SuiteError, api
from suite.execution import batch, jobs, processes
from suite.execution.choosing import chosen
from suite.execution.executor import Gone, Pool, answer
from suite.plan.choices import Choice, parse_choice
from suite.registry.finder import discover

from ..running import suite, tiny_plan
from . import slurm_commands
from .killing import Killing, learned, prepared
from .test_executor import Processes, died

Fact = TypeVar("Fact")

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def submitit() -> Iterator[object]:
    """Submitit, whose jobs see these tests beside the code that the suite ships."""
    module = pytest.importorskip("submitit", reason="the extra slurm is not installed")
    before = os.environ.get("PYTHONPATH")
    os.environ["PYTHONPATH"] = str(ROOT)
    yield module
    os.environ.pop("PYTHONPATH") if before is None else os.environ.__setitem__("PYTHONPATH", before)


@pytest.mark.slow
class TestDebug(Processes):
    @pytest.fixture(scope="class")
    @classmethod
    def executor(cls, submitit: object, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pool]:  # noqa: ARG003 -- for what it sets
        from suite.execution.slurm import _start

        with _start(2, "cpu", cluster="debug", folder=str(tmp_path_factory.mktemp("jobs"))) as pool:
            yield pool


@pytest.mark.slow
class TestJobs(Processes):
    @pytest.fixture(scope="class")
    @classmethod
    def executor(cls, submitit: object, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pool]:  # noqa: ARG003
        from suite.execution.slurm import _start

        with _start(4, "cpu", cluster="local", folder=str(tmp_path_factory.mktemp("jobs"))) as pool:
            yield pool


def job_processes() -> list[int]:
    """The processes of jobs that are at work, each of which has its call's below it."""
    below = processes.descendants(os.getpid())
    return [pid for pid in below if b"submitit.core._submit" in Path(f"/proc/{pid}/cmdline").read_bytes() and processes.descendants(pid)]


def everyone(*signals: int) -> None:
    """Send signals to all processes of the job that is at work, as Slurm does."""
    [job] = job_processes()
    for number in signals:
        for pid in (job, *processes.descendants(job)):
            os.kill(pid, number)


ENDS = {
    "killed": lambda: os.kill(job_processes()[0], signal.SIGKILL),
    "beyond its time": lambda: everyone(signal.SIGUSR2),
    "preempted": lambda: everyone(signal.SIGCONT, signal.SIGTERM, signal.SIGUSR2),
}

BOTH_TASKS = {', { name = "noisy", lengths = [6] }': ', { name = "noisy", lengths = [6] }', "steps = 20": "steps = 1000"}


@pytest.mark.slow
@pytest.mark.parametrize("end", ENDS)
def test_a_job_that_ends_before_its_call_goes_on_from_what_was_kept_and_costs_no_other(tmp_path: Path, submitit: object, end: str) -> None:
    assert submitit
    work = prepared(tmp_path, "there", f"slurm(cluster=local, folder={tmp_path / 'jobs'})", **BOTH_TASKS)
    listener = Killing(work.store.unfinished, ENDS[end], enough=1)
    there = api.execute(work, workers=1, options={"track": False}, more=[listener]).work
    assert listener.killed
    assert there.ends == {}
    twice = {key: steps for key, steps in listener.begun.items() if len(steps) > 1}
    assert len(listener.begun) == 8
    assert len(twice) == 4  # the seeds of the one population whose job ended
    assert all(first == 0 and second > 0 for first, second in twice.values()), twice
    assert set(listener.finished.values()) == {1}
    here = api.execute(prepared(tmp_path, "here", "local", **BOTH_TASKS), workers=1, options={"track": False}).work
    assert learned(there) == learned(here)
    assert not (tmp_path / "jobs").exists()


@pytest.fixture
def slurm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, submitit: object) -> Path:  # noqa: ARG001
    """A folder with what is asked of Slurm, whose commands are stood in for."""
    slurm_commands.install(tmp_path / "commands")
    (tmp_path / "slurm").mkdir()
    monkeypatch.setenv("PATH", f"{tmp_path / 'commands'}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("FAKE_SLURM", str(tmp_path / "slurm"))
    return tmp_path / "slurm"


def states(slurm: Path) -> set[str]:
    """How the jobs have ended, waited for."""
    until = time.monotonic() + 60
    while (ends := {file.read_text() for file in slurm.glob("*.state")}) & {"PENDING", "RUNNING"}:
        assert time.monotonic() < until
        time.sleep(0.1)
    return ends


@pytest.mark.slow
def test_a_run_is_an_array_of_jobs(tmp_path: Path, slurm: Path) -> None:
    plan = tiny_plan(tmp_path)
    words = ("run", plan, "--device", "cpu")
    suite(*words, "--executor", "slurm(partition=cpu, minutes=5)", "--workers", "2", cwd=tmp_path, PYTHONPATH=str(ROOT))
    [script] = slurm.glob("*.sh")
    assert re.search(r"#SBATCH --array=0-\d+%2\n", script.read_text())
    for flag in ("--partition=cpu", "--time=5", "--cpus-per-task=1", "--mem=4GB", "--requeue"):
        assert f"#SBATCH {flag}\n" in script.read_text()
    assert states(slurm) == {"COMPLETED"}
    assert not (tmp_path / "suite-jobs").exists()
    assert "nothing has changed" in suite(*words, cwd=tmp_path).stdout  # what jobs have learned is what is learned here


@pytest.mark.slow
def test_leaving_ends_jobs_that_are_at_work_and_cancels_those_that_wait(tmp_path: Path, slurm: Path) -> None:
    with batch_pool(tmp_path, 1) as pool:
        working, waiting = pool.submit(_wait, tmp_path / "begun"), pool.submit(pow, 2, 2)
        until = time.monotonic() + 120
        while not (tmp_path / "begun").exists():
            assert time.monotonic() < until
            time.sleep(0.1)
        assert not working.cancel()
        assert processes.alive(int((tmp_path / "begun").read_text()))
    assert waiting.cancelled()
    assert not processes.alive(int((tmp_path / "begun").read_text()))
    states(slurm)


def _wait(begun: Path) -> None:
    begun.write_text(str(os.getpid()))
    time.sleep(1000)


@pytest.mark.slow
def test_a_job_that_is_lost_again_and_again_is_told(tmp_path: Path, slurm: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from suite.execution import slurm as executor

    assert slurm
    monkeypatch.setattr(executor, "LOOK_SECONDS", {"slurm": 0.5})
    monkeypatch.setattr(executor, "GRACE_SECONDS", 0.5)
    monkeypatch.setattr(sys, "executable", "false")  # the Python of jobs
    with batch_pool(tmp_path, 2) as pool:
        told = died(pool, pool.submit(pow, 2, 2))
    assert re.match(
        r"its job was lost in each of 3 attempts \(last FAILED\); do all nodes see \S+jobs, and the Python of this machine\?", str(told)
    )


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Jobs are asked for often, and what was refused is soon submitted again."""
    from suite.execution import slurm as executor

    monkeypatch.setattr(executor, "LOOK_SECONDS", {"slurm": 0.3})
    monkeypatch.setattr(executor, "GRACE_SECONDS", 1.0)
    monkeypatch.setattr(executor, "RETRY_SECONDS", 0.3)


def command(slurm: Path, name: str, script: str) -> None:
    """Let one of Slurm's commands do something else."""
    (slurm.parent / "commands" / name).write_text(f"#!/bin/sh\n{script}\n")


def soon(happened: Callable[[], Fact]) -> Fact:
    """What is not so yet, but will be."""
    until = time.monotonic() + 60
    while not (fact := happened()):
        assert time.monotonic() < until
        time.sleep(0.05)
    return fact


def _wait_for(file: Path, begun: Path) -> int:
    with begun.open("a") as beginnings:
        beginnings.write(f"{os.getpid()}\n")
    soon(file.exists)
    return 4


@pytest.mark.slow
@pytest.mark.usefixtures("quick")
def test_a_refused_submission_is_tried_again_and_costs_no_job_at_work(tmp_path: Path, slurm: Path) -> None:
    (slurm / "limit").write_text("1")
    with batch_pool(tmp_path, 4) as pool:
        working = pool.submit(_wait_for, tmp_path / "go", tmp_path / "begun")
        soon((tmp_path / "begun").exists)
        later = [pool.submit(pow, 2, power) for power in range(3)]
        notes = soon(lambda: [event.note for event in pool.events() if event.note])
        assert notes == ["jobs could not be submitted, which is tried again: sbatch: error: QOSMaxSubmitJobPerUserLimit"]
        assert not working.done()
        (tmp_path / "go").touch()
        assert answer(pool, working) == 4
        assert [answer(pool, call) for call in later] == [1, 2, 4]
    assert len((tmp_path / "begun").read_text().split()) == 1


@pytest.mark.slow
@pytest.mark.usefixtures("quick")
def test_a_limit_of_submitted_jobs_that_an_array_exceeds_is_kept(tmp_path: Path, slurm: Path) -> None:
    (slurm / "limit").write_text("2")
    with batch_pool(tmp_path, 2) as pool:
        calls = [pool.submit(pow, 2, power) for power in range(5)]
        assert [answer(pool, call) for call in calls] == [1, 2, 4, 8, 16]


@pytest.mark.usefixtures("quick")
def test_jobs_that_are_refused_again_and_again_end_the_run(tmp_path: Path, slurm: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from suite.execution import slurm as executor

    monkeypatch.setattr(executor, "RETRY_SECONDS", 0.01)
    (slurm / "limit").write_text("0")
    with (
        batch_pool(tmp_path, 2) as pool,
        pytest.raises(
            Gone,
            match=r"jobs could not be submitted, 8 times in a row: sbatch: error: QOSMaxSubmitJobPerUserLimit; what is finished is kept",
        ),
    ):
        answer(pool, pool.submit(pow, 2, 2))


@pytest.mark.slow
@pytest.mark.usefixtures("quick")
def test_several_arrays_share_the_room_of_the_workers(tmp_path: Path, slurm: Path) -> None:
    with batch_pool(tmp_path, 2) as pool:
        calls = [pool.submit(_wait_for, tmp_path / "go", tmp_path / f"begun-{number}") for number in range(2)]
        soon(lambda: len(list(tmp_path.glob("begun-*"))) == 2)
        calls += [pool.submit(_wait_for, tmp_path / "go", tmp_path / f"begun-{number}") for number in range(2, 5)]
        time.sleep(2)  # for a second array, which would be submitted after half of that
        assert len(list(slurm.glob("*.sh"))) == 1
        (tmp_path / "go").touch()
        assert [answer(pool, call) for call in calls] == [4] * 5


@pytest.mark.slow
@pytest.mark.usefixtures("quick")
def test_without_accounts_a_dead_job_is_seen_all_the_same(tmp_path: Path, slurm: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    command(slurm, "sacct", "echo 'Slurm accounting storage is disabled' >&2; exit 1")
    monkeypatch.setattr(sys, "executable", "false")  # the Python of jobs
    with batch_pool(tmp_path, 2) as pool:
        assert "its job was lost in each of 3 attempts (last NOT LISTED)" in str(died(pool, pool.submit(pow, 2, 2)))


@pytest.mark.parametrize(
    ("squeue", "sacct", "states"),
    [
        ("echo '7_0|RUNNING'; echo '7_1|PENDING'", "exit 1", ["RUNNING", "PENDING"]),
        ("echo '7_0|RUNNING'", "exit 1", ["RUNNING", "NOT LISTED"]),
        ("echo '7_0|RUNNING'", "echo 'JobID|State|NodeList'; echo '7_1|TIMEOUT|node'", ["RUNNING", "TIMEOUT"]),
        ("echo '7_0|RUNNING'", "echo 'JobID|State|NodeList'; echo '7_1|RUNNING|node'", ["RUNNING", "NOT LISTED"]),
        ("exit 1", "echo 'JobID|State|NodeList'; echo '7_[0-1%2]|PENDING|'", ["PENDING", "PENDING"]),
        ("exit 1", "exit 1", ["UNKNOWN", "UNKNOWN"]),
        ("exec sleep 1000", "exec sleep 1000", ["UNKNOWN", "UNKNOWN"]),
    ],
)
def test_the_state_of_a_job_is_what_the_controller_says_and_else_the_accounts(
    slurm: Path, monkeypatch: pytest.MonkeyPatch, squeue: str, sacct: str, states: list[str]
) -> None:
    monkeypatch.setattr(batch, "ANSWER_SECONDS", 0.5)
    command(slurm, "squeue", squeue)
    command(slurm, "sacct", sacct)
    assert list(batch.states(["7_0", "7_1"]).values()) == states


@pytest.mark.slow
@pytest.mark.usefixtures("quick")
def test_a_slurm_that_hangs_holds_up_neither_the_mail_nor_leaving(tmp_path: Path, slurm: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jobs, "TOUCH_SECONDS", 0.1)
    begun = time.monotonic()
    with batch_pool(tmp_path, 2) as pool:
        working = pool.submit(_wait_for, tmp_path / "go", tmp_path / "begun")
        soon((tmp_path / "begun").exists)
        for name in ("squeue", "sacct", "sbatch"):
            command(slurm, name, f"echo {name} >> {tmp_path / 'asked'}; exec sleep 120")
        soon((tmp_path / "asked").exists)
        hanging = pool.submit(pow, 2, 2)
        soon(lambda: "sbatch" in (tmp_path / "asked").read_text())
        [present] = tmp_path.glob("jobs/run-*/present")
        shown = present.stat().st_mtime_ns
        soon(lambda: present.stat().st_mtime_ns > shown)
        (tmp_path / "go").touch()
        assert answer(pool, working) == 4
    assert hanging.cancelled()
    assert time.monotonic() - begun < 110  # less than Slurm's commands hang


@pytest.mark.slow
@pytest.mark.usefixtures("quick")
def test_a_job_that_is_taken_to_be_lost_is_cancelled(tmp_path: Path, slurm: Path) -> None:
    command(slurm, "squeue", "exit 0")
    command(slurm, "sacct", "exit 1")
    with batch_pool(tmp_path, 2) as pool:
        died(pool, pool.submit(_wait_for, tmp_path / "go", tmp_path / "begun"))
        assert {path.readlink() for path in tmp_path.glob("jobs/run-*/turns/*")} == {Path(jobs.WITHDRAWN)}
        soon(lambda: len(list(slurm.glob("*.state"))) == 3 and states(slurm) == {"CANCELLED by 0"})


@pytest.mark.slow
@pytest.mark.usefixtures("quick")
def test_a_job_that_slurm_begins_again_by_itself_is_not_taken_to_be_lost(
    tmp_path: Path, slurm: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from suite.execution import slurm as executor

    monkeypatch.setattr(executor, "GRACE_SECONDS", 3.0)
    (slurm / "recovers").touch()
    with batch_pool(tmp_path, 2) as pool:
        working = pool.submit(_wait_for, tmp_path / "go", tmp_path / "begun")
        soon((tmp_path / "begun").exists)
        os.killpg(int(next(iter(slurm.glob("*.pid"))).read_text()), signal.SIGKILL)  # as the death of its node
        soon(lambda: len((tmp_path / "begun").read_text().split()) == 2)
        time.sleep(4)  # for another look after the grace
        (tmp_path / "go").touch()
        assert answer(pool, working) == 4
    assert len(list(slurm.glob("*.sh"))) == 1


@pytest.mark.slow
@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("seconds", [0.1, 1e9], ids=["touched", "read"])
def test_a_folder_that_is_removed_ends_the_run(seconds: float, tmp_path: Path, slurm: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whether it is missed when it is touched, or when the mail is read."""
    assert slurm
    monkeypatch.setattr(jobs, "TOUCH_SECONDS", seconds)
    with batch_pool(tmp_path, 2) as pool:
        working = pool.submit(_wait_for, tmp_path / "go", tmp_path / "begun")
        soon((tmp_path / "begun").exists)
        [folder] = tmp_path.glob("jobs/run-*")
        folder.rename(tmp_path / "removed")
        with pytest.raises(Gone, match=r"run-\w+ was removed while the run was at work; what is finished is kept"):
            answer(pool, working)
    assert not folder.exists()


def batch_pool(folder: Path, workers: int) -> Pool:
    executor = chosen(Choice(**parse_choice(f"slurm(folder={folder / 'jobs'})")), discover())
    return executor.start(workers, "cpu")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            "partition=gpu",
            "Slurm refuses such jobs (--partition=gpu --time=60 --cpus-per-task=1 --mem=4096MB): sbatch: error: invalid partition specified: gpu",
        ),
        ("minutes=0", "minutes=0, cpus=1, gpus=0, memory=4: a job takes at least a minute and a CPU"),
        ("cluster=elsewhere", "option cluster: 'elsewhere' is not one of slurm, local, debug"),
    ],
)
def test_what_slurm_would_refuse_is_told_before_anything_is_trained(slurm: Path, options: str, message: str) -> None:
    with pytest.raises(SuiteError) as told:
        chosen(Choice(**parse_choice(f"slurm({options})")), discover()).count(None, "cpu")
    assert message in str(told.value)
    assert list(slurm.iterdir()) == []


def test_a_slurm_that_does_not_answer_is_told(slurm: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batch, "ANSWER_SECONDS", 0.2)
    (slurm.parent / "commands" / "sbatch").write_text("#!/bin/sh\nexec sleep 1000\n")
    with pytest.raises(SuiteError, match=r"sbatch does not answer within 0\.2 s; `sinfo` says how Slurm is"):
        batch.check(batch.wanted("cpu"))


def test_a_machine_without_slurm_is_told(monkeypatch: pytest.MonkeyPatch, submitit: object, tmp_path: Path) -> None:
    assert submitit
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(
        SuiteError, match=r"there is no sbatch here; begin the run on a machine that submits jobs to Slurm, or try it without"
    ):
        batch.check(batch.wanted("cpu"))
