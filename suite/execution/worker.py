"""Does one piece of work inside a worker process, from plain data to a record of how it ended."""

from __future__ import annotations

import functools
import io
import os
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from ..errors import Raised, SuiteError, contained
from ..measures import repeatability, timing
from ..measures.evaluate import evaluate
from ..ops.engines import compile_seconds
from ..registry.finder import discover
from ..registry.registry import Registry
from ..registry.sources import changed
from ..spec import Corruption, Grade, Point, Task, Variant
from ..store.files import write
from ..training import model, trainer
from ..trial import Grading, Learning, Outcome, Status, Timing, Trial
from . import serve
from .events import Event

NO_MEMORY = ("can't allocate memory", "out of memory", "CUBLAS_STATUS_ALLOC_FAILED")
"""What torch says where memory was refused and the exception has no type of its own for that."""

REASON_LENGTH = 500
"""A plugin may raise with a text of any length; so much of it is kept beside the whole traceback."""


@dataclass(frozen=True)
class Job:
    """Trials that differ in seed and learning rate alone: their training, unless it is done, and the evaluations they still lack.

    checkpoints: where the weights of each are, or are to be
    attempt: which one it is, from 1 on
    """

    trials: tuple[Trial, ...]
    train: bool
    checkpoints: tuple[Path, ...]
    channel: Path
    attempt: int = 1

    def parted(self, size: int) -> list[Job]:
        """The same work as jobs of so many trials, the last one perhaps smaller."""
        parts = (slice(start, start + size) for start in range(0, len(self.trials), size))
        return [replace(self, trials=self.trials[part], checkpoints=self.checkpoints[part], attempt=1) for part in parts]


@functools.cache
def sender(channel: Path) -> Callable[[Event], None]:
    """A function that tells the parent of an event; one descriptor a process, however many trials it does."""
    descriptor = os.open(channel, os.O_WRONLY)

    def send(event: Event) -> None:
        os.write(descriptor, event.line())

    return send


@dataclass
class _Ended:
    """How far a job has come: what each trial has learned, and the answers of its evaluations."""

    diverged: dict[str, str]
    learning: dict[str, Learning]
    points: dict[str, dict[str, tuple[Point, ...]]]
    train_seconds: float | None = None
    compile_seconds: float | None = None


def work(job: Job) -> tuple[Outcome, ...]:
    """Train and evaluate trials as one program; whatever a plugin raises becomes the outcomes' reason."""
    ended = _Ended({}, {}, {trial.key: {} for trial in job.trials})
    with contained() as raised:
        _do(job, ended)
    if raised:
        serve.retire()  # the traceback is all that is kept of what the plugin has left behind
    return tuple(_outcome(trial, ended, len(job.trials), raised) for trial in job.trials)


def _outcome(trial: Trial, ended: _Ended, members: int, raised: Raised) -> Outcome:
    learning = ended.learning.get(trial.key)
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
        train_seconds=ended.train_seconds,
        compile_seconds=ended.compile_seconds,
        members=None if ended.train_seconds is None else members,
    )


def _status(error: BaseException | None) -> Status:
    if error is None:
        return "ok"
    full = isinstance(error, MemoryError | torch.OutOfMemoryError) or any(words in str(error) for words in NO_MEMORY)
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
    trainer.prepare(first.device, first.seed)
    send = sender(job.channel)
    for trial in job.trials:
        send(Event(trial.key))
    registry = discover()
    check_unedited(*(trial.sources for trial in job.trials), *(asked.sources for trial in job.trials for asked in trial.evaluations))
    variant, task = registry.variant(first.variant.name).noun, registry.task(first.task.name).noun
    models = trainer.build(job.trials, variant, task)
    states = None if job.train else [_stored_weights(checkpoint, net) for checkpoint, net in zip(job.checkpoints, models, strict=True)]
    if states is None or any(state is None for state in states):
        corruption = registry.corruption(first.training.corruption).noun if first.training.corruption else None
        states = _train(job, ended, task, models, send, corruption)
    for net, state in zip(models, states, strict=True):
        if state:  # a member that diverged before its first validation has none
            net.load_state_dict(state)
    _evaluate(job, ended, task, models, registry)


def _train(
    job: Job, ended: _Ended, task: Task, models: Sequence[model.Model], send: Callable[[Event], None], corruption: Corruption | None
) -> list[Mapping[str, torch.Tensor] | None]:
    """Train the models; the best weights of each, which then lie in its checkpoint too."""
    start, compiling = time.perf_counter(), compile_seconds()
    members = trainer.gather(models, job.trials[0].engine)
    trained = trainer.learn(job.trials, task, members, lambda trial, validation: send(Event(trial.key, validation)), corruption)
    compiling = compile_seconds() - compiling
    share = 1 / len(job.trials)
    ended.train_seconds, ended.compile_seconds = share * (time.perf_counter() - start - compiling), share * compiling
    for trial, checkpoint, result in zip(job.trials, job.checkpoints, trained, strict=True):
        ended.learning[trial.key] = result.learning
        if result.diverged:
            ended.diverged[trial.key] = result.diverged
        else:
            write(checkpoint, _bytes(result.state))
    return [result.state for result in trained]


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
    return replace(rounds, failed={**rounds.failed, **failed})


def work_grade(grading: Grading) -> Grade:
    """Grade one variant; what it raises becomes the reason why there is no grade."""
    trainer.prepare(grading.device)
    with contained() as raised:
        check_unedited(grading.sources)
        variant = discover().variant(grading.variant.name).noun
        return repeatability.grade(variant, grading.variant.options, repeatability.INPUT_SIZE, grading.hidden_size, grading.device)
    return Grade(failed=raised.reason[:REASON_LENGTH])
