"""Trains one model: a Trial becomes a stream of Measures and Snapshots, with no store and no process in sight."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator

import torch
from torch import nn

from . import data
from .model import Model
from .spec import Batch, Measure, Snapshot, Task, Trial

OPTIMIZERS = {"adam": torch.optim.Adam, "rmsprop": torch.optim.RMSprop, "sgd": torch.optim.SGD}


class Diverged(Exception):
    """The loss is no longer finite."""


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
    dtype = getattr(torch, trial.training.dtype)
    totals: dict[str, float] = {}
    for batch in data.stream(task, trial.task_options, trial.length, split, trial.eval_seed, trial.training.evaluation_samples):
        output = model(data.inputs(data.features(task, batch), dtype, trial.device))
        for name, value in scores(task, output, batch).items():
            totals[name] = totals.get(name, 0.0) + value * len(batch.y) / trial.training.evaluation_samples
    model.train()
    return totals


def scores(task: Task, output: torch.Tensor, batch: Batch) -> dict[str, float]:
    """Loss and metrics of one batch."""
    raw = output.cpu().numpy()
    return {"loss": float(data.loss(task, output, batch)), **{name: metric(raw, batch) for name, metric in task.metrics.items()}}


def train(trial: Trial, task: Task, model: Model) -> Iterator[Measure | Snapshot]:
    """Train on fresh data every step; validate on a fixed stream; hand out the best weights as they are found.

    Raises Diverged when the training or validation loss stops being finite.
    """
    training = trial.training
    dtype = getattr(torch, training.dtype)
    goal = task.solved(trial.length, **trial.task_options)
    model.to(device=trial.device, dtype=dtype)
    optimizer = OPTIMIZERS[training.optimizer](model.parameters(), lr=training.learning_rate)
    best = math.inf
    running = torch.zeros((), device=trial.device, dtype=dtype)
    for step in range(1, training.steps + 1):
        batch = data.draw(task, trial.task_options, trial.length, "train", trial.seed, step, training.batch_size)
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
        found = score(model, task, trial, "validation")
        if not (math.isfinite(train_loss) and math.isfinite(found["loss"])):
            raise Diverged(f"the loss was not finite by step {step}")
        yield Measure(step, {"train_loss": train_loss, **found})
        if found["loss"] < best:
            best = found["loss"]
            yield Snapshot(step, {name: value.detach().cpu().clone() for name, value in model.state_dict().items()})
        if training.stop == "solved" and goal.met(found):
            return
