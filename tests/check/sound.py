"""A variant that keeps the contract, for tests to spoil, and what the checks say of a plugin."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from suite import Variant, check, ops


class Sound(nn.Module):
    """An Elman network to spoil."""

    def __init__(self, input_size: int, hidden_size: int) -> None:
        super().__init__()
        self.hidden_size = hidden_size
        self.weight_x = nn.Parameter(torch.empty(hidden_size, input_size))
        self.weight_h = nn.Parameter(torch.empty(hidden_size, hidden_size))
        self.bias = nn.Parameter(torch.empty(hidden_size))
        ops.initialise(self, hidden_size)

    def step(self, x_t: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
        h = torch.tanh(x_t @ self.weight_x.T + h @ self.weight_h.T + self.bias)
        return h, h

    def start(self, x: Tensor) -> Tensor:
        return x.new_zeros(len(x), self.hidden_size)

    def forward(self, x: Tensor) -> Tensor:
        return ops.scan(self.step, x, self.start(x))


def failed(kind: Any, noun: Any, **options: Any) -> list[check.Finding]:
    """The findings of the checks that failed."""
    return [finding for finding in check.examine(check.Subject(kind, noun, options)) if finding.status == "failed"]


def failures(kind: Any, noun: Any, **options: Any) -> set[str]:
    """The names of the checks that failed."""
    return {finding.check for finding in failed(kind, noun, **options)}


def failed_of(build: Any) -> list[check.Finding]:
    """The findings of the checks that a variant's module failed."""
    return failed("variant", Variant("v", build))
