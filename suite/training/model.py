"""Joins a variant and a readout to a model for a task, and counts its parameters."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ..errors import SuiteError
from ..ops.engines import engine
from ..spec import Options, Task, Variant


class Model(nn.Module):
    """A variant's core on an engine, and a linear readout on every step or on the summary."""

    def __init__(self, variant: Variant, core: nn.Module, output_size: int, task: Task, engine_name: str) -> None:
        super().__init__()
        self.core, self.input_size = core, task.width
        self.readout = nn.Linear(output_size, task.output_size)
        self.variant, self._engine, self._per_step = variant, engine(engine_name), task.per_step

    def forward(self, x: Tensor) -> Tensor:  # (B, T, D) -> (B, T, C) or (B, C)
        y = self._engine.run(self.variant, self.core, x)
        if not self._per_step:
            y = self.variant.summary(y) if self.variant.summary else y[:, -1]
        if y.is_complex():
            raise SuiteError(f"variant '{self.variant.name}': forward gave complex numbers; it must give real ones, such as y.real")
        return self.readout(y)  # type: ignore[no-any-return]


def build_core(variant: Variant, options: Options, input_size: int, hidden_size: int, seed: int) -> nn.Module:
    """Build a variant on the CPU with weights from the seed, leaving the global generator as it was."""
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)  # the weights are drawn on the CPU; seeding every device takes a millisecond
        core = variant.build(input_size, hidden_size, **options)
    if not isinstance(core, nn.Module):
        raise SuiteError(f"variant '{variant.name}': build returned {type(core).__name__}, not an nn.Module")
    return core


def output_size(variant: Variant, core: nn.Module, input_size: int) -> int:
    """O, read from a dry forward of ``(2, 3, D)`` on the device that the core's weights are on."""
    example = next((parameter for parameter in core.parameters() if parameter.is_floating_point()), torch.zeros(()))
    x = torch.zeros(2, 3, input_size, dtype=example.dtype, device=example.device)
    with torch.no_grad(), torch.random.fork_rng(devices=[]):
        y = core(x)
    if not isinstance(y, Tensor) or y.dim() != 3 or y.shape[:2] != (2, 3):
        shown = f"shape {tuple(y.shape)}" if isinstance(y, Tensor) else type(y).__name__
        raise SuiteError(f"variant '{variant.name}': forward gave {shown} for x of shape (2, 3, {input_size}); it must give (B, T, O)")
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


def build(variant: Variant, options: Options, task: Task, hidden_size: int, engine_name: str, seed: int) -> Model:
    """Build the whole model on the CPU, every weight from the seed."""
    core = build_core(variant, options, task.width, hidden_size, seed)
    size = output_size(variant, core, task.width)
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed + 1)  # the readout's own seed, so that a core that draws more does not move it
        return Model(variant, core, size, task, engine_name)


def cast(module: nn.Module, dtype: torch.dtype) -> nn.Module:
    """Convert real weights and buffers to `dtype` and complex ones to the complex type of the same precision, in place.

    ``module.to(dtype)`` would drop the imaginary part of complex weights (pytorch/pytorch#61946). Integers stay as they are.
    """

    def converted(tensor: Tensor) -> Tensor:
        wanted = dtype.to_complex() if tensor.is_complex() else dtype if tensor.is_floating_point() else tensor.dtype
        return tensor if tensor.dtype == wanted else tensor.to(wanted)

    for part in module.modules():
        for parameter in part.parameters(recurse=False):
            parameter.data = converted(parameter.data)
        for name, buffer in part.named_buffers(recurse=False):
            setattr(part, name, converted(buffer))
    return module


def count_parameters(module: nn.Module) -> int:
    """How many real numbers the module trains; a complex weight is two."""
    return sum(parameter.numel() * (2 if parameter.is_complex() else 1) for parameter in module.parameters() if parameter.requires_grad)
