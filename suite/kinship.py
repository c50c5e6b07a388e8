"""Ties a process to the one that began it, and to those that it begins; only Linux can."""

from __future__ import annotations

import ctypes
import signal
import sys

SET_DEATH_SIGNAL = 1
SET_CHILD_SUBREAPER = 36
"""Options of prctl(2)."""


def adopt_orphans() -> bool:
    """Become the parent of every process below this one whose own parent ends, so that none is lost sight of."""
    return _prctl(SET_CHILD_SUBREAPER, 1)


def die_with_parent() -> bool:
    """Be killed when the process that began this one ends, however it does."""
    return _prctl(SET_DEATH_SIGNAL, signal.SIGKILL)


def _prctl(option: int, value: int) -> bool:
    """Whether the system has this call and did it."""
    if sys.platform != "linux":
        return False
    return bool(ctypes.CDLL(None).prctl(option, value, 0, 0, 0) == 0)
