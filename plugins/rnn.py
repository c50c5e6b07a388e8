"""Elman network with tanh: the baseline whose gradients vanish.

Elman, 1990, doi:10.1207/s15516709cog1402_1; Bengio et al., 1994, doi:10.1109/72.279181 (why it forgets)

    h_t = tanh(W_x x_t + W_h h_{t−1} + b)
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor, nn

from suite import Variant, hookimpl, ops


class RNN(nn.Module):
    def __init__(self, input_size: int, hidden_size: int) -> None:
        super().__init__()
        self.hidden_size = hidden_size
        self.weight_x = nn.Parameter(torch.empty(hidden_size, input_size))
        self.weight_h = nn.Parameter(torch.empty(hidden_size, hidden_size))
        self.bias = nn.Parameter(torch.empty(hidden_size))
        ops.initialise(self, hidden_size)

    def step(self, x_t: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:  # (B, D), (B, H) -> (B, H), (B, H)
        h = torch.tanh(x_t @ self.weight_x.T + h @ self.weight_h.T + self.bias)
        return h, h

    def forward(self, x: Tensor) -> Tensor:  # (B, T, D) -> (B, T, H)
        return ops.scan(self.step, x, x.new_zeros(len(x), self.hidden_size))

    def vendor(self, x: Tensor) -> Tensor:  # (B, T, D) -> (B, T, H)
        return ops.vendor_rnn(x, self.weight_x, self.weight_h, self.bias)


@hookimpl
def suite_variants() -> Iterator[Variant]:
    yield Variant("rnn", RNN, vendor=RNN.vendor, paper="doi:10.1207/s15516709cog1402_1")
