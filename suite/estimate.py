"""Says what a plan would run, and from a few timed steps how long that may take."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from . import executor, model, trainer
from .spec import Trial

if TYPE_CHECKING:
    from .api import Prepared
    from .manager import Registry

STEPS = 3
"""Training steps that are timed of each variant on each task, at the shortest length, after one that warms up."""


def step_seconds(trial: Trial, registry: Registry) -> float:
    """Seconds a training step of this trial takes here; 0 for a variant that cannot run."""
    import dataclasses

    training = dataclasses.replace(trial.training, steps=1 + STEPS, validate_every=1, evaluation_samples=1)
    trial = dataclasses.replace(trial, training=training)
    variant, task = registry.variant(trial.variant).noun, registry.task(trial.task).noun
    try:
        net = model.build(variant, trial.variant_options, task, trial.hidden_size, trial.engine, seed=0)
        clock = [time.perf_counter() for found in trainer.train(trial, task, net) if hasattr(found, "scores")]
    except KeyboardInterrupt:
        raise
    except BaseException:  # a plugin's own failure, which its trials will record
        return 0.0
    return (clock[-1] - clock[0]) / (len(clock) - 1) if len(clock) > 1 else 0.0


def describe(ready: Prepared, workers: int | None) -> str:
    """The trials of a plan by task and variant, their parameters, and an estimate of time."""
    trainer.prepare(ready.device)
    pending = ready.pending
    count = workers or executor.default_workers(ready.device)
    shortest: dict[tuple[str, str], Trial] = {}
    for trial in ready.trials:
        kept = shortest.setdefault((trial.task_label, trial.variant_label), trial)
        if trial.length < kept.length:
            shortest[trial.task_label, trial.variant_label] = trial
    seconds = {names: step_seconds(trial, ready.registry) for names, trial in shortest.items()}
    lines = [f"plan {ready.plan.name} on {ready.device}: {len(ready.trials)} trials, {len(pending)} to do, {count} at a time"]
    lines.append(f"{'task':20} {'variant':24} {'hidden':>6} {'parameters':>10} {'engine':>10} {'trials':>6} {'ms/step':>8}")
    total = 0.0
    for (task, variant), trial in shortest.items():
        mine = [one for one in pending if (one.task_label, one.variant_label) == (task, variant)]
        total += sum(seconds[task, variant] * one.training.steps * one.length / trial.length for one in mine)
        off = abs(trial.parameters - trial.budget) > 0.03 * trial.budget and ready.plan.matching.rule == "parameters"
        lines.append(
            f"{task:20} {variant:24} {trial.hidden_size:6} {trial.parameters:10}{'!' if off else ' '}{trial.engine:>10} {len(mine):6} "
            f"{1000 * seconds[task, variant]:8.1f}"
        )
    if any(line.find("!") > 0 for line in lines):
        lines.append(f"! more than 3 % from the budget of the task's {ready.plan.matching.hidden_size}-unit LSTM")
    lines.append(f"about {_span(total / count)}, taking time to grow as the length (milliseconds are at each task's shortest)")
    return "\n".join(lines)


def _span(seconds: float) -> str:
    for limit, unit, size in ((120, "s", 1), (7200, "min", 60), (172800, "h", 3600)):
        if seconds < limit:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds / 86400:.0f} days"
