"""Counts how many numbers a variant carries from step to step, which its parameters do not show."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree

from ..errors import SuiteError, contained
from ..ops.probing import why_not_streamed
from ..ops.scan import observed
from ..registry.registry import Registry
from ..spec import Options, Plugin, Variant
from ..training import model

SHORT = 2
"""So many steps are enough to see which states the scans begin with."""

UNKNOWN = 0
"""Stands for a state that cannot be counted."""


@dataclass(frozen=True)
class Counted:
    """What a variant of one size carries for one sequence after so many steps; UNKNOWN, with the reason, where that cannot be said."""

    size: int
    why: str = ""


class States:
    """Counts the states of the variants of a registry, each once."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self._counted: dict[tuple[str, int, int, int], Counted] = {}

    def counted(self, variant: Plugin, input_size: int, hidden_size: int, length: int) -> Counted:
        """As `state_size`, for a core whose input has so many channels."""
        noun = self._registry.variant(variant.name).noun
        steps = length if noun.state else 0  # a count of scans' states is the same after any number of steps
        key = (variant.label, input_size, hidden_size, steps)
        if key not in self._counted:
            self._counted[key] = state_size(noun, variant.options, input_size, hidden_size, length)
        return self._counted[key]


def state_size(variant: Variant, options: Options, input_size: int, hidden_size: int, length: int) -> Counted:
    """How many numbers a variant carries on for one sequence after `length` steps.

    That is what the variant states (``Variant.state``), or else the numbers in the initial states of its scans, a complex one as two. Of a
    causal variant they count only where it runs from them alone, one step at a time: a loop of its own, or a layer of torch that keeps
    a state, would carry numbers that no scan shows. A variant that is not causal carries its states to the ends of the sequence, and the
    sequence with them; the numbers are then of its states alone.

    Raises SuiteError where what the variant states is no count.
    """
    if variant.state is None and variant.is_causal(options) and (why := why_not_streamed(variant, options)):
        return Counted(UNKNOWN, why)
    if variant.state:
        return _stated(variant, options, input_size, hidden_size, length)
    with contained() as raised:  # for real: what torch's meta device computes with is its compiler, which takes seconds to import
        return _carried(model.build_core(variant, options, input_size, hidden_size, seed=0).eval(), input_size, variant.is_causal(options))
    return Counted(UNKNOWN, raised.reason)


def _stated(variant: Variant, options: Options, input_size: int, hidden_size: int, length: int) -> Counted:
    """What the variant states, of a core that holds no numbers, unless it looks at them."""
    for device in ("meta", "cpu"):
        with contained() as unbuilt, torch.device(device):
            core = model.build_core(variant, options, input_size, hidden_size, seed=0)
        if unbuilt:
            continue
        with contained() as raised:
            size = variant.state(core, length)  # type: ignore[misc]
            if type(size) is int and size > 0:
                return Counted(size)
            raise ValueError(f"{size!r} is no count")
        if device == "cpu":
            raise SuiteError(
                f"variant '{variant.name}': state(module, length) must give how many numbers are carried after so many steps: {raised.reason}"
            )
    return Counted(UNKNOWN, unbuilt.reason)


def _carried(core: nn.Module, input_size: int, causal: bool) -> Counted:
    """The numbers in the states that the scans of a short forward of one sequence begin with."""
    if not causal and any(isinstance(part, nn.RNNBase) for part in core.modules()):
        return Counted(UNKNOWN, "a recurrent layer of torch keeps its state to itself")
    example = next((weight for weight in core.parameters() if weight.is_floating_point()), torch.zeros(()))
    with torch.no_grad(), torch.random.fork_rng(devices=[]), observed() as scans:
        core(torch.zeros(1, SHORT, input_size, dtype=example.dtype))
    if not scans:
        return Counted(UNKNOWN, "its forward calls no ops.scan")
    return Counted(sum(_numbers(leaf) for _, state in scans for leaf in pytree.tree_leaves(state)))


def _numbers(leaf: object) -> int:
    if isinstance(leaf, Tensor):
        return leaf.numel() * (2 if leaf.is_complex() else 1)
    if leaf is None:
        return 0
    if isinstance(leaf, int | float):
        return 1
    raise TypeError(f"a state holds a {type(leaf).__name__}, whose numbers cannot be counted")


def text(sizes: Collection[int], causal: bool = True) -> str:
    """State sizes as a table shows them: one number, the least and the largest where it grows with the sequence, ``–`` where unknown."""
    known = sorted({size for size in sizes if size != UNKNOWN})
    if not known:
        return "–"
    text = f"{known[0]:,}" if len(known) == 1 else f"{known[0]:,}–{known[-1]:,}"
    return text if causal else f"{text}, whole sequence"
