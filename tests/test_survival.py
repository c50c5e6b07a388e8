"""Lets variants crash, hang, grow, fork and print for real, and checks that each has its row and harms no other."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from .running import environment, suite, tiny_plan

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="memory and foreign children are seen in /proc")

FAULTY = """
import ctypes, multiprocessing, os, sys, tempfile, time
from pathlib import Path
import torch
from torch import nn
from suite import Variant, hookimpl

KEPT = []


class Base(nn.Module):
    def __init__(self, input_size, hidden_size):
        super().__init__()
        self.linear = nn.Linear(input_size, hidden_size)
        self.steps = 0

    def forward(self, x):
        self.steps += self.training
        y = self.linear(x)
        return self.spoil(y) if self.training and self.steps == self.at else y

    at = 8  # in training step 7: the harness looks at a model once before it trains it


class Raises(Base):
    def spoil(self, y):
        raise RuntimeError("I give up")


class Exits(Base):
    def spoil(self, y):
        os._exit(1)


class Aborts(Base):
    def spoil(self, y):
        os.abort()


class Falls(Base):
    at = 18

    def spoil(self, y):
        ctypes.string_at(0)


class Grows(Base):
    def spoil(self, y):
        while True:
            KEPT.append(torch.ones(10_000_000))


class Starves(Base):
    def spoil(self, y):
        torch.empty(1 << 60)


class Loops(Base):
    def spoil(self, y):
        while True:
            pass


class Sleeps(Base):
    def spoil(self, y):
        time.sleep(10_000)


class Forks(Base):
    def spoil(self, y):
        for _ in range(50):
            if os.fork() == 0:
                os.setsid()
                time.sleep(10_000)
        return y


class Prints(Base):
    def spoil(self, y):
        for _ in range(1000):
            os.write(1, b"x" * 1_000_000)
        return y


class Fills(Base):
    def spoil(self, y):
        Path(tempfile.mkdtemp(), "file").write_bytes(b"x" * 1_000_000)
        os.chdir("/")
        return y


class Spoilt(Base):
    at = 51

    def spoil(self, y):
        return y * float("nan")


def guilty(module):
    calm = Path(__file__).with_name("calm").exists() or multiprocessing.current_process().name == "MainProcess"
    return not calm and float(module.linear.weight.detach()[0, 0]) > 0


class Partly(Base):
    at = -1

    def __init__(self, input_size, hidden_size):
        super().__init__(input_size, hidden_size)
        if guilty(self):
            os.abort()


class Hanging(Base):
    at = -1

    def __init__(self, input_size, hidden_size):
        super().__init__(input_size, hidden_size)
        if guilty(self):
            time.sleep(10_000)


class Once(Base):
    def spoil(self, y):
        if not Path(__file__).with_name("tried").exists():
            Path(__file__).with_name("tried").touch()
            os.abort()
        return y


@hookimpl
def suite_variants():
    for kind in Base.__subclasses__():
        yield Variant(kind.__name__.lower(), kind)
"""

RUNS = """
import json, os, sys, time
from pathlib import Path
from suite import machine
os.environ.update(machine.ENVIRONMENT)  # before torch is imported, since one run is in this process
from suite import api
from suite.execution.inline import InlinePool
from suite.execution.local import LocalPool
from suite.execution.run import invocation_of, run_trials
from suite.listeners.announce import Audience
from suite.plan import schema
from suite.status import status
from suite.execution.run import after


def run(runs, variants, workers=2, seeds=1, **limits):
    plan = schema.limited(schema.load("tiny.toml"), **limits)
    work = api.prepare(plan, Path(runs), "cpu", schema.Request("tiny.toml", variants, "adding", seeds))
    begun = time.monotonic()
    with LocalPool(workers) if workers else InlinePool() as executor:
        outcomes = run_trials(work, invocation_of(work, workers), executor, Audience(work.registry, {"track": False}), workers)
    stored = len(list((Path(runs) / "tiny" / "trials").glob("*.json")))
    rows = [vars(row) | {"traceback": outcomes[row.key].traceback} for row in status(after(work, outcomes))]
    return {"rows": rows, "seconds": time.monotonic() - begun, "stored": stored}


calm, done = Path("more/plugins/calm"), {}
done["healthy"] = run("healthy", "lstm,gru", workers=1)
timeout = max(4.0, done["healthy"]["seconds"])  # of a machine that does much other work a trial takes longer
done["all"] = run("all", sys.argv[1], timeout=timeout, memory=1.0)
calm.touch()
done["calm"] = run("calm", "partly,hanging", seeds=4)
calm.unlink()
done["guilty"] = run("guilty", "partly,hanging", workers=1, seeds=4, timeout=timeout)
done["once"] = run("once", "once", retries=1)
done["again"] = run("again", "aborts", retries=2)
done["fast"] = run("fast", "raises,lstm,gru", workers=1, max_failures=1)
done["inline"] = run("inline", "lstm,raises", workers=0)
print(json.dumps({"timeout": timeout, **done}))
"""
"""Runs in one process, which needs torch but once; prints what came of each."""

ENDS: dict[str, tuple[str, str, int | None]] = {
    "lstm": ("ok", "", None),
    "raises": ("failed", "RuntimeError: I give up", 7),
    "exits": ("crashed", "its process ended with code 1", None),
    "aborts": ("crashed", "its process was killed by SIGABRT", None),
    "falls": ("crashed", "its process was killed by SIGSEGV", 10),
    "grows": ("oom", "GiB together, and 1 GiB are allowed", None),
    "starves": ("oom", "can't allocate memory", 7),
    "loops": ("timeout", "s, its time limit", None),
    "sleeps": ("timeout", "s, its time limit", None),
    "forks": ("ok", "", None),
    "prints": ("ok", "", None),
    "fills": ("ok", "", None),
    "spoilt": ("diverged", "the training loss was not finite by step 50", 40),
    "gru": ("ok", "", None),
}
"""How each ends: status, a part of the reason, and the last step that is known."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("faulty")
    (folder / "more" / "plugins").mkdir(parents=True)
    (folder / "more" / "plugins" / "faulty.py").write_text(FAULTY)
    tiny_plan(folder, **{"seeds = [0, 1]": "seeds = [0]", "steps = 20": "steps = 60"})
    return folder


@pytest.fixture(scope="module")
def done(folder: Path) -> dict[str, Any]:
    """What came of each of the runs, with the processes that were left after the last."""
    mark = str(time.time_ns())
    command = [sys.executable, "-c", RUNS, ",".join(ENDS)]
    surroundings = environment(SUITE_MARK=mark, SUITE_PATH=str(folder / "more"))
    ended = subprocess.run(command, cwd=folder, env=surroundings, capture_output=True, text=True)
    assert ended.returncode == 0, ended.stderr
    return {**json.loads(ended.stdout.splitlines()[-1]), "left": left(mark)}


def left(mark: str) -> list[str]:
    """The processes that were begun with this mark in their environment, which they all inherit."""
    found = []
    for place in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if f"SUITE_MARK={mark}".encode() in (place / "environ").read_bytes() and b") Z " not in (place / "stat").read_bytes():
                found.append((place / "cmdline").read_text())
    return found


@pytest.mark.parametrize("variant", ENDS)
def test_each_fault_has_its_status_reason_and_last_step(done: dict[str, Any], variant: str) -> None:
    status, reason, last_step = ENDS[variant]
    [row] = [row for row in done["all"]["rows"] if row["variant"] == variant]
    assert (row["status"], row["last_step"]) == (status, last_step), row
    assert reason in row["reason"]


@pytest.mark.parametrize("variant", ["raises", "aborts", "falls", "grows", "starves", "loops", "sleeps"])
def test_a_fault_says_where_it_was(done: dict[str, Any], variant: str) -> None:
    [row] = [row for row in done["all"]["rows"] if row["variant"] == variant]
    assert "in spoil" in row["traceback"]


def test_healthy_trials_learn_the_same_beside_faults(done: dict[str, Any]) -> None:
    alone = {row["key"]: row["learning_digest"] for row in done["healthy"]["rows"]}
    beside = {row["key"]: row["learning_digest"] for row in done["all"]["rows"]}
    assert len(alone) == 2
    assert alone.items() <= beside.items()


def test_faults_take_bounded_time_and_leave_no_process(done: dict[str, Any]) -> None:
    """Two hang, and both workers have one of them at most twice as long as is allowed: the others take little."""
    assert done["all"]["seconds"] < 2 * done["timeout"] + 10 * done["healthy"]["seconds"]
    assert done["left"] == []


@pytest.mark.parametrize(("variant", "status"), [("partly", "crashed"), ("hanging", "timeout")])
def test_of_a_population_the_guilty_stand_alone(done: dict[str, Any], variant: str, status: str) -> None:
    calm = {row["key"]: row for row in done["calm"]["rows"] if row["variant"] == variant}
    rows = [row for row in done["guilty"]["rows"] if row["variant"] == variant]
    assert len(rows) == len(calm) == 4
    assert {row["status"] for row in calm.values()} == {"ok"}
    assert {row["status"] for row in rows} == {"ok", status}
    for row in rows:
        if row["status"] == "ok":
            assert row["learning_digest"] == calm[row["key"]]["learning_digest"]


def test_a_crash_is_tried_again_where_that_is_asked_for(done: dict[str, Any]) -> None:
    assert [row["status"] for row in done["once"]["rows"]] == ["ok"]
    assert [row["reason"] for row in done["again"]["rows"]] == ["its process was killed by SIGABRT (in each of 3 attempts)"]


def test_after_so_many_failures_nothing_more_is_begun_and_nothing_skipped_is_stored(done: dict[str, Any]) -> None:
    statuses = {row["variant"]: row["status"] for row in done["fast"]["rows"]}
    assert statuses["raises"] == "failed"
    assert "skipped" in statuses.values()
    assert done["fast"]["stored"] == sum(status != "skipped" for status in statuses.values())


def test_without_workers_it_runs_in_this_process_to_the_same_bits(done: dict[str, Any]) -> None:
    here = {row["variant"]: row for row in done["inline"]["rows"]}
    [there] = [row for row in done["healthy"]["rows"] if row["variant"] == "lstm"]
    assert here["lstm"]["learning_digest"] == there["learning_digest"]
    assert (here["raises"]["status"], here["raises"]["last_step"]) == ("failed", 7)


def test_the_command_ends_with_1_and_names_each_status(folder: Path) -> None:
    words = ("--variants", "lstm,sleeps,aborts", "--tasks", "adding", "--path", "more", "--runs", "told", "--device", "cpu")
    ended = suite("run", "tiny.toml", *words, "--timeout", "10", cwd=folder, code=1)
    assert "2 of 3 trials did not end well (1 timeout, 1 crashed); the report says which and why" in ended.stderr
    assert "timeout: was not done after 10 s, its time limit" in ended.stdout
    page = (folder / "told" / "tiny" / "report" / "index.html").read_text()
    for text in ("1 crashed (their process died)", "1 went beyond their time (timeout)", "killed by SIGABRT"):
        assert text in page
    listed = json.loads(suite("status", "tiny.toml", *words, "--json", cwd=folder).stdout)
    assert [row["status"] for row in listed] == ["ok", "timeout", "crashed"]
    assert {"key", "variant", "task", "length", "seed", "learning_rate", "status", "reason", "seconds"} <= set(listed[0])


def test_a_limit_out_of_range_is_told_in_one_line(folder: Path) -> None:
    words = ("run", "tiny.toml", "--variants", "lstm", "--runs", "wrong", "--timeout", "0")
    ended = suite(*words, cwd=folder, code=2)
    assert "limits.timeout" in ended.stderr
    assert len(ended.stderr.strip().splitlines()) == 1
