"""Does in a copy of this process first what may end a process, such as importing a plugin, and says how that went."""

from __future__ import annotations

import atexit
import contextlib
import faulthandler
import fcntl
import mmap
import os
import select
import signal
import sys
import time
import traceback
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from .. import kinship
from ..errors import contained, writable

Action: TypeAlias = tuple[int, Callable[[], object]]
"""What is to be done, and the number of whoever does it; one may do several things."""

GUARDED = False
"""Whether imports are tried in a copy of the process first: by commands, until they have imported plugins, which may have begun threads."""

SECONDS = 120
"""An action that has not come through after so long hangs."""

SLOW_SECONDS = 5
"""Of an action that takes longer, it is said that it is waited for."""

KEPT_BYTES = 16_000
"""Of what an action printed, so much of the end is kept."""

SPOILED, RAISED = 97, 98
"""Exit codes of a copy that an action has left unusable, and of one in which an action has raised what stops a command."""

REASONS = {SPOILED: "closes the standard streams", RAISED: "raises what interrupts a command"}

LOOK_SECONDS = 0.05
"""So often a copy is looked at that says nothing."""


@dataclass(frozen=True)
class Fatal:
    """How an action ended the process it was done in; what was printed there, and the stack it stood in where that is known."""

    reason: str
    printed: str


def fatal(actions: Sequence[Action], slow: Callable[[int], object] = lambda _: None) -> dict[int, Fatal]:
    """The numbers of those who end a process, leave it unusable, or never come to an end; slow: hears of one who takes long.

    Their actions are done one after another in a copy of this process, and nothing that they change in memory is seen here; where one is
    fatal, in another copy without all that the same one would do. What one raises is for the caller, who does it afterwards. Where a
    process cannot be copied, nobody is known to be fatal. To be called by a process that has one thread and has computed nothing: a copy
    has no other threads, but the locks that they held.
    """
    found: dict[int, Fatal] = {}
    left = list(actions)
    while left:
        try:
            copy = _Copy(left)
        except OSError:  # too many processes or open files, or too little memory
            break
        ended = copy.watch(slow)
        if not 0 < copy.begun <= len(left):  # all came through; or the copy itself did not
            break
        number, _ = left[copy.begun - 1]
        found[number] = ended
        left = [each for each in left if each[0] != number]
    return found


class _Copy:
    """A process that does actions one after another, in a process group of its own, and the near end of what it prints.

    begun: how many actions it has begun; one more where all are done
    """

    def __init__(self, actions: Sequence[Action]) -> None:
        self._actions = actions
        self._begun = mmap.mmap(-1, 4)  # shared with the copy
        self._seen, self._since, self._told = 0, time.monotonic(), False
        self._printed, self._mark = b"", os.urandom(16)  # which stands before what each action prints
        self._output, output = _pipe()
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(OSError, ValueError, AttributeError):  # else the copy would print once more what waits here
                stream.flush()
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", DeprecationWarning)  # of the threads of NumPy's library, which copes with copies
                self._pid = os.fork()
            if self._pid == 0:
                self._do_and_end(output)
        except OSError:
            os.close(self._output)
            raise
        finally:
            os.close(output)

    @property
    def begun(self) -> int:
        return int.from_bytes(self._begun[:4], "little")

    def watch(self, slow: Callable[[int], object]) -> Fatal:
        """Wait for its end, or end it where an action takes too long, with all of its process group; slow: hears of what takes long, once."""
        status: int | None = None
        hung = False
        try:
            while status is None and not hung:
                self._read(LOOK_SECONDS)
                now = time.monotonic()
                if self.begun != self._seen:
                    self._seen, self._since, self._told = self.begun, now, False
                if now > self._since + SLOW_SECONDS and 0 < self._seen <= len(self._actions) and not self._told:
                    slow(self._actions[self._seen - 1][0])
                    self._told = True
                hung = now > self._since + SECONDS
                status = self._status()
        finally:  # of an interrupt, too
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self._pid, signal.SIGKILL)
            if status is None:
                os.kill(self._pid, signal.SIGKILL)  # it may have made no group of its own yet
                os.waitpid(self._pid, 0)
            self._read(0)  # a pipe holds no more than that
            os.close(self._output)
        reason = _how(status) if status is not None else f"has not come to an end after {SECONDS} s"
        return Fatal(reason, writable(self._printed.rpartition(self._mark)[2].decode(errors="replace")))

    def _status(self) -> int | None:
        """How it ended, as the system says it; None while it lives."""
        pid, status = os.waitpid(self._pid, os.WNOHANG)
        return status if pid else None

    def _read(self, seconds: float) -> None:
        """Take what it has printed, if something comes within so long."""
        if select.select([self._output], [], [], seconds)[0]:
            printed = os.read(self._output, 1 << 16)
            self._printed = (self._printed + printed)[-KEPT_BYTES:]
            if not printed:  # it has closed its end
                time.sleep(seconds)

    def _do_and_end(self, output: int) -> None:
        """What the copy does; it never returns."""
        try:
            kinship.die_with_parent()
            os.setsid()  # Ctrl-C is for the process that waits, which ends this one; and nobody is asked anything
            os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
            streams = [os.fdopen(number, "w", buffering=1, errors="backslashreplace", closefd=False) for number in (1, 2)]
            sys.stdout, sys.stderr = streams
            atexit._clear()  # what is to be done at the end of the process that goes on
            signal.signal(signal.SIGALRM, signal.SIG_DFL)
            for position, (_, action) in enumerate(self._actions, 1):
                self._begin(position, output)
                signal.alarm(2 * SECONDS)  # where the process that waits for this one is gone, and the system did not tell
                _do(action)
                if any(stream.closed or not os.fstat(stream.fileno()) for stream in streams):
                    break
            else:
                self._begin(len(self._actions) + 1, output)
                _do(atexit._run_exitfuncs)
        finally:  # what an action has spoiled may raise here
            os._exit(SPOILED)

    def _begin(self, position: int, output: int) -> None:
        """Have an action, or the end of all, begin; what fails here is the fault of the action before."""
        os.set_blocking(output, True)
        for number in (1, 2):
            os.dup2(output, number)
        os.write(output, self._mark)
        faulthandler.enable(2)
        faulthandler.dump_traceback_later(0.9 * SECONDS, file=2)
        self._begun[:4] = position.to_bytes(4, "little")


def _do(action: Callable[[], object]) -> None:
    """Do an action in the copy, and in none that the action makes of it."""
    own = os.getpid()
    try:
        with contained():
            action()
    except BaseException:
        traceback.print_exc()
        sys.stderr.flush()
        os._exit(RAISED)
    if os.getpid() != own:
        os._exit(0)


def _pipe() -> tuple[int, int]:
    """The two ends of a pipe, of which none is mistaken for a standard stream, as it would be where one of these is closed."""
    ends = os.pipe()
    moved: list[int] = []
    try:
        moved += [fcntl.fcntl(end, fcntl.F_DUPFD_CLOEXEC, 3) for end in ends]
    finally:
        for end in ends:
            os.close(end)
    return moved[0], moved[1]


def _how(status: int) -> str:
    code = os.waitstatus_to_exitcode(status)
    if code in REASONS:
        return REASONS[code]
    if code < 0:
        with contextlib.suppress(ValueError):  # a signal without a name
            return f"ends its process by {signal.Signals(-code).name}"
    return f"ends its process with exit code {abs(code)}"
