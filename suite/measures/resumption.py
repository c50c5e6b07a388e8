"""Looks for what keeps a training from going on from a checkpoint to the same bits: state that is neither weight nor buffer."""

from __future__ import annotations

import random
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ..ops.engines import Engine, engines_of
from ..spec import Batch, Goal, Options, Plugin, Task, Variant
from ..training import trainer
from ..training.snapshot import Snapshot, Take, from_bytes, to_bytes
from ..training.trainer import Trained
from ..trial import Training, Trial

STEPS, INTERRUPTED, EVERY = 6, 3, 2
"""Steps of the training, after how many of them it is interrupted, and how often it is validated."""

LENGTH, SAMPLES, HIDDEN_SIZE = 7, 4, 4

DEPTH = 4
"""So far lists in lists, and the like, are looked into."""

ABSENT = object()

TORCH_OWN = frozenset(vars(nn.Module()))
"""What every module has; weights and buffers among it are compared by themselves."""


def _draw(rng: np.random.Generator, batch_size: int, length: int) -> Batch:
    x = rng.standard_normal((batch_size, length, 2), dtype=np.float32)
    return Batch(x, x.mean(axis=(1, 2)))


TASK = Task("resumption", _draw, 2, 1, "mse", lambda length: 1.0, lambda length: Goal("loss", below=0.0))  # noqa: ARG005


def departure(variant: Variant, options: Options, device: str) -> str:
    """How a training of a variant that goes on from a snapshot departs from one that was never interrupted; empty where it does not.

    Both are looked at on each engine that is the variant's own code: the weights they end with, what they learned, and whatever else
    their modules remember, which may show in numbers much later.
    """
    for engine in engines_of(variant, options, device):
        if not engine.stacks and (difference := _difference(variant, options, engine, device)):
            return difference
    return ""


def _difference(variant: Variant, options: Options, engine: Engine, device: str) -> str:
    trial = _trial(variant, options, engine, device)
    whole = _Run(variant, trial)
    resumed = _Run(variant, trial, from_bytes(whole.kept[INTERRUPTED]))
    apart = [name for name, value in whole.values.items() if not _same(value, resumed.values.get(name), DEPTH)]
    if remembered := list(_remembered(whole.model, resumed.model)):
        return f"keeps {', '.join(remembered)}, which is neither a weight nor a buffer and changes with training"
    return f"{', '.join(apart)} differ after {STEPS - INTERRUPTED} steps from a checkpoint" if apart else ""


class _Run:
    """A training, from the beginning or from a snapshot, with its snapshots by step, its model, and all that must agree."""

    def __init__(self, variant: Variant, trial: Trial, begun: Snapshot | None = None) -> None:
        self.kept: dict[int, bytes] = {}
        models = trainer.build([trial], variant, TASK)
        members = trainer.gather(models, trial.engine)
        (trained,) = trainer.learn([trial], TASK, members, lambda *_: None, begun=begun, keep=self._keep)
        self.model = models[0].core
        self.values = {"weights": members.block.clone(), **members.fixed(0), **_learned(trained)}

    def _keep(self, take: Take) -> None:
        snapshot = take()
        self.kept[snapshot.step] = to_bytes(snapshot)


def _learned(trained: Trained) -> dict[str, Any]:
    curve = {validation.step: dict(validation.scores) for validation in trained.learning.curve}
    return {"the curve": curve, "the best weights": dict(trained.state), "divergence": trained.diverged}


def _trial(variant: Variant, options: Options, engine: Engine, device: str) -> Trial:
    return Trial(
        variant=Plugin(variant.name, options),
        task=Plugin(TASK.name),
        length=LENGTH,
        seed=0,
        eval_seed=1,
        hidden_size=HIDDEN_SIZE,
        parameters=0,
        budget=0,
        causal=True,
        engine=engine.name,
        device=device,
        training=Training("adam", 0.01, SAMPLES, STEPS, EVERY, SAMPLES, 1.0, "budget", "float32"),
        sources={},
        surroundings={},
    )


def _remembered(first: nn.Module, second: nn.Module) -> Iterator[str]:
    """What differs between two modules beside weights and buffers, by its name."""
    others = dict(second.named_modules())
    for place, module in first.named_modules():
        before, after = vars(module), vars(others[place]) if place in others else {}
        for name in sorted((before.keys() | after.keys()) - TORCH_OWN):
            if not _same(before.get(name, ABSENT), after.get(name, ABSENT), DEPTH):
                yield f"{place}.{name}".lstrip(".")


def _same(first: Any, second: Any, depth: int) -> bool:
    """Whether two values are the same to the bit, as far as one can look into them."""
    if type(first) is not type(second):
        return False
    if isinstance(first, Tensor):
        return first.shape == second.shape and _bits(first) == _bits(second)
    if isinstance(first, bool | int | float | complex | str | bytes):
        return repr(first) == repr(second)  # one NaN is like another
    if depth == 0 or callable(first):
        return True
    if isinstance(first, Mapping):
        return first.keys() == second.keys() and all(_same(first[key], second[key], depth - 1) for key in first)
    if isinstance(first, Sequence | np.ndarray):
        return len(first) == len(second) and all(_same(*pair, depth - 1) for pair in zip(first, second, strict=True))
    if isinstance(first, Collection):  # without an order
        return len(first) == len(second)
    return _same(_inside(first), _inside(second), depth - 1)


def _inside(value: Any) -> Any:
    """What an object holds that changes; nothing where that cannot be seen."""
    if isinstance(value, torch.Generator):
        return value.get_state()
    if isinstance(value, random.Random):
        return value.getstate()
    if isinstance(value, np.random.Generator):
        return value.bit_generator.state
    return getattr(value, "__dict__", None)


def _bits(tensor: Tensor) -> bytes:
    return tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes()
