"""Checks that what ends a process is found out in a copy of it, and that nothing else is held against it."""

from __future__ import annotations

import atexit
import contextlib
import ctypes
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest

from suite.answers import Mark
from suite.registry import forked
from suite.registry.extract import found_beside
from suite.registry.finder import discover

done: list[str] = []


def well() -> None:
    done.append("well")


def raises() -> None:
    raise RuntimeError("for the caller")


def exits() -> None:
    os.write(1, b"my last words")
    os._exit(0)


def falls() -> None:
    os.kill(os.getpid(), signal.SIGSEGV)


def fatal(*actions: Callable[[], object]) -> dict[int, str]:
    return {number: ending.reason for number, ending in forked.fatal(list(enumerate(actions))).items()}


def soon_gone(pid: int) -> None:
    """Wait until a process is no longer there, or has ended and is not yet waited for."""
    deadline, words = time.monotonic() + 10, Path(f"/proc/{pid}/cmdline")
    while words.exists() and words.read_bytes():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_what_comes_through_or_raises_is_not_fatal_and_changes_nothing_here() -> None:
    assert fatal(well, raises, well) == {}
    assert done == []


def test_each_that_ends_its_process_is_found_beside_the_others() -> None:
    found = fatal(well, exits, well, lambda: ctypes.string_at(0), os.abort, raises, lambda: os._exit(130))
    assert found == {
        1: "ends its process with exit code 0",
        3: "ends its process by SIGSEGV",
        4: "ends its process by SIGABRT",
        6: "ends its process with exit code 130",
    }


def test_what_it_printed_and_where_it_stood_are_kept() -> None:
    assert forked.fatal([(0, exits)])[0].printed == "my last words"
    assert "in falls" in forked.fatal([(0, falls)])[0].printed


def test_one_that_never_ends_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(forked, "SECONDS", 2)

    def hangs() -> None:
        while True:
            pass

    start = time.monotonic()
    ending = forked.fatal([(0, well), (1, hangs)])[1]
    assert ending.reason == "has not come to an end after 2 s"
    assert "in hangs" in ending.printed
    assert time.monotonic() - start < 20


def test_an_interrupt_ends_the_copy_too(monkeypatch: pytest.MonkeyPatch) -> None:
    copies: list[int] = []
    fork = os.fork

    def noted() -> int:
        copies.append(fork())
        return copies[-1]

    def interrupted(_pid: int, _options: int) -> Any:
        monkeypatch.undo()
        raise KeyboardInterrupt

    def late() -> None:
        """The copy is in no group of its own yet."""

    monkeypatch.setattr(os, "fork", noted)
    monkeypatch.setattr(os, "setsid", late)
    monkeypatch.setattr(os, "waitpid", interrupted)
    with pytest.raises(KeyboardInterrupt):
        forked.fatal([(0, lambda: time.sleep(60))])
    with pytest.raises(ProcessLookupError):
        os.kill(copies[0], 0)


def test_where_no_process_can_be_begun_nothing_is_held_against_anyone(monkeypatch: pytest.MonkeyPatch) -> None:
    def refused() -> int:
        raise BlockingIOError("too many processes")

    monkeypatch.setattr(os, "fork", refused)
    assert fatal(exits) == {}


def test_a_plugin_is_tried_once_for_each_state_of_its_files(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(forked, "GUARDED", True)
    (tmp_path / "plugins").mkdir()
    file, helper = tmp_path / "plugins" / "mine.py", tmp_path / "plugins" / "_mine.py"
    file.write_text("from . import _mine\n")
    helper.write_text("")
    counts: list[int] = []

    def counted(actions: list[forked.Action], _: Callable[[int], object]) -> dict[int, forked.Fatal]:
        counts.append(len({number for number, _ in actions}))
        return {}

    monkeypatch.setattr(forked, "fatal", counted)
    for text in ("", "", "tried = 'anew'\n"):
        monkeypatch.setattr(forked, "GUARDED", True)
        helper.write_text(text)
        with found_beside(tmp_path):
            discover()
    assert counts[0] > counts[2] == 1
    assert counts[1] == 0


def test_a_home_that_cannot_be_read_is_no_hindrance(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("a file, where a folder is wanted")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    mark = Mark("imported", "anything")
    mark.make()
    assert not mark.stands()
    mark.take_away()


def test_each_action_has_the_whole_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(forked, "SECONDS", 4)
    assert fatal(lambda: time.sleep(2.5), lambda: time.sleep(2.5)) == {}


def test_it_is_said_once_which_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(forked, "SLOW_SECONDS", 0.5)
    waited: list[str] = []
    forked.fatal([(7, well), (8, lambda: time.sleep(2)), (9, well)], lambda number: waited.append(f"for {number}"))
    assert waited == ["for 8"]


def test_a_process_that_an_action_forks_blames_nobody() -> None:
    def forks() -> None:
        if os.fork() == 0:
            time.sleep(0.3)

    assert fatal(forks, lambda: time.sleep(0.28), exits, well) == {2: "ends its process with exit code 0"}


@pytest.mark.parametrize("number", [1, 2])
def test_who_spoils_the_standard_streams_is_found_and_not_the_next(number: int) -> None:
    def closes() -> None:
        os.close(number)

    def closes_all() -> None:
        os.closerange(0, 100)

    def closes_the_object() -> None:
        (sys.stdout, sys.stderr)[number - 1].close()

    def redirects() -> None:
        os.dup2(os.open(os.devnull, os.O_RDWR), number)

    def hastens() -> None:
        os.set_blocking(number, False)
        with contextlib.suppress(BlockingIOError):
            while True:
                os.write(number, b"more and more")

    spoiled = "closes the standard streams"
    assert fatal(well, closes, well, closes_all, well, closes_the_object, well, redirects, well, hastens, well) == dict.fromkeys(
        (1, 3, 5), spoiled
    )


def test_what_would_interrupt_the_command_is_found() -> None:
    def interrupts() -> None:
        raise KeyboardInterrupt

    ending = forked.fatal([(0, interrupts), (1, well)])[0]
    assert ending.reason == "raises what interrupts a command"
    assert "in interrupts" in ending.printed


def test_zeros_that_are_printed_are_kept() -> None:
    def says() -> None:
        os.write(1, b"my last words\0")
        os._exit(0)

    assert forked.fatal([(0, says)])[0].printed == "my last words\0"


def test_what_is_done_at_the_end_of_a_process_is_done_in_the_copy_for_what_was_begun_there(tmp_path: Path) -> None:
    lock, other = tmp_path / "lock", tmp_path / "other"
    other.mkdir()

    def locks() -> None:
        lock.mkdir()
        atexit.register(lock.rmdir)

    atexit.register(other.rmdir)
    try:
        assert fatal(locks, exits, well) == {1: "ends its process with exit code 0"}
    finally:
        atexit.unregister(other.rmdir)
    assert (lock.exists(), other.exists()) == (True, True)  # of the copy that ended, nothing was put away
    lock.rmdir()
    assert fatal(locks, well) == {}
    assert not lock.exists()


def test_whoever_is_fatal_is_asked_nothing_more() -> None:
    """And all others are, in one copy."""
    made: list[str] = []

    def late() -> None:
        if made == ["first", "third"]:
            os._exit(4)

    actions = [(1, lambda: made.append("first")), (2, exits), (3, lambda: made.append("third")), (2, well), (3, late)]
    assert {number: ending.reason for number, ending in forked.fatal(actions).items()} == {
        2: "ends its process with exit code 0",
        3: "ends its process with exit code 4",
    }


def test_a_pipe_is_no_standard_stream() -> None:
    code = "import os; os.closerange(0, 3); from suite.registry import forked; os._exit(sum(end < 3 for end in forked._pipe()))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_what_is_printed_without_end_is_kept_in_part(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(forked, "SECONDS", 2)

    def prints() -> None:
        while True:
            os.write(1, b"more and more\n" * 1000)

    assert len(forked.fatal([(0, prints)])[0].printed) <= forked.KEPT_BYTES


def test_closed_standard_streams_blame_nobody(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "suite", "list", "variants"]
    code = f"import os; os.close(1); os.execv({command[0]!r}, {command!r})"
    done = subprocess.run(
        [sys.executable, "-c", code], stderr=subprocess.PIPE, text=True, env={**os.environ, "XDG_CACHE_HOME": str(tmp_path)}
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_nothing_stays_behind_that_an_action_began(tmp_path: Path) -> None:
    noted = tmp_path / "pid"

    def begins() -> None:
        noted.write_text(str(subprocess.Popen(["sleep", "97"]).pid))

    assert fatal(begins) == {}
    soon_gone(int(noted.read_text()))


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells a process that its parent has ended")
def test_a_copy_ends_with_the_process_that_is_killed() -> None:
    code = """
    import os, time
    from suite.registry import forked

    def sleeps():
        print(os.getpid(), file=said, flush=True)
        time.sleep(60)

    with open(os.dup(1), "w") as said:
        forked.fatal([(0, sleeps)])
    """
    with subprocess.Popen([sys.executable, "-c", dedent(code)], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        copy = int(parent.stdout.readline())
        parent.kill()
    soon_gone(copy)
