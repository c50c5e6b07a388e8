"""Records what a call asks of a GPU, and replays it as one launch."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any, Protocol

import torch
from torch import Tensor

from ..errors import contained

WARM_UP = 3
"""So many calls run as they are written before one is recorded: libraries set themselves up in the first ones."""


class Recording(Protocol):
    """What was recorded."""

    def replay(self) -> None: ...


Record = Callable[[Callable[[], object]], Recording]
"""Records what a call asks of the device, without doing it."""


def record(call: Callable[[], object]) -> Recording:
    """As a CUDA graph; other threads may go on meanwhile, as the one that draws the next batch does."""
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph, capture_error_mode="thread_local"):
        call()
    return graph


def aside(call: Callable[[], object]) -> None:
    """Run a call on a stream of its own, as what comes before a recording must (pytorch#61880); without CUDA, as it is."""
    if not torch.cuda.is_available():
        call()
        return
    stream = torch.cuda.Stream()  # type: ignore[no-untyped-call]
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        call()
    torch.cuda.current_stream().wait_stream(stream)


class Replay:
    """A call that does the same to tensors of the same shapes each time, and gives nothing back but what it writes into tensors.

    Its first calls run as they are written, and do what they do; then it is recorded, and from there on replayed, its inputs copied to
    where the recording reads them. What cannot be recorded is told once, and runs as it is written: the numbers are the same.
    """

    def __init__(self, call: Callable[..., object], record: Record = record) -> None:
        self._call, self._record = call, record
        self._calls = 0
        self._inputs: tuple[Tensor | None, ...] = ()
        self._recording: Recording | None = None

    def __call__(self, *inputs: Tensor | None) -> None:
        self._calls += 1
        if self._calls <= WARM_UP:
            aside(lambda: self._call(*inputs))
            return
        if self._calls == WARM_UP + 1:
            self._start(inputs)
        if self._recording is None or not self._fits(inputs):
            self._call(*inputs)
            return
        for place, value in zip(self._inputs, inputs, strict=True):
            if place is not None and value is not None:
                place.copy_(value)
        self._recording.replay()

    def _start(self, inputs: tuple[Tensor | None, ...]) -> None:
        self._inputs = tuple(None if value is None else value.clone() for value in inputs)
        with contained() as raised:
            self._recording = self._record(lambda: self._call(*self._inputs))
        if raised:
            warnings.warn(f"a training step could not be recorded as a CUDA graph, and runs without: {raised.reason}", stacklevel=2)

    def _fits(self, inputs: tuple[Any, ...]) -> bool:
        def shapes(values: tuple[Any, ...]) -> list[Any]:
            return [None if value is None else (value.shape, value.dtype) for value in values]

        return shapes(inputs) == shapes(self._inputs)
