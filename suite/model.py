"""Joins a variant and a readout to a model for a task, and finds the hidden size that matches a parameter count."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from .spec import Options, SuiteError, Task, Variant, label


class Model(nn.Module):
    """A variant's core, its engine, and a linear readout on every step or on the summary."""

    def __init__(self, variant: Variant, core: nn.Module, output_size: int, task: Task, engine: str) -> None:
        super().__init__()
        self.core = core
        self.readout = nn.Linear(output_size, task.output_size)
        self._variant, self._engine, self._per_step = variant, engine, task.per_step

    def forward(self, x: Tensor) -> Tensor:  # (B, T, D) -> (B, T, C) or (B, C)
        y = run(self._variant, self.core, x, self._engine)
        if not self._per_step:
            y = self._variant.summary(y) if self._variant.summary else y[:, -1]
        return self.readout(y)  # type: ignore[no-any-return]


def engines(variant: Variant) -> tuple[str, ...]:
    """The engines a variant runs on, fastest first; ``auto`` takes the first."""
    return ("vendor", "reference") if variant.vendor else ("reference",)


def run(variant: Variant, core: nn.Module, x: Tensor, engine: str) -> Tensor:
    """y ``(B, T, O)`` of x ``(B, T, D)`` by the engine."""
    if engine == "vendor":
        assert variant.vendor is not None
        return variant.vendor(core, x)
    return core(x)  # type: ignore[no-any-return]


def build_core(variant: Variant, options: Options, input_size: int, hidden_size: int, seed: int) -> nn.Module:
    """Build a variant on the CPU with weights from the seed, leaving the global generator as it was."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        core = variant.build(input_size, hidden_size, **options)
    if not isinstance(core, nn.Module):
        raise SuiteError(f"variant '{variant.name}': build returned {type(core).__name__}, not an nn.Module")
    return core


def output_size(variant: Variant, core: nn.Module, input_size: int) -> int:
    """O, read from a dry forward of ``(2, 3, D)``."""
    x = torch.zeros(2, 3, input_size, dtype=next((p.dtype for p in core.parameters()), torch.float32))
    with torch.no_grad(), torch.random.fork_rng(devices=[]):
        y = core(x)
    if not isinstance(y, Tensor) or y.dim() != 3 or y.shape[:2] != (2, 3):
        got = f"shape {tuple(y.shape)}" if isinstance(y, Tensor) else type(y).__name__
        raise SuiteError(f"variant '{variant.name}': forward gave {got} for x of shape (2, 3, {input_size}); it must give (B, T, O)")
    if variant.summary:
        summary = variant.summary(y)
        if summary.dim() != 2 or len(summary) != 2:
            raise SuiteError(
                f"variant '{variant.name}': summary gave shape {tuple(summary.shape)} for y {tuple(y.shape)}; it must give (B, O)"
            )
        if summary.shape[1] != y.shape[2]:
            raise SuiteError(
                f"variant '{variant.name}': summary gave {summary.shape[1]} features and forward {y.shape[2]}; they must agree"
            )
    return y.shape[2]


def build(variant: Variant, options: Options, task: Task, hidden_size: int, engine: str, seed: int) -> Model:
    """Build the whole model on the CPU, every weight from the seed."""
    core = build_core(variant, options, task.input_size, hidden_size, seed)
    size = output_size(variant, core, task.input_size)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed + 1)  # the readout's own seed, so that a core that draws more does not move it
        return Model(variant, core, size, task, engine)


def count_parameters(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters() if parameter.requires_grad)


def match_hidden_size(variant: Variant, options: Options, task: Task, budget: int) -> tuple[int, int]:
    """The hidden size whose parameter count, readout included, is nearest the budget, and that count."""

    def count(hidden_size: int) -> int:
        return count_parameters(build(variant, options, task, hidden_size, "reference", seed=0))

    low, high = 1, 2
    while count(high) < budget:
        low, high = high, 2 * high
        if high > 1 << 16:
            raise SuiteError(f"variant '{label(variant.name, options)}' never reaches {budget} parameters; does it use hidden_size?")
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if count(middle) < budget else (low, middle)
    return min(((size, count(size)) for size in (low, high)), key=lambda pair: (abs(pair[1] - budget), pair[0]))
