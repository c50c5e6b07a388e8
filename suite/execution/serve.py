"""Serves calls inside a worker process: prepares it so that what plugins print, begin and write stays with it, and answers one call at a time."""

from __future__ import annotations

import contextlib
import faulthandler
import getpass
import os
import pickle
import re
import signal
import sys
import tempfile
import traceback
from collections.abc import Callable, Iterator
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, NoReturn

from .. import kinship

TELL_STACK = getattr(signal, "SIGUSR1", None)
"""A worker that gets this signal writes to its output where it stands."""

FIRST_TO_GO = "500"
"""Where the machine's memory runs out, the system rather ends a worker than the process that has all the results."""


class _Process:
    """Whether this process is a worker, whether it is to do no further call, and what its device may be at fault for."""

    serves = False
    retired = False
    fault = ""


@contextlib.contextmanager
def asked_to_end(ask: Callable[[], None]) -> Iterator[None]:
    """While this lasts, a worker that is told to end (SIGTERM) calls this function and goes on, and ends itself by `leave`."""
    if not _Process.serves:
        yield
        return
    signal.signal(signal.SIGTERM, lambda *_: ask())
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)


def leave() -> None:
    """End this worker as the signal would have that told it to."""
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    os.kill(os.getpid(), signal.SIGTERM)


def retire(fault: str = "") -> None:
    """Let this process do no further call, since a plugin may have left something behind in it; the next one begins afresh.

    fault: what the call met that the device may be at fault for
    """
    _Process.retired = True
    _Process.fault = fault


def serve(connection: Connection, output: int, folder: Path) -> NoReturn:
    """Answer calls until the connection ends or the process is to be used no longer; never returns.

    output: the descriptor of a pipe for all that is printed; folder: for temporary files
    """
    try:
        _prepare(output, folder)
        _answer_calls(connection)
    except BaseException:  # nothing above this may run a second time in the forked process
        traceback.print_exc()
        os._exit(70)
    os._exit(0)


def _prepare(output: int, folder: Path) -> None:
    _Process.serves = True
    os.setsid()
    kinship.die_with_parent()
    kinship.adopt_orphans()
    for number in (1, 2):
        os.dup2(output, number)
    os.close(output)
    sys.stdout, sys.stderr = (os.fdopen(number, "w", buffering=1, errors="backslashreplace", closefd=False) for number in (1, 2))
    # what torch has compiled is kept where it was, for all workers and for later runs
    os.environ.setdefault("TORCHINDUCTOR_CACHE_DIR", str(Path(tempfile.gettempdir()) / f"torchinductor_{_user()}"))
    os.environ["TMPDIR"] = tempfile.tempdir = str(folder)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the run, which ends its workers
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})  # held back while this process was forked
    faulthandler.enable(2)
    if TELL_STACK is not None:
        faulthandler.register(TELL_STACK, 2)
    with contextlib.suppress(OSError):  # not every system has it
        Path("/proc/self/oom_score_adj").write_text(FIRST_TO_GO)


def _user() -> str:
    """Whose cache it is, as torch names it."""
    try:
        return re.sub(r'[\\/:*?"<>|]', "_", getpass.getuser())
    except (KeyError, OSError):  # as in a container
        return str(os.getuid())


def _answer_calls(connection: Connection) -> None:
    own, place = os.getpid(), Path.cwd()
    while not _Process.retired:
        try:
            request = connection.recv_bytes()
        except EOFError:
            return
        answer = _answer(request)
        if os.getpid() != own:  # a plugin forked, and its child came back through the plugin's own code
            return
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(OSError, ValueError):  # a plugin may have closed it
                stream.flush()
        os.chdir(place)
        connection.send_bytes(pickle.dumps((_Process.retired, _Process.fault, answer)))


def _answer(request: bytes) -> bytes:
    """The pickled answer of a call, or what it raised, in a form that can be unpickled elsewhere."""
    try:
        call, arguments = pickle.loads(request)
        return pickle.dumps((True, call(*arguments)))
    except BaseException as error:
        return _raised(error, traceback.format_exc())


def _raised(error: BaseException, text: str) -> bytes:
    plain: Any = error if isinstance(error, Exception) else RuntimeError(f"{type(error).__name__}: {error}")
    try:
        plain.traceback = text
        pickled = pickle.dumps((False, plain))
        pickle.loads(pickled)
    except Exception:  # what a plugin defines may not survive the way
        plain = RuntimeError(f"{type(error).__name__}: {error}")
        plain.traceback = text
        pickled = pickle.dumps((False, plain))
    return pickled
