"""Does in a copy of this process first what may end a process, such as importing a plugin, and says how that went."""

from __future__ import annotations

import contextlib
import faulthandler
import os
import signal
import sys
import tempfile
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import BinaryIO

from ..errors import contained, writable

SECONDS = 120
"""A copy that has not come through after so long hangs."""

KEPT_CHARACTERS = 16_000
"""Of what an action printed before the end, so much is kept."""


@dataclass(frozen=True)
class Fatal:
    """How an action ended the process it was done in.

    printed: by this and the actions before it, with the stack it stood in where that is known
    """

    reason: str
    printed: str


def fatal(actions: Mapping[int, Callable[[], object]]) -> dict[int, Fatal]:
    """Those of the actions, by their numbers, that end a process or never come to an end.

    They are done one after another in a copy of this process, and nothing that they change in memory is seen here. What one raises is
    for the caller, who does it afterwards. Where a process cannot be copied, none is known to be fatal.
    """
    found: dict[int, Fatal] = {}
    left = dict(actions)
    while left and hasattr(os, "fork"):
        with tempfile.TemporaryFile() as progress, tempfile.TemporaryFile() as output:
            try:
                code = _done_in_a_copy(left, progress, output)
            except OSError:  # too many processes, or too little memory
                break
            progress.seek(0)
            begun = int(progress.read() or b"0")
            if begun > len(left):
                break
            at_fault = max(1, begun)
            output.seek(0)
            found[list(left)[at_fault - 1]] = Fatal(_how(code), writable(output.read().decode(errors="replace")[-KEPT_CHARACTERS:]))
            left = dict(list(left.items())[at_fault:])  # those before it came through
    return found


def _done_in_a_copy(actions: Mapping[int, Callable[[], object]], progress: BinaryIO, output: BinaryIO) -> int:
    """The exit code of the copy, negative for a signal; `progress` then holds how many actions were begun, and one more where all were done."""
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError, AttributeError):  # else the copy would print once more what waits here
            stream.flush()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of other threads, whose locks imports do not wait for
        pid = os.fork()
    if pid == 0:
        _do_and_end(actions, progress, output)
    try:
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    except BaseException:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
        with contextlib.suppress(ChildProcessError):
            os.waitpid(pid, 0)
        raise


def _do_and_end(actions: Mapping[int, Callable[[], object]], progress: BinaryIO, output: BinaryIO) -> None:
    """What the copy does; it never returns."""
    try:
        for number in (1, 2):
            os.dup2(output.fileno(), number)
        sys.stdout, sys.stderr = (os.fdopen(number, "w", buffering=1, errors="backslashreplace", closefd=False) for number in (1, 2))
        faulthandler.enable(2)
        faulthandler.dump_traceback_later(SECONDS - 1, file=2)
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        signal.alarm(SECONDS)  # also where the process that waits for this one is gone
        for number, action in enumerate(actions.values(), 1):
            os.pwrite(progress.fileno(), b"%d" % number, 0)
            with contained():
                action()
        os.pwrite(progress.fileno(), b"%d" % (len(actions) + 1), 0)
    finally:  # also of an interrupt, which the other process gets as well
        os._exit(130)


def _how(code: int) -> str:
    if code == -signal.SIGALRM:
        return f"has not come to an end after {SECONDS} s"
    if code < 0:
        with contextlib.suppress(ValueError):
            return f"ends its process by {signal.Signals(-code).name}"
    return f"ends its process with exit code {abs(code)}"
