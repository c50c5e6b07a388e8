"""LSTM with layer normalisation of each product and of the cell, to steady the scale of its state.

Ba et al., 2016, arXiv:1607.06450 (equations 20–22 of the supplement)

    (f_t, i_t, o_t, g_t) = LN(W_h h_{t−1}; α₁) + LN(W_x x_t; α₂) + b
    c_t = σ(f_t) ∘ c_{t−1} + σ(i_t) ∘ tanh(g_t)
    h_t = σ(o_t) ∘ tanh(LN(c_t; α₃, β₃))

The shifts of the first two LN would add to b, so they are left out. Of an input of a single channel, LN(W_x x_t) would keep no more than
its sign; the constant channel beside it, which every model gets, lets through how large it is.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor, nn

from suite import Variant, hookimpl, ops


class LayerNormLSTM(nn.Module):
    def __init__(self, input_size: int, hidden_size: int) -> None:
        super().__init__()
        self.hidden_size = hidden_size
        self.weight_x = nn.Linear(input_size, 4 * hidden_size, bias=False)
        self.weight_h = nn.Linear(hidden_size, 4 * hidden_size, bias=False)
        self.bias = nn.Parameter(torch.zeros(4 * hidden_size))
        ops.initialise(self, hidden_size)
        self.norm_x = nn.LayerNorm(4 * hidden_size, bias=False)
        self.norm_h = nn.LayerNorm(4 * hidden_size, bias=False)
        self.norm_c = nn.LayerNorm(hidden_size)
        nn.init.ones_(self.bias[:hidden_size])  # forget bias 1

    def step(self, x_t: Tensor, state: tuple[Tensor, Tensor]) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        h, c = state  # (B, H), (B, H)
        f, i, o, g = (self.norm_h(self.weight_h(h)) + self.norm_x(self.weight_x(x_t)) + self.bias).chunk(4, dim=1)
        c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)
        h = torch.sigmoid(o) * torch.tanh(self.norm_c(c))
        return h, (h, c)

    def forward(self, x: Tensor) -> Tensor:  # (B, T, D) -> (B, T, H)
        zeros = x.new_zeros(len(x), self.hidden_size)
        return ops.scan(self.step, x, (zeros, zeros))


def memory(core: LayerNormLSTM) -> Iterator[tuple[Tensor, Tensor]]:
    """Biases of forget and input gate, ``(H,)`` each."""
    f, i, _, _ = core.bias.chunk(4)
    yield f, i


@hookimpl
def suite_variants() -> Iterator[Variant]:
    yield Variant("layernorm", LayerNormLSTM, memory=memory, paper="arXiv:1607.06450")
