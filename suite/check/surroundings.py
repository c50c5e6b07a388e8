"""Guards what all plugins share while a check runs: global generators, threads, default dtype and the like."""

from __future__ import annotations

import contextlib
import os
import random
from collections.abc import Collection, Iterator

import numpy as np
import torch

from .. import machine
from ..registry import guard
from .contract import require


@contextlib.contextmanager
def sealed() -> Iterator[None]:
    """A worker's surroundings (one thread, deterministic kernels), and the caller's again afterwards, whatever the plugin did."""
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", machine.ENVIRONMENT["CUBLAS_WORKSPACE_CONFIG"])  # before CUDA starts
    before = guard.shared()
    torch.set_num_threads(1)
    torch.set_grad_enabled(True)
    torch.use_deterministic_algorithms(True)
    try:
        yield
    finally:
        for value, restore in before.values():
            restore(value)


@contextlib.contextmanager
def unchanged_surroundings(doing: str, apart: Collection[str] = ()) -> Iterator[None]:
    """Raises Failed where something that all plugins share differs afterwards; `apart` names what may."""
    before = guard.shared()
    yield
    changed = [name for name, (value, _) in guard.shared().items() if name not in apart and value != before[name][0]]
    require(not changed, f"{doing} changes {' and '.join(changed)}")


def shuffle_global_generators(seed: int) -> None:
    """Put the global generators elsewhere, so that what comes from them differs."""
    torch.manual_seed(seed)
    np.random.seed(seed)
    random.seed(seed)
