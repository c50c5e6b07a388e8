"""Begins the process that workers are forked from, with torch in memory; imports nothing heavy itself."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import sys
from collections.abc import Iterator
from typing import Any

from .. import machine


def begin() -> None:
    """Begin the server, unless it is there: who knows early that it will be needed has it import torch meanwhile.

    It is deaf to Ctrl-C, which would interrupt it at that.
    """
    from multiprocessing import forkserver, resource_tracker  # which only those need who begin processes

    with surroundings():
        multiprocessing.get_context("forkserver").set_forkserver_preload(["suite.execution.preload"])
        resource_tracker.ensure_running()  # which the server would begin otherwise, and which lets Ctrl-C through afterwards
        # which a new process inherits; a batch system sends SIGUSR2 to all processes of a job, and the first one alone knows what it means
        before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGUSR2})
        try:
            forkserver.ensure_running()
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextlib.contextmanager
def surroundings() -> Iterator[None]:
    """What the server and its processes start with; environment and caller are as they were afterwards."""
    main = sys.modules["__main__"]
    hidden: dict[str, Any] = {name: main.__dict__[name] for name in ("__file__", "__spec__") if name in main.__dict__}
    before = {name: os.environ.get(name) for name in machine.ENVIRONMENT}
    os.environ.update(machine.ENVIRONMENT)
    # A worker needs nothing of the caller's script: unseen, it is not run again in each of them.
    main.__dict__.pop("__file__", None)
    main.__spec__ = None
    try:
        yield
    finally:
        main.__dict__.update(hidden)
        for name, value in before.items():
            os.environ.pop(name) if value is None else os.environ.__setitem__(name, value)
