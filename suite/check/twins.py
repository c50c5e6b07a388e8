"""Compares engines of a variant with the reference: outputs and gradients."""

from __future__ import annotations

import itertools
import warnings

import torch
from torch import Tensor

from ..measures.soundness import noise
from ..ops.engines import REFERENCE, Engine
from ..spec import Variant
from .contract import Subject, require
from .probe import Dtype, build_repeatable, forward, relative


def compare_twins(subject: Subject[Variant], twins: list[tuple[Engine, str]], precisions: tuple[tuple[Dtype, float], ...]) -> None:
    """Raises Failed for a twin whose outputs or gradients depart by more than the tolerance of a precision."""
    devices = ("cpu", "cuda") if torch.cuda.is_available() else ("cpu",)
    for (engine, name), device, (dtype, tolerance) in itertools.product(twins, devices, precisions):
        wanted, outcome = (_outcome(subject, each, dtype, device) for each in (REFERENCE, engine))
        apart = sorted(wanted.keys() ^ outcome.keys())
        require(not apart, f"{', '.join(apart)} is there either in forward or in {name} alone")
        for key, value in wanted.items():
            error = relative(outcome[key], value)
            require(error <= tolerance, f"{name}: {key} departs by {error:.2g} in {str(dtype).removeprefix('torch.')} on {device}")


def _outcome(subject: Subject[Variant], engine: Engine, dtype: Dtype, device: str) -> dict[str, Tensor]:
    """Output and gradients by name, of the mean over T=50, B=4, H=32."""
    core = build_repeatable(subject, 8, 32, dtype).to(device)
    x = noise(4, 50, 8, dtype=dtype).to(device).requires_grad_()
    trained = {"x": x, **{key: parameter for key, parameter in core.named_parameters() if parameter.requires_grad}}
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="RNN module weights are not part of single contiguous chunk")  # one bias a gate
        y = forward(subject, core, x, engine)
    gradients = zip(trained, torch.autograd.grad(y.mean(), list(trained.values()), allow_unused=True), strict=True)
    return {"y": y, **{f"the gradient of {key}": gradient for key, gradient in gradients if gradient is not None}}
