"""Kills, fills and disconnects for real, and checks that nothing is lost and everything is told."""

from __future__ import annotations

import contextlib
import json
import os
import platform
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pandas as pd
import pytest

from suite.execution import processes

from .running import UNTRACKED, environment, suite, tiny_plan

BAD = """
import os, signal, sys
from torch import nn
from suite import Variant, hookimpl


class Base(nn.Module):
    def __init__(self, input_size, hidden_size):
        super().__init__()
        self.linear = nn.Linear(input_size, hidden_size)
        self.calls = 0

    def forward(self, x):
        self.calls += 1
        y = self.linear(x)
        return self.spoil(y) if self.calls > 5 else y


class Raises(Base):
    def spoil(self, y):
        raise RuntimeError("I give <b>up</b>")


class Unbuildable(Base):
    def __init__(self, input_size, hidden_size):
        raise ValueError("cannot be built")


class Spoilt(Base):
    def spoil(self, y):
        return y * float("nan")


class Short(Base):
    def forward(self, x):
        return self.linear(x)[:, 1:]


class Exits(Base):
    def spoil(self, y):
        sys.exit(3)


class Killed(Base):
    def spoil(self, y):
        os.kill(os.getpid(), signal.SIGKILL)


@hookimpl
def suite_variants():
    for kind in (Raises, Unbuildable, Spoilt, Short, Exits, Killed):
        yield Variant(kind.__name__.lower(), kind)
"""


BAD_TASK = """
from suite import Goal, Task, hookimpl


def draw(rng, batch_size, length):
    raise IndexError("no such luck")


@hookimpl
def suite_tasks():
    yield Task("bad", draw, 1, 1, "mse", lambda length: 1.0, lambda length: Goal("loss", below=0.1))
"""

WILD = """
from torch import nn
from suite import Variant, hookimpl


class Wild(nn.Linear):
    def forward(self, x):
        return 1000 * super().forward(x)


@hookimpl
def suite_variants():
    yield Variant("wild", Wild)
"""


def bad_root(folder: Path) -> str:
    (folder / "more" / "plugins").mkdir(parents=True)
    (folder / "more" / "plugins" / "bad.py").write_text(BAD)
    return str(folder / "more")


def test_bad_variants_are_recorded_and_stop_no_other(tmp_path: Path) -> None:
    plan = tiny_plan(tmp_path, **{'"gru"': '"raises", "unbuildable", "spoilt", "short", "exits", "killed"'})
    plan.write_text(plan.read_text() + "[timing]\nlengths = [8]\nrepeats = 2\nhidden_size = 6\n")
    words = ("run", plan, "--tasks", "adding", "--seeds", "1")
    done = suite(*words, cwd=tmp_path, code=1, SUITE_PATH=bad_root(tmp_path))
    assert "6 of 7 trials did not end well" in done.stderr
    frame = pd.read_csv(tmp_path / "runs" / "tiny" / "report" / "results.csv")
    status = frame[frame["axis"] != "speed"].groupby("variant")["status"].first().to_dict()
    assert status == {
        "lstm": "ok", "raises": "failed", "unbuildable": "failed", "spoilt": "diverged", "short": "failed", "exits": "failed", "killed": "crashed",
    }  # fmt: skip
    assert "lstm" in set(frame.loc[frame["axis"] == "speed", "variant"])
    page = (tmp_path / "runs" / "tiny" / "report" / "index.html").read_text()
    for words_ in ("I give &lt;b&gt;up&lt;/b&gt;", "cannot be built", "must give (B, T, O)", "SystemExit: 3", "SIGKILL", "not finite"):
        assert words_ in page, words_
    assert "<b>up</b>" not in page


def _hear_interrupts() -> None:
    """A shell lets what it starts in the background ignore interrupts, and so would all that the tests start."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


@contextlib.contextmanager
def started(*words: str | Path, cwd: Path) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-m", "suite", *map(str, words), *UNTRACKED]
    with subprocess.Popen(
        command,
        cwd=cwd,
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        preexec_fn=_hear_interrupts,
    ) as process:
        try:
            yield process
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)


def wait_for_trials(folder: Path, count: int, process: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + 120
    while len(list((folder / "runs" / "tiny" / "trials").glob("*.json"))) < count:
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline, "no trial finished"
        time.sleep(0.05)


def slow_plan(folder: Path) -> Path:
    return tiny_plan(folder, **{"steps = 20": "steps = 600", "seeds = [0, 1]": "seeds = [0, 1, 2, 3]"})


@pytest.mark.slow
def test_a_killed_run_goes_on_where_it_was(tmp_path: Path) -> None:
    plan = slow_plan(tmp_path)
    with started("run", plan, cwd=tmp_path) as process:
        wait_for_trials(tmp_path, 2, process)
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    kept = {path.name: path.stat().st_mtime_ns for path in (tmp_path / "runs" / "tiny" / "trials").glob("*.json")}
    assert 2 <= len(kept) < 16
    done = suite("run", plan, cwd=tmp_path)
    assert f"{len(kept)} finished before, {16 - len(kept)} to do" in done.stdout
    after = {path.name: path.stat().st_mtime_ns for path in (tmp_path / "runs" / "tiny" / "trials").glob("*.json")}
    assert len(after) == 16
    assert {name: after[name] for name in kept} == kept


def to_all(process: subprocess.Popen[str]) -> None:
    """Ctrl-C on a terminal goes to the run and its workers."""
    os.killpg(process.pid, signal.SIGINT)


def to_the_run(process: subprocess.Popen[str]) -> None:
    """A batch system, `timeout` or `kill` tells the run alone; its workers must end with it."""
    process.send_signal(signal.SIGTERM)


@pytest.mark.parametrize("interrupt", [to_all, to_the_run])
def test_an_interrupt_ends_with_130_and_leaves_no_process(tmp_path: Path, interrupt: Callable[[subprocess.Popen[str]], None]) -> None:
    with started("run", slow_plan(tmp_path), cwd=tmp_path) as process:
        wait_for_trials(tmp_path, 1, process)
        below = processes.descendants(process.pid)
        assert len(below) >= 3, "a server of processes, a warden and its worker"
        interrupt(process)
        _, errors = process.communicate(timeout=60)
        assert process.returncode == 130, errors
        assert "finished trials are kept" in errors
        assert "Traceback" not in errors
        deadline = time.monotonic() + 10
        while (left := [pid for pid in below if processes.alive(pid)]) and time.monotonic() < deadline:
            time.sleep(0.1)
        assert left == []
    for path in (tmp_path / "runs" / "tiny" / "trials").glob("*.json"):
        assert json.loads(path.read_text())["status"] == "ok"


PROMPT_SECONDS = 15.0
"""Within so much a run ends whose folder is gone; a busy machine has its time."""


def test_a_runs_folder_removed_while_at_work_is_told_at_once_in_one_line(tmp_path: Path) -> None:
    """Though no trial ends for hours."""
    ledger = tmp_path / "runs" / "tiny" / "ledger.json"
    with started("run", tiny_plan(tmp_path, **{"steps = 20": "steps = 9000000"}), cwd=tmp_path) as process:
        deadline = time.monotonic() + 120
        while not ledger.is_file() and time.monotonic() < deadline:
            time.sleep(0.05)
        time.sleep(1.0)
        assert process.poll() is None, process.communicate()
        shutil.rmtree(tmp_path / "runs", ignore_errors=True)
        removed = time.monotonic()
        _, errors = process.communicate(timeout=120)
        assert time.monotonic() - removed < PROMPT_SECONDS, "it went on training"
        assert process.returncode == 2, errors
        assert "Traceback" not in errors
        [line] = [line for line in errors.splitlines() if line.startswith("error: ")]
        assert "removed while" in line


def test_a_path_that_doctor_cannot_look_at_is_a_line(tmp_path: Path) -> None:
    done = suite("doctor", "--runs", tmp_path / ("x" * 300), cwd=tmp_path)
    assert "cannot be looked at" in done.stdout


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"hidden_size = 6": "hidden_size = 60000"}, "needs at least"),
        ({"lengths = [6]": "lengths = [1000000]", "hidden_size = 6": "hidden_size = 200"}, "needs at least"),
    ],
    ids=["hidden_size", "length"],
)
def test_what_cannot_fit_in_memory_is_told_in_one_line(tmp_path: Path, change: dict[str, str], message: str) -> None:
    done = suite("run", tiny_plan(tmp_path, **change), cwd=tmp_path, code=2)
    assert message in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


def test_a_task_that_cannot_be_drawn_is_told_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "more" / "tasks").mkdir(parents=True)
    (tmp_path / "more" / "tasks" / "bad.py").write_text(BAD_TASK)
    plan = tiny_plan(tmp_path, **{'{ name = "adding", lengths = [6] }': '{ name = "bad", lengths = [6] }'})
    done = suite("run", plan, "--path", tmp_path / "more", cwd=tmp_path, code=2)
    assert "task 'bad'" in done.stderr
    assert "draw raised IndexError: no such luck" in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


@pytest.mark.slow
def test_a_loss_that_explodes_without_end_is_diverged(tmp_path: Path) -> None:
    """It stays finite, a million times the baseline and more."""
    plan = tiny_plan(tmp_path, **{'"gru"': '"wild"', "learning_rates = [0.01]": "learning_rates = [1000.0]"})
    (tmp_path / "more" / "plugins").mkdir(parents=True)
    (tmp_path / "more" / "plugins" / "wild.py").write_text(WILD)
    done = suite("run", plan, "--variants", "wild", "--tasks", "adding", "--seeds", "1", "--path", tmp_path / "more", cwd=tmp_path, code=1)
    assert "diverged: the " in done.stdout
    assert "more than 1e+06 times the baseline" in done.stdout


@pytest.mark.slow
def test_a_second_run_in_the_same_folder_is_refused(tmp_path: Path) -> None:
    plan = slow_plan(tmp_path)
    with started("run", plan, cwd=tmp_path) as process:
        wait_for_trials(tmp_path, 1, process)
        refused = suite("run", plan, cwd=tmp_path, code=2).stderr
        assert f"another run is at work here (process {process.pid} on {platform.node()}, since " in refused


def test_a_runs_folder_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    done = suite("run", tiny_plan(tmp_path), "--runs", tmp_path / "file", cwd=tmp_path, code=2)
    assert "cannot be written" in done.stderr


def test_a_full_disk_leaves_nothing_half_written(tmp_path: Path) -> None:
    runs = tmp_path / "small"
    runs.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(runs)], capture_output=True, text=True)
    if mounted.returncode:
        pytest.skip(f"no small file system can be mounted here: {mounted.stderr.strip()}")
    try:
        done = suite("run", tiny_plan(tmp_path), "--runs", runs, cwd=tmp_path, code=2)
        assert "No space left on device" in done.stderr
        assert "finished trials are kept" in done.stderr
        for path in runs.rglob("*.json"):
            json.loads(path.read_text())
        assert not list(runs.rglob(".*.json.*"))
    finally:
        subprocess.run(["umount", str(runs)], check=True)


@pytest.mark.slow
def test_a_tracking_server_that_is_gone_costs_no_result(tmp_path: Path) -> None:
    plan = tiny_plan(tmp_path)
    words = ("run", plan, "--tasks", "adding", "--seeds", "1")
    done = suite(*words, cwd=tmp_path, track=True, MLFLOW_TRACKING_URI="http://127.0.0.1:9", MLFLOW_HTTP_REQUEST_MAX_RETRIES="0")
    assert "MLflow at http://127.0.0.1:9" in done.stderr
    assert "the next run mirrors them" in done.stderr
    assert (tmp_path / "runs" / "tiny" / "report" / "index.html").is_file()
    suite(*words, cwd=tmp_path, track=True)
    script = "import sys, mlflow\nc = mlflow.MlflowClient('sqlite:///' + sys.argv[1])\ne = c.get_experiment_by_name('tiny')\n"
    script += "print(sum('suite.trial_key' in r.data.tags for r in c.search_runs([e.experiment_id])))"
    command = [sys.executable, "-c", script, str(tmp_path / "runs" / "mlflow.db")]
    out = subprocess.run(command, env=environment(MLFLOW_DISABLE_TELEMETRY="true"), capture_output=True, text=True, check=True).stdout
    assert out.split()[-1] == "2"


def test_a_plugin_that_ends_the_process_that_imports_it_is_named_and_the_others_run(tmp_path: Path) -> None:
    (tmp_path / "plugins").mkdir()
    (tmp_path / "plugins" / "aborting.py").write_text("import os\n\n\nos.abort()\n")
    words = ("run", tiny_plan(tmp_path), "--variants", "lstm", "--tasks", "adding", "--seeds", "1", "--path", ".", "--device", "cpu")
    done = suite(*words, cwd=tmp_path)
    assert f"warning: {tmp_path / 'plugins' / 'aborting.py'}: ends its process by SIGABRT when imported" in done.stderr
    assert (tmp_path / "runs" / "tiny" / "report" / "index.html").is_file()
    asked = suite("run", "smoke", "--variants", "aborting", "--path", ".", cwd=tmp_path, code=2)
    assert "error: variant 'aborting' cannot be used: " in asked.stderr
    checked = suite("check", "plugins/aborting.py", cwd=tmp_path, code=1)
    assert "aborting.py:4)" in "".join(checked.stdout.split())
