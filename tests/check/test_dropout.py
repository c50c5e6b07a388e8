"""Checks that a variant may drop out in training mode, and that what dropout might hide is still found."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from suite import Variant, check, ops
from suite.check import probe

from .sound import Sound, failed_of, failures


class DropsOut(nn.Module):
    """Drops outputs in training mode, by torch's function."""

    def __init__(self, input_size: int, hidden_size: int) -> None:
        super().__init__()
        self.inner = Sound(input_size, hidden_size)

    def forward(self, x: Tensor) -> Tensor:
        return functional.dropout(self.inner(x), 0.3, training=self.training)


class Stacked(nn.Module):
    """Torch's own stack, whose dropout is inside the layer."""

    def __init__(self, input_size: int, hidden_size: int) -> None:
        super().__init__()
        self.lstm = nn.LSTM(input_size, hidden_size, num_layers=2, dropout=0.3, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        y, _ = self.lstm(x)
        return y  # type: ignore[no-any-return]


class KeepsItsMask(Sound):
    """Drops recurrent connections by the same mask at every step of a sequence."""

    def forward(self, x: Tensor) -> Tensor:
        mask = functional.dropout(x.new_ones(len(x), self.hidden_size), 0.3, training=self.training)

        def masked(x_t: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
            return self.step(x_t, h * mask)

        return ops.scan(masked, x, self.start(x))


class LearnsItsRate(Sound):
    """Has a weight that is used in training mode alone."""

    def __init__(self, input_size: int, hidden_size: int) -> None:
        super().__init__(input_size, hidden_size)
        self.scale = nn.Parameter(torch.zeros(hidden_size))

    def forward(self, x: Tensor) -> Tensor:
        y = super().forward(x)
        return y + self.scale * torch.randn_like(y) if self.training else y


def test_torchs_layers_stay_in_training_mode_without_their_dropout() -> None:
    """As cuDNN's backward needs it."""
    core = probe.build_repeatable(check.Subject("variant", Variant("v", Stacked)), 3, 4)
    [layer] = core.children()
    assert isinstance(layer, nn.LSTM)
    assert (core.training, layer.training, layer.dropout) == (False, True, 0.0)


def test_a_module_that_draws_nothing_stays_in_training_mode() -> None:
    assert probe.build_repeatable(check.Subject("variant", Variant("v", Sound)), 3, 4).training


@pytest.mark.parametrize("build", [DropsOut, Stacked, KeepsItsMask, LearnsItsRate])
def test_dropout_in_training_mode_passes(build: type[nn.Module]) -> None:
    assert failed_of(build) == []


def test_dropout_on_one_engine_alone_passes() -> None:
    def vendor(module: Sound, x: Tensor) -> Tensor:
        y = ops.vendor_rnn(x, module.weight_x, module.weight_h, module.bias)
        return functional.dropout(y, 0.3, training=module.training)

    assert failures("variant", Variant("v", Sound, vendor=vendor)) == set()


class AlwaysDropsOut(DropsOut):
    def forward(self, x: Tensor) -> Tensor:
        return functional.dropout(self.inner(x), 0.3, training=True)


class DropsOutByNumPy(DropsOut):
    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.inner(x)
        return y * float(np.random.rand() + 0.5) if self.training else y


class KeepsARunningMean(DropsOut):
    """Takes a statistic over training batches, as batch normalisation does."""

    mean: Tensor

    def __init__(self, input_size: int, hidden_size: int) -> None:
        super().__init__(input_size, hidden_size)
        self.register_buffer("mean", torch.zeros(hidden_size))

    def forward(self, x: Tensor) -> Tensor:
        y = super().forward(x)
        if self.training:
            self.mean = 0.9 * self.mean + 0.1 * y.detach().mean((0, 1))
        return y - self.mean


class LeaksOverTheBatch(DropsOut):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x) + 1e-6 * x.mean(0).sum(1, keepdim=True)


class LooksAhead(DropsOut):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x) + 1e-6 * x.mean((1, 2), keepdim=True)


class DropsItsInputInPlace(DropsOut):
    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.inner(functional.dropout(x, 0.3, training=self.training, inplace=True))
        return y


class SeedsTheGlobalGenerator(DropsOut):
    def forward(self, x: Tensor) -> Tensor:
        np.random.seed(0)
        return super().forward(x)


@pytest.mark.parametrize(
    ("build", "name"),
    [
        (AlwaysDropsOut, "determinism"),
        (DropsOutByNumPy, "determinism"),
        (KeepsARunningMean, "state"),
        (LeaksOverTheBatch, "batch"),
        (LooksAhead, "causality"),
        (DropsItsInputInPlace, "input"),
        (SeedsTheGlobalGenerator, "surroundings"),
    ],
)
def test_dropout_hides_no_fault(build: type[nn.Module], name: str) -> None:
    assert [finding.check for finding in failed_of(build)] == [name]


def test_dropout_in_evaluation_mode_is_named() -> None:
    [finding] = failed_of(AlwaysDropsOut)
    assert finding.reason == "forward draws at random in evaluation mode"
    assert "in training mode alone" in finding.remedy
