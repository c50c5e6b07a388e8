"""Finds out how many members must be computed at once so that none of them is the end of a block, where kernels may round otherwise."""

from __future__ import annotations

import copy
import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils import _pytree
from torch.utils._python_dispatch import TorchDispatchMode

from ..errors import contained

ALIGNED = 32
"""Weights, samples, and what is computed of weights alone are in blocks of a multiple of so many numbers.

Kernels work through a block in vectors and through its end one by one, which may round otherwise: padded, no member is an end.
"""

EXACT = frozenset(
    [
        "add",
        "sub",
        "rsub",
        "mul",
        "div",
        "neg",
        "abs",
        "sqrt",
        "maximum",
        "minimum",
        "clamp",
        "clamp_min",
        "clamp_max",
        "relu",
        "where",
        "sign",
        "sum",
        "mean",
        "mm",
        "bmm",
        "addmm",
        "baddbmm",
        "clone",
        "copy_",
        "_to_copy",
        "cat",
        "stack",
        "zeros",
        "zeros_like",
        "new_zeros",
        "ones",
        "ones_like",
        "new_ones",
        "full",
        "full_like",
        "empty",
        "empty_like",
        "arange",
        "scalar_tensor",
        "lift_fresh",
        "eye",
        "tril",
        "triu",
        "eq",
        "ne",
        "lt",
        "le",
        "gt",
        "ge",
    ]
)
"""Operations of torch that round alike in vectors and one by one, or that no vector crosses from one member to the next in."""

SAMPLES, STEPS = 2, 3
"""Of the sequences that a core is tried on."""


class _Transformed(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Notes the sizes of what is computed of weights alone by operations that may round otherwise at the end of a block."""

    def __init__(self, x: Tensor) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._of_samples: dict[int, Tensor] = {id(x): x}  # held, so that no other tensor gets the same id
        self.sizes: set[int] = set()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        made = func(*args, **(kwargs or {}))
        given = [leaf for leaf in _pytree.tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)]
        results = [leaf for leaf in _pytree.tree_leaves(made) if isinstance(leaf, Tensor)]
        if any(id(tensor) in self._of_samples for tensor in given):
            self._of_samples |= {id(tensor): tensor for tensor in results}
        elif given and not self._rounds_alike(func, results):
            self.sizes |= {tensor.numel() for tensor in results}
        return made

    @staticmethod
    def _rounds_alike(func: Any, results: list[Tensor]) -> bool:
        if any(result.alias_info is not None and not result.alias_info.is_write for result in func._schema.returns):
            return True  # the same memory in another shape
        return func._schema.name.partition("::")[2] in EXACT and not any(tensor.is_complex() for tensor in results)


def rows(core: nn.Module, input_size: int) -> int:
    """Of how many members a block must be a multiple; 1 where nothing but products, sums and quotients is computed of weights alone.

    A recurrence that takes ``exp`` of its decay rates, say, does so for the rates of all members in one block.
    """
    weight = next((parameter for parameter in core.parameters() if parameter.is_floating_point() or parameter.is_complex()), None)
    if weight is None:
        return 1
    x = torch.zeros(SAMPLES, STEPS, input_size, dtype=weight.real.dtype, device=weight.device)
    with contained() as raised, torch.no_grad(), torch.random.fork_rng(devices=[]), _Transformed(x) as mode:
        copy.deepcopy(core)(x)  # whatever the core counts of its calls stays as it is
    if raised:  # it cannot be copied, or it fails, which those who train it will hear of
        return ALIGNED
    return max((ALIGNED // math.gcd(ALIGNED, size) for size in mode.sizes), default=1)
