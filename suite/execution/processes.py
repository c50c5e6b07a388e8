"""Sees the processes that one has begun, the memory they take, and ends them; all but the ending needs Linux."""

from __future__ import annotations

import contextlib
import functools
import os
import signal
import time
from collections.abc import Iterable
from pathlib import Path

PROC = Path("/proc")

ENDING_SECONDS = 5.0
"""A process that has been killed and is still there after so long hangs in the kernel, and nobody can wait for it."""


def seen() -> bool:
    """Whether other processes, and what they take, can be seen here."""
    return (PROC / "self" / "statm").exists()


@functools.cache
def _lists_children() -> bool:
    return (PROC / "self" / "task" / str(os.getpid()) / "children").exists()


def _children(pid: int) -> list[int]:
    """The processes that one has begun and not yet waited for; none where it is gone."""
    if not _lists_children():
        return [child for child in _all() if _stat(child)[1:2] == [str(pid)]]
    children: list[int] = []
    with contextlib.suppress(OSError):  # it has ended meanwhile
        for thread in os.listdir(PROC / str(pid) / "task"):
            children += map(int, (PROC / str(pid) / "task" / thread / "children").read_text().split())
    return children


def _all() -> list[int]:
    """Every process of the system that can be seen."""
    return [int(entry) for entry in os.listdir(PROC) if entry.isdigit()] if PROC.is_dir() else []


def _stat(pid: int) -> list[str]:
    """What the system says of a process from its state on (state, parent, group, session, …); nothing where it is gone."""
    try:
        return (PROC / str(pid) / "stat").read_text(errors="replace").rpartition(")")[2].split()
    except OSError:
        return []


def alive(pid: int) -> bool:
    """Whether a process is there and has not ended; one that has, and that nobody has waited for yet, has ended."""
    return _stat(pid)[:1] not in ([], ["Z"], ["X"])


def descendants(pid: int) -> list[int]:
    """All processes below one that have not ended."""
    below, waiting = [], [pid]
    while waiting:
        children = _children(waiting.pop())
        below += [child for child in children if alive(child)]
        waiting += children
    return below


def memory(pids: Iterable[int], enough: int) -> int:
    """Bytes that processes take together.

    Pages that they share are counted once for each of them first, which is quick; only where that comes to more than `enough`, in shares.
    """
    members = tuple(pids)
    quick = sum(_resident(pid) for pid in members)
    return quick if quick <= enough else sum(_share(pid) for pid in members)


def _resident(pid: int) -> int:
    try:
        return int((PROC / str(pid) / "statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, IndexError):  # it has ended meanwhile
        return 0


def _share(pid: int) -> int:
    """A process's own pages, its part of the shared ones, and what of them is swapped out."""
    try:
        lines = (PROC / str(pid) / "smaps_rollup").read_text().splitlines()
    except OSError:  # it has ended meanwhile, or the system does not tell
        return _resident(pid)
    sizes = {name: rest for name, _, rest in (line.partition(":") for line in lines)}
    return sum(int(sizes[name].split()[0]) for name in ("Pss", "SwapPss") if name in sizes) * 1024


def killed_for_memory() -> int:
    """How many processes the system has killed since its start because memory ran out."""
    with contextlib.suppress(OSError):
        for line in (PROC / "vmstat").read_text().splitlines():
            if line.startswith("oom_kill "):
                return int(line.split()[1])
    return 0


def end(leader: int) -> int | None:
    """Kill a child with its process group and everything below this process, and wait for them; how the child ended, where it can be told.

    Returns the exit code, negative for a signal, as subprocess does.
    """
    deadline, code = time.monotonic() + ENDING_SECONDS, None
    with contextlib.suppress(ProcessLookupError, PermissionError):  # it has ended; or has not become a group's leader yet
        os.killpg(leader, signal.SIGKILL)
    while time.monotonic() < deadline:
        for pid in {leader, *descendants(os.getpid())}:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        try:
            while (ended := os.waitpid(-1, os.WNOHANG))[0]:
                if ended[0] == leader:
                    code = os.waitstatus_to_exitcode(ended[1])
        except ChildProcessError:  # there is none left
            return code
        time.sleep(0.01)
    return code
