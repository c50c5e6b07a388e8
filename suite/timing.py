"""Times models alone, warm and interleaved: forward, and forward with backward."""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Callable, Iterator, Mapping

import torch
from torch import nn

from . import data, model
from .spec import Timing, Variant

LEAST_SECONDS = 0.005
"""A measurement repeats its call until it lasts at least so long, so that the clock's grain does not show."""

WARM_UP = 3


def _forward(variant: Variant, core: nn.Module, x: torch.Tensor, engine: str) -> None:
    with torch.no_grad():
        model.run(variant, core, x, engine)


def _forward_backward(variant: Variant, core: nn.Module, x: torch.Tensor, engine: str) -> None:
    core.zero_grad()
    model.run(variant, core, x, engine).mean().backward()  # type: ignore[no-untyped-call]


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


def measure(timings: list[Timing], variants: Mapping[str, Variant]) -> tuple[dict[str, dict[str, list[float]]], dict[str, str]]:
    """Seconds a call by key, then by what was timed, one entry a round; and the reasons of those that failed.

    All timings of one length are interleaved: every round times each of them once, so that a slow moment of the machine
    meets all alike and the quotient of two within a round is fair.
    """
    seconds: dict[str, dict[str, list[float]]] = {}
    failed: dict[str, str] = {}
    for length in sorted({timing.length for timing in timings}):
        here = [timing for timing in timings if timing.length == length]
        ready: dict[tuple[str, str], Stopwatch] = {}
        for timing in here:
            with _contained(timing.key, failed):
                ready |= {(timing.key, name): watch for name, watch in _watches(timing, variants[timing.variant]).items()}
        for _ in range(max((timing.repeats for timing in here), default=0)):
            for (key, name), watch in ready.items():
                if key not in failed:
                    with _contained(key, failed):
                        seconds.setdefault(key, {}).setdefault(name, []).append(watch.seconds())
    return {key: found for key, found in seconds.items() if key not in failed}, failed


@contextlib.contextmanager
def _contained(key: str, failed: dict[str, str]) -> Iterator[None]:
    """Note what a plugin raises: it loses its row and the others keep theirs."""
    try:
        yield
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        failed[key] = f"{type(error).__name__}: {error}"


def _watches(timing: Timing, variant: Variant) -> dict[str, Stopwatch]:
    core = model.build_core(variant, timing.variant_options, timing.input_size, timing.hidden_size, seed=0)
    core.to(device=timing.device, dtype=getattr(torch, timing.dtype))
    noise = data.generator("timing", timing.length).standard_normal((timing.batch_size, timing.length, timing.input_size))
    x = data.inputs(noise, getattr(torch, timing.dtype), timing.device)

    def watch(call: Callable[[Variant, nn.Module, torch.Tensor, str], None]) -> Stopwatch:
        return Stopwatch(lambda: call(variant, core, x, timing.engine), timing.device)

    return {"forward": watch(_forward), "forward+backward": watch(_forward_backward)}
