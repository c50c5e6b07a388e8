"""Stacked LSTM with skip connections between its layers, so that depth does not block the gradient.

Wu et al., 2016, arXiv:1609.08144 (section 3.1); He et al., 2016, arXiv:1512.03385 (the idea)

    y¹ = LSTM¹(x)
    yˡ = Fˡ(yˡ⁻¹) + yˡ⁻¹,  l = 2 … depth,  with Fˡ a stack of `layers` LSTMs

With `skip=False`, yˡ = Fˡ(yˡ⁻¹): the plain stack that the connections are compared with.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from torch import Tensor, nn

from suite import Variant, hookimpl

from .lstm import LSTM, memory


class Residual(nn.Module):
    def __init__(self, input_size: int, hidden_size: int, *, depth: int = 2, layers: int = 1, skip: bool = True) -> None:
        super().__init__()
        if depth < 1 or layers < 1:
            raise ValueError(f"depth is {depth} and layers {layers}; both count, so each is at least 1")
        self.skip = skip
        self.first = LSTM(input_size, hidden_size)
        self.blocks = nn.ModuleList(nn.ModuleList(LSTM(hidden_size, hidden_size) for _ in range(layers)) for _ in range(depth - 1))

    def stack(self, x: Tensor, run: Callable[[Any, Tensor], Tensor]) -> Tensor:  # (B, T, D) -> (B, T, H)
        y = run(self.first, x)
        for block in self.blocks:
            inner = y
            for lstm in block:  # type: ignore[attr-defined]
                inner = run(lstm, inner)
            y = inner + y if self.skip else inner
        return y

    def forward(self, x: Tensor) -> Tensor:  # (B, T, D) -> (B, T, H)
        return self.stack(x, LSTM.forward)

    def vendor(self, x: Tensor) -> Tensor:  # (B, T, D) -> (B, T, H)
        return self.stack(x, LSTM.vendor)


@hookimpl
def suite_variants() -> Iterator[Variant]:
    yield Variant("residual", Residual, vendor=Residual.vendor, memory=memory, paper="arXiv:1609.08144")
