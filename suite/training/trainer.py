"""Trains a population, trials that differ in seed and learning rate alone: each learns what it would learn by itself."""

from __future__ import annotations

import gc
import math
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from ..errors import SuiteError
from ..ops.engines import engine
from ..ops.replay import Replay
from ..spec import Array, Batch, Corruption, Goal, Task, Variant
from ..trial import Learning, Trial, Validation
from . import data, model
from .data import Targets
from .members import InTurn, Members, Stacked
from .memory import set_memory
from .model import Model
from .optimizer import Optimizer
from .snapshot import Snapshot, Standing, Take, never

DIVERGED = 1e6
"""A loss of so many times the baseline will not come back, though it may still be finite."""


KEPT = 1 << 24
"""A validation stream of at most so many numbers is kept in memory."""


@dataclass(frozen=True)
class Trained:
    """What a training came to.

    learning: the curve and what it says; state: the best weights by validation, on the CPU
    diverged: how it diverged; empty where it did not
    """

    learning: Learning
    state: Mapping[str, Tensor] = field(default_factory=dict)
    diverged: str = ""


def prepare(device: str) -> None:
    """Set the process up for results that are the same to the bit: one thread, deterministic kernels, no TF32."""
    torch.manual_seed(0)  # for what draws outside of a training, in which each trial has a generator of its own
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    if not gc.get_freeze_count():  # else the objects of a long recurrence set off search after search through all that torch has made
        gc.collect()
        gc.freeze()
    # a vendor engine hands over views of the reference's weights, which cuDNN copies into one block: a small kernel a call
    warnings.filterwarnings("ignore", message="RNN module weights are not part of single contiguous chunk")
    if device == "cuda":
        torch.backends.cuda.matmul.allow_tf32 = False
        torch.backends.cudnn.allow_tf32 = False
        torch.backends.cudnn.benchmark = False


def dropout_seed(seed: int) -> int:
    """The seed of what a trial's model draws in training, as dropout does: apart from that of its data and its weights."""
    return int(data.generator("dropout", seed).integers(2**62))


def initial_seed(trial: Trial) -> int:
    """The seed of the weights, apart from the data's though both come from the trial's.

    Each task and length has its own, so that what one seed learns in two cells has nothing in common; all variants share it.
    """
    return int(data.generator("initialisation", trial.task.name, dict(trial.task.options), trial.length, trial.seed).integers(2**62))


def build(trials: Sequence[Trial], variant: Variant, task: Task) -> list[Model]:
    """The models of a population, on its device, each with the weights of its trial's seed."""
    first = trials[0]
    dtype = getattr(torch, first.training.dtype)
    models = []
    for trial in trials:
        net = model.build(variant, trial.variant.options, task, trial.hidden_size, trial.engine, initial_seed(trial))
        set_memory(variant, net.core, trial)
        model.cast(net, dtype).to(first.device)
        models.append(net)
    return models


def gather(models: Sequence[Model], engine_name: str) -> Members:
    """The models as members of a population, in the form that the engine takes."""
    return (Stacked if engine(engine_name).stacks else InTurn)(models)


def means(outputs: Callable[[Tensor], Tensor], task: Task, trial: Trial, batches: Iterable[tuple[Array, Batch]]) -> list[dict[str, float]]:
    """Loss and metrics of each member as means over all samples of a stream, whose batches come with their input ``(B, T, D)``.

    outputs: ``(B, T, D) -> (P, B, …)``
    """
    dtype = getattr(torch, trial.training.dtype)
    totals: list[dict[str, float]] = []
    samples = 0
    for x, batch in batches:
        samples += len(batch.y)
        for row, scores in enumerate(member_scores(task, outputs(data.inputs(x, dtype, trial.device)), batch)):
            if row == len(totals):
                totals.append(dict.fromkeys(scores, 0.0))
            for name, value in scores.items():
                totals[row][name] += value * len(batch.y)
    return [{name: total / samples for name, total in each.items()} for each in totals]


def member_scores(task: Task, outputs: Tensor, batch: Batch) -> Iterator[dict[str, float]]:
    """Loss and metrics of one batch for each member's outputs ``(P, B, …)``."""
    losses = data.losses(task, outputs, data.targets(task, [batch], outputs.dtype, outputs.device)).tolist()
    for loss, raw in zip(losses, outputs.cpu().numpy(), strict=True):
        yield {"loss": loss, **{name: float(metric(raw, batch)) for name, metric in task.metrics.items()}}


def together(members: Members) -> Callable[[Tensor], Tensor]:
    """A function that gives every member the same input: ``(B, T, D) -> (P, B, …)``."""
    return lambda x: members.outputs(x.expand(len(members), *x.shape))


def score(members: Members, task: Task, trial: Trial, batches: Iterable[tuple[Array, Batch]]) -> list[dict[str, float]]:
    """Loss and metrics of each member over a stream, in evaluation mode."""
    members.train(False)
    scores = means(together(members), task, trial, batches)
    members.train(True)
    return scores


def drawn(trials: Sequence[Trial], task: Task, corruption: Corruption | None = None, done: int = 0) -> Iterator[tuple[Tensor, Targets]]:
    """The steps after those that are done, each with its inputs ``(P, B, T, D)``, damaged by the corruption where there is one, and targets.

    Learning rates of one seed share theirs. They are drawn ahead in a thread, so that a GPU need not wait for them.
    """
    first = trials[0]
    training = first.training
    seeds = list(dict.fromkeys(trial.seed for trial in trials))
    place = torch.tensor([seeds.index(trial.seed) for trial in trials])
    dtype = getattr(torch, training.dtype)

    def draw(step: int) -> tuple[Tensor, Targets]:
        options = first.task.options
        batches = [data.draw(task, options, first.length, "train", seed, step, training.batch_size) for seed in seeds]
        met = [data.met(task, first, batch, corruption, "train", seed, step) for seed, batch in zip(seeds, batches, strict=True)]
        x = torch.stack([data.inputs(features, dtype, "cpu") for features in met])
        return x[place].to(first.device), data.targets(task, [batches[index] for index in place.tolist()], dtype, first.device)

    if done >= training.steps:
        return
    with ThreadPoolExecutor(max_workers=1) as pool:
        ahead = pool.submit(draw, done + 1)
        for step in range(done + 1, training.steps + 1):
            now = ahead.result()
            if step < training.steps:
                ahead = pool.submit(draw, step + 1)
            yield now


@dataclass
class Progress:
    """How far one member of a population has come; `met_at` is the step of its last validation where that met the goal."""

    trial: Trial
    learning: Learning
    best: float = math.inf
    curve: list[Validation] = field(default_factory=list)
    state: Mapping[str, Tensor] = field(default_factory=dict)
    met_at: int | None = None
    ended: bool = False
    diverged: str = ""

    def trained(self) -> Trained:
        return Trained(replace(self.learning, curve=tuple(self.curve)), self.state, self.diverged)


@dataclass(frozen=True)
class Population:
    """All that changes while a population is trained; `losses` ``(P,)`` are those since the last validation, added up."""

    everyone: Sequence[Progress]
    members: Members
    optimizer: Optimizer
    losses: Tensor

    @property
    def ended(self) -> bool:
        return all(member.ended for member in self.everyone)

    def snapshot(self, step: int) -> Snapshot:
        """The population as it is after a step."""
        members = {member.trial.key: self._standing(row, member) for row, member in enumerate(self.everyone)}
        return Snapshot(step, self.optimizer.counted, members)

    def _standing(self, row: int, member: Progress) -> Standing:
        return Standing(
            weights=self.members.block[row].cpu().clone(),
            remembered=self.optimizer.remembered(row),
            fixed=self.members.fixed(row),
            random=self.members.random(row),
            losses=self.losses[row].cpu().clone(),
            curve=tuple(member.curve),
            state=member.state,
            best=member.best,
            best_step=member.learning.best_step,
            steps_to_solve=member.learning.steps_to_solve,
            met_at=member.met_at,
            ended=member.ended,
            diverged=member.diverged,
        )

    @torch.no_grad()
    def restore(self, begun: Snapshot) -> None:
        """Bring the population to where it was when the snapshot was taken."""
        standings = [begun.members[member.trial.key] for member in self.everyone]
        self.optimizer.restore(begun.counted, [standing.remembered for standing in standings])
        for row, (member, standing) in enumerate(zip(self.everyone, standings, strict=True)):
            self.members.block[row].copy_(standing.weights)
            self.members.set_fixed(row, standing.fixed)
            self.members.set_random(row, standing.random)
            self.losses[row].copy_(standing.losses)
            member.learning = replace(member.learning, best_step=standing.best_step, steps_to_solve=standing.steps_to_solve)
            member.best, member.curve, member.state = standing.best, list(standing.curve), standing.state
            member.met_at, member.diverged = standing.met_at, standing.diverged
            if standing.ended:
                self.end(row)

    def end(self, row: int) -> None:
        """Let a member move no more."""
        self.everyone[row].ended = True
        self.optimizer.end(row)


def learn(
    trials: Sequence[Trial],
    task: Task,
    members: Members,
    tell: Callable[[Trial, Validation], None],
    corruption: Corruption | None = None,
    begun: Snapshot | None = None,
    keep: Callable[[Take], None] = never,
) -> list[Trained]:
    """Train a population on fresh data every step and validate on a fixed stream, both damaged by the corruption where there is one.

    Each member keeps its curve, the first of two successive validations that met the goal, and the weights that validated best. One
    that diverges (its loss is not finite, or more than a million times the baseline) keeps its curve up to there and does not move any
    more, as one that has solved the task where the plan stops then. `tell` hears of each validation as it is made.

    begun: where the training goes on from, to the same bits as without the interruption; `tell` hears of later validations alone
    keep: is handed, after each step, what takes a snapshot
    """
    first = trials[0]
    training, goal, baseline = first.training, task.solved(first.length, **first.task.options), baseline_of(task, first)
    stream = validation_stream(task, first, corruption)
    ideal = data.ideal_loss(task, first.task.options, stream())
    everyone = [Progress(trial, Learning(str(goal), baseline, ideal=ideal)) for trial in trials]
    losses = torch.zeros(len(trials), device=members.block.device, dtype=members.block.dtype)
    population = Population(everyone, members, Optimizer(members, trials), losses)
    done = begun.step if begun else 0

    def take_step(x: Tensor, y: Tensor, weight: Tensor | None) -> None:
        losses.add_(members.learn(x, lambda output, row: member_loss(task, output, Targets(y, weight), row)))
        population.optimizer.step()

    advance = Replay(take_step) if engine(first.engine).replays else take_step
    with torch.random.fork_rng(devices=["cuda"] if members.block.is_cuda else []):
        members.seed([dropout_seed(trial.seed) for trial in trials])
        if begun:
            population.restore(begun)
        members.train(True)
        for step, (x, wanted) in enumerate(drawn(trials, task, corruption, done), done + 1):
            if population.ended:
                break
            population.optimizer.begin(step)
            advance(x, *wanted)
            if step % training.validate_every == 0 or step == training.steps:
                _validate(population, task, goal, step, stream(), tell)
            keep(lambda step=step: population.snapshot(step))  # type: ignore[misc]
    return [member.trained() for member in everyone]


def _validate(
    population: Population,
    task: Task,
    goal: Goal,
    step: int,
    stream: Iterable[tuple[Array, Batch]],
    tell: Callable[[Trial, Validation], None],
) -> None:
    """Enter what a validation says of each member that has not ended, which may end it.

    Losses of training are looked at only here: reading them each step would stall a GPU.
    """
    first = population.everyone[0].trial
    training = first.training
    since = (step - 1) % training.validate_every + 1
    train_losses = (population.losses / since).tolist()
    population.losses.zero_()
    for row, scores in enumerate(score(population.members, task, first, stream)):
        member = population.everyone[row]
        if member.ended:
            continue
        validation = Validation(step, {"train_loss": train_losses[row], **scores})
        losses = {"training": train_losses[row], "validation": scores["loss"]}
        member.diverged = _divergence(losses, DIVERGED * member.learning.baseline, step)
        if not member.diverged:
            _advance(member, validation, goal.met(validation.scores), population.members, row)
            tell(member.trial, validation)
        if member.diverged or (training.stop == "solved" and member.learning.steps_to_solve is not None):
            population.end(row)


def member_loss(task: Task, output: Tensor, wanted: Targets, row: int | None) -> Tensor:
    """The loss of one member's outputs by its own targets; where `row` is None, the losses ``(P,)`` of all members' outputs."""
    return data.losses(task, output, wanted) if row is None else data.losses(task, output.unsqueeze(0), wanted.row(row))[0]


def _advance(member: Progress, validation: Validation, solved: bool, members: Members, row: int) -> None:
    """Enter a validation, and keep the weights where none was better.

    One that meets the goal counts once the next has met it too: a single one may be luck.
    """
    member.curve.append(validation)
    if member.learning.steps_to_solve is None and solved and member.met_at:
        member.learning = replace(member.learning, steps_to_solve=member.met_at)
    member.met_at = validation.step if solved else None
    if validation.scores["loss"] < member.best:
        member.best = validation.scores["loss"]
        member.learning = replace(member.learning, best_step=validation.step)
        member.state = members.state(row, members.block[row])


def validation_stream(task: Task, trial: Trial, corruption: Corruption | None = None) -> Callable[[], Iterator[tuple[Array, Batch]]]:
    """A function that gives the validation stream with its inputs; where it is small, it is drawn once and kept."""

    def drawn() -> Iterator[tuple[Array, Batch]]:
        samples, seed = trial.training.evaluation_samples, trial.eval_seed
        for step, batch in enumerate(data.stream(task, trial.task.options, trial.length, "validation", seed, samples)):
            yield data.met(task, trial, batch, corruption, "validation", seed, step), batch

    if trial.training.evaluation_samples * trial.length * task.width > KEPT:
        return drawn
    kept = list(drawn())
    return lambda: iter(kept)


def baseline_of(task: Task, trial: Trial) -> float:
    """The loss without looking at the input, at the trained length.

    Raises SuiteError where the task states none that is finite and above 0.
    """
    baseline = float(task.baseline(trial.length, **trial.task.options))
    if not (math.isfinite(baseline) and baseline > 0):
        raise SuiteError(f"task '{trial.task.label}': its baseline at length {trial.length} is {baseline}; it must be finite and above 0")
    return baseline


def _divergence(losses: Mapping[str, float], limit: float, step: int) -> str:
    """How a training has diverged by its losses; empty where it has not."""
    for name, loss in losses.items():
        if not math.isfinite(loss):
            return f"the {name} loss was not finite by step {step}"
        if loss > limit:
            return f"the {name} loss was {loss:.2g} by step {step}, more than {DIVERGED:.0e} times the baseline"
    return ""
