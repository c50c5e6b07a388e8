"""LSTM whose forget gate has a gate of its own, which moves it towards 0 or 1 where it would saturate and not learn any more.

Gu et al., 2020, arXiv:1910.09890 (the refine gate, and gates that begin uniformly spread)

    f_t = σ(W_f [h_{t−1}, x_t] + b_f)                          forget gate, σ(b_f) ~ U[1/H, 1 − 1/H] at first
    r_t = σ(W_r [h_{t−1}, x_t] + b_r)                          refine gate
    e_t = r_t ∘ (1 − (1 − f_t)²) + (1 − r_t) ∘ f_t²            effective forget gate, f_t where r_t = ½
    c_t = e_t ∘ c_{t−1} + (1 − e_t) ∘ tanh(W_g [h_{t−1}, x_t] + b_g)
    h_t = σ(W_o [h_{t−1}, x_t] + b_o) ∘ tanh(c_t)
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor, nn

from suite import Variant, hookimpl, ops


class Refined(nn.Module):
    def __init__(self, input_size: int, hidden_size: int) -> None:
        super().__init__()
        self.hidden_size = hidden_size
        self.gates = nn.Linear(hidden_size + input_size, 4 * hidden_size)  # [W_f; W_r; W_g; W_o]
        ops.initialise(self, hidden_size)
        with torch.no_grad():
            forget, refine, _, _ = self.gates.bias.chunk(4)
            edge = min(0.5, 1 / hidden_size)
            forget.copy_(torch.logit(torch.empty_like(forget).uniform_(edge, 1 - edge)))
            refine.zero_()

    def step(self, x_t: Tensor, state: tuple[Tensor, Tensor]) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        h, c = state  # (B, H), (B, H)
        f, r, g, o = self.gates(torch.cat([h, x_t], dim=1)).chunk(4, dim=1)
        f, r = torch.sigmoid(f), torch.sigmoid(r)
        e = r * (1 - (1 - f) ** 2) + (1 - r) * f**2
        c = e * c + (1 - e) * torch.tanh(g)
        h = torch.sigmoid(o) * torch.tanh(c)
        return h, (h, c)

    def forward(self, x: Tensor) -> Tensor:  # (B, T, D) -> (B, T, H)
        zeros = x.new_zeros(len(x), self.hidden_size)
        return ops.scan(self.step, x, (zeros, zeros))


def memory(core: Refined) -> Iterator[tuple[Tensor, None]]:
    """The bias of the forget gate, ``(H,)``, which keeps the cell by as much as it does not write."""
    yield core.gates.bias.chunk(4)[0], None


@hookimpl
def suite_variants() -> Iterator[Variant]:
    yield Variant("refined", Refined, memory=memory, paper="arXiv:1910.09890")
