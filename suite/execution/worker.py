"""Does one piece of work inside a worker process, from plain data to a record of how it ended."""

from __future__ import annotations

import functools
import io
import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from ..errors import SuiteError, contained
from ..measures import repeatability, timing
from ..measures.evaluate import evaluate
from ..registry.finder import discover
from ..registry.sources import changed
from ..spec import Grade, Variant
from ..store.files import write
from ..training import model, trainer
from ..trial import Grading, Learning, Outcome, Timing, Trial
from .events import Event

REASON_LENGTH = 500
"""A plugin may raise with a text of any length; so much of it is kept beside the whole traceback."""


@dataclass(frozen=True)
class Job:
    """A trial to do: its training unless a checkpoint is there, and the evaluations it still lacks."""

    trial: Trial
    train: bool
    checkpoint: Path
    channel: Path


@functools.cache
def sender(channel: Path) -> Callable[[Event], None]:
    """A function that tells the parent of an event; one descriptor a process, however many trials it does."""
    descriptor = os.open(channel, os.O_WRONLY)

    def send(event: Event) -> None:
        os.write(descriptor, event.line())

    return send


def work(job: Job) -> Outcome:
    """Train and evaluate one trial; whatever a plugin raises becomes the outcome's reason."""
    trial = job.trial
    learning: Learning | None = None
    seconds: float | None = None
    with contained() as raised:
        trainer.prepare(trial.device, trial.seed)
        send = sender(job.channel)
        send(Event(trial.key))
        registry = discover()
        check_unedited(trial.sources, *(asked.sources for asked in trial.evaluations))
        variant, task = registry.variant(trial.variant.name).noun, registry.task(trial.task.name).noun
        seed = trainer.initial_seed(trial.seed)
        net = model.build(variant, trial.variant.options, task, trial.hidden_size, trial.engine, seed)
        state = None if job.train else _stored_weights(job.checkpoint, net)
        if state is None:
            start = time.perf_counter()
            trained = trainer.learn(trial, task, net, lambda validation: send(Event(trial.key, validation)))
            if trained.diverged:
                return Outcome(trial.key, "diverged", reason=trained.diverged, learning=trained.learning)
            seconds = time.perf_counter() - start
            write(job.checkpoint, _bytes(trained.state))
            learning, state = trained.learning, trained.state
        net.load_state_dict(state)
        model.cast(net, getattr(torch, trial.training.dtype)).to(trial.device).eval()
        points = {asked.key: evaluate(net, task, trial, asked, registry.measure(asked.measure).noun) for asked in trial.evaluations}
        return Outcome(trial.key, "ok", learning=learning, evaluations=points, train_seconds=seconds)
    reason = raised.reason[:REASON_LENGTH]
    return Outcome(trial.key, "failed", reason, raised.traceback, learning=learning, train_seconds=seconds)


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
    """Time the models of one length, alone; what cannot be timed is among the failed ones with its reason."""
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
    return timing.Rounds(rounds.seconds, {**rounds.failed, **failed})


def work_grade(grading: Grading) -> Grade:
    """Grade one variant; what it raises becomes the reason why there is no grade."""
    trainer.prepare(grading.device)
    with contained() as raised:
        check_unedited(grading.sources)
        variant = discover().variant(grading.variant.name).noun
        return repeatability.grade(variant, grading.variant.options, repeatability.INPUT_SIZE, grading.hidden_size, grading.device)
    return Grade(failed=raised.reason[:REASON_LENGTH])


def without(trial: Trial, keys: Mapping[str, Any]) -> Trial:
    """The trial with the evaluations left that are not among the keys."""
    return replace(trial, evaluations=tuple(asked for asked in trial.evaluations if asked.key not in keys))
