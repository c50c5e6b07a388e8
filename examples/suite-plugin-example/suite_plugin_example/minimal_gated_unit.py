"""Minimal gated unit: a GRU with its two gates made one.

Zhou et al., 2016, arXiv:1603.09420

    f_t = σ(W_f [h_{t−1}, x_t] + b_f)               forget gate
    n_t = tanh(W_n [f_t ∘ h_{t−1}, x_t] + b_n)      candidate
    h_t = (1 − f_t) ∘ h_{t−1} + f_t ∘ n_t           hidden
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor, nn

from suite import Variant, hookimpl, ops

suite_api = 1


class MGU(nn.Module):
    def __init__(self, input_size: int, hidden_size: int, *, remember: float = 1.0) -> None:
        super().__init__()
        self.hidden_size = hidden_size
        self.forget = nn.Linear(hidden_size + input_size, hidden_size)
        self.candidate = nn.Linear(hidden_size + input_size, hidden_size)
        ops.initialise(self, hidden_size)
        nn.init.constant_(self.forget.bias, -remember)  # a small f_t keeps the state

    def step(self, x_t: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:  # (B, D), (B, H) -> (B, H), (B, H)
        f = torch.sigmoid(self.forget(torch.cat([h, x_t], dim=1)))
        n = torch.tanh(self.candidate(torch.cat([f * h, x_t], dim=1)))
        h = (1 - f) * h + f * n
        return h, h

    def forward(self, x: Tensor) -> Tensor:  # (B, T, D) -> (B, T, H)
        return ops.scan(self.step, x, x.new_zeros(len(x), self.hidden_size))


@hookimpl
def suite_variants() -> Iterator[Variant]:
    yield Variant("mgu", MGU, paper="arXiv:1603.09420")
