"""Does one piece of work inside a worker process, from plain data to a record of how it ended."""

from __future__ import annotations

import contextlib
import functools
import io
import os
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from ..errors import Raised, SuiteError, contained
from ..measures import repeatability, timing
from ..measures.evaluate import evaluate
from ..registry.finder import discover
from ..registry.registry import Registry
from ..registry.sources import changed
from ..spec import Corruption, Grade, Point, Task, Variant
from ..store.files import write
from ..training import model, trainer
from ..training.snapshot import never
from ..trial import Grading, Learning, Outcome, Status, Timing, Trial, Validation
from . import serve
from .events import Event
from .keeping import Keeper, Keeping, Part, parts_of, spending
from .placement import NO_MEMORY, device_fault

REASON_LENGTH = 500
"""A plugin may raise with a text of any length; so much of it is kept beside the whole traceback."""


@dataclass(frozen=True)
class Job:
    """Trials that differ in seed and learning rate alone: their training, unless it is done, and the evaluations they still lack.

    checkpoints: where the weights of each are, or are to be
    attempt: which one it is, from 1 on
    keeping: where and how often its training is kept; None where it could not go on to the same bits
    """

    trials: tuple[Trial, ...]
    train: bool
    checkpoints: tuple[Path, ...]
    channel: Path
    attempt: int = 1
    keeping: Keeping | None = None

    def parted(self, size: int) -> list[Job]:
        """The same work as jobs of so many trials, the last one perhaps smaller."""
        parts = (slice(start, start + size) for start in range(0, len(self.trials), size))
        return [replace(self, trials=self.trials[part], checkpoints=self.checkpoints[part], attempt=1) for part in parts]


@functools.cache
def sender(channel: Path) -> Callable[[Event], None]:
    """A function that tells the parent of an event; one descriptor a process, however many trials it does."""
    descriptor = os.open(channel, os.O_WRONLY)

    def send(event: Event) -> None:
        with contextlib.suppress(BrokenPipeError):  # the run is gone, and this process is about to end
            os.write(descriptor, event.line())

    return send


@dataclass(frozen=True)
class _Cost:
    """What a trial's training took: its share of the seconds, of those of compiling, and how many were trained as one program."""

    train_seconds: float
    compile_seconds: float
    members: int


@dataclass
class _Ended:
    """How far a job has come: what each trial has learned at what cost, and the answers of its evaluations."""

    diverged: dict[str, str]
    learning: dict[str, Learning]
    points: dict[str, dict[str, tuple[Point, ...]]]
    costs: dict[str, _Cost]


def work(job: Job) -> tuple[Outcome, ...]:
    """Train and evaluate trials as one program; whatever a plugin raises becomes the outcomes' reason."""
    ended = _Ended({}, {}, {trial.key: {} for trial in job.trials}, {})
    with contained() as raised:
        _do(job, ended)
    if raised:
        serve.retire(device_fault(raised.reason))  # the traceback is all that is kept of what the plugin has left behind
    return tuple(_outcome(trial, ended, raised) for trial in job.trials)


def _outcome(trial: Trial, ended: _Ended, raised: Raised) -> Outcome:
    learning, cost = ended.learning.get(trial.key), ended.costs.get(trial.key)
    validated = learning.curve[-1].step if learning and learning.curve else None
    if trial.key in ended.diverged:
        return Outcome(trial.key, "diverged", reason=ended.diverged[trial.key], last_step=validated, learning=learning)
    return Outcome(
        key=trial.key,
        status=_status(raised.error),
        reason=raised.reason[:REASON_LENGTH],
        traceback=raised.traceback,
        last_step=(_step(raised.error) or validated) if raised.error else None,
        learning=learning,
        evaluations=ended.points[trial.key],
        train_seconds=cost.train_seconds if cost else None,
        compile_seconds=cost.compile_seconds if cost else None,
        members=cost.members if cost else None,
    )


def _status(error: BaseException | None) -> Status:
    if error is None:
        return "ok"
    full = isinstance(error, MemoryError | torch.OutOfMemoryError) or any(text in str(error) for text in NO_MEMORY)
    return "oom" if full else "failed"


def _step(error: BaseException) -> int | None:
    """The training step that an exception was raised in; None where it was raised elsewhere."""
    for frame, _ in traceback.walk_tb(error.__traceback__):
        if frame.f_code is trainer.learn.__code__:
            step: int | None = frame.f_locals.get("step")
            return step
    return None


def _do(job: Job, ended: _Ended) -> None:
    first = job.trials[0]
    trainer.prepare(first.device)
    send = sender(job.channel)
    parts = parts_of(job.trials, job.keeping, lambda sentence: send(Event(first.key, note=sentence))) if job.train else []
    begun = {place: part.begun.step for part in parts if part.begun for place in part.places}
    for place, trial in enumerate(job.trials):
        send(Event(trial.key, begun=begun.get(place, 0)))
    registry = discover()
    check_unedited(*(trial.sources for trial in job.trials), *(asked.sources for trial in job.trials for asked in trial.evaluations))
    variant, task = registry.variant(first.variant.name).noun, registry.task(first.task.name).noun
    models = trainer.build(job.trials, variant, task)
    states = None if job.train else [_stored_weights(checkpoint, net) for checkpoint, net in zip(job.checkpoints, models, strict=True)]
    if states is None or any(state is None for state in states):
        corruption = registry.corruption(first.training.corruption).noun if first.training.corruption else None
        trained: dict[int, Mapping[str, torch.Tensor]] = {}
        for part in parts or [Part(tuple(range(len(models))))]:
            trained |= _train(job, part, ended, task, models, send, corruption)
        states = [trained[place] for place in range(len(models))]
    for net, state in zip(models, states, strict=True):
        if state:  # a member that diverged before its first validation has none
            net.load_state_dict(state)
    _evaluate(job, ended, task, models, registry)


def _train(
    job: Job,
    part: Part,
    ended: _Ended,
    task: Task,
    models: Sequence[model.Model],
    send: Callable[[Event], None],
    corruption: Corruption | None,
) -> dict[int, Mapping[str, torch.Tensor]]:
    """Train a part of the models; the best weights of each, by its place, which then lie in its checkpoint too."""
    trials = [job.trials[place] for place in part.places]
    spent = spending(len(trials), part.begun)
    members = trainer.gather([models[place] for place in part.places], trials[0].engine)

    def tell(trial: Trial, validation: Validation) -> None:
        send(Event(trial.key, validation))

    with contextlib.ExitStack() as at_work:
        keeper = None
        if job.keeping:
            keeper = Keeper(job.keeping, trials, part.begun, lambda sentence: send(Event(trials[0].key, note=sentence)))
            at_work.enter_context(serve.asked_to_end(keeper.end))
        trained = trainer.learn(trials, task, members, tell, corruption, part.begun, keeper or never)
        if keeper:
            keeper.finish()
    seconds, compiling = spent()
    for place, result in zip(part.places, trained, strict=True):
        key = job.trials[place].key
        ended.costs[key], ended.learning[key] = _Cost(seconds, compiling, len(trials)), result.learning
        if result.diverged:
            ended.diverged[key] = result.diverged
        else:
            write(job.checkpoints[place], _bytes(result.state))
    return {place: result.state for place, result in zip(part.places, trained, strict=True)}


def _evaluate(job: Job, ended: _Ended, task: Task, models: Sequence[model.Model], registry: Registry) -> None:
    """Ask the models whatever their trials lack."""
    first = job.trials[0]
    members = trainer.gather(models, first.engine)
    members.train(False)
    for place, asked in enumerate(first.evaluations):
        answers = evaluate(members, task, job.trials, asked, registry.measure(asked.measure).noun)
        for trial, points in zip(job.trials, answers, strict=True):
            ended.points[trial.key][trial.evaluations[place].key] = points


def check_unedited(*sources: Mapping[str, str]) -> None:
    """Raises SuiteError where a file is no longer what the keys were made of."""
    edited = sorted({name for digests in sources for name in changed(digests)})
    if edited:
        raise SuiteError(f"{', '.join(edited)} changed after the run began; run the plan again")


def _stored_weights(checkpoint: Path, net: model.Model) -> Mapping[str, torch.Tensor] | None:
    """The weights of a checkpoint; None where it is damaged, which is no loss, since training again gives the same ones."""
    with contained() as raised:
        state: Mapping[str, torch.Tensor] = torch.load(checkpoint, weights_only=True, map_location="cpu")
        fits = {name: value.shape for name, value in state.items()} == {name: value.shape for name, value in net.state_dict().items()}
    return None if raised or not fits else state


def _bytes(state: Mapping[str, torch.Tensor]) -> bytes:
    buffer = io.BytesIO()
    torch.save(state, buffer)
    return buffer.getvalue()


def work_timings(timings: Sequence[Timing]) -> timing.Rounds:
    """Time the models of one shape, alone; what cannot be timed is among the failed ones with its reason."""
    trainer.prepare(timings[0].device)
    registry = discover()
    variants: dict[str, Variant] = {}
    failed: dict[str, str] = {}
    for asked in timings:
        with contained() as raised:
            check_unedited(asked.sources)
            variants[asked.variant.name] = registry.variant(asked.variant.name).noun
        if raised:
            failed[asked.key] = raised.reason
    rounds = timing.measure([asked for asked in timings if asked.key not in failed], variants)
    if fault := device_fault("\n".join(rounds.failed.values())):
        serve.retire(fault)
    return replace(rounds, failed={**rounds.failed, **failed})


def work_grade(grading: Grading) -> Grade:
    """Grade one variant; what it raises becomes the reason why there is no grade."""
    trainer.prepare(grading.device)
    with contained() as raised:
        check_unedited(grading.sources)
        variant = discover().variant(grading.variant.name).noun
        return repeatability.grade(variant, grading.variant.options, repeatability.INPUT_SIZE, grading.hidden_size, grading.device)
    if fault := device_fault(raised.reason):
        serve.retire(fault)
    return Grade(failed=raised.reason[:REASON_LENGTH])
