"""Runs cores by what is derived from their steps and plainly, alone and as populations, and says how far their answers are apart."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from suite.ops.recurrence import Deriver
from suite.ops.scan import scanning
from suite.training import model


def built(build: Callable[[int], nn.Module], hidden_size: int = 4, dtype: torch.dtype = torch.float64, seed: int = 0) -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        return model.cast(build(hidden_size), dtype)


def noise(*shape: int, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.randn(shape, dtype=dtype, generator=torch.Generator().manual_seed(1))


def run(deriver: Deriver | None, forward: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    """The forward by what is derived, or plainly."""
    if deriver is None:
        return forward(x)
    with scanning(deriver.scan):
        return forward(x)


def answers(deriver: Deriver | None, core: nn.Module, x: Tensor) -> dict[str, Tensor]:
    """The output, and the gradients of x and of every trained weight, by name."""
    x = x.clone().requires_grad_()
    y = run(deriver, core, x)
    return {"y": y.detach(), **gradients(y, {"x": x, **dict(core.named_parameters())})}


def gradients(y: Tensor, leaves: dict[str, Tensor]) -> dict[str, Tensor]:
    trained = {name: leaf for name, leaf in leaves.items() if leaf.requires_grad}
    weighted = (y * noise(*y.shape, dtype=y.dtype)).sum()
    return dict(zip(trained, torch.autograd.grad(weighted, list(trained.values()), allow_unused=True, materialize_grads=True), strict=True))


def population(deriver: Deriver, cores: list[nn.Module], x: Tensor) -> list[dict[str, Tensor]]:
    """As ``answers`` for each core, all of them at once; x ``(P, B, T, D)``."""
    first, x = cores[0], x.clone().requires_grad_()
    names = [name for name, _ in first.named_parameters()]
    stacked = {name: torch.stack([dict(core.named_parameters())[name].detach() for core in cores]) for name in names}
    for name, weight in first.named_parameters():
        stacked[name].requires_grad_(weight.requires_grad)
    buffers = {name: torch.stack([dict(core.named_buffers())[name] for core in cores]) for name, _ in first.named_buffers()}

    def member(weights: dict[str, Tensor], own: dict[str, Tensor], x: Tensor) -> Tensor:
        return torch.func.functional_call(first, {**weights, **own}, (x,))  # type: ignore[no-any-return]

    y = run(deriver, lambda x: torch.vmap(member)(stacked, buffers, x), x)
    every = {"y": y.detach(), **gradients_of_each(y, {"x": x, **stacked})}
    return [{name: value[index] for name, value in every.items()} for index in range(len(cores))]


def gradients_of_each(y: Tensor, leaves: dict[str, Tensor]) -> dict[str, Tensor]:
    trained = {name: leaf for name, leaf in leaves.items() if leaf.requires_grad}
    weighted = (y * noise(*y.shape[1:], dtype=y.dtype)).sum()
    return dict(zip(trained, torch.autograd.grad(weighted, list(trained.values()), allow_unused=True, materialize_grads=True), strict=True))


def departures(given: dict[str, Tensor], wanted: dict[str, Tensor]) -> dict[str, float]:
    """By how much each value departs, as a part of the largest that is wanted."""
    assert given.keys() == wanted.keys()
    return {name: departure(given[name], value) for name, value in wanted.items()}


def departure(given: Tensor, wanted: Tensor) -> float:
    assert given.shape == wanted.shape
    assert given.dtype == wanted.dtype
    return float((given - wanted).abs().max() / wanted.abs().max().clamp_min(1e-30))
