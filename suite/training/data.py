"""Draws keyed batches: (task, options, length, split, seed, step) to tensors, corrupted where asked."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from ..spec import Array, Batch, Corruption, Options, Task

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


def inputs(x: Array, dtype: torch.dtype, device: str) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(x)).to(device=device, dtype=dtype)


def loss(task: Task, output: Tensor, batch: Batch) -> Tensor:
    """Mean loss of raw outputs ``(B, C)`` or ``(B, T, C)``, weighted by step where the batch says so."""
    y = torch.from_numpy(np.ascontiguousarray(batch.y)).to(output.device)
    if task.loss == "cross_entropy":
        each = functional.cross_entropy(output.flatten(0, -2), y.flatten().long(), reduction="none").view(y.shape)
    else:
        each = (output.squeeze(-1) - y.to(output.dtype)) ** 2
    if batch.weight is None:
        return each.mean()
    weight = torch.from_numpy(np.ascontiguousarray(batch.weight)).to(output)
    return (each * weight).sum() / weight.sum()
