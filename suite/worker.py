"""Does one trial or one round of timings inside a worker process, from plain data to an Outcome."""

from __future__ import annotations

import functools
import io
import json
import os
import select
import time
import traceback
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch

from . import evaluate, grade, model, store, timing, trainer
from .manager import Registry, changed, discover
from .spec import Grading, Measure, Outcome, SuiteError, Task, Timing, Trial

PIPE_BUF = select.PIPE_BUF
"""So many bytes are written to a pipe in one piece, whoever else writes there: no lock to die with."""


GRADE_INPUT_SIZE = 8


@dataclass(frozen=True)
class Job:
    """A trial to do: its training unless a checkpoint is there, and the evaluations it still lacks."""

    trial: Trial
    train: bool
    checkpoint: Path
    events: Path


@functools.cache
def announce(pipe: Path) -> Callable[[Mapping[str, Any]], None]:
    """A function that sends a small event to the parent, a JSON line; one descriptor a process, however many trials it does."""
    descriptor = os.open(pipe, os.O_WRONLY)

    def send(event: Mapping[str, Any]) -> None:
        line = (json.dumps(event) + "\n").encode()
        if len(line) <= PIPE_BUF:
            os.write(descriptor, line)

    return send


def work(job: Job) -> Outcome:
    """Train and evaluate one trial; whatever a plugin raises becomes the Outcome's reason."""
    trial = job.trial
    learning: dict[str, Any] = {}
    trained: dict[str, Any] = {}
    try:
        trainer.prepare(trial.device, trial.seed)
        send = announce(job.events)
        send({"event": "started", "key": trial.key})
        registry = discover()
        if edited := changed(trial.ingredients):
            raise SuiteError(f"{', '.join(edited)} changed after the run began; run the plan again")
        variant, task = registry.variant(trial.variant).noun, registry.task(trial.task).noun
        net = model.build(variant, trial.variant_options, task, trial.hidden_size, trial.engine, trainer.initial_seed(trial.seed))
        measured: dict[str, float] = {}
        if job.train:
            start = time.perf_counter()
            state = _train(trial, task, net, learning, send)
            measured["train_seconds"] = time.perf_counter() - start
            store.write(job.checkpoint, _bytes(state))
            trained = learning
            net.load_state_dict(state)
        else:
            net.load_state_dict(torch.load(job.checkpoint, weights_only=True, map_location="cpu"))
        net.to(device=trial.device, dtype=getattr(torch, trial.training.dtype)).eval()
        return Outcome(trial.key, "ok", learning=learning, evaluations=_evaluate(trial, task, net, registry), measured=measured)
    except trainer.Diverged as error:
        return Outcome(trial.key, "diverged", reason=str(error), learning=learning)
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # a plugin may raise anything; the parent records it
        reason = str(error) if isinstance(error, SuiteError) else f"{type(error).__name__}: {error}"
        return Outcome(trial.key, "failed", reason=reason[:500], traceback=traceback.format_exc(), learning=trained)


def _train(
    trial: Trial, task: Task, net: model.Model, learning: dict[str, Any], send: Callable[[Mapping[str, Any]], None]
) -> dict[str, torch.Tensor]:
    """Train, filling `learning` as it goes so that a divergence keeps its curve; the best weights come back."""
    goal = task.solved(trial.length, **trial.task_options)
    baseline = task.baseline(trial.length, **trial.task_options)
    learning |= {"goal": str(goal), "baseline": baseline, "steps_to_solve": None, "best_step": None, "curve": []}
    state: dict[str, torch.Tensor] = {}
    for found in trainer.train(trial, task, net):
        if isinstance(found, Measure):
            learning["curve"].append({"step": found.step, "scores": dict(found.scores)})
            if learning["steps_to_solve"] is None and goal.met(found.scores):
                learning["steps_to_solve"] = found.step
            send({"event": "measure", "key": trial.key, "step": found.step, "scores": dict(found.scores)})
        else:
            learning["best_step"], state = found.step, dict(found.state)
    return state


def _evaluate(trial: Trial, task: Task, net: model.Model, registry: Registry) -> dict[str, Any]:
    return {
        one.key: evaluate.evaluate(net, trial, task, one, registry.corruption(one.name).noun if one.kind == "corruption" else None)
        for one in trial.evaluations
    }


def _bytes(state: Mapping[str, torch.Tensor]) -> bytes:
    buffer = io.BytesIO()
    torch.save(state, buffer)
    return buffer.getvalue()


def work_timings(timings: list[Timing]) -> tuple[dict[str, dict[str, list[float]]], dict[str, str]]:
    """Time the models of one length, alone."""
    trainer.prepare(timings[0].device)
    registry = discover()
    return timing.measure(timings, {one.variant: registry.variant(one.variant).noun for one in timings})


def work_grade(grading: Grading) -> dict[str, Any]:
    """Grade one variant; what it raises becomes the reason."""
    trainer.prepare(grading.device)
    try:
        variant = discover().variant(grading.variant).noun
        return asdict(grade.grade(variant, grading.variant_options, GRADE_INPUT_SIZE, grading.hidden_size, grading.device))
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # a plugin's own failure, which its trials show too
        return {"failed": f"{type(error).__name__}: {error}"[:500]}


def without(trial: Trial, keys: Mapping[str, Any]) -> Trial:
    """The trial with the evaluations left that are not among the keys."""
    return replace(trial, evaluations=tuple(one for one in trial.evaluations if one.key not in keys))
