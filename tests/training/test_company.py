"""Checks that no member is the end of a block where a recurrence computes of its weights alone."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from suite import Variant, ops
from suite.ops.engines import BATCHED, DERIVED
from suite.training.company import rows
from suite.trial import Trial

from .test_members import ODD, REGISTRY, assert_company_does_not_matter, population


class Decays(nn.Module):
    """A recurrence that computes its decays of weights, and shifts all of them by some more."""

    def __init__(self, input_size: int, hidden_size: int) -> None:
        super().__init__()
        self.of_input, self.rate, self.shift = (
            nn.Linear(input_size, hidden_size),
            nn.Parameter(torch.rand(hidden_size)),
            nn.Parameter(torch.rand(3)),
        )

    def step(self, x_t: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
        h = torch.exp(-nn.functional.softplus(self.rate * self.shift.tanh().sum())) * h + self.of_input(x_t)
        return h, h

    def forward(self, x: Tensor) -> Tensor:  # (B, T, D) -> (B, T, H)
        return ops.scan(self.step, x, x.new_zeros(len(x), len(self.rate)))


class Turns(Decays):
    """The same with complex numbers, as in Orvieto et al., 2023, arXiv:2303.06349."""

    def step(self, x_t: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
        decay = torch.exp(torch.complex(-torch.exp(self.rate), self.shift.sum() * self.rate))
        h = decay * h + torch.sqrt(1 - decay.abs() ** 2) * self.of_input(x_t)
        return h.real, h

    def forward(self, x: Tensor) -> Tensor:
        return ops.scan(self.step, x, x.new_zeros(len(x), len(self.rate), dtype=self.rate.dtype.to_complex()))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("engine_name", [BATCHED.name, DERIVED.name])
@pytest.mark.parametrize("build", [Decays, Turns])
def test_company_does_not_matter_to_what_is_computed_of_weights_alone(
    tiny: Trial, build: type[nn.Module], engine_name: str, dtype: str
) -> None:
    assert_company_does_not_matter(population(tiny, engine_name, dtype=dtype), Variant("decays", build))


def test_only_what_is_computed_of_weights_alone_asks_for_more_rows() -> None:
    for name in ("lstm", "gru", "layernorm", "attention", "residual"):
        core = REGISTRY.variant(name).noun.build(3, ODD)
        assert rows(core, 3) == 1
    assert [rows(Decays(3, size), 3) for size in (7, 8, 32)] == [32, 32, 32]  # since three numbers shift them all
    assert [rows(Squashed(3, size), 3) for size in (7, 8, 32, 48)] == [32, 4, 1, 2]


def test_a_core_that_counts_its_calls_is_not_called_and_one_that_cannot_be_copied_gets_the_most_rows() -> None:
    class Counts(Squashed):
        calls = 0

        def forward(self, x: Tensor) -> Tensor:
            self.calls += 1
            return super().forward(x)

    core = Counts(3, 48)
    assert (rows(core, 3), core.calls) == (2, 0)
    core.opened = (number for number in range(3))  # type: ignore[assignment]
    assert rows(core, 3) == 32


class Squashed(nn.Linear):
    """Tells its sizes apart: what is computed of its bias alone is as large as that."""

    def forward(self, x: Tensor) -> Tensor:
        bias: Tensor = self.bias.tanh()
        return x @ self.weight.T + bias
