"""Grades how far a variant's numbers repeat: from run to run, across batch sizes, and across devices."""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import torch
from torch import Tensor

from . import model
from .spec import Options, Variant

BATCH, STEPS = 8, 50
DEVICE_TOLERANCE = 1e-5


@dataclass(frozen=True)
class Grade:
    """What may be expected of a variant when it is run again.

    run_to_run: outputs and gradients of two runs on one device are the same bits
    batch_sizes: a row alone gives the same bits as in a batch
    devices: CPU and CUDA agree to 1e-5 of the largest value; None where there is no second device
    """

    run_to_run: bool
    batch_sizes: bool
    devices: bool | None

    def __str__(self) -> str:
        marks = {True: "✓", False: "✗", None: "–"}
        return f"run to run {marks[self.run_to_run]} · batch size {marks[self.batch_sizes]} · device {marks[self.devices]}"


def grade(variant: Variant, options: Options, input_size: int, hidden_size: int, device: str) -> Grade:
    """Grade a variant on all its engines, in float32, in a process that ``trainer.prepare`` has set up."""
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(BATCH, STEPS, input_size, generator=generator)
    other = "cpu" if device == "cuda" else "cuda"
    repeats, rows, devices = [], [], []
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="RNN module weights are not part of single contiguous chunk")  # one bias a gate
        for engine in model.engines(variant):
            first, again = (_run(variant, options, hidden_size, x, engine, device) for _ in range(2))
            repeats.append(all(torch.equal(one, two) for one, two in zip(first, again, strict=True)))
            rows += [
                torch.equal(_run(variant, options, hidden_size, x[row : row + 1], engine, device)[0], first[0][row : row + 1])
                for row in range(BATCH)
            ]
            if other == "cpu" or torch.cuda.is_available():
                there = _run(variant, options, hidden_size, x, engine, other)
                devices += [_relative(one, two) <= DEVICE_TOLERANCE for one, two in zip(there, first, strict=True)]
    return Grade(all(repeats), all(rows), all(devices) if devices else None)


def _run(variant: Variant, options: Options, hidden_size: int, x: Tensor, engine: str, device: str) -> list[Tensor]:
    """Output and the gradient of every parameter, by a module built anew."""
    core = model.build_core(variant, options, x.shape[2], hidden_size, seed=0).to(device)
    y = model.run(variant, core, x.to(device), engine)
    trained = [parameter for parameter in core.parameters() if parameter.requires_grad]
    gradients = torch.autograd.grad(y.mean(), trained, allow_unused=True) if trained else ()
    return [y.detach().cpu(), *(gradient.cpu() for gradient in gradients if gradient is not None)]


def _relative(found: Tensor, wanted: Tensor) -> float:
    return float((found - wanted).abs().max() / wanted.abs().max().clamp_min(torch.finfo(wanted.dtype).tiny))
