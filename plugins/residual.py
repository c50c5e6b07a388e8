"""Stacked LSTM with skip connections between its layers, so that depth does not block the gradient.

Wu et al., 2016, arXiv:1609.08144 (section 3.1); He et al., 2016, arXiv:1512.03385 (the idea)

    y¹ = LSTM¹(x)
    yˡ = LSTMˡ(yˡ⁻¹) + yˡ⁻¹,  l = 2 … depth
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from torch import Tensor, nn

from suite import Variant, hookimpl

from .lstm import LSTM


class Residual(nn.Module):
    def __init__(self, input_size: int, hidden_size: int, *, depth: int = 2) -> None:
        super().__init__()
        if depth < 1:
            raise ValueError(f"depth is {depth}; it counts LSTM layers, so at least 1")
        self.layers = nn.ModuleList(LSTM(hidden_size if layer else input_size, hidden_size) for layer in range(depth))

    def stack(self, x: Tensor, run: Callable[[Any, Tensor], Tensor]) -> Tensor:  # (B, T, D) -> (B, T, H)
        first, *others = self.layers
        y = run(first, x)
        for layer in others:
            y = run(layer, y) + y
        return y

    def forward(self, x: Tensor) -> Tensor:  # (B, T, D) -> (B, T, H)
        return self.stack(x, LSTM.forward)

    def vendor(self, x: Tensor) -> Tensor:  # (B, T, D) -> (B, T, H)
        return self.stack(x, LSTM.vendor)


@hookimpl
def suite_variants() -> Iterator[Variant]:
    yield Variant("residual", Residual, vendor=Residual.vendor, paper="arXiv:1609.08144")
