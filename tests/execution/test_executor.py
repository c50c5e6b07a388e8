"""Checks the executor's contract, which every executor keeps, and what one with processes promises beyond it: bounds, and nothing left behind."""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import pytest

from suite.execution import processes
from suite.execution.events import Event
from suite.execution.executor import Bounds, Died, Pool, answer
from suite.execution.inline import InlinePool
from suite.execution.local import LocalPool
from suite.execution.worker import sender
from suite.trial import Validation

LINUX = pytest.mark.skipif(sys.platform != "linux", reason="memory and foreign children are seen in /proc")


def _tell(channel: Path, number: int) -> None:
    sender(channel)(Event(str(number), Validation(number, {"loss": 0.5})))


def _fail_at_unpickling() -> None:
    raise Stubborn("one", "two")


class Stubborn(Exception):
    """An exception that cannot be unpickled, as many are that take several arguments."""

    def __init__(self, first: str, second: str) -> None:
        super().__init__(first + second)


class Contract:
    """What every executor promises."""

    @pytest.fixture(scope="class")
    @classmethod
    def executor(cls) -> Iterator[Pool]:
        raise NotImplementedError

    def test_a_call_gives_its_answer(self, executor: Pool) -> None:
        assert answer(executor, executor.submit(pow, 2, 10)) == 1024

    def test_what_a_call_raises_is_raised(self, executor: Pool) -> None:
        with pytest.raises(ZeroDivisionError):
            answer(executor, executor.submit(divmod, 1, 0))

    def test_calls_go_on_while_one_waits_for_any_of_them(self, executor: Pool) -> None:
        waiting = {executor.submit(pow, 3, power): power for power in range(8)}
        answers = {}
        while waiting:
            executor.wait(waiting, 0.1)
            for future in [future for future in waiting if future.done()]:
                answers[waiting.pop(future)] = future.result()
        assert answers == {power: 3**power for power in range(8)}

    def test_events_arrive_whole_and_before_the_end_of_their_call_is_told(self, executor: Pool) -> None:
        executor.events()
        calls = [executor.submit(_tell, executor.channel, number) for number in range(50)]
        heard: list[int] = []
        while not all(call.done() for call in calls):
            executor.wait([call for call in calls if not call.done()], 0.1)
            heard += [event.validation.step for event in executor.events() if event.validation]
        heard += [event.validation.step for event in executor.events() if event.validation]
        assert sorted(heard) == list(range(50))
        assert list(executor.events()) == []

    def test_a_call_that_is_cancelled_before_its_turn_is_never_begun(self, executor: Pool, tmp_path: Path) -> None:
        calls = [executor.submit(_touch, tmp_path / str(number)) for number in range(30)]
        cancelled = {number for number, call in enumerate(calls) if call.cancel()}
        assert cancelled
        for call in calls:
            if not call.cancelled():
                answer(executor, call)
        answer(executor, executor.submit(pow, 2, 2))
        assert {int(path.name) for path in tmp_path.iterdir()} == set(range(30)) - cancelled


def _touch(path: Path) -> None:
    time.sleep(0.02)
    path.touch()


class Processes(Contract):
    """What an executor promises whose calls have processes of their own."""

    def test_a_call_has_another_process(self, executor: Pool) -> None:
        assert answer(executor, executor.submit(os.getpid)) != os.getpid()

    def test_a_death_is_told_and_takes_no_other_along(self, executor: Pool) -> None:
        deaths: dict[Future[Any], str] = {
            executor.submit(os.abort): "its process was killed by SIGABRT",
            executor.submit(os._exit, 3): "its process ended with code 3",
            executor.submit(ctypes.string_at, 0): "its process was killed by SIGSEGV",
        }
        others = [executor.submit(pow, 2, power) for power in range(8)]
        for death, reason in deaths.items():
            told = died(executor, death)
            assert (str(told), told.status) == (reason, "crashed")
        assert [answer(executor, other) for other in others] == [2**power for power in range(8)]

    def test_a_death_by_a_fault_says_where_it_was(self, executor: Pool) -> None:
        assert "_fall" in died(executor, executor.submit(_fall)).output

    def test_a_kill_is_told_with_what_may_help(self, executor: Pool) -> None:
        told = died(executor, executor.submit(_kill_itself))
        assert str(told) == "its process was killed by SIGKILL; memory may have run out: try fewer --workers"

    def test_what_cannot_be_unpickled_is_told(self, executor: Pool) -> None:
        with pytest.raises(RuntimeError, match="Stubborn: onetwo"):
            answer(executor, executor.submit(_fail_at_unpickling))

    def test_an_interrupt_or_exit_that_a_call_raises_is_the_calls(self, executor: Pool) -> None:
        with pytest.raises(RuntimeError, match="KeyboardInterrupt"):
            answer(executor, executor.submit(_interrupt))
        with pytest.raises(RuntimeError, match="SystemExit: 3"):
            answer(executor, executor.submit(sys.exit, 3))

    @pytest.mark.parametrize("way", ["sleeps", "loops", "ignores signals"])
    def test_a_call_that_takes_too_long_is_ended_soon(self, executor: Pool, way: str) -> None:
        waited = _seconds(lambda: answer(executor, executor.submit(pow, 2, 2)))  # longer on a machine that does other work
        begun = time.monotonic()
        told = died(executor, executor.submit(_hang, way, bounds=Bounds(seconds=1.0)))
        assert 1.0 <= time.monotonic() - begun < 3.0 + 20 * waited
        assert (str(told), told.status) == ("was not done after 1 s, its time limit", "timeout")
        assert "_hang" in told.output

    def test_a_call_within_its_bounds_is_left_alone(self, executor: Pool) -> None:
        assert answer(executor, executor.submit(pow, 2, 10, bounds=Bounds(60.0, 8 << 30))) == 1024

    @LINUX
    @pytest.mark.parametrize("where", ["itself", "its children"])
    def test_a_call_that_takes_too_much_memory_is_ended(self, executor: Pool, where: str) -> None:
        told = died(executor, executor.submit(_grow, where, bounds=Bounds(300.0, 600 << 20)))
        assert told.status == "oom"
        assert "GiB together, and 0.585938 GiB are allowed" in str(told)

    @LINUX
    def test_memory_that_processes_share_is_counted_once(self, executor: Pool) -> None:
        """Each of thirty forks shows all that the worker has."""
        assert answer(executor, executor.submit(_fork, 30, 1.0, bounds=Bounds(300.0, 1 << 30)))

    @LINUX
    @pytest.mark.parametrize("apart", [False, True], ids=["in its group", "in sessions of their own"])
    @pytest.mark.parametrize("way", ["ends well", "dies", "hangs"])
    def test_no_process_of_a_call_is_left(self, executor: Pool, tmp_path: Path, way: str, apart: bool) -> None:
        waited = _seconds(lambda: answer(executor, executor.submit(pow, 2, 2)))  # longer on a machine that does other work
        bounds = Bounds(seconds=2.0 + min(100 * waited, 30.0) if way == "hangs" else None)  # what waits for a job takes seconds by itself
        call = executor.submit(_leave_sleepers, tmp_path / "pids", way, apart, bounds=bounds)
        if way == "ends well":
            answer(executor, call)
        else:
            died(executor, call)
        pids = [int(line) for line in (tmp_path / "pids").read_text().split()]
        assert len(pids) == 5
        assert [pid for pid in pids if processes.alive(pid)] == []

    def test_what_is_printed_without_end_is_shortened_and_shown_on_standard_error(
        self, executor: Pool, capfd: pytest.CaptureFixture[str]
    ) -> None:
        capfd.readouterr()
        answer(executor, executor.submit(_print, 200_000_000))
        shown = capfd.readouterr()
        assert shown.out == ""
        assert shown.err.startswith("begins\nxxx")
        assert shown.err.endswith("xxx\nends\n")
        assert "printed bytes are left out …]" in shown.err
        assert len(shown.err) < 50_000

    def test_temporary_files_are_gone_after_their_call(self, executor: Pool) -> None:
        assert not answer(executor, executor.submit(_write_temporary)).exists()
        assert not answer(executor, executor.submit(_write_temporary)).exists()

    def test_a_call_that_goes_elsewhere_takes_no_other_along(self, executor: Pool, tmp_path: Path) -> None:
        place = answer(executor, executor.submit(os.getcwd))
        for _ in range(4):
            answer(executor, executor.submit(os.chdir, tmp_path))
        assert {answer(executor, executor.submit(os.getcwd)) for _ in range(4)} == {place}

    def test_a_fork_that_comes_back_gives_no_second_answer(self, executor: Pool) -> None:
        for _ in range(4):
            answer(executor, executor.submit(os.fork))
        assert [answer(executor, executor.submit(pow, 2, power)) for power in range(20)] == [2**power for power in range(20)]


def _seconds(action: Callable[[], object]) -> float:
    begun = time.monotonic()
    action()
    return time.monotonic() - begun


def died(executor: Pool, future: Future[Any]) -> Died:
    with pytest.raises(Died) as told:
        answer(executor, future)
    return told.value


def _fall() -> None:
    ctypes.string_at(0)


def _kill_itself() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def _interrupt() -> None:
    raise KeyboardInterrupt


def _hang(way: str) -> None:
    if way == "ignores signals":
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)
    while True:
        if way != "loops":
            time.sleep(1000)


def _grow(where: str) -> None:
    if where == "its children":
        subprocess.run([sys.executable, "-c", "import time\nkept = bytearray(b'x') * (700 << 20)\ntime.sleep(1000)"], check=True)
    kept = []
    while True:
        kept.append(bytearray(b"x") * (50 << 20))
        time.sleep(0.01)


def _fork(count: int, seconds: float) -> bool:
    children = []
    for _ in range(count):
        if (child := os.fork()) == 0:
            time.sleep(seconds)
            os._exit(0)
        children.append(child)
    return all(os.waitpid(child, 0)[1] == 0 for child in children)


def _leave_sleepers(file: Path, way: str, apart: bool) -> None:
    """Begin five processes that outlive their own parents, and end in some way."""
    script = "import subprocess, sys\nfor _ in range(5):\n    print(subprocess.Popen(['sleep', '1000'], start_new_session=bool(sys.argv[1:]), stdout=2).pid)"
    command = [sys.executable, "-c", script, *(["apart"] if apart else [])]
    file.write_text(subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout)
    if way == "dies":
        os.abort()
    if way == "hangs":
        _hang("sleeps")


def _print(count: int) -> None:
    sys.stdout.write("begins\n")
    for _ in range(count // 1_000_000):
        sys.stdout.write("x" * 1_000_000)
    sys.stdout.write("\nends\n")


def _write_temporary() -> Path:
    folder = Path(tempfile.mkdtemp())
    (folder / "file").write_text("x")
    return folder / "file"


class TestLocal(Processes):
    @pytest.fixture(scope="class")
    @classmethod
    def executor(cls) -> Iterator[Pool]:
        with LocalPool(2) as executor:
            yield executor

    def test_temporary_files_lie_in_the_pools_own_folder_which_stays(self, executor: Pool) -> None:
        file = answer(executor, executor.submit(_write_temporary))
        assert file.is_relative_to(executor.channel.parent)
        assert answer(executor, executor.submit(os.listdir, file.parents[1])) is not None


def _upset_torch() -> None:
    import torch

    torch.set_num_threads(torch.get_num_threads() + 1)
    torch.use_deterministic_algorithms(not torch.are_deterministic_algorithms_enabled())
    torch.manual_seed(5)


class TestInline(Contract):
    @pytest.fixture(scope="class")
    @classmethod
    def executor(cls) -> Iterator[Pool]:
        with InlinePool() as executor:
            yield executor

    def test_a_call_has_this_process_and_a_debugger_its_terminal(self, executor: Pool) -> None:
        assert answer(executor, executor.submit(os.getpid)) == os.getpid()

    def test_an_interrupt_ends_the_wait(self, executor: Pool) -> None:
        with pytest.raises(KeyboardInterrupt):
            answer(executor, executor.submit(_interrupt))

    def test_torch_is_as_before(self) -> None:
        import torch

        before = torch.get_num_threads(), torch.are_deterministic_algorithms_enabled(), torch.get_rng_state().tolist()
        with InlinePool() as executor:
            answer(executor, executor.submit(_upset_torch))
        assert (torch.get_num_threads(), torch.are_deterministic_algorithms_enabled(), torch.get_rng_state().tolist()) == before
