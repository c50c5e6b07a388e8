"""Two LSTMs, one reading forward and one backward: every output has seen the whole sequence.

Schuster & Paliwal, 1997, doi:10.1109/78.650093; Graves & Schmidhuber, 2005, doi:10.1016/j.neunet.2005.06.042

    h→_t = LSTM→(x_1 … x_t),  h←_t = LSTM←(x_T … x_t),  y_t = [h→_t; h←_t]
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor, nn

from suite import Variant, hookimpl, ops

from .lstm import LSTM, memory


class BiLSTM(nn.Module):
    def __init__(self, input_size: int, hidden_size: int) -> None:
        super().__init__()
        self.onward = LSTM(input_size, hidden_size)
        self.reverse = LSTM(input_size, hidden_size)

    def forward(self, x: Tensor) -> Tensor:  # (B, T, D) -> (B, T, 2H)
        return torch.cat([self.onward(x), self.reverse(x.flip(1)).flip(1)], dim=2)

    def vendor(self, x: Tensor) -> Tensor:  # (B, T, D) -> (B, T, 2H)
        return ops.vendor_lstm(x, self.onward.direction, self.reverse.direction)


def summary(y: Tensor) -> Tensor:  # (B, T, 2H) -> (B, 2H)
    """Join the last forward state with the first backward state: each has read everything."""
    onward, backward = y.chunk(2, dim=2)
    return torch.cat([onward[:, -1], backward[:, 0]], dim=1)


@hookimpl
def suite_variants() -> Iterator[Variant]:
    yield Variant("bilstm", BiLSTM, causal=False, vendor=BiLSTM.vendor, summary=summary, memory=memory, paper="doi:10.1109/78.650093")
