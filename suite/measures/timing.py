"""Times models alone, warm and interleaved: forward, forward with backward, and one step of a stream."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import torch

from ..errors import contained
from ..ops.engines import REFERENCE, engine
from ..ops.probing import is_fused, operations
from ..ops.replay import Replay
from ..ops.streaming import Stream
from ..spec import Variant
from ..training import data, model
from ..trial import BASELINE, BOTH, FORWARD, STEP, Cost, Roof, Timing
from . import cost, energy
from .scores import median_interval

LEAST_SECONDS = 0.005
"""A measurement repeats its call until it lasts at least so long, so that the clock's grain does not show."""

WARM_UP = 5
"""Calls before the first that counts; the later ones of them are replayed where the engine replays."""


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
    fused: whether a kernel runs the whole recurrence, by key; costs: what else a call takes, by key; failed: why timings failed, by key
    roof: what the device could, where anything was asked of it
    """

    seconds: Seconds
    failed: Mapping[str, str]
    clones: Seconds = field(default_factory=dict)
    fused: Mapping[str, bool] = field(default_factory=dict)
    costs: Mapping[str, Cost] = field(default_factory=dict)
    roof: Roof | None = None


@dataclass(frozen=True)
class Watched:
    """One thing that is timed: `what` of the timing with this key, perhaps of the clone of a baseline."""

    key: str
    what: str
    clone: bool


def measure(timings: Sequence[Timing], variants: Mapping[str, Variant]) -> Rounds:
    """Time models of all the timings, shapes apart from each other, and count what else they take.

    The timings of one shape are interleaved: every round times each of them once, in an order of its own, so that a slow moment of
    the machine meets all alike and the quotient of two within a round is fair. A variant that raises loses its own timing alone.
    """
    seconds: dict[Watched, list[float]] = {}
    failed: dict[str, str] = {}
    fused: dict[str, bool] = {}
    costs: dict[str, Cost] = {}
    for shape in sorted({timing.shape for timing in timings}):
        group = [timing for timing in timings if timing.shape == shape]
        watches: dict[Watched, Stopwatch] = {}
        arithmetics: dict[str, tuple[int, int]] = {}
        for timing in group:
            variant = variants[timing.variant.name]
            with contained() as raised:
                for clone in (False, True) if timing.variant == BASELINE else (False,):
                    made = {what: Stopwatch(call, timing.device) for what, call in calls(timing, variant).items()}
                    watches |= {Watched(timing.key, what, clone): watch for what, watch in made.items()}
                fused[timing.key] = is_one_kernel(timing, variant)
                if timing.variant.label not in arithmetics:
                    plain = list(calls(replace(timing, engine=REFERENCE.name), variant).values())
                    arithmetics[timing.variant.label] = cost.arithmetic(plain[-1])
                call = list(calls(timing, variant).values())[-1]
                peak, joules = cost.peak_bytes(call, timing.device), energy.joules(call, timing.device)
                costs[timing.key] = Cost(peak, *arithmetics[timing.variant.label], joules)
            if raised:
                failed[timing.key] = raised.reason
        _take_rounds(group, watches, seconds, failed)
    whole = {watched: tuple(values) for watched, values in seconds.items() if watched.key not in failed}
    roof = cost.roof(timings[0].device, getattr(torch, timings[0].dtype)) if timings else None
    return Rounds(_by_key(whole, clone=False), failed, _by_key(whole, clone=True), fused, costs, roof)


def _take_rounds(
    group: Sequence[Timing], watches: Mapping[Watched, Stopwatch], seconds: dict[Watched, list[float]], failed: dict[str, str]
) -> None:
    """Take the rounds of one shape, until its rule ends them, and enter what they give."""
    rule, order, every = group[0].rule, data.generator("order of timings", group[0].shape.text()), list(watches)
    start = time.perf_counter()
    for count in range(rule.most):
        if count >= rule.repeats and (time.perf_counter() - start > rule.seconds or _narrow(group, seconds, failed, rule.precision)):
            break
        for place in order.permutation(len(every)):
            watched = every[place]
            if watched.key in failed:
                continue
            with contained() as raised:
                seconds.setdefault(watched, []).append(watches[watched].seconds())
            if raised:
                failed[watched.key] = raised.reason


def _narrow(group: Sequence[Timing], seconds: Mapping[Watched, Sequence[float]], failed: Mapping[str, str], precision: float) -> bool:
    """Whether each timing's ratio to the baseline of its engine is known to so small a part of itself."""
    baselines = {timing.engine: timing.key for timing in group if timing.variant == BASELINE}
    for watched, values in seconds.items():
        engines = [timing.engine for timing in group if timing.key == watched.key]
        base = seconds.get(replace(watched, key=baselines.get(engines[0], ""), clone=False), ()) if engines else ()
        if watched.key in failed or len(base) != len(values):
            continue
        middle, low, high = median_interval([value / other for value, other in zip(values, base, strict=True)])
        if max(high / middle, middle / low) > 1 + precision:
            return False
    return True


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
    shape = (timing.shape.batch_size, timing.shape.length, timing.input_size)
    noise = data.generator("timing", timing.shape.length).standard_normal(shape)
    return core, torch.from_numpy(noise).to(device=timing.device, dtype=dtype)


def calls(timing: Timing, variant: Variant) -> dict[str, Callable[[], None]]:
    """What is timed of a variant: its forward, and its forward with its backward; or of a stream, one step."""
    core, x = _ready(timing, variant)
    own = engine(timing.engine)
    if timing.shape.streaming:
        stream, x_t = Stream(core.eval()), x[:, 0]

        def step() -> None:
            with torch.no_grad():
                stream(x_t)

        return {STEP: step}

    def forward() -> None:
        with torch.no_grad():
            own.run(variant, core, x)

    def forward_backward() -> None:
        core.zero_grad()
        own.run(variant, core, x).mean().backward()  # type: ignore[no-untyped-call]

    return {what: Replay(call) if own.replays else call for what, call in ((FORWARD, forward), (BOTH, forward_backward))}
