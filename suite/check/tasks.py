"""Checks tasks: shapes, repeatability, splits that share nothing, a true baseline, and protection that holds the answer."""

from __future__ import annotations

import math
import time
from collections import defaultdict
from collections.abc import Iterator
from typing import Literal, get_args, get_origin

import numpy as np
import torch
from numpy.typing import NDArray

from ..errors import nearest
from ..registry.registry import options_of
from ..spec import Batch, Corruption, Goal, Task
from ..training import data
from . import dependence
from .contract import Failed, Skipped, Subject, check, check_options, require
from .surroundings import shuffle_global_generators, unchanged_surroundings

Floats = NDArray[np.float64]
STANDARD_ERRORS = 5

IDEAL_SAMPLES = 2000

BLANK = Corruption("blank", lambda _rng, x, _protected, _severity: np.zeros_like(x), severities=(1.0,))
"""Damage that leaves nothing of what may be damaged."""


def draw(subject: Subject[Task], size: int = 64, length: int | None = None, split: str = "train", seed: int = 0, step: int = 1) -> Batch:
    return data.draw(subject.noun, subject.options, length or subject.noun.lengths[0], split, seed, step, size)


def many(subject: Subject[Task], size: int) -> Batch:
    """A large sample at the task's first length, drawn in batches of a thousand until there are enough or three seconds have passed."""
    end, batches = time.perf_counter() + 3, list[Batch]()
    while len(batches) < size // 1000 and (len(batches) < 2 or time.perf_counter() < end):
        batches.append(draw(subject, 1000, split="check", step=len(batches)))

    def joined(field: str) -> NDArray[np.generic] | None:
        parts = [getattr(batch, field) for batch in batches]
        return None if parts[0] is None else np.concatenate(parts)

    return Batch(*(joined(field) for field in ("x", "y", "weight", "protected")))  # type: ignore[arg-type]


@check("Return x as floats (B, T, D) or integer tokens (B, T) below input_size, y as declared, and everything finite.", first=True)
def batches(subject: Subject[Task]) -> None:
    """Batches have the declared shapes, dtypes and classes at every length, and a model that answers zero gets a finite loss."""
    task = subject.noun
    for size in (1, 7):
        for length in (*task.lengths, 2 * max(task.lengths)):
            batch = draw(subject, size, length)
            _check_batch(task, batch, size)


def _check_batch(task: Task, batch: Batch, size: int) -> None:
    x, y = batch.x, batch.y
    tokens = np.issubdtype(x.dtype, np.integer)
    require(tokens or np.issubdtype(x.dtype, np.floating), f"x has dtype {x.dtype}")
    if tokens:
        require(x.ndim == 2 and len(x) == size, f"x of tokens has shape {x.shape} for a batch of {size}; it must be (B, T)")
        require(x.min() >= 0 and x.max() < task.input_size, f"tokens {x.min()} to {x.max()} for input_size {task.input_size}")
    else:
        fits = x.ndim == 3 and len(x) == size and x.shape[2] == task.input_size
        require(fits, f"x has shape {x.shape} for a batch of {size}; it must be (B, T, {task.input_size})")
        require(np.isfinite(x).all(), "x holds NaN or infinity")
    wanted = x.shape[:2] if task.per_step else (size,)
    require(y.shape == wanted, f"y has shape {y.shape}; it must be {wanted} where per_step={task.per_step}")
    if task.loss == "cross_entropy":
        require(np.issubdtype(y.dtype, np.integer), f"y has dtype {y.dtype}; classes are integers")
        require(y.min() >= 0 and y.max() < task.output_size, f"classes {y.min()} to {y.max()} for output_size {task.output_size}")
    if batch.weight is not None:
        require(task.per_step, "weight is for tasks with per_step=True")
        require(batch.weight.shape == x.shape[:2], f"weight has shape {batch.weight.shape}; it must be {x.shape[:2]}")
        require(batch.weight.min() >= 0 and batch.weight.sum() > 0, "weight must be non-negative and not all zero")
    if batch.protected is not None:
        shapes = (x.shape[:2], (*x.shape[:2], task.input_size))
        require(batch.protected.dtype == bool, f"protected has dtype {batch.protected.dtype}, not bool")
        require(batch.protected.shape in shapes, f"protected has shape {batch.protected.shape}; it must be {shapes[0]} or {shapes[1]}")
    loss = float(data.loss(task, torch.zeros(*wanted, task.output_size), batch))
    require(math.isfinite(loss), f"the loss of a model that answers zero is {loss}")


@check("Draw everything from the Generator handed to draw, and keep nothing between calls.", first=True)
def order(subject: Subject[Task]) -> None:
    """The same key gives the same batch to the bit, whatever was drawn before."""
    shuffle_global_generators(1)
    straight = {step: draw(subject, step=step) for step in range(4)}
    shuffle_global_generators(2)
    for step in (2, 0, 3, 1, 0):
        again = draw(subject, step=step)
        for field in ("x", "y", "weight", "protected"):
            before, after = getattr(straight[step], field), getattr(again, field)
            equal = np.array_equal(before, after) if before is not None else after is None
            require(equal, f"step {step} drawn again has another {field}")


@check("Put options of draw behind a `*`, typed and with defaults, and let baseline, solved and ideal take the same ones.")
def options(subject: Subject[Task]) -> None:
    """Every option can be named in a plan, and draw, baseline, solved and ideal all take it."""
    task = subject.noun
    check_options(task.draw, positional=3)
    for name, parameter in options_of(task.draw).items():
        values = get_args(parameter.annotation) if get_origin(parameter.annotation) is Literal else (parameter.default,)
        for value in values:
            chosen = {**subject.options, name: value}
            batch = data.draw(task, chosen, task.lengths[0], "check", 0, 0, 2)
            task.baseline(task.lengths[0], **chosen)
            task.solved(task.lengths[0], **chosen)
            if task.ideal is not None:
                task.ideal(data.features(task, batch), batch, **chosen)


@check("Draw from the Generator handed to draw; never seed or use np.random's own functions.")
def surroundings(subject: Subject[Task]) -> None:
    """Drawing changes nothing that is shared: no global generator, no default."""
    with unchanged_surroundings("draw"):
        draw(subject)


@check("Draw every sample anew from the Generator, from a space so large that none comes twice; a fixed pool is learned by heart.")
def splits(subject: Subject[Task]) -> None:
    """Training, validation and test, and any two seeds or steps of them, share no sample."""
    length, seen = max(subject.noun.lengths), dict[bytes, str]()
    for split, seed, steps in (("train", 0, 4), ("train", 1, 1), ("validation", 0, 1), ("test", 0, 1), ("test", 1, 1)):
        for step in range(steps):
            place = f"{split} (seed {seed}, step {step})"
            rows = {row.tobytes() for row in draw(subject, 500, length, split, seed, step).x}
            shared = next((seen[row] for row in rows if row in seen), None)
            require(shared is None, f"a sample of {shared} comes again in {place}, at length {length}")
            seen |= dict.fromkeys(rows, place)


@check("Draw noise with the batch's shape, not once for all samples.")
def samples(subject: Subject[Task]) -> None:
    """Samples of a batch are drawn apart: no value that changes from batch to batch is the same for all its samples."""
    first, second = (draw(subject, step=step).x for step in (0, 1))
    if np.issubdtype(first.dtype, np.integer):
        raise Skipped("tokens repeat by nature")
    same = (first == first[:1]).all(axis=0) & (second == second[:1]).all(axis=0) & (first[0] != second[0])
    drawn = same & (first[0] != np.round(first[0]))  # a marker set for a whole batch is a number like 0 or 1
    steps = sorted(set(np.nonzero(drawn)[0].tolist()))
    require(not steps, f"all samples of a batch have the same noise at steps {steps[:5]}")


@check("State the loss of the best answer that knows the step but not the input: the entropy, or the variance, of y at each step.")
def baseline(subject: Subject[Task]) -> None:
    """The baseline is what a predictor gets that knows the step but not the input, estimated from 100,000 samples."""
    task, batch = subject.noun, many(subject, 100_000)
    stated = task.baseline(task.lengths[0], **subject.options)
    low, high = content_blind(task, batch)
    require(low <= stated <= high, f"states {stated:.5g} at length {task.lengths[0]}; content-blind predictors get {low:.5g} to {high:.5g}")


def content_blind(task: Task, batch: Batch) -> tuple[float, float]:
    """Bounds on the best content-blind loss.

    The lower one comes from predictors scored on the samples they were fitted to, the upper one from predictors scored on other
    samples; each is widened by five standard errors.
    """
    y = batch.y.reshape(len(batch.y), -1)  # (N, T), or (N, 1)
    weight = np.ones(y.shape) if batch.weight is None else np.broadcast_to(batch.weight, y.shape).astype(np.float64)
    halves = slice(None, len(y) // 2), slice(len(y) // 2, None)
    own, other = [], []
    for learned, scored in (halves, halves[::-1]):
        if task.loss == "mse":
            total = np.maximum(weight[learned].sum(axis=0), 1e-300)
            mean = (weight[learned] * y[learned]).sum(axis=0) / total
            own.append((y[learned] - mean) ** 2)
            other.append((y[scored] - mean) ** 2)
        else:
            one_hot = (weight[learned][..., None] * (y[learned][..., None] == np.arange(task.output_size))).sum(axis=0)  # (T, C)
            exact = one_hot / np.maximum(one_hot.sum(axis=-1, keepdims=True), 1e-300)
            smooth = (one_hot + 1e-2) / (one_hot + 1e-2).sum(axis=-1, keepdims=True)  # a class not seen is possible
            steps = np.arange(y.shape[1])
            own.append(-np.log(np.maximum(exact, 1e-300))[steps, y[learned]])
            other.append(-np.log(smooth)[steps, y[scored]])
    bounds = []
    for losses, weights, sign in ((own, weight, -1), (other, np.concatenate([weight[halves[1]], weight[halves[0]]]), 1)):
        mean, error = _weighted_mean(np.concatenate(losses), weights)
        bounds.append(mean + sign * (STANDARD_ERRORS * error + 1e-6))
    return bounds[0], bounds[1]


def _weighted_mean(losses: Floats, weight: Floats) -> tuple[float, float]:
    """Σ w·l / Σ w over samples and steps, with its standard error over samples."""
    mean = float((weight * losses).sum() / weight.sum())
    rest = (weight * (losses - mean)).sum(axis=1) / (weight.sum() / len(weight))
    return mean, float(rest.std(ddof=1) / math.sqrt(len(rest)))


@check("Protect every element that y is computed from: corruption must make the task harder to read, not change its answer.")
def protected(subject: Subject[Task]) -> None:
    """Protected elements suffice: equal ones have equal answers, and no other element says more about y (to first order)."""
    task, batch = subject.noun, many(subject, 10_000)
    if batch.protected is None or not batch.protected.any():
        raise Skipped("it protects nothing, so corruption may change the answer")
    x = data.features(task, batch).astype(np.float64)
    mask = np.broadcast_to(batch.protected if batch.protected.ndim == 3 else batch.protected[..., None], x.shape)
    answers = defaultdict[bytes, set[bytes]](set)
    for kept, where, y in zip(np.where(mask, x, 0), mask, batch.y, strict=True):
        answers[kept.tobytes() + where.tobytes()].add(np.asarray(y).tobytes())
    ambiguous = sum(len(different) > 1 for different in answers.values())
    strongest = dependence.strongest(x, mask, _targets(task, batch.y))
    if strongest:
        (step, feature), score = strongest
        element = f"the unprotected element at step {step}, feature {feature}"
        raise Failed(f"{element} says of y what the protected ones do not ({score:.0f} standard errors)")
    require(not ambiguous, f"{ambiguous} protected contents come with more than one answer")


def _targets(task: Task, y: NDArray[np.generic]) -> Floats:
    """y as columns (N, K) of numbers: values, or one column a step and class."""
    columns = y.reshape(len(y), -1)
    if task.loss == "mse":
        return columns.astype(np.float64)
    return np.asarray(columns[..., None] == np.arange(task.output_size), dtype=np.float64).reshape(len(y), -1)


@check("Return Goal(metric, below= or at_least=) with `loss` or one of the task's own metrics.")
def goal(subject: Subject[Task]) -> None:
    """The task can be solved and missed, by a metric it has, and the baseline does not solve it."""
    task = subject.noun
    for length in task.lengths:
        solved = task.solved(length, **subject.options)
        require(isinstance(solved, Goal), f"solved returned {type(solved).__name__}, not a Goal")
        known = ("loss", *task.metrics)
        require(solved.metric in known, f"the goal's metric is '{solved.metric}'; there is {', '.join(known)}")
        stated = task.baseline(length, **subject.options)
        met = solved.metric == "loss" and solved.met({"loss": stated})
        require(not met, f"the baseline {stated:.4g} meets the goal {solved} already")


@check("Let ideal answer as a model does, (B, C) or (B, T, C) finite raw outputs, by what x tells, damaged or not; or leave it out.")
def ideal(subject: Subject[Task]) -> None:
    """The ideal predictor's outputs are a model's, the same each time, and lose less than those that do not look at the input."""
    task, options = subject.noun, subject.options
    if task.ideal is None:
        raise Skipped("it states no ideal predictor")
    for length in task.lengths:
        batch = draw(subject, IDEAL_SAMPLES, length, split="check")
        x = data.features(task, batch)
        kept = x.copy()
        ideal = data.ideal_loss(task, options, [(x, batch)])
        require(ideal == data.ideal_loss(task, options, [(x, batch)]), "the ideal predictor's loss differs from call to call")
        require(np.array_equal(x, kept), "the ideal predictor writes into x")
        for name, loss in _not_looking(subject, batch, length):
            require(ideal < loss, f"the ideal predictor loses {ideal:.3g} at length {length}, {name} {loss:.3g}")
        data.ideal_loss(task, options, [(data.corrupt(task, batch, BLANK, 1.0, np.random.default_rng(0)), batch)])


def _not_looking(subject: Subject[Task], batch: Batch, length: int) -> Iterator[tuple[str, float]]:
    """Losses of predictors that do not look at the input, each with its name."""
    task, shape = subject.noun, (*batch.y.shape, subject.noun.output_size)
    yield "the baseline", task.baseline(length, **subject.options)
    for name, outputs in (("answering zero", np.zeros(shape)), ("answering at random", np.random.default_rng(0).standard_normal(shape))):
        yield name, float(data.loss(task, torch.from_numpy(outputs), batch))


@check("Name corruptions as they are called; leave harmless out where all corruptions are damage.")
def harmless(subject: Subject[Task]) -> None:
    """What the task calls no damage to it are corruptions that exist."""
    if not subject.noun.harmless:
        raise Skipped("every corruption counts as damage to it")
    if not subject.corruptions:
        raise Skipped("no corruption is known here")
    for name in subject.noun.harmless:
        require(name in subject.corruptions, f"harmless names '{name}', which is no corruption{nearest(name, subject.corruptions)}")


@check("Let a metric be a mean over samples, of the outputs and the batch alone.")
def metrics(subject: Subject[Task]) -> None:
    """Every metric of a batch is the mean of its halves', finite, and changes neither outputs nor batch."""
    task, batch = subject.noun, draw(subject, 6)
    output = np.random.default_rng(0).standard_normal((*batch.y.shape, task.output_size)).astype(np.float32)
    kept = output.copy()
    for name, metric in task.metrics.items():
        whole = metric(output, batch)
        require(math.isfinite(whole), f"{name} is {whole}")
        parts = [metric(output[part], _part(batch, part)) for part in (slice(3), slice(3, 6))]
        require(
            abs(whole - sum(parts) / 2) <= 1e-6 * (1 + abs(whole)),
            f"{name} is {whole:.6g}, and the mean of its halves {sum(parts) / 2:.6g}",
        )
        require(np.array_equal(output, kept), f"{name} writes into the outputs")


def _part(batch: Batch, part: slice) -> Batch:
    weight, protected = (None if field is None else field[part] for field in (batch.weight, batch.protected))
    return Batch(batch.x[part], batch.y[part], weight, protected)
