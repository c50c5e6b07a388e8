"""Checks that what forbids comparing a variant is found, on planted faults, and that every shipped variant is sound."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from suite import Variant
from suite.measures.repeatability import grade
from suite.measures.soundness import fault
from suite.ops.engines import VENDOR
from suite.registry.finder import discover

VARIANTS = {name: provided.noun for name, provided in discover().variants.items()}


class Sum(nn.Module):
    """Adds up what it has read: a sound recurrence."""

    def __init__(self, input_size: int, hidden_size: int) -> None:
        super().__init__()
        self.weight = nn.Linear(input_size, hidden_size)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = torch.tanh(self.weight(x)).cumsum(1)
        return y


class LooksAhead(Sum):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x) + x.mean(dim=(1, 2), keepdim=True)


class LooksFarAhead(Sum):
    """Sees a step only where the sequence is long."""

    def forward(self, x: Tensor) -> Tensor:
        y = super().forward(x)
        return y + x[:, 64:, :1].sum(1, keepdim=True) if x.shape[1] > 64 else y


class MixesRows(Sum):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x - x.mean(dim=0))


class Remembers(Sum):
    def __init__(self, input_size: int, hidden_size: int) -> None:
        super().__init__(input_size, hidden_size)
        self.kept: Any = 0.0

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = super().forward(x) + self.kept
        self.kept = y.detach().mean()
        return y


class Flat(Sum):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x)[:, -1]


class Overflows(Sum):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x) / 0


@pytest.mark.parametrize(
    ("build", "reason"),
    [
        (Sum, ""),
        (LooksAhead, "claims to be causal, but changes outputs up to step 0 when only later input changes (T=9)"),
        (LooksFarAhead, "claims to be causal, but changes outputs up to step 0 when only later input changes (T=70)"),
        (MixesRows, "row 0 alone differs from the row in a batch of 5"),
        (Remembers, "gives another output for the same input after other calls"),
        (Flat, "gives (2, 4) for (2, 6, 3), which must be finite (B, T, O)"),
        (Overflows, "gives (2, 6, 4) for (2, 6, 3), which must be finite (B, T, O)"),
    ],
)
def test_what_forbids_comparing_a_variant_is_found(build: type[nn.Module], reason: str) -> None:
    assert fault(Variant("v", build), {}, "cpu") == reason


def test_who_says_that_it_looks_ahead_may() -> None:
    assert fault(Variant("v", LooksAhead, causal=False), {}, "cpu") == ""


def test_a_twin_is_looked_at_too() -> None:
    mixing = Variant("v", Sum, vendor=lambda module, x: module(x - x.mean(dim=0)))
    assert fault(mixing, {}, "cpu").startswith(f"{VENDOR.name} engine: row 0 alone differs")


@pytest.mark.parametrize("name", VARIANTS)
def test_every_variant_found_here_is_sound(name: str) -> None:
    assert fault(VARIANTS[name], {}, "cpu") == ""


def test_dropout_does_not_forbid_it() -> None:
    class Dropped(Sum):
        def forward(self, x: Tensor) -> Tensor:
            return nn.functional.dropout(super().forward(x), 0.5, self.training)

    assert fault(Variant("v", Dropped), {}, "cpu") == ""


def test_a_grade_says_so() -> None:
    assert grade(Variant("v", MixesRows), {}, 3, 4, "cpu").unsound.startswith("row 0 alone differs")
