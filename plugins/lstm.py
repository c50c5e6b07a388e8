"""Long short-term memory with a forget gate: the baseline every other variant is compared with.

Hochreiter & Schmidhuber, 1997, doi:10.1162/neco.1997.9.8.1735; forget gate: Gers et al., 2000,
doi:10.1162/089976600300015015; forget bias 1: Jozefowicz et al., 2015, proceedings.mlr.press/v37/jozefowicz15

    f_t = σ(W_f [h_{t−1}, x_t] + b_f)       forget gate
    i_t = σ(W_i [h_{t−1}, x_t] + b_i)       input gate
    o_t = σ(W_o [h_{t−1}, x_t] + b_o)       output gate
    g_t = tanh(W_g [h_{t−1}, x_t] + b_g)    candidate
    c_t = f_t ∘ c_{t−1} + i_t ∘ g_t         cell
    h_t = o_t ∘ tanh(c_t)                   hidden
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor, nn

from suite import Variant, hookimpl, ops


class LSTM(nn.Module):
    def __init__(self, input_size: int, hidden_size: int) -> None:
        super().__init__()
        self.hidden_size = hidden_size
        self.gates = nn.Linear(hidden_size + input_size, 4 * hidden_size)  # [W_i; W_f; W_g; W_o], one product
        ops.initialise(self, hidden_size)
        nn.init.ones_(self.gates.bias[hidden_size : 2 * hidden_size])  # remember at first

    def step(self, x_t: Tensor, state: tuple[Tensor, Tensor]) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        h, c = state  # (B, H), (B, H)
        i, f, g, o = self.gates(torch.cat([h, x_t], dim=1)).chunk(4, dim=1)
        c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)
        h = torch.sigmoid(o) * torch.tanh(c)
        return h, (h, c)

    def forward(self, x: Tensor) -> Tensor:  # (B, T, D) -> (B, T, H)
        zeros = x.new_zeros(len(x), self.hidden_size)
        return ops.scan(self.step, x, (zeros, zeros))

    @property
    def direction(self) -> tuple[Tensor, Tensor, Tensor]:
        """W_x ``(4H, D)``, W_h ``(4H, H)`` and b ``(4H,)``, as vendor kernels take them."""
        weight = self.gates.weight
        return weight[:, self.hidden_size :], weight[:, : self.hidden_size], self.gates.bias

    def vendor(self, x: Tensor) -> Tensor:  # (B, T, D) -> (B, T, H)
        return ops.vendor_lstm(x, self.direction)


def memory(core: nn.Module) -> Iterator[tuple[Tensor, Tensor]]:
    """Biases of forget and input gate, ``(H,)`` each, of every LSTM within."""
    for module in core.modules():
        if isinstance(module, LSTM):
            i, f, _, _ = module.gates.bias.chunk(4)
            yield f, i


@hookimpl
def suite_variants() -> Iterator[Variant]:
    yield Variant("lstm", LSTM, vendor=LSTM.vendor, memory=memory, paper="doi:10.1162/neco.1997.9.8.1735")
