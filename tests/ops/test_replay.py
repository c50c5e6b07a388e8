"""Checks replaying without a GPU: what is recorded reads its inputs from one place, and what cannot be recorded runs as it is written."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from suite.ops.engines import AUTO, GRAPH, resolve
from suite.ops.replay import WARM_UP, Replay
from suite.registry.finder import discover


class Pretended:
    """Recordings that are the call itself, and a count of how often each was replayed."""

    def __init__(self) -> None:
        self.made, self.replayed = 0, 0

    def __call__(self, call: Callable[[], object]) -> Pretended:
        self.made += 1
        self._call = call
        return self

    def replay(self) -> None:
        self.replayed += 1
        self._call()


def adder() -> tuple[Tensor, Callable[[Tensor, Tensor | None], None], list[int]]:
    """A sum, a call that adds to it, and the addresses that it read from."""
    total, read = torch.zeros(3), []

    def add(x: Tensor, more: Tensor | None) -> None:
        read.append(x.data_ptr())
        total.add_(x)
        if more is not None:
            total.add_(more)

    return total, add, read


@pytest.mark.parametrize("more", [None, torch.ones(3)], ids=["one input", "two inputs"])
def test_what_is_replayed_does_what_was_written(more: Tensor | None) -> None:
    total, add, read = adder()
    recorder = Pretended()
    replay = Replay(add, recorder)
    kept = [torch.full((3,), float(value)) for value in range(10)]  # kept, so that no two share their place
    for x in kept:
        replay(x, more)
    assert total.tolist() == [45.0 + (0 if more is None else 10)] * 3
    assert (recorder.made, recorder.replayed) == (1, 10 - WARM_UP)
    assert len(set(read[WARM_UP:])) == 1
    assert read[-1] not in {x.data_ptr() for x in kept}


def test_inputs_of_another_shape_run_as_written() -> None:
    total, recorder = torch.zeros(()), Pretended()
    replay = Replay(lambda x: total.add_(x.sum()), recorder)
    for size in [3] * (WARM_UP + 2) + [2, 3]:
        replay(torch.ones(size))
    assert total.item() == 3 * (WARM_UP + 3) + 2
    assert recorder.replayed == 3


def test_what_cannot_be_recorded_is_told_once_and_runs_on() -> None:
    total, add, _ = adder()

    def refuse(_: Callable[[], object]) -> Pretended:
        raise RuntimeError("operation not permitted when stream is capturing")

    replay = Replay(add, refuse)
    for _ in range(WARM_UP):
        replay(torch.ones(3), None)
    with pytest.warns(UserWarning, match="could not be recorded as a CUDA graph, and runs without: .*not permitted"):
        replay(torch.ones(3), None)
    for _ in range(10 - WARM_UP - 1):
        replay(torch.ones(3), None)  # a second warning would be an error
    assert total.tolist() == [10.0] * 3


def test_the_engine_is_there_on_cuda_alone_and_only_where_asked() -> None:
    gru = discover().variant("gru").noun
    assert resolve(gru, {}, GRAPH.name, 1, "cuda") == GRAPH.name
    assert resolve(gru, {}, GRAPH.name, 1, "cpu") != GRAPH.name
    assert resolve(gru, {}, AUTO, 1, "cuda") != GRAPH.name


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_a_recorded_step_does_what_it_does_unrecorded() -> None:
    weight = torch.ones(4, device="cuda", requires_grad=True)
    optimizer = torch.optim.Adam([weight], lr=0.1, capturable=True)
    other = torch.ones(4, device="cuda", requires_grad=True)
    others = torch.optim.Adam([other], lr=0.1, capturable=True)

    def step(of: Tensor, by: torch.optim.Optimizer) -> Callable[[Tensor], None]:
        of.grad = torch.zeros_like(of)

        def call(x: Tensor) -> None:
            of.grad.zero_()  # type: ignore[union-attr]
            (of * x).square().sum().backward()  # type: ignore[no-untyped-call]
            by.step()

        return call

    replay, plain = Replay(step(weight, optimizer)), step(other, others)
    for value in range(1, 12):
        x = torch.full((4,), float(value), device="cuda")
        replay(x)
        plain(x)
    assert torch.equal(weight, other)
