"""Checks one step of the minimal gated unit against its equations, by hand."""

import math

import pytest
import torch

from suite_plugin_example.minimal_gated_unit import MGU


def test_a_step_by_hand() -> None:
    cell = MGU(1, 1)
    with torch.no_grad():
        for layer, (on_h, on_x, bias) in ((cell.forget, (0.5, -1.0, 0.25)), (cell.candidate, (2.0, 0.75, -0.5))):
            layer.weight.copy_(torch.tensor([[on_h, on_x]]))
            layer.bias.fill_(bias)
    h, x = 0.4, 0.9
    f = 1 / (1 + math.exp(-(0.5 * h - x + 0.25)))
    n = math.tanh(2.0 * f * h + 0.75 * x - 0.5)
    output, _ = cell.step(torch.tensor([[x]]), torch.tensor([[h]]))
    assert output.item() == pytest.approx((1 - f) * h + f * n, rel=1e-6)
