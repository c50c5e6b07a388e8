"""Times models alone, warm and interleaved: forward, and forward with backward."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch

from ..errors import contained
from ..ops.engines import engine
from ..spec import Variant
from ..training import data, model
from ..trial import Timing

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


@dataclass(frozen=True)
class Rounds:
    """What a set of timings came to.

    seconds: seconds a call, by timing key and then by what was timed, one value a round
    failed: the reasons of the timings that failed, by key
    """

    seconds: Mapping[str, Mapping[str, tuple[float, ...]]]
    failed: Mapping[str, str]


def measure(timings: Sequence[Timing], variants: Mapping[str, Variant]) -> Rounds:
    """Time models of all the timings, lengths apart from each other.

    The timings of one length are interleaved: every round times each of them once, so that a slow moment of the machine
    meets all alike and the quotient of two within a round is fair. A variant that raises loses its own timing alone.
    """
    seconds: dict[str, dict[str, list[float]]] = {}
    failed: dict[str, str] = {}
    for length in sorted({timing.length for timing in timings}):
        group = [timing for timing in timings if timing.length == length]
        watches: dict[tuple[str, str], Stopwatch] = {}
        for timing in group:
            with contained() as raised:
                watches |= {(timing.key, what): watch for what, watch in stopwatches(timing, variants[timing.variant.name]).items()}
            if raised:
                failed[timing.key] = raised.reason
        for _ in range(max((timing.repeats for timing in group), default=0)):
            for (key, what), watch in watches.items():
                if key in failed:
                    continue
                with contained() as raised:
                    seconds.setdefault(key, {}).setdefault(what, []).append(watch.seconds())
                if raised:
                    failed[key] = raised.reason
    complete = {key: {what: tuple(rounds) for what, rounds in by_what.items()} for key, by_what in seconds.items() if key not in failed}
    return Rounds(complete, failed)


def stopwatches(timing: Timing, variant: Variant) -> dict[str, Stopwatch]:
    """A stopwatch for each thing that is timed of a variant: its forward, and its forward with its backward."""
    core = model.build_core(variant, timing.variant.options, timing.input_size, timing.hidden_size, seed=0)
    dtype = getattr(torch, timing.dtype)
    model.cast(core, dtype).to(timing.device)
    noise = data.generator("timing", timing.length).standard_normal((timing.batch_size, timing.length, timing.input_size))
    x = data.inputs(noise, dtype, timing.device)
    run = engine(timing.engine).run

    def forward() -> None:
        with torch.no_grad():
            run(variant, core, x)

    def forward_backward() -> None:
        core.zero_grad()
        run(variant, core, x).mean().backward()  # type: ignore[no-untyped-call]

    return {"forward": Stopwatch(forward, timing.device), "forward+backward": Stopwatch(forward_backward, timing.device)}
