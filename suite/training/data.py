"""Draws keyed batches: (task, options, length, split, seed, step) to tensors, corrupted where asked."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from ..errors import SuiteError
from ..spec import Array, Batch, Corruption, Options, Task
from ..trial import Trial

EVALUATION_BATCH = 128
"""Samples in one batch of a validation or test stream, which is part of what the stream is."""


def generator(*key: Any) -> np.random.Generator:
    """A Philox generator for a key of plain data; equal keys give equal streams on every platform."""
    digest = hashlib.sha256(json.dumps(key, sort_keys=True).encode()).digest()
    return np.random.Generator(np.random.Philox(np.random.SeedSequence(int.from_bytes(digest[:16], "big"))))


def draw(task: Task, options: Options, length: int, split: str, seed: int, step: int, size: int) -> Batch:
    """Draw one batch of a stream.

    Training batches go by the trial's seed, validation and test batches by the plan's `eval_seed`.
    """
    rng = generator("data", task.name, dict(options), length, split, seed, step)
    return task.draw(rng, size, length, **options)


def stream(task: Task, options: Options, length: int, split: str, seed: int, samples: int) -> Iterator[Batch]:
    """Draw a fixed validation or test stream of so many samples."""
    for step, start in enumerate(range(0, samples, EVALUATION_BATCH)):
        yield draw(task, options, length, split, seed, step, min(EVALUATION_BATCH, samples - start))


def test_stream(task: Task, trial: Trial, length: int) -> Iterator[tuple[Array, Batch]]:
    """The test stream that all trials of a plan share at a length: batches with their input as float ``(B, T, D)``."""
    batches = stream(task, trial.task.options, length, "test", trial.eval_seed, trial.test_samples)
    return ((features(task, batch), batch) for batch in batches)


def features(task: Task, batch: Batch) -> Array:
    """The input as float ``(B, T, D)``, tokens one-hot."""
    if np.issubdtype(batch.x.dtype, np.integer):
        return np.eye(task.input_size, dtype=np.float32)[batch.x]
    return batch.x


def corrupt(task: Task, batch: Batch, corruption: Corruption, severity: float, rng: np.random.Generator) -> Array:
    """The input ``(B, T, D)`` after the corruption, protected elements as they were."""
    x = features(task, batch)
    protected = np.zeros(x.shape[:2], dtype=bool) if batch.protected is None else np.asarray(batch.protected, dtype=bool)
    if protected.ndim == 2:
        protected = protected[..., None]
    protected = np.broadcast_to(protected, x.shape)
    return np.where(protected, x, corruption.apply(rng, x, protected, severity))


def met(task: Task, trial: Trial, batch: Batch, corruption: Corruption | None, split: str, seed: int, step: int) -> Array:
    """The input ``(B, T, D)`` of a training or validation batch as models meet it: damaged where the trial's training says so."""
    if corruption is None:
        return features(task, batch)
    severity = trial.training.severity
    rng = generator("corruption", corruption.name, severity, task.name, dict(trial.task.options), trial.length, split, seed, step)
    return corrupt(task, batch, corruption, severity, rng)


def inputs(x: Array, dtype: torch.dtype, device: str) -> Tensor:
    """The input ``(B, T, D)`` as a model gets it, ``(B, T, D + 1)``: with a last channel of ones."""
    ones = np.ones((*x.shape[:2], 1), dtype=x.dtype)
    return torch.from_numpy(np.concatenate([x, ones], axis=2)).to(device=device, dtype=dtype)


class Ideal:
    """Adds up the loss of the task's ideal predictor over a stream while another reads it, so that no stream is kept or drawn twice."""

    def __init__(self, task: Task, options: Options) -> None:
        self._task, self._options = task, options
        self._total = self._samples = 0.0

    def beside(self, batches: Iterable[tuple[Array, Batch]]) -> Iterator[tuple[Array, Batch]]:
        """The same batches, each scored as it passes.

        Raises SuiteError where the ideal predictor's outputs are not those of a model.
        """
        for x, batch in batches:
            if self._task.ideal is not None:
                outputs = ideal_outputs(self._task, self._options, x, batch)
                self._total += len(batch.y) * float(loss(self._task, torch.from_numpy(outputs), batch))
                self._samples += len(batch.y)
            yield x, batch

    @property
    def loss(self) -> float:
        """The mean loss over the samples so far; 0 where the task states no ideal predictor."""
        return self._total / self._samples if self._samples else 0.0


def ideal_loss(task: Task, options: Options, batches: Iterable[tuple[Array, Batch]]) -> float:
    """The loss of the task's ideal predictor over a whole stream; 0 where it states none."""
    ideal = Ideal(task, options)
    for _ in ideal.beside(batches):
        pass
    return ideal.loss


def ideal_outputs(task: Task, options: Options, x: Array, batch: Batch) -> Array:
    """What the task's ideal predictor, which it must state, answers to the input: a model's raw outputs, ``(B, C)`` or ``(B, T, C)``.

    Raises SuiteError where they are not that.
    """
    assert task.ideal is not None
    outputs = np.asarray(task.ideal(x, batch, **options), dtype=np.float64)
    wanted = (*batch.y.shape, task.output_size)
    if outputs.shape != wanted:
        raise SuiteError(f"task '{task.name}': ideal gave shape {outputs.shape}; it must give a model's raw outputs, {wanted}")
    if not np.isfinite(outputs).all():
        raise SuiteError(f"task '{task.name}': ideal gave NaN or infinity; a logit of 30 above the others is as good as certain")
    return outputs


class Targets(NamedTuple):
    """What outputs are compared with: y ``(P, B)`` or ``(P, B, T)``, and how much each step counts, ``(P, B, T)``, where that is not even."""

    y: Tensor
    weight: Tensor | None

    def row(self, member: int) -> Targets:
        """Those of one member, as if it were alone."""
        part = slice(member, member + 1)
        return Targets(self.y[part], None if self.weight is None else self.weight[part])


def targets(task: Task, batches: Sequence[Batch], dtype: torch.dtype, device: str | torch.device) -> Targets:
    """The targets of batches, one a member; where only some of them weight their steps, all steps of the others count alike."""
    y = _stacked([batch.y for batch in batches])
    y = y.long() if task.loss == "cross_entropy" else y.to(dtype)
    if all(batch.weight is None for batch in batches):
        return Targets(y.to(device), None)
    weights = [np.ones(batch.y.shape) if batch.weight is None else batch.weight for batch in batches]
    return Targets(y.to(device), _stacked(weights).to(device=device, dtype=dtype))


def _stacked(arrays: Sequence[Array]) -> Tensor:
    return torch.stack([torch.from_numpy(np.ascontiguousarray(array)) for array in arrays])


def loss(task: Task, output: Tensor, batch: Batch) -> Tensor:
    """The mean loss ``()`` of one model's raw outputs ``(B, C)`` or ``(B, T, C)``."""
    return losses(task, output.unsqueeze(0), targets(task, [batch], output.dtype, output.device))[0]


def losses(task: Task, outputs: Tensor, wanted: Targets) -> Tensor:
    """The mean loss ``(P,)`` of each member's raw outputs ``(P, B, C)`` or ``(P, B, T, C)``, weighted by step where the targets say so.

    The targets may be of a single member, and are then those of all.
    """
    y = wanted.y.expand(len(outputs), *wanted.y.shape[1:])
    if task.loss == "cross_entropy":
        each = functional.cross_entropy(outputs.flatten(0, -2), y.flatten(), reduction="none").view(y.shape)
    else:
        each = (outputs.squeeze(-1) - y) ** 2
    if wanted.weight is None:
        return each.flatten(1).mean(dim=1)
    weight = wanted.weight.expand_as(each)
    return (each * weight).flatten(1).sum(dim=1) / weight.flatten(1).sum(dim=1)
