"""Checks that a grade tells what repeats to the bit and what does not."""

from __future__ import annotations

import itertools

import pytest
import torch
from torch import Tensor, nn

from suite import Variant
from suite.measures.repeatability import grade
from suite.spec import Grade


class Ones(nn.Module):
    """Gives what its weight says, to every row alike."""

    def __init__(self, input_size: int, hidden_size: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(input_size, hidden_size))

    def forward(self, x: Tensor) -> Tensor:
        return x[..., :1] * self.weight[0]


class Drifts(Ones):
    calls = itertools.count()

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x) + 1e-6 * next(self.calls)


class SeesTheBatch(Ones):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x) + 1e-6 * len(x)


@pytest.mark.parametrize(("build", "run_to_run", "batch_sizes"), [(Ones, True, True), (Drifts, False, False), (SeesTheBatch, True, False)])
def test_a_grade_is_what_repeats(build: type[nn.Module], run_to_run: bool, batch_sizes: bool) -> None:
    devices = True if torch.cuda.is_available() else None
    found = grade(Variant("v", build), {}, 3, 4, "cpu")
    assert (found.run_to_run, found.batch_sizes) == (run_to_run, batch_sizes)
    assert found.devices is devices or build is Drifts


def test_a_vendor_twin_counts_too() -> None:
    sees = Variant("v", Ones, vendor=lambda module, x: module(x) + 1e-6 * len(x))
    assert grade(sees, {}, 3, 4, "cpu").batch_sizes is False


def test_a_grade_reads_shortly() -> None:
    assert str(Grade(True, False, None)) == "run to run ✓ · batch size ✗ · device –"
