"""Refuses, before anything runs, models and sequences that this machine's memory cannot hold."""

from __future__ import annotations

import torch
from torch import Tensor

from ..errors import SuiteError, contained
from ..machine import memory
from ..measures import length
from ..ops.engines import engine
from ..registry.registry import Registry
from ..spec import Plugin, Variant
from ..training import data, model
from ..trial import Trial
from .schema import TrainingPlan

COPIES = {"adam": 4, "adamw": 4, "rmsprop": 3, "sgd": 2}
"""How often a weight is held in training: itself, its gradient, and what the optimizer remembers of it."""

ITEM_BYTES = {"float32": 4, "float64": 8}

SMALL = 0.05
"""A step that takes less than this part of the memory by a rough count is not looked at closely."""

VALUES_A_STEP = 4
"""The rough count: so many values of the hidden size are kept for each step and sample."""

NODE_BYTES = 250
"""What the autograd engine needs to remember one saved tensor, beside its content."""


def bytes_a_weight(training: TrainingPlan) -> int:
    """How many bytes a weight takes while it is trained."""
    return COPIES[training.optimizer] * ITEM_BYTES[training.dtype]


def check_weights(variant: Plugin, hidden_size: int, parameters: int, bytes_each: int, device: str) -> None:
    """Raises SuiteError for a model whose training would need more memory than there is."""
    _require(
        bytes_each * parameters,
        device,
        f"`{variant.label}` of hidden size {hidden_size} has {parameters:,} parameters; training it",
        "lower hidden_size in [matching] or [timing]",
    )


def check_sequences(trials: list[Trial], registry: Registry) -> None:
    """Raises SuiteError for a trial whose training step, or whose longest test batch, would need more memory than there is.

    Only trials that are large by a rough count are measured, by a short forward; the trials of one variant and task are told apart
    by length.
    """
    seen: set[tuple[str, str, int]] = set()
    for trial in trials:
        key = (trial.variant.label, trial.task.label, trial.length)
        elements = trial.training.batch_size * trial.length * trial.hidden_size
        item, tested = ITEM_BYTES[trial.training.dtype], tested_bytes(trial)
        if key in seen or max(elements * VALUES_A_STEP * item, tested) < SMALL * memory(trial.device):
            continue
        seen.add(key)
        where = f"task '{trial.task.label}', length {trial.length}: "
        cure = "shorten it, or lower hidden_size"
        with contained() as raised:
            needed = step_bytes(trial, registry)
        if not raised:  # a variant that raises has trials that fail by themselves
            _require(needed, trial.device, f"{where}a training step of `{trial.variant.label}`", f"{cure} or batch_size")
        batch = f"{where}a test batch of {_test_samples(trial)} sequences of {_longest(trial):g} times the length"
        _require(tested, trial.device, batch, f"{cure}, evaluation_samples or [evaluations] lengths")


def tested_bytes(trial: Trial) -> int:
    """What the outputs of its longest test batch take."""
    values = _test_samples(trial) * trial.length * _longest(trial) * trial.hidden_size
    return int(ITEM_BYTES[trial.training.dtype] * values)


def _test_samples(trial: Trial) -> int:
    return min(data.EVALUATION_BATCH, max(trial.training.evaluation_samples, trial.test_samples))


def _longest(trial: Trial) -> float:
    """The largest multiple of the trained length that its model is asked for."""
    return max((max(asked.at) for asked in trial.evaluations if asked.measure == length.NAME), default=1.0)


def step_bytes(trial: Trial, registry: Registry) -> int:
    """What a training step keeps for its backward pass, extrapolated along T from two short forwards."""
    variant, task = registry.variant(trial.variant.name).noun, registry.task(trial.task.name).noun
    core = model.build_core(variant, trial.variant.options, task.width, trial.hidden_size, seed=0)
    short, longer = (_kept_bytes(variant, core, torch.zeros(2, steps, task.width), trial.engine) for steps in (8, 16))
    samples = trial.training.batch_size / 2
    contents = (longer[0] - short[0]) / 8 * trial.length * samples
    wider = ITEM_BYTES[trial.training.dtype] / 4  # the forwards were in float32
    return int(contents * wider + (longer[1] - short[1]) / 8 * trial.length * NODE_BYTES)


def _kept_bytes(variant: Variant, core: torch.nn.Module, x: Tensor, name: str) -> tuple[int, int]:
    """Bytes that autograd saves in a forward, weights apart, and how many tensors it saves."""
    weights = {parameter.untyped_storage().data_ptr() for parameter in core.parameters()}
    kept: dict[int, Tensor] = {}
    count = 0

    def pack(tensor: Tensor) -> Tensor:
        nonlocal count
        count += 1
        kept[tensor.untyped_storage().data_ptr()] = tensor  # held, so that no address is used twice
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        engine(name).run(variant, core, x)
    return sum(tensor.untyped_storage().nbytes() for place, tensor in kept.items() if place not in weights), count


def _require(needed: int, device: str, what: str, cure: str) -> None:
    available = memory(device)
    if needed > available:
        raise SuiteError(f"{what} needs at least {needed / 2**30:,.0f} GiB and there are {available / 2**30:,.0f} GiB here; {cure}")
