"""Offers each layer of the torchrecurrent package as a variant, where that package is installed (extra `zoo`).

Martinuzzi, torchrecurrent, github.com/MartinuzziFrancesco/torchrecurrent. A peer to compare with, not an oracle: the equations
stand there, and `suite check` says which of its layers keep our contract.
"""

from __future__ import annotations

import importlib.metadata
import inspect
import re
from collections.abc import Callable, Iterator
from typing import Any

from torch import Tensor, nn

from suite import Unavailable, Variant, hookimpl


class Layer(nn.Module):
    """A layer of the package, batch first, whose final state is let go."""

    def __init__(self, kind: Callable[..., nn.Module], input_size: int, hidden_size: int) -> None:
        super().__init__()
        self.layer = kind(input_size, hidden_size, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:  # (B, T, D) -> (B, T, H)
        y, _ = self.layer(x)
        return y  # type: ignore[no-any-return]


def builder(kind: Callable[..., nn.Module]) -> Callable[[int, int], nn.Module]:
    return lambda input_size, hidden_size: Layer(kind, input_size, hidden_size)


def paper(kind: Any) -> str:
    """The address that the layer's documentation gives first."""
    found = re.search(r"<(https?://[^>]+)>`", inspect.getdoc(kind) or "")
    return found.group(1) if found else f"torchrecurrent {importlib.metadata.version('torchrecurrent')}"


@hookimpl
def suite_variants() -> Iterator[Variant]:
    try:
        import torchrecurrent
    except ModuleNotFoundError:
        raise Unavailable("torchrecurrent is not installed; the extra 'zoo' brings it") from None
    for name in sorted(torchrecurrent.__all__):
        kind: Any = getattr(torchrecurrent, name)
        if callable(kind) and "batch_first" in inspect.signature(kind).parameters and not name.endswith("Cell"):
            yield Variant(f"tr_{name.lower()}", builder(kind), paper=paper(kind))
