"""Checks that doing pieces of a recurrence again on the way back gives the same gradients, and keeps less meanwhile."""

from __future__ import annotations

import gc

import pytest
import torch
from torch import Tensor, nn

from suite.ops.recurrence import Deriver
from suite.ops.scan import recomputing, scanning

from .answering import answers, built, noise, population
from .cores import CORES, Peephole
from .test_derived import hold


@pytest.fixture
def deriver() -> Deriver:
    return Deriver(compiled=False)


@pytest.mark.parametrize("piece", [1, 3, 7, 100])
@pytest.mark.parametrize("build", CORES)
def test_outputs_and_gradients_are_the_same(build: type[nn.Module], piece: int, deriver: Deriver) -> None:
    core, x = built(build, dtype=torch.float64), noise(2, 7, 3, dtype=torch.float64)
    wanted = answers(None, core, x)
    with recomputing(piece):
        hold(answers(deriver, core, x), wanted, 1e-10)


@pytest.mark.parametrize("piece", [2, 5])
def test_a_member_is_the_same_alone_and_in_a_population(piece: int, deriver: Deriver) -> None:
    """As they are trained: a member alone is one of two, and no batch ends within a vector."""
    cores, x = [built(Peephole, seed=seed) for seed in range(3)], noise(3, 32, 5, 3)
    with recomputing(piece):
        alone = [population(deriver, [core, core], torch.stack([own, own]))[0] for core, own in zip(cores, x, strict=True)]
        for given, wanted in zip(population(deriver, cores, x), alone, strict=True):
            assert all(torch.equal(given[name], wanted[name]) for name in wanted)


def test_one_piece_of_all_steps_has_the_bits_of_none(deriver: Deriver) -> None:
    core, x = built(Peephole, dtype=torch.float32), noise(2, 7, 3, dtype=torch.float32)
    wanted = answers(deriver, core, x)
    with recomputing(7):
        given = answers(deriver, core, x)
    assert all(torch.equal(given[name], wanted[name]) for name in wanted)


def test_less_is_kept_for_the_way_back(deriver: Deriver) -> None:
    core, x = built(Peephole, 16), noise(4, 100, 3)

    def kept() -> int:
        gc.collect()
        before = _elements()
        y = answered(deriver, core, x)
        gc.collect()
        after = _elements()
        y.sum().backward()  # type: ignore[no-untyped-call]
        return after - before

    every = kept()
    with recomputing(10):
        assert kept() < 0.6 * every


def answered(deriver: Deriver, core: nn.Module, x: Tensor) -> Tensor:
    with scanning(deriver.scan):
        return core(x)  # type: ignore[no-any-return]


def _elements() -> int:
    """The elements of all tensors that Python holds, those of a shared storage once."""
    tensors = {tensor.untyped_storage().data_ptr(): tensor.untyped_storage().nbytes() for tensor in gc.get_objects() if _plain(tensor)}
    return sum(tensors.values())


def _plain(found: object) -> bool:
    return type(found) in {Tensor, nn.Parameter}
