"""Checks that values which are written where they belong as they are made are those that are stacked in the end, whatever a core does."""

from __future__ import annotations

import contextlib
import gc
import threading
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode

from suite import ops
from suite.errors import SuiteError
from suite.ops import recurrence
from suite.ops.pieces import reachable, unfilled
from suite.ops.recurrence import Deriver
from suite.ops.scan import recomputing
from suite.ops.stepping import Series

from .answering import answers, built, noise, population, run
from .cores import CORES, LRU, Core, Peephole
from .test_compiled import needs_compiler
from .test_derived import check_alone_and_together, hold


@pytest.fixture
def deriver(monkeypatch: pytest.MonkeyPatch) -> Iterator[Deriver]:
    """One that writes as a compiler's code does, without a compiler, into memory that is not a number before."""
    monkeypatch.setattr(recurrence, "unfilled", contextlib.nullcontext)
    before = torch.are_deterministic_algorithms_enabled()
    torch.use_deterministic_algorithms(True)
    yield Deriver(compiled=False, placing=True)
    torch.use_deterministic_algorithms(before)


@pytest.mark.parametrize("build", CORES)
def test_a_core_alone_and_in_a_population(build: type[Core], deriver: Deriver) -> None:
    check_alone_and_together(deriver, build, torch.float64)


@pytest.mark.slow
@needs_compiler
@pytest.mark.parametrize("build", [build for build in CORES if build is not LRU])
def test_a_compiled_core_alone_and_in_a_population(build: type[Core]) -> None:
    check_alone_and_together(Deriver(compiled=True), build, torch.float64)


@pytest.mark.parametrize("piece", [1, 3, 7, 100])
@pytest.mark.parametrize("build", CORES)
def test_pieces_that_are_done_again(build: type[nn.Module], piece: int, deriver: Deriver) -> None:
    core, x = built(build), noise(2, 7, 3)
    wanted = answers(None, core, x)
    with recomputing(piece):
        hold(answers(deriver, core, x), wanted, 1e-10)


def test_the_bits_are_those_of_what_is_stacked(deriver: Deriver) -> None:
    cores, x = [built(Peephole, seed=seed) for seed in range(3)], noise(3, 2, 5, 3)
    for given, wanted in zip(population(deriver, cores, x), population(Deriver(compiled=False), cores, x), strict=True):
        assert all(torch.equal(given[name], wanted[name]) for name in wanted)


class ChangesItsOutputs(Core):
    """Writes into what a scan gave it, whose values are states of the recurrence too."""

    def forward(self, x: Tensor) -> Tensor:
        y = ops.scan(self.step, x, self.start(x))
        y.mul_(3)
        return y + ops.scan(self.step, x, self.start(x))


@pytest.mark.parametrize("piece", [0, 2])
def test_outputs_may_be_changed_in_place(piece: int, deriver: Deriver) -> None:
    core, x = built(ChangesItsOutputs), noise(2, 7, 3)
    with recomputing(piece):
        hold(answers(deriver, core, x), answers(None, core, x), 1e-10)


def test_memory_is_free_without_the_garbage_collector(deriver: Deriver) -> None:
    """A training step whose blocks only the collector could free would take new ones each time."""
    core, x = built(Peephole), noise(2, 7, 3)
    gc.collect()
    gc.disable()
    try:
        run(deriver, core, x).sum().backward()  # type: ignore[no-untyped-call]
        assert not [found for found in gc.get_objects() if isinstance(found, Series)]
    finally:
        gc.enable()


def test_memory_that_is_not_written_is_left_as_it_is_inside_alone() -> None:
    mode: Any = torch.utils.deterministic
    assert mode.fill_uninitialized_memory
    answers(Deriver(compiled=False), built(Peephole), noise(2, 7, 3))
    assert mode.fill_uninitialized_memory


def test_the_last_of_several_threads_to_leave_lets_memory_be_filled_again() -> None:
    mode: Any = torch.utils.deterministic
    inside, may_leave = threading.Barrier(2), threading.Event()

    def other() -> None:
        with unfilled():
            inside.wait()
            may_leave.wait()

    thread = threading.Thread(target=other)
    with unfilled():
        thread.start()
        inside.wait()
        with unfilled():
            assert not mode.fill_uninitialized_memory
    assert not mode.fill_uninitialized_memory
    may_leave.set()
    thread.join()
    assert mode.fill_uninitialized_memory


def test_a_block_that_compiled_code_on_a_gpu_cannot_reach_is_refused() -> None:
    with FakeTensorMode():
        small, large = (torch.empty(32, steps, 32, 1024, device="cuda") for steps in (2000, 2100))
        assert reachable(small) is small
        assert reachable(torch.empty(32, 2100, 32, 1024)).device.type == "cpu"
    with pytest.raises(SuiteError, match=r"2202009600 numbers stand in one block.*smaller batch_size, or engine"):
        reachable(large)
