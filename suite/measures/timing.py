"""Times models alone, warm and interleaved: forward, and forward with backward."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import torch

from ..errors import contained
from ..ops.engines import engine
from ..ops.probing import is_fused, operations
from ..spec import Variant
from ..training import data, model
from ..trial import BASELINE, Timing

LEAST_SECONDS = 0.005
"""A measurement repeats its call until it lasts at least so long, so that the clock's grain does not show."""

WARM_UP = 3


class Stopwatch:
    """One call to be timed, with its inputs ready; warmed up when made."""

    def __init__(self, call: Callable[[], None], device: str) -> None:
        self._call, self._device, self._count = call, device, 1
        for _ in range(WARM_UP):
            once = self.seconds()
        self._count = max(1, math.ceil(LEAST_SECONDS / once))

    def seconds(self) -> float:
        """Seconds a call, the mean over as many as fill the least time."""
        if self._device == "cuda":
            torch.cuda.synchronize()
        start = time.perf_counter()
        for _ in range(self._count):
            self._call()
        if self._device == "cuda":
            torch.cuda.synchronize()
        return (time.perf_counter() - start) / self._count


Seconds = Mapping[str, Mapping[str, tuple[float, ...]]]
"""Seconds a call, by timing key and then by what was timed, one value a round."""


@dataclass(frozen=True)
class Rounds:
    """What a set of timings came to.

    clones: of each baseline, a second copy of it, which should take as long: what it does not tells how fine the measurement is
    fused: whether a kernel runs the whole recurrence, by key; failed: the reasons of the timings that failed, by key
    """

    seconds: Seconds
    failed: Mapping[str, str]
    clones: Seconds = field(default_factory=dict)
    fused: Mapping[str, bool] = field(default_factory=dict)


@dataclass(frozen=True)
class Watched:
    """One thing that is timed: `what` of the timing with this key, perhaps of the clone of a baseline."""

    key: str
    what: str
    clone: bool


def measure(timings: Sequence[Timing], variants: Mapping[str, Variant]) -> Rounds:
    """Time models of all the timings, lengths apart from each other.

    The timings of one length are interleaved: every round times each of them once, in an order of its own, so that a slow moment of
    the machine meets all alike and the quotient of two within a round is fair. A variant that raises loses its own timing alone.
    """
    seconds: dict[Watched, list[float]] = {}
    failed: dict[str, str] = {}
    fused: dict[str, bool] = {}
    for length in sorted({timing.length for timing in timings}):
        group = [timing for timing in timings if timing.length == length]
        watches: dict[Watched, Stopwatch] = {}
        for timing in group:
            with contained() as raised:
                for clone in (False, True) if timing.variant == BASELINE else (False,):
                    made = stopwatches(timing, variants[timing.variant.name])
                    watches |= {Watched(timing.key, what, clone): watch for what, watch in made.items()}
                fused[timing.key] = is_one_kernel(timing, variants[timing.variant.name])
            if raised:
                failed[timing.key] = raised.reason
        _take_rounds(watches, max((timing.repeats for timing in group), default=0), length, seconds, failed)
    whole = {watched: tuple(values) for watched, values in seconds.items() if watched.key not in failed}
    return Rounds(_by_key(whole, clone=False), failed, _by_key(whole, clone=True), fused)


def _take_rounds(
    watches: Mapping[Watched, Stopwatch], repeats: int, length: int, seconds: dict[Watched, list[float]], failed: dict[str, str]
) -> None:
    """Take the rounds of one length, and enter what they give."""
    order = data.generator("order of timings", length)
    every = list(watches)
    for _ in range(repeats):
        for place in order.permutation(len(every)):
            watched = every[place]
            if watched.key in failed:
                continue
            with contained() as raised:
                seconds.setdefault(watched, []).append(watches[watched].seconds())
            if raised:
                failed[watched.key] = raised.reason


def _by_key(seconds: Mapping[Watched, tuple[float, ...]], *, clone: bool) -> Seconds:
    by_key: dict[str, dict[str, tuple[float, ...]]] = {}
    for watched, values in seconds.items():
        if watched.clone == clone:
            by_key.setdefault(watched.key, {})[watched.what] = values
    return by_key


def is_one_kernel(timing: Timing, variant: Variant) -> bool:
    """Whether the forward runs the whole recurrence as one kernel, by the operations that torch runs in it on this device."""
    own = engine(timing.engine)
    if own.compiles:
        return False
    core, x = _ready(timing, variant)
    return any(map(is_fused, operations(lambda: own.run(variant, core, x))))


def _ready(timing: Timing, variant: Variant) -> tuple[torch.nn.Module, torch.Tensor]:
    """A core on the device and its input ``(B, T, D)``."""
    core = model.build_core(variant, timing.variant.options, timing.input_size, timing.hidden_size, seed=0)
    dtype = getattr(torch, timing.dtype)
    model.cast(core, dtype).to(timing.device)
    noise = data.generator("timing", timing.length).standard_normal((timing.batch_size, timing.length, timing.input_size))
    return core, data.inputs(noise, dtype, timing.device)


def stopwatches(timing: Timing, variant: Variant) -> dict[str, Stopwatch]:
    """A stopwatch for each thing that is timed of a variant: its forward, and its forward with its backward."""
    core, x = _ready(timing, variant)
    run = engine(timing.engine).run

    def forward() -> None:
        with torch.no_grad():
            run(variant, core, x)

    def forward_backward() -> None:
        core.zero_grad()
        run(variant, core, x).mean().backward()  # type: ignore[no-untyped-call]

    return {"forward": Stopwatch(forward, timing.device), "forward+backward": Stopwatch(forward_backward, timing.device)}
