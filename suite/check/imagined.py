"""Imagines results: stores as if plans had been run, with scores that are chosen."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from ..keys import digest
from ..measures.gradient import NAME as GRADIENT
from ..measures.gradient import horizon
from ..measures.length import NAME as LENGTH
from ..ops.engines import REFERENCE
from ..plan import schema
from ..spec import Broken, Machine, Plugin, Point
from ..store.ledger import Entered, entered
from ..store.store import Store
from ..trial import (
    BASELINE,
    BOTH,
    FORWARD,
    STEP,
    Cost,
    Evaluation,
    Learning,
    Outcome,
    Roof,
    Timed,
    Timing,
    Training,
    Trial,
    Validation,
)

MACHINE = Machine("abc", "3.11", {"torch": "2"}, "Linux x86_64", "a processor", 2, "cpu", "x86_64 AVX2")
CORRUPTIONS = ("gaussian_noise", "step_drop")
SEVERITIES = (20.0, 10.0, 0.0, -10.0, -20.0)
CURVE = (10, 20, 30)
TIMING = {"lengths": [8, 16, 32], "repeats": 3}

SOLVED = 0.9
"""A trial counts as solved from this skill on."""

FAILED, MISSING = "failed", "missing"
"""What a skill function answers for a trial that failed, and for one that was never run."""

Skill = Callable[[str, str, int, int], float | str | None]
Gradients = Callable[[int], tuple[float, float]]


def even(_variant: str, _task: str, _length: int, seed: int) -> float:
    """Every variant learns, a little more or less by seed."""
    return 0.93 + 0.01 * (seed % 3)


def fill(
    runs: Path,
    skill: Skill = even,
    *,
    variants: Sequence[str | tuple[str, dict[str, Any]]] = ("lstm", "gru", "bilstm"),
    tasks: Sequence[str] = ("adding", "noisy"),
    lengths: Sequence[int] = (10, 20),
    seeds: int = 2,
    rates: Sequence[float] = (0.01,),
    times: dict[tuple[str, str], float] | None = None,
    broken: Sequence[Broken] = (),
    question: str = "Which is it?",
    reason: str = "it was too warm",
    gradients: Gradients | None = None,
) -> Store:
    """A store of the plan "synthetic".

    skill: the test skill of (variant, task, length, seed); None for a trial that diverged, FAILED for one that failed,
    MISSING for one that was never run
    times: milliseconds by (variant, engine)
    gradients: the norm at a lag after training and at first; None where the plan does not ask
    """
    chosen = [(variant, {}) if isinstance(variant, str) else variant for variant in variants]
    plan = schema.check(
        {
            "name": "synthetic",
            "question": question,
            "variants": [{"name": name, "options": options} for name, options in chosen],
            "tasks": [{"name": name, "lengths": list(lengths)} for name in tasks],
            "seeds": list(range(seeds)),
            "training": {"learning_rates": list(rates), "steps": CURVE[-1], "validate_every": CURVE[0]},
            "evaluations": {"lengths": [2], "corruptions": list(CORRUPTIONS)},
            "timing": TIMING,
        },
        "imagined",
    )
    store, trials = Store(runs, plan.name), []
    for task, length, (name, options), rate, seed in itertools.product(tasks, lengths, chosen, rates, range(seeds)):
        trial = _trial(Plugin(name, options), task, length, seed, rate, (LENGTH, *CORRUPTIONS, *((GRADIENT,) if gradients else ())))
        trials.append(trial)
        reached = skill(trial.variant.label, task, length, seed)
        if reached != MISSING:
            store.put(trial, _outcome(trial, reached, reason, gradients), MACHINE)
    timings = _timings(store, times or {})
    new = Entered(
        plan, schema.Request(plan.name), tuple(trials), tuple(timings), (), MACHINE, tuple(broken), {trial.cell: "1" for trial in trials}
    )
    store.keep(entered(store.ledger(), new))
    return store


def _trial(variant: Plugin, task: str, length: int, seed: int, rate: float, measures: Sequence[str]) -> Trial:
    trial = Trial(
        variant=variant,
        task=Plugin(task),
        length=length,
        seed=seed,
        eval_seed=0,
        hidden_size=32,
        parameters=1100 if variant.name == "gru" else 1010,
        budget=1000,
        causal=variant.name != "bilstm",
        engine=REFERENCE.name,
        device="cpu",
        training=Training("adam", rate, 32, CURVE[-1], CURVE[0], 64, 1.0, "budget", "float32"),
        sources={f"suite.dropins.plugins.{variant.name}": digest(variant.name, 64)},
        surroundings={"torch": "2"},
        state_size={"gru": 32, "bilstm": 128, "attention": 32 * (2 + length)}.get(variant.name, 64),
    )
    points = {LENGTH: ("long_range", (1.0, 2.0)), GRADIENT: (GRADIENT, (0.0, 0.5, 1.0))}
    asked = [Evaluation(name, *points.get(name, ("robustness", SEVERITIES)), trial.key, {}) for name in measures]
    return replace(trial, evaluations=tuple(asked))


def _point(at: float, length: int, skill: float) -> Point:
    return Point(at, length, {"loss": 0.5 * (1 - skill)}, 0.5, skill >= SOLVED)


def _gradient_point(at: float, length: int, skill: float, gradients: Gradients) -> Point:
    lag, every = round(at * (length - 1)), np.array([gradients(lag) for lag in range(length)])
    answers = {"gradient": every[lag, 0], "gradient_at_start": every[lag, 1], "lag": lag, "longest_lag": length - 1}
    horizons = {"horizon": horizon(every[:, 0]), "horizon_at_start": horizon(every[:, 1])}
    point = _point(at, length, skill)
    return replace(point, scores={**point.scores, **{name: float(value) for name, value in {**answers, **horizons}.items()}})


def _outcome(trial: Trial, skill: float | str | None, reason: str, gradients: Gradients | None) -> Outcome:
    if isinstance(skill, str):
        return Outcome(trial.key, "failed", reason=reason, traceback=f"Traceback\n  in a plugin\n{reason}")
    reached = [(skill or 0.0) * min(1.0, step / CURVE[-2]) for step in CURVE]  # what solves the task does so in two successive validations
    curve = tuple(Validation(step, {"loss": 0.5 * (1 - value)}) for step, value in zip(CURVE, reached, strict=True))
    solved = next((step for step, value in zip(CURVE, reached, strict=True) if value >= SOLVED), None)
    learning = Learning("loss < 0.05", 0.5, curve, CURVE[-1], solved)
    if skill is None:
        return Outcome(trial.key, "diverged", reason=reason, learning=learning)
    points = {}
    for asked in trial.evaluations:
        if asked.axis == "long_range":
            points[asked.key] = tuple(_point(at, round(at * trial.length), skill / at) for at in asked.at)
        elif asked.axis == GRADIENT:
            assert gradients is not None
            points[asked.key] = tuple(_gradient_point(at, trial.length, skill, gradients) for at in asked.at)
        else:
            points[asked.key] = tuple(_point(at, trial.length, skill * (1 - 0.15 * place)) for place, at in enumerate(asked.at))
    return Outcome(trial.key, "ok", learning=learning, evaluations=points, train_seconds=1.0)


def _timings(store: Store, times: dict[tuple[str, str], float]) -> list[Timing]:
    timings = []
    plan = schema.TimingPlan.model_validate(TIMING)
    for shape, ((variant, engine), time) in itertools.product(plan.shapes if times else (), times.items()):
        if shape.streaming and engine != REFERENCE.name:
            continue
        timing = Timing(Plugin(variant), engine, shape, 8, 32, 1000, plan.rule, "float32", "cpu", variant != "bilstm", {}, {})
        scale = 1e-3 * shape.length / max(plan.lengths)
        rounds = tuple(scale * noise * time for noise in (0.98, 1.0, 1.02))
        base = rounds if variant == BASELINE.name else (scale * times[BASELINE.name, engine],) * 3
        conditions = (STEP,) if shape.streaming else (FORWARD, BOTH)
        cost = Cost(peak_bytes=5_000_000, operations=20_000_000, moved_bytes=60_000_000)
        timed = Timed(dict.fromkeys(conditions, rounds), dict.fromkeys(conditions, base), cost=cost, roof=Roof(5e10, 1e10))
        store.put_timing(timing, timed)
        timings.append(timing)
    return timings
