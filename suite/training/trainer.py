"""Trains one model: a Trial becomes a stream of validations and snapshots, and what it learned a record of both."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from ..errors import SuiteError
from ..spec import Array, Batch, Task
from ..trial import Learning, Snapshot, Trial, Validation
from . import data
from .model import Model, cast

OPTIMIZERS = {"adam": torch.optim.Adam, "rmsprop": torch.optim.RMSprop, "sgd": torch.optim.SGD}

DIVERGED = 1e6
"""A loss of so many times the baseline will not come back, though it may still be finite."""


class Diverged(Exception):
    """The loss is no longer finite, or far beyond the baseline."""


@dataclass(frozen=True)
class Trained:
    """What a training came to.

    learning: the curve and what it says; state: the best weights by validation, on the CPU
    diverged: how it diverged; empty where it did not
    """

    learning: Learning
    state: Mapping[str, Tensor]
    diverged: str = ""


def prepare(device: str, seed: int = 0) -> None:
    """Set the process up for results that are the same to the bit: one thread, deterministic kernels, no TF32.

    The seed is for dropout and its like, which know only the process's generator.
    """
    torch.manual_seed(int(data.generator("dropout", seed).integers(2**62)))
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    # a vendor engine hands over views of the reference's weights, which cuDNN copies into one block: a small kernel a call
    warnings.filterwarnings("ignore", message="RNN module weights are not part of single contiguous chunk")
    if device == "cuda":
        torch.backends.cuda.matmul.allow_tf32 = False
        torch.backends.cudnn.allow_tf32 = False
        torch.backends.cudnn.benchmark = False


def initial_seed(seed: int) -> int:
    """The seed of the weights, apart from the data's though both come from the trial's."""
    return int(data.generator("initialisation", seed).integers(2**62))


@torch.no_grad()
def score(model: Model, task: Task, trial: Trial, split: str) -> dict[str, float]:
    """Loss and metrics over a fixed stream of the trained length, in evaluation mode."""
    model.eval()
    batches = data.stream(task, trial.task.options, trial.length, split, trial.eval_seed, trial.training.evaluation_samples)
    totals = means(model, task, trial, ((data.features(task, batch), batch) for batch in batches))
    model.train()
    return totals


def means(model: Callable[[Tensor], Tensor], task: Task, trial: Trial, batches: Iterable[tuple[Array, Batch]]) -> dict[str, float]:
    """Loss and metrics as means over all samples of a stream, whose batches come with their input as float ``(B, T, D)``."""
    dtype = getattr(torch, trial.training.dtype)
    totals: dict[str, float] = {}
    for x, batch in batches:
        for name, value in scores(task, model(data.inputs(x, dtype, trial.device)), batch).items():
            totals[name] = totals.get(name, 0.0) + value * len(batch.y) / trial.training.evaluation_samples
    return totals


def scores(task: Task, output: Tensor, batch: Batch) -> dict[str, float]:
    """Loss and metrics of one batch."""
    raw = output.cpu().numpy()
    return {"loss": float(data.loss(task, output, batch)), **{name: float(metric(raw, batch)) for name, metric in task.metrics.items()}}


def train(trial: Trial, task: Task, model: Model) -> Iterator[Validation | Snapshot]:
    """Train on fresh data every step; validate on a fixed stream; hand out the best weights as they are reached.

    Raises Diverged where the training or validation loss is not finite, or more than a million times the baseline.
    """
    training = trial.training
    dtype = getattr(torch, training.dtype)
    goal = task.solved(trial.length, **trial.task.options)
    limit = DIVERGED * baseline_of(task, trial)
    cast(model, dtype).to(trial.device)
    optimizer = OPTIMIZERS[training.optimizer](model.parameters(), lr=training.learning_rate)
    best = math.inf
    running = torch.zeros((), device=trial.device, dtype=dtype)
    for step in range(1, training.steps + 1):
        batch = data.draw(task, trial.task.options, trial.length, "train", trial.seed, step, training.batch_size)
        loss = data.loss(task, model(data.inputs(data.features(task, batch), dtype, trial.device)), batch)
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(model.parameters(), training.clip)
        optimizer.step()
        running += loss.detach()  # looked at only when validating: reading it each step would stall a GPU
        if step % training.validate_every and step != training.steps:
            continue
        since = (step - 1) % training.validate_every + 1
        train_loss = running.item() / since
        running.zero_()
        validation = score(model, task, trial, "validation")
        _check_convergence({"training": train_loss, "validation": validation["loss"]}, limit, step)
        yield Validation(step, {"train_loss": train_loss, **validation})
        if validation["loss"] < best:
            best = validation["loss"]
            yield Snapshot(step, {name: value.detach().cpu().clone() for name, value in model.state_dict().items()})
        if training.stop == "solved" and goal.met(validation):
            return


def baseline_of(task: Task, trial: Trial) -> float:
    """The loss without looking at the input, at the trained length.

    Raises SuiteError where the task states none that is finite and above 0.
    """
    baseline = float(task.baseline(trial.length, **trial.task.options))
    if not (math.isfinite(baseline) and baseline > 0):
        raise SuiteError(f"task '{trial.task.label}': its baseline at length {trial.length} is {baseline}; it must be finite and above 0")
    return baseline


def _check_convergence(losses: Mapping[str, float], limit: float, step: int) -> None:
    for name, loss in losses.items():
        if not math.isfinite(loss):
            raise Diverged(f"the {name} loss was not finite by step {step}")
        if loss > limit:
            raise Diverged(f"the {name} loss was {loss:.2g} by step {step}, more than {DIVERGED:.0e} times the baseline")


def learn(trial: Trial, task: Task, model: Model, tell: Callable[[Validation], None]) -> Trained:
    """Train a model and keep its curve, the step at which it was first solved, and the weights that validated best.

    A training that diverges keeps the curve up to there. `tell` hears of each validation as it is made.
    """
    goal = task.solved(trial.length, **trial.task.options)
    learning = Learning(str(goal), baseline_of(task, trial))
    curve: list[Validation] = []
    state: Mapping[str, Tensor] = {}
    diverged = ""
    try:
        for event in train(trial, task, model):
            if isinstance(event, Snapshot):
                learning, state = replace(learning, best_step=event.step), event.state
                continue
            curve.append(event)
            if learning.steps_to_solve is None and goal.met(event.scores):
                learning = replace(learning, steps_to_solve=event.step)
            tell(event)
    except Diverged as error:
        diverged = str(error)
    return Trained(replace(learning, curve=tuple(curve)), state, diverged)
