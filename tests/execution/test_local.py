"""Checks that local processes leave the caller as it was, leave nothing behind, and keep what they compile."""

from __future__ import annotations

import math
import os
import pickle
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest

from suite.execution import processes
from suite.execution.executor import answer
from suite.execution.local import LocalPool

from .test_executor import LINUX, _leave_sleepers, died


def test_the_callers_script_and_environment_are_as_before() -> None:
    main, before = sys.modules["__main__"], dict(os.environ)
    spec = main.__spec__
    with LocalPool(1) as executor:
        assert executor.submit(os.getenv, "OMP_NUM_THREADS").result(60) == "1"
    assert main.__spec__ is spec
    assert dict(os.environ) == before
    assert not executor.channel.exists()


def test_leaving_ends_what_is_at_work_and_cancels_what_waits(tmp_path: Path) -> None:
    with LocalPool(1) as executor:
        working = executor.submit(_leave_sleepers, tmp_path / "pids", "hangs", True)
        waiting = executor.submit(pow, 2, 2)
        until = time.monotonic() + 60
        while not (tmp_path / "pids").is_file() or not (tmp_path / "pids").read_text():
            assert time.monotonic() < until
            time.sleep(0.05)
        begun = time.monotonic()
    assert time.monotonic() - begun < 3.0
    assert waiting.cancelled()
    assert not working.done()
    assert [pid for pid in map(int, (tmp_path / "pids").read_text().split()) if processes.alive(pid)] == []


RUN = """
import pickle, sys, time
from pathlib import Path
from suite.execution.local import LocalPool
with LocalPool(1) as executor:
    executor.submit(*pickle.loads(bytes.fromhex(sys.argv[1])))
    time.sleep(1000)
"""


@LINUX
def test_a_run_that_is_killed_leaves_no_process(tmp_path: Path) -> None:
    script = (
        "import subprocess\nfrom pathlib import Path\n"
        "sleepers = []\n"
        "for _ in range(5):\n    sleepers.append(subprocess.Popen(['sleep', '1000'], start_new_session=True).pid)\n"
        f"Path({str(tmp_path / 'pids')!r}).write_text(' '.join(map(str, sleepers)))\nwhile True: pass"
    )
    call = pickle.dumps((exec, script)).hex()
    with subprocess.Popen([sys.executable, "-c", RUN, call], start_new_session=True) as run:
        try:
            until = time.monotonic() + 60
            while not (tmp_path / "pids").is_file() or not (tmp_path / "pids").read_text():
                assert time.monotonic() < until
                time.sleep(0.05)
            below = processes.descendants(run.pid)
            assert len(below) >= 8  # the sleepers, the worker, its warden, and the server of processes
        finally:
            os.kill(run.pid, signal.SIGKILL)
    until = time.monotonic() + 5
    while (left := [pid for pid in below if processes.alive(pid)]) and time.monotonic() < until:
        time.sleep(0.05)
    assert left == []


def _kill_its_warden() -> None:
    os.kill(os.getppid(), signal.SIGKILL)
    time.sleep(1000)


def test_a_warden_that_is_killed_is_replaced() -> None:
    with LocalPool(1) as executor:
        told = died(executor, executor.submit(_kill_its_warden))
        assert (str(told), told.status) == ("its process was ended together with the one that watched over it", "crashed")
        assert answer(executor, executor.submit(pow, 2, 10)) == 1024


TOLD_TO_END_WHILE_FORKED = """
import multiprocessing, os, pickle, signal, sys
from pathlib import Path
from suite import dropins
from suite.execution import warden
from suite.execution.executor import UNBOUNDED

def watch(near, connection):
    near.close()
    os.register_at_fork(after_in_child=lambda: os.kill(os.getpid(), signal.SIGTERM))
    warden.watch(connection, Path(sys.argv[1]) / "worker", 1 << 30, dropins.ROOTS, {})

context = multiprocessing.get_context("fork")
near, far = context.Pipe()
process = context.Process(target=watch, args=(near, far))
process.start()
far.close()
near.send(warden.Order(UNBOUNDED, pickle.dumps((pow, (2, 10)))))
print(near.recv().reason)
near.close()
process.join()
"""


def test_a_worker_that_is_told_to_end_while_it_is_forked_ends(tmp_path: Path) -> None:
    done = subprocess.run([sys.executable, "-c", TOLD_TO_END_WHILE_FORKED, str(tmp_path)], capture_output=True, text=True, timeout=60)
    assert (done.stdout, done.stderr) == ("its process was killed by SIGTERM\n", "")


def _compile(factor: float) -> float:
    import torch

    compiled = torch.compile(lambda x: (x * factor).sin().sum(), backend="inductor")
    return float(compiled(torch.ones(8)))


def _headers_among_what_is_emptied() -> bool:
    import torch._inductor.codecache as codecache

    return codecache._HEADER_DIR.startswith(tempfile.gettempdir())


def test_a_worker_keeps_what_it_compiles_apart_from_what_is_emptied() -> None:
    with LocalPool(1) as executor:
        assert not answer(executor, executor.submit(_headers_among_what_is_emptied))


@pytest.mark.slow
def test_a_worker_compiles_again_after_its_temporary_folder_was_emptied(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path))
    with LocalPool(1) as executor:
        for factor in (1.0, 2.0):
            assert answer(executor, executor.submit(_compile, factor)) == pytest.approx(8 * math.sin(factor))
