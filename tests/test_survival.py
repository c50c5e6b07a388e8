"""Lets variants crash, hang, grow, fork and print for real, and checks that each has its row and harms no other."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from .running import UNTRACKED, environment, suite, tiny_plan

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

    at = 7


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
    at = 17

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
    at = 50

    def spoil(self, y):
        return y * float("nan")


def guilty(module):
    calm = "SUITE_CALM" in os.environ or multiprocessing.current_process().name == "MainProcess"
    return not calm and float(module.linear.weight[0, 0]) > 0


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
    at = 3

    def spoil(self, y):
        if not Path(os.environ["SUITE_ONCE"]).exists():
            Path(os.environ["SUITE_ONCE"]).touch()
            os.abort()
        return y


@hookimpl
def suite_variants():
    for kind in Base.__subclasses__():
        yield Variant(kind.__name__.lower(), kind)
"""

TIMEOUT = 6.0

ENDS: dict[str, tuple[str, str, int | None]] = {
    "lstm": ("ok", "", None),
    "raises": ("failed", "RuntimeError: I give up", 7),
    "exits": ("crashed", "its process ended with code 1", None),
    "aborts": ("crashed", "its process was killed by SIGABRT", None),
    "falls": ("crashed", "its process was killed by SIGSEGV", 10),
    "grows": ("oom", "GiB together, and 1 GiB are allowed", None),
    "starves": ("oom", "can't allocate memory", 7),
    "loops": ("timeout", f"was not done after {TIMEOUT:g} s, its time limit", None),
    "sleeps": ("timeout", f"was not done after {TIMEOUT:g} s, its time limit", None),
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


def run(folder: Path, runs: str, variants: str, *words: str, code: int = 1, **changes: str) -> subprocess.CompletedProcess[str]:
    where = ("--path", "more", "--runs", runs, "--tasks", "adding", "--device", "cpu")
    return suite("run", "tiny.toml", "--variants", variants, *where, *words, cwd=folder, code=code, **changes)


def rows(folder: Path, runs: str, variants: str, *words: str) -> list[dict[str, Any]]:
    where = ("--path", "more", "--runs", runs, "--tasks", "adding", "--device", "cpu")
    done = suite("status", "tiny.toml", "--variants", variants, *where, *words, "--json", cwd=folder)
    listed: list[dict[str, Any]] = json.loads(done.stdout)
    return listed


def left(mark: str) -> list[str]:
    """The processes that were begun with this mark in their environment, which they all inherit."""
    found = []
    for place in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if f"SUITE_MARK={mark}".encode() in (place / "environ").read_bytes() and b") Z " not in (place / "stat").read_bytes():
                found.append((place / "cmdline").read_text())
    return found


def test_each_fault_has_its_status_and_harms_no_other(folder: Path) -> None:
    mark = str(time.time_ns())
    begun = time.monotonic()
    done = run(folder, "all", ",".join(ENDS), "--timeout", f"{TIMEOUT:g}", "--memory", "1", "--workers", "2", SUITE_MARK=mark)
    assert time.monotonic() - begun < 120
    assert left(mark) == []
    assert "9 of 14 trials did not end well (1 failed, 3 crashed, 2 oom, 2 timeout, 1 diverged)" in done.stderr
    table = {row["variant"]: row for row in rows(folder, "all", ",".join(ENDS))}
    assert set(table) == set(ENDS)
    for variant, (status, reason, last_step) in ENDS.items():
        row = table[variant]
        assert (row["status"], row["last_step"]) == (status, last_step), row
        assert reason in row["reason"], row
        assert {"key", "task", "length", "seed", "learning_rate", "seconds"} <= set(row)
    traceback = {variant: json.loads(_file(folder, "all", table[variant]["key"]).read_text())["traceback"] for variant in ENDS}
    for variant in ("raises", "falls", "aborts", "loops", "sleeps", "grows"):
        assert "spoil" in traceback[variant], f"{variant} does not say where it was: {traceback[variant]}"
    run(folder, "healthy", "lstm,gru", "--workers", "1", code=0)
    assert [row["learning_digest"] for row in rows(folder, "healthy", "lstm,gru")] == [
        table[name]["learning_digest"] for name in ("lstm", "gru")
    ]
    page = (folder / "all" / "tiny" / "report" / "index.html").read_text()
    for words in (
        "1 failed (their plugin raised)",
        "3 crashed (their process died)",
        "2 ran out of memory (oom)",
        "2 went beyond their time (timeout)",
    ):
        assert words in page, words


def _file(folder: Path, runs: str, key: str) -> Path:
    return folder / runs / "tiny" / "trials" / f"{key}.json"


@pytest.mark.parametrize(("variant", "status"), [("partly", "crashed"), ("hanging", "timeout")])
def test_of_a_population_the_guilty_stand_alone(folder: Path, variant: str, status: str) -> None:
    words = ("--seeds", "6", "--workers", "1")
    run(folder, f"calm-{variant}", variant, *words, code=0, SUITE_CALM="1")
    calm = rows(folder, f"calm-{variant}", variant, "--seeds", "6")
    run(folder, variant, variant, *words, "--timeout", "4")
    table = rows(folder, variant, variant, "--seeds", "6")
    statuses = [row["status"] for row in table]
    assert set(statuses) == {"ok", status}
    for row, undisturbed in zip(table, calm, strict=True):
        assert row["key"] == undisturbed["key"]
        if row["status"] == "ok":
            assert row["learning_digest"] == undisturbed["learning_digest"]
        else:
            assert row["reason"] in {"its process was killed by SIGABRT", "was not done after 4 s, its time limit"}


def test_a_variant_that_hangs_has_its_row_two_seconds_after_its_limit(folder: Path) -> None:
    """From the moment the trial was taken up, which is when its file of events says so: the run is at work on nothing else."""
    command = [sys.executable, "-m", "suite", "run", "tiny.toml", "--variants", "sleeps", "--tasks", "adding", "--path", "more"]
    command += ["--runs", "hang", "--device", "cpu", "--timeout", "3", *UNTRACKED]
    with subprocess.Popen(command, cwd=folder, env=environment(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        ledger, trials = folder / "hang" / "tiny" / "ledger.json", folder / "hang" / "tiny" / "trials"
        _wait_for(ledger.is_file)  # it is written just before the processes are begun
        begun = time.monotonic()
        _wait_for(lambda: any(trials.glob("*.json")))
        seconds = time.monotonic() - begun
        assert process.wait(120) == 1
    assert 3.0 <= seconds < 3.0 + 2.0 + STARTING_SECONDS
    [row] = rows(folder, "hang", "sleeps")
    assert row["status"] == "timeout"


STARTING_SECONDS = 20.0
"""A server of processes imports torch first, which takes long on a machine that does other work."""


def _wait_for(condition: Any) -> None:
    until = time.monotonic() + 120
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.02)


def test_a_crash_is_tried_again_where_that_is_asked_for(folder: Path, tmp_path: Path) -> None:
    run(folder, "once", "once", "--retries", "1", code=0, SUITE_ONCE=str(tmp_path / "tried"))
    assert [row["status"] for row in rows(folder, "once", "once")] == ["ok"]
    run(folder, "again", "aborts", "--retries", "2")
    assert [row["reason"] for row in rows(folder, "again", "aborts")] == ["its process was killed by SIGABRT (in each of 3 attempts)"]


def test_after_so_many_failures_nothing_more_is_begun_and_nothing_skipped_is_stored(folder: Path) -> None:
    done = run(folder, "fast", "raises,lstm,gru", "--fail-fast", "--workers", "1")
    assert "3 of 3 trials did not end well" in done.stderr or "2 skipped" in done.stderr
    table = {row["variant"]: row["status"] for row in rows(folder, "fast", "raises,lstm,gru")}
    assert table["raises"] == "failed"
    stored = len(list((folder / "fast" / "tiny" / "trials").glob("*.json")))
    assert stored == sum(status != "pending" for status in table.values()) < 3
    run(folder, "fast", "raises,lstm,gru")
    assert [row["status"] for row in rows(folder, "fast", "raises,lstm,gru")] == ["failed", "ok", "ok"]


def test_without_workers_it_runs_in_this_process_to_the_same_bits(folder: Path) -> None:
    run(folder, "inline", "lstm,raises", "--workers", "0")
    run(folder, "apart", "lstm,raises", "--workers", "2")
    here, there = rows(folder, "inline", "lstm,raises"), rows(folder, "apart", "lstm,raises")
    assert [(row["status"], row["learning_digest"]) for row in here] == [(row["status"], row["learning_digest"]) for row in there]
    assert [row["status"] for row in here] == ["ok", "failed"]


def test_without_workers_limits_are_said_to_hold_nothing(folder: Path) -> None:
    done = run(folder, "unlimited", "lstm", "--workers", "0", "--timeout", "100", code=0)
    assert "work in this process is held to no limit of time or memory" in done.stderr


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--timeout", "0"), "limits.timeout"),
        (("--memory", "-1"), "limits.memory"),
    ],
)
def test_a_limit_out_of_range_is_told_in_one_line(folder: Path, words: tuple[str, ...], message: str) -> None:
    done = run(folder, "wrong", "lstm", *words, code=2)
    assert message in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


def test_limits_are_part_of_no_key_and_change_no_report(folder: Path) -> None:
    run(folder, "limits", "lstm", code=0)
    before = [row["key"] for row in rows(folder, "limits", "lstm")]
    (folder / "limited.toml").write_text(
        (folder / "tiny.toml").read_text() + "[limits]\ntimeout = 500.0\nmemory = 20.0\nretries = 1\nmax_failures = 3\n"
    )
    text = (folder / "tiny.toml").read_text()
    try:
        (folder / "tiny.toml").write_text((folder / "limited.toml").read_text())
        assert [row["key"] for row in rows(folder, "limits", "lstm")] == before
        done = run(folder, "limits", "lstm", code=0)
        assert "nothing has changed" in done.stdout
    finally:
        (folder / "tiny.toml").write_text(text)
    assert os.listdir(folder / "limits" / "tiny" / "trials") == [f"{before[0]}.json"]
