"""Watches a plugin's import: its prints go to standard error, and what it changes for all plugins is put back and refused."""

from __future__ import annotations

import contextlib
import os
import pickle
import random
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

from ..errors import SuiteError

SLOW_SECONDS = 5.0
"""An import that takes longer is mentioned, since every command and every worker waits for it."""

TORCH_RANDOM_STATE = "torch's global random state"
"""The name of what dropout may draw from."""


def shared() -> dict[str, tuple[Any, Callable[[Any], Any]]]:
    """What all plugins share, by name: its value now, and a function that puts a value back."""
    import numpy as np
    import torch

    return {
        "the working directory": (os.getcwd(), os.chdir),
        "torch's default dtype": (torch.get_default_dtype(), torch.set_default_dtype),
        "torch's thread count": (torch.get_num_threads(), torch.set_num_threads),
        "torch's grad mode": (torch.is_grad_enabled(), torch.set_grad_enabled),
        "torch's deterministic mode": (torch.are_deterministic_algorithms_enabled(), torch.use_deterministic_algorithms),
        TORCH_RANDOM_STATE: (
            torch.get_rng_state().numpy().tobytes(),
            lambda state: torch.set_rng_state(torch.frombuffer(bytearray(state), dtype=torch.uint8)),
        ),
        "NumPy's global random state": (pickle.dumps(np.random.get_state()), lambda state: np.random.set_state(pickle.loads(state))),
        "random's global state": (random.getstate(), random.setstate),
    }


@contextlib.contextmanager
def watched() -> Iterator[None]:
    """Run an import, and afterwards put back what all plugins share where the import changed it.

    Raises SuiteError, with the names of what was changed.
    """
    before = shared()
    changed: list[str] = []
    try:
        with _prints_aside():
            yield
    finally:  # an import that fails half-way may have changed things, too
        changed += [name for name, (value, _) in shared().items() if value != before[name][0]]
        for name in changed:
            value, restore = before[name]
            restore(value)
    if changed:
        names = " and ".join(changed)
        raise SuiteError(f"changes {names} when imported, which all plugins share; leave it as it is, and draw at random in build and draw")


@contextlib.contextmanager
def _prints_aside() -> Iterator[None]:
    """Lead what is printed to standard error, by a stream that a plugin may wrap, replace or close without harm to that."""
    with contextlib.ExitStack() as stack:
        stream: Any = sys.stderr
        with contextlib.suppress(OSError, ValueError, AttributeError):  # it is closed, or has no file, as in a notebook
            stream = os.fdopen(os.dup(sys.stderr.fileno()), "w", buffering=1, encoding=sys.stderr.encoding, errors="backslashreplace")
            stack.callback(_close, stream)
        with contextlib.redirect_stdout(stream):
            yield


def _close(stream: Any) -> None:
    with contextlib.suppress(OSError, ValueError):
        stream.close()


@contextlib.contextmanager
def timed(note: Callable[[float], None]) -> Iterator[None]:
    """Call `note` with the seconds of computing that an import took, where it took longer than it should: a busy machine is not its fault."""
    start = time.process_time()
    yield
    seconds = time.process_time() - start
    if seconds > SLOW_SECONDS:
        note(seconds)
