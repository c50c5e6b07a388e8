"""Counts what a call takes of its device beside time, and measures what the device reaches at most."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.autograd import profiler_legacy
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import FlopCounterMode

from ..trial import Roof

PRODUCT, COPY = 1024, 1 << 24
"""Rows of the square matrices whose product is timed, and numbers in the block whose copy is."""

TRIES = 5


def peak_bytes(call: Callable[[], object], device: str) -> int:
    """How many bytes a call holds at most, beyond what was held before it."""
    if device == "cuda":
        torch.cuda.synchronize()
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        call()
        return torch.cuda.max_memory_allocated() - before
    # torch.profiler tells the same, after a second of starting up and with lines of its own on stderr
    profile = profiler_legacy.profile(profile_memory=True)  # type: ignore[no-untyped-call]
    profile._start_trace()  # type: ignore[no-untyped-call]
    try:
        call()
    finally:
        threads = torch.autograd._disable_profiler_legacy()  # type: ignore[attr-defined]
    held = most = 0
    for event in (event for thread in threads for event in thread):
        if str(event.kind()) == "memory_alloc":
            held += event.cpu_memory_usage()
            most = max(most, held)
    return most


def arithmetic(call: Callable[[], object]) -> tuple[int, int]:
    """The floating-point operations of a call's products of matrices, and the bytes that all its operations read and write."""
    with FlopCounterMode(display=False) as counter, _Moved() as moved:
        call()
    return counter.get_total_flops(), moved.bytes


class _Moved(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Adds up the bytes that operations take and give; one that only sees the same memory in another shape moves none."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.bytes = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        made = func(*args, **(kwargs or {}))
        if not any(result.alias_info is not None and not result.alias_info.is_write for result in func._schema.returns):
            leaves = torch.utils._pytree.tree_leaves((args, kwargs, made))
            self.bytes += sum(leaf.numel() * leaf.element_size() for leaf in leaves if isinstance(leaf, Tensor))
        return made


def roof(device: str, dtype: torch.dtype) -> Roof:
    """What the device reaches in one large product, and in one large copy."""
    matrix = torch.ones(PRODUCT, PRODUCT, dtype=dtype, device=device)
    block = torch.ones(COPY, dtype=dtype, device=device)
    return Roof(
        operations=2 * PRODUCT**3 / _fastest(lambda: matrix @ matrix, device),
        bytes=2 * block.numel() * block.element_size() / _fastest(block.clone, device),
    )


def _fastest(call: Callable[[], object], device: str) -> float:
    """Seconds that a call takes in the best of some tries."""
    clock = []
    for _ in range(TRIES):
        if device == "cuda":
            torch.cuda.synchronize()
        start = time.perf_counter()
        call()
        if device == "cuda":
            torch.cuda.synchronize()
        clock.append(time.perf_counter() - start)
    return min(clock)
