"""LSTM that attends over its own past states, so that a distant step is one hop away.

Cheng et al., 2016, arXiv:1601.06733 (attention within one sequence); Luong et al., 2015, arXiv:1508.04025
(the output layer; not fed back here); Vaswani et al., 2017, arXiv:1706.03762 (the scaled dot score)

    h_1 … h_T = LSTM(x_1 … x_T)
    α_{t,s} = softmax_s(h_t · h_s / √H),  s ≤ t
    c_t = Σ_s α_{t,s} h_s
    y_t = tanh(W_c [c_t; h_t] + b_c)
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor, nn

from suite import Variant, hookimpl

from .lstm import LSTM


class Attention(nn.Module):
    def __init__(self, input_size: int, hidden_size: int) -> None:
        super().__init__()
        self.lstm = LSTM(input_size, hidden_size)
        self.combine = nn.Linear(2 * hidden_size, hidden_size)

    def attend(self, h: Tensor) -> Tensor:  # (B, T, H) -> (B, T, H)
        steps, hidden_size = h.shape[1:]
        future = torch.ones(steps, steps, dtype=torch.bool, device=h.device).triu(1)
        score = (h @ h.mT / hidden_size**0.5).masked_fill_(future, -torch.inf)  # (B, T, T)
        context = torch.softmax(score, dim=2) @ h
        return torch.tanh(self.combine(torch.cat([context, h], dim=2)))

    def forward(self, x: Tensor) -> Tensor:  # (B, T, D) -> (B, T, H)
        return self.attend(self.lstm(x))

    def vendor(self, x: Tensor) -> Tensor:  # (B, T, D) -> (B, T, H)
        return self.attend(self.lstm.vendor(x))


@hookimpl
def suite_variants() -> Iterator[Variant]:
    yield Variant("attention", Attention, vendor=Attention.vendor, paper="arXiv:1601.06733")
