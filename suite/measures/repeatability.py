"""Grades how far a variant's numbers repeat: from run to run, across batch sizes, and across devices."""

from __future__ import annotations

import warnings

import torch
from torch import Tensor

from ..errors import contained
from ..ops.engines import BATCHED, COMPILED, Engine, engines_of
from ..spec import Grade, Options, Variant
from ..training import model
from . import resumption, soundness

BATCH, STEPS, INPUT_SIZE = 8, 50, 8
DEVICE_TOLERANCE = 1e-5


def grade(variant: Variant, options: Options, input_size: int, hidden_size: int, device: str) -> Grade:
    """Grade a variant on its engines, in float32, and look for what forbids comparing it, in a process that ``trainer.prepare`` has set up.

    Left out are the engine that compiles each shape for seconds, and the one that is the plain loop again for several members.
    Dropout and its like draw from a seeded generator, as they do in a trial; a row is compared with its batch in evaluation mode.
    """
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(BATCH, STEPS, input_size, generator=generator)
    other = "cpu" if device == "cuda" else "cuda"
    repeats, rows, devices = [], [], []
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="RNN module weights are not part of single contiguous chunk")  # one bias a gate
        for engine in (engine for engine in engines_of(variant, options, device) if engine not in (COMPILED, BATCHED)):
            first, again = (_gradients(variant, options, hidden_size, x, engine, device) for _ in range(2))
            repeats.append(all(torch.equal(one, two) for one, two in zip(first, again, strict=True)))
            together = _output(variant, options, hidden_size, x, engine, device)
            alone = [_output(variant, options, hidden_size, x[row : row + 1], engine, device) for row in range(BATCH)]
            rows.append(torch.equal(torch.cat(alone), together))
            if other == "cpu" or torch.cuda.is_available():
                elsewhere = _gradients(variant, options, hidden_size, x, engine, other)
                devices += [_relative(tensor, wanted) <= DEVICE_TOLERANCE for tensor, wanted in zip(elsewhere, first, strict=True)]
    unsound, unresumable = soundness.fault(variant, options, device), _unresumable(variant, options, device)
    return Grade(all(repeats), all(rows), all(devices) if devices else None, unsound=unsound, unresumable=unresumable)


def _unresumable(variant: Variant, options: Options, device: str) -> str:
    """How a resumed training departs; where the variant cannot be trained at all, that is for its trials to tell."""
    with contained() as raised:
        return resumption.departure(variant, options, device)
    return raised.reason


def _gradients(variant: Variant, options: Options, hidden_size: int, x: Tensor, engine: Engine, device: str) -> list[Tensor]:
    """Output and the gradient of every parameter, by a module built anew."""
    core = model.build_core(variant, options, x.shape[2], hidden_size, seed=0).to(device)
    with torch.random.fork_rng(devices=["cuda"] if device == "cuda" else []):
        torch.manual_seed(0)
        y = engine.run(variant, core, x.to(device))
    trained = [parameter for parameter in core.parameters() if parameter.requires_grad]
    gradients = torch.autograd.grad(y.mean(), trained, allow_unused=True) if trained else ()
    return [y.detach().cpu(), *(gradient.cpu() for gradient in gradients if gradient is not None)]


@torch.no_grad()
def _output(variant: Variant, options: Options, hidden_size: int, x: Tensor, engine: Engine, device: str) -> Tensor:
    core = model.build_core(variant, options, x.shape[2], hidden_size, seed=0).to(device).eval()
    return engine.run(variant, core, x.to(device)).cpu()


def _relative(tensor: Tensor, wanted: Tensor) -> float:
    return float((tensor - wanted).abs().max() / wanted.abs().max().clamp_min(torch.finfo(wanted.dtype).tiny))
