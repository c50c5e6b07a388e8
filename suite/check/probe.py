"""Builds a variant's modules, runs them on noise, and compares what comes out; the checks of variants stand on these functions."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor, nn

from ..measures.soundness import noise
from ..ops.engines import ENGINES, REFERENCE, Engine
from ..spec import Task, Variant
from ..training import model
from .contract import Subject, require
from .surroundings import sealed

Dtype = torch.dtype


def engines(subject: Subject[Variant]) -> Iterator[tuple[Engine, str]]:
    """Each engine that the variant's own code is, with how to name it in a reason; what is derived from that has checks of its own."""
    for engine in ENGINES:
        if not engine.stacks and not engine.lacks(subject.noun, subject.options):
            yield engine, "forward" if engine is REFERENCE else f"the {engine.name} twin"


def shape_task(input_size: int, output_size: int) -> Task:
    """A task that has sizes and no data, for whole models to be built for."""
    return Task("shape", lambda: None, input_size, output_size, "mse", lambda: 1.0, lambda: None)  # type: ignore[arg-type, return-value]


def build(subject: Subject[Variant], input_size: int, hidden_size: int, dtype: Dtype = torch.float64, seed: int = 0) -> nn.Module:
    """A module in training mode; `dtype` is the real one, and complex weights get the complex one of the same precision."""
    return model.cast(model.build_core(subject.noun, subject.options, input_size, hidden_size, seed), dtype)


def build_repeatable(
    subject: Subject[Variant], input_size: int, hidden_size: int, dtype: Dtype = torch.float64, seed: int = 0
) -> nn.Module:
    """A module whose forward repeats: in evaluation mode where it draws at random in training mode, else in training mode.

    A recurrent layer of torch stays in training mode, which cuDNN's backward needs, and has its own dropout set to zero.
    """
    core = build(subject, input_size, hidden_size, dtype, seed)
    if draws(subject):
        core.eval()
        for layer in core.modules():
            if isinstance(layer, nn.RNNBase):
                layer.dropout = 0.0
                layer.train()
    return core


def draws(subject: Subject[Variant]) -> bool:
    """Whether a forward in training mode draws from torch's global generator, as dropout does."""
    with sealed(), torch.no_grad():
        core, x = build(subject, 3, 5), noise(2, 4, 3)
        before = torch.get_rng_state()
        for engine, _ in engines(subject):
            forward(subject, core, x, engine)
        return not torch.equal(torch.get_rng_state(), before)


def forward(subject: Subject[Variant], core: nn.Module, x: Tensor, engine: Engine = REFERENCE) -> Tensor:
    return engine.run(subject.noun, core, x)


def forward_seeded(subject: Subject[Variant], core: nn.Module, x: Tensor, engine: Engine) -> Tensor:
    """A forward before which torch's global generator is seeded, so that dropout draws the same each time."""
    torch.manual_seed(0)
    return forward(subject, core, x, engine)


def answer(subject: Subject[Variant], y: Tensor) -> Tensor:
    """What one answer a sequence is read from, (B, T, O) -> (B, O)."""
    return subject.noun.summary(y) if subject.noun.summary else y[:, -1]


def backward(y: Tensor) -> None:
    """Send a gradient to every element of y, no two alike."""
    require(y.requires_grad, "the output carries no gradient")
    (y * noise(*y.shape, dtype=y.dtype, seed=3)).sum().backward()  # type: ignore[no-untyped-call]


def leaves(y: Tensor) -> list[Tensor]:
    """The tensors that a backward pass from y would accumulate gradients in."""
    variables: list[Tensor] = []
    seen, queue = set(), [y.grad_fn]
    while queue:
        node = queue.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        if hasattr(node, "variable"):
            variables.append(node.variable)
        queue.extend(following for following, _ in node.next_functions)
    return variables


@torch.no_grad()
def stir(core: nn.Module) -> None:
    """Move every weight a little, away from zeros that would hide what lies behind them."""
    for index, parameter in enumerate(core.parameters()):
        if parameter.is_floating_point() or parameter.is_complex():
            parameter.add_(noise(*parameter.shape, dtype=parameter.dtype, seed=index), alpha=0.1)


def numbers(tensor: Tensor) -> int:
    """How many real numbers a tensor holds; a complex one is two."""
    return tensor.numel() * (2 if tensor.is_complex() else 1)


def copied(core: nn.Module) -> dict[str, Tensor]:
    """The weights and buffers as they are now."""
    return {key: value.clone() for key, value in core.state_dict().items()}


def relative(tensor: Tensor, wanted: Tensor) -> float:
    """The largest difference, as a part of the largest wanted value."""
    tensor, wanted = tensor.detach(), wanted.detach()
    return float((tensor - wanted).abs().max() / wanted.abs().max().clamp_min(torch.finfo(wanted.dtype).tiny))
