"""Says what a plan would run, and from a few timed steps how long that may take."""

from __future__ import annotations

import dataclasses
import time

from .errors import contained
from .execution.local import default_workers
from .execution.run import Work
from .registry.registry import Registry
from .training import model, trainer
from .trial import TOLERANCE, Trial, Validation

STEPS = 3
"""Training steps that are timed of each variant on each task, at the shortest length, after one that warms up."""


def step_seconds(trial: Trial, registry: Registry) -> float:
    """Seconds a training step of this trial takes here; 0 for a variant that cannot run."""
    training = dataclasses.replace(trial.training, steps=1 + STEPS, validate_every=1, evaluation_samples=1)
    trial = dataclasses.replace(trial, training=training)
    variant, task = registry.variant(trial.variant.name).noun, registry.task(trial.task.name).noun
    clock: list[float] = []
    with contained():  # a plugin's own failure, which its trials will record
        net = model.build(variant, trial.variant.options, task, trial.hidden_size, trial.engine, seed=0)
        clock += [time.perf_counter() for event in trainer.train(trial, task, net) if isinstance(event, Validation)]
    return (clock[-1] - clock[0]) / (len(clock) - 1) if len(clock) > 1 else 0.0


def describe(work: Work, workers: int | None) -> str:
    """The trials of a plan by task and variant, their parameters, and an estimate of time."""
    device = work.machine.device
    trainer.prepare(device)
    count = workers or default_workers(device)
    shortest: dict[tuple[str, str], Trial] = {}
    for trial in work.trials:
        kept = shortest.setdefault(_row(trial), trial)
        if trial.length < kept.length:
            shortest[_row(trial)] = trial
    seconds = {row: step_seconds(trial, work.registry) for row, trial in shortest.items()}
    lines = [f"plan {work.plan.name} on {device}: {len(work.trials)} trials, {len(work.pending)} to do, {count} at a time"]
    lines.append(f"{'task':20} {'variant':24} {'hidden':>6} {'parameters':>10} {'engine':>10} {'trials':>6} {'ms/step':>8}")
    total, flagged = 0.0, False
    for (task, variant), trial in shortest.items():
        own = [other for other in work.pending if _row(other) == (task, variant)]
        total += sum(seconds[task, variant] * other.training.steps * other.length / trial.length for other in own)
        off = abs(trial.parameters - trial.budget) > TOLERANCE * trial.budget and work.plan.matching.rule == "parameters"
        flagged = flagged or off
        lines.append(
            f"{task:20} {variant:24} {trial.hidden_size:6} {trial.parameters:10}{'!' if off else ' '}{trial.engine:>10} {len(own):6} "
            f"{1000 * seconds[task, variant]:8.1f}"
        )
    if flagged:
        lines.append(f"! more than {100 * TOLERANCE:g} % from the budget of the task's {work.plan.matching.hidden_size}-unit LSTM")
    lines.append(f"about {_span(total / count)}, taking time to grow as the length (milliseconds are at each task's shortest)")
    return "\n".join(lines)


def _row(trial: Trial) -> tuple[str, str]:
    return trial.task.label, trial.variant.label


def _span(seconds: float) -> str:
    for limit, unit, size in ((120, "s", 1), (7200, "min", 60), (172800, "h", 3600)):
        if seconds < limit:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds / 86400:.0f} days"
