"""Looks for what forbids comparing a variant with others: an output that is none, that looks ahead, mixes rows or remembers other calls."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from ..ops.engines import REFERENCE, Engine, engines_of
from ..spec import Options, Variant
from ..training import model

TINY = 1e-12
"""What rounding in float64 may leave where nothing should be."""

SHORT, LONG = (9, tuple(range(8))), (70, (0, 31, 63, 68))
"""Lengths of inputs, each with the steps after which they are changed."""

INPUT_SIZE, HIDDEN_SIZE = 3, 4

Run = Callable[[Tensor], Tensor]
"""A forward, ``(B, T, D) -> (B, T, O)``, that gives the same for the same input."""


def noise(*shape: int, dtype: torch.dtype = torch.float64, seed: int = 1) -> Tensor:
    return torch.randn(shape, dtype=dtype, generator=torch.Generator().manual_seed(seed))


def same(tensor: Tensor, wanted: Tensor) -> bool:
    """Equal up to rounding in float64."""
    return tensor.shape == wanted.shape and bool((tensor - wanted).abs().max() <= TINY * (1 + wanted.abs().max()))


def looking_ahead(run: Run, input_size: int) -> str:
    """Where outputs change though only later input does; empty where they do not."""
    for length, steps in (SHORT, LONG):
        x, later = noise(2, length, input_size), noise(2, length, input_size, seed=2)
        y = run(x)
        for t in steps:
            changed = torch.cat([x[:, : t + 1], 3 * later[:, t + 1 :]], dim=1)
            if not same(run(changed)[:, : t + 1], y[:, : t + 1]):
                return f"changes outputs up to step {t} when only later input changes (T={length})"
    return ""


def mixing_rows(run: Run, input_size: int) -> str:
    """What a row's output depends on beside the row; empty where it is nothing."""
    x = noise(5, 6, input_size)
    together = run(x)
    for row in range(len(x)):
        if not same(run(x[row : row + 1]), together[row : row + 1]):
            return f"row {row} alone differs from the row in a batch of {len(x)}"
    return "" if same(run(x.flip(0)), together.flip(0)) else "the order of rows changes their outputs"


def fault(variant: Variant, options: Options, device: str) -> str:
    """The first thing found that forbids comparing the variant, on any engine that its own code is; empty where there is none."""
    core = model.cast(model.build_core(variant, options, INPUT_SIZE, HIDDEN_SIZE, seed=0), torch.float64).to(device).eval()
    for engine in engines_of(variant, options, device):
        if not engine.stacks:
            for reason in _faults(variant, options, _run(variant, core, engine, device)):
                if reason:
                    return reason if engine is REFERENCE else f"{engine.name} engine: {reason}"
    return ""


def _run(variant: Variant, core: torch.nn.Module, engine: Engine, device: str) -> Run:
    @torch.no_grad()
    def run(x: Tensor) -> Tensor:
        return engine.run(variant, core, x.to(device)).cpu()

    return run


def _faults(variant: Variant, options: Options, run: Run) -> Iterator[str]:
    """Reasons by check, each empty where it finds nothing; those that come first make sense of the later ones."""
    x = noise(2, 6, INPUT_SIZE)
    y = run(x)
    whole = y.dim() == 3 and y.shape[:2] == x.shape[:2] and bool(y.isfinite().all())
    yield "" if whole else f"gives {tuple(y.shape)} for {tuple(x.shape)}, which must be finite (B, T, O)"
    run(noise(3, 4, INPUT_SIZE, seed=2))
    yield "" if torch.equal(run(x), y) else "gives another output for the same input after other calls"
    yield f"claims to be causal, but {ahead}" if variant.is_causal(options) and (ahead := looking_ahead(run, INPUT_SIZE)) else ""
    yield mixing_rows(run, INPUT_SIZE)
