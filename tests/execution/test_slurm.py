"""Checks the slurm executor without Slurm: in jobs of this machine, in this process, and with commands that stand in for Slurm's."""

from __future__ import annotations

import os
import re
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from suite import SuiteError, api
from suite.execution import batch, jobs, processes
from suite.execution.carrying import News
from suite.execution.choosing import chosen
from suite.execution.executor import Pool
from suite.plan.choices import Choice, parse_choice
from suite.registry.finder import discover

from ..running import suite, tiny_plan
from . import slurm_commands
from .killing import Killing, learned, prepared
from .test_executor import Processes, died

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
