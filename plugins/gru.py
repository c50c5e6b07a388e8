"""Gated recurrent unit: an LSTM with two gates merged and no separate cell state.

Cho et al., 2014, arXiv:1406.1078v1 (reset after the product, as cuDNN computes it)

    r_t = σ(W_r x_t + U_r h_{t−1} + b_r)                reset gate
    z_t = σ(W_z x_t + U_z h_{t−1} + b_z)                update gate
    n_t = tanh(W_n x_t + r_t ∘ (U_n h_{t−1}) + b_n)     candidate
    h_t = (1 − z_t) ∘ n_t + z_t ∘ h_{t−1}
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor, nn

from suite import Variant, hookimpl, ops


class GRU(nn.Module):
    def __init__(self, input_size: int, hidden_size: int) -> None:
        super().__init__()
        self.hidden_size = hidden_size
        self.weight_x = nn.Parameter(torch.empty(3 * hidden_size, input_size))  # [W_r; W_z; W_n]
        self.weight_h = nn.Parameter(torch.empty(3 * hidden_size, hidden_size))  # [U_r; U_z; U_n]
        self.bias = nn.Parameter(torch.empty(3 * hidden_size))
        ops.initialise(self, hidden_size)

    def step(self, x_t: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:  # (B, D), (B, H) -> (B, H), (B, H)
        r_x, z_x, n_x = torch.addmm(self.bias, x_t, self.weight_x.T).chunk(3, dim=1)
        r_h, z_h, n_h = (h @ self.weight_h.T).chunk(3, dim=1)
        r = torch.sigmoid(r_x + r_h)
        z = torch.sigmoid(z_x + z_h)
        n = torch.tanh(n_x + r * n_h)
        h = (1 - z) * n + z * h
        return h, h

    def forward(self, x: Tensor) -> Tensor:  # (B, T, D) -> (B, T, H)
        return ops.scan(self.step, x, x.new_zeros(len(x), self.hidden_size))

    def vendor(self, x: Tensor) -> Tensor:  # (B, T, D) -> (B, T, H)
        return ops.vendor_gru(x, self.weight_x, self.weight_h, self.bias)


def memory(core: GRU) -> Iterator[tuple[Tensor, None]]:
    """The bias of the update gate, ``(H,)``, which keeps the state by as much as it does not write."""
    yield core.bias.chunk(3)[1], None


@hookimpl
def suite_variants() -> Iterator[Variant]:
    yield Variant("gru", GRU, vendor=GRU.vendor, memory=memory, paper="arXiv:1406.1078")
