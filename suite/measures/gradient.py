"""Asks a trained model how far back its gradient reaches: the norm of ∂loss/∂x_t against the lag, after training and at its first weights.

The lag counts steps back from where the loss is read: the last step; of a task with an answer a step, the last one whose weight is not 0, and
the loss is then of that one answer. A gradient that falls as ρ^lag cannot teach what lies further back than it reaches (Bengio et al., 1994,
doi:10.1109/72.279181; Pascanu et al., 2013, arXiv:1211.5063).

Norms are taken of each sample alone, over the task's channels, and averaged geometrically. So the share of lag 0 is the typical sample's own
share, whatever the size of its error, and its slope is the Lyapunov exponent of the recurrence; an arithmetic mean would be that of the few
samples with the largest gradients.
"""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from ..ops.engines import REFERENCE
from ..spec import Array, Batch, Measure, Point, Task, hookimpl
from ..training import data, trainer
from ..training.model import Model
from ..trial import Trial

NAME = "gradient"

SAMPLES = 64
"""So many samples of the test stream are asked, the first."""

SHARE = 0.01
"""The gradient reaches a lag where its norm is at least this part of that at lag 0."""

Floats = NDArray[np.float64]


def log_norms(model: Callable[[Tensor], Tensor], x: Tensor, loss: Callable[[Tensor], Tensor], read: Sequence[int] | Array) -> Floats:
    """The logarithms of ‖∂loss/∂x_t‖ for each sample and lag, ``(B, L)``, lag 0 first.

    model: ``(B, T, D) -> outputs``, of which a sample's rest on its own input alone; loss: of the outputs, a sum over samples ``()``
    read: for each sample the step that its loss is read at ``(B,)``; L is one more than the least of them

    All is computed in the type of x, but for the norm, whose squares would underflow. A norm below that type's least normal number counts as
    that.
    """
    x = x.detach().requires_grad_()
    (gradient,) = torch.autograd.grad(loss(model(x)), x, materialize_grads=True)
    norms = torch.linalg.vector_norm(gradient.double(), dim=2).cpu().numpy()  # (B, T)
    steps = np.asarray(read)[:, None] - np.arange(np.min(read) + 1)  # (B, L)
    logs: Floats = np.log(np.maximum(np.take_along_axis(norms, steps, axis=1), torch.finfo(x.dtype).tiny))
    return logs


def horizon(norms: Floats, share: float = SHARE) -> int:
    """The largest lag at which the norm ``(L,)`` is at least so large a part of that at lag 0; where that is L - 1, it may lie beyond."""
    return int(np.flatnonzero(norms >= share * norms[0])[-1]) if norms[0] > 0 else 0


@dataclass(frozen=True)
class Reach:
    """What was found of one model on the same samples.

    trained, start: the geometric mean of the norms by lag ``(L,)``, with the trained and with the first weights
    scores: loss and metrics of the trained model; ideal: the loss of the best predictor
    """

    trained: Floats
    start: Floats
    scores: dict[str, float]
    ideal: float


@dataclass(frozen=True)
class _Asked:
    """A model with what it is asked on; two are equal where their numbers must be."""

    trial: str
    samples: int
    weights: str
    model: Model = field(compare=False)
    task: Task = field(compare=False)
    of: Trial = field(compare=False)


@functools.lru_cache(maxsize=1)
def _reach(asked: _Asked) -> Reach:
    """One pass back for all lags, which the points of a model share."""
    # the loop over steps: other engines compile for each shape, or have no way back to their input
    trial, task = replace(asked.of, engine=REFERENCE.name), asked.task
    start, trained = (trainer.build([trial], asked.model.variant, task)[0].eval() for _ in range(2))
    trained.load_state_dict(asked.model.state_dict())
    samples = list(first_samples(task, trial))
    ideal = data.Ideal(task, trial.task.options)
    with torch.no_grad():
        (scores,) = trainer.means(lambda x: trained(x).unsqueeze(0), task, trial, ideal.beside(samples))
    of_trained, of_start = (mean_norms(net, task, trial, samples) for net in (trained, start))
    return Reach(of_trained, of_start, scores, ideal.loss)


def first_samples(task: Task, trial: Trial) -> Iterator[tuple[Array, Batch]]:
    """The first samples of the test stream, no more at once than in a step of training, so that they need no more memory."""
    left = SAMPLES
    for x, batch in data.test_stream(task, trial, trial.length):
        for begin in range(0, min(left, len(x)), trial.training.batch_size):
            rows = slice(begin, min(begin + trial.training.batch_size, left))
            weight, protected = (None if part is None else part[rows] for part in (batch.weight, batch.protected))
            yield x[rows], Batch(batch.x[rows], batch.y[rows], weight, protected)
        left -= len(x)
        if left <= 0:
            return


def mean_norms(net: Model, task: Task, trial: Trial, samples: Sequence[tuple[Array, Batch]]) -> Floats:
    """The geometric mean over samples of ‖∂loss/∂x_t‖ by lag ``(L,)``."""
    dtype = getattr(torch, trial.training.dtype)
    logs = []
    for x, batch in samples:
        read = read_at(task, batch, x.shape[1])
        asked = replace(batch, weight=(np.arange(x.shape[1]) == read[:, None]).astype(x.dtype) if task.per_step else None)
        inputs = torch.from_numpy(np.ascontiguousarray(x)).to(device=trial.device, dtype=dtype)
        logs.append(
            log_norms(
                lambda own: net(functional.pad(own, (0, 1), value=1.0)),  # with the constant channel, as ``data.inputs`` has it
                inputs,
                lambda outputs, asked=asked: len(asked.y) * data.loss(task, outputs, asked),  # type: ignore[misc]
                read,
            )
        )
    lags = min(log.shape[1] for log in logs)
    return np.asarray(np.exp(np.concatenate([log[:, :lags] for log in logs]).mean(axis=0)))


def read_at(task: Task, batch: Batch, steps: int) -> NDArray[np.intp]:
    """The step that each sample's loss is read at ``(B,)``, of so many steps."""
    last = np.full(len(batch.y), steps - 1)
    if not task.per_step or batch.weight is None:
        return last
    return np.asarray(last - (np.asarray(batch.weight)[:, ::-1] != 0).argmax(axis=1))


def ask(model: Model, task: Task, trial: Trial, at: float) -> Point:
    """The norms at a lag of so large a part of the sequence, from 0 to 1, with the horizons, which are the same at each point."""
    weights = hashlib.sha256()
    for value in model.state_dict().values():
        weights.update(value.detach().cpu().contiguous().numpy().tobytes())
    reach = _reach(_Asked(trial.key, trial.test_samples, weights.hexdigest(), model, task, trial))
    lag = round(at * (len(reach.trained) - 1))
    options = trial.task.options
    scores = {
        **reach.scores,
        "lag": float(lag),
        "gradient": float(reach.trained[lag]),
        "gradient_at_start": float(reach.start[lag]),
        "horizon": float(horizon(reach.trained)),
        "horizon_at_start": float(horizon(reach.start)),
        "longest_lag": float(len(reach.trained) - 1),
    }
    solved = task.solved(trial.length, **options).met(reach.scores)
    return Point(at, trial.length, scores, task.baseline(trial.length, **options), solved, reach.ideal)


@hookimpl
def suite_measures() -> Iterator[Measure]:
    unit = "of the way back to the first step"
    yield Measure(NAME, axis=NAME, ask=ask, points=(0.0, 1 / 32, 1 / 16, 1 / 8, 1 / 4, 1 / 2, 3 / 4, 1.0), unit=unit)
