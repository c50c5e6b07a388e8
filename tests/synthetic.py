"""Writes stores as if plans had been run, with scores that a test chooses."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from suite import plan as plans
from suite.matrix import digest
from suite.spec import Broken, Evaluation, Outcome, Timing, Training, Trial
from suite.store import Store

PROVENANCE = {"commit": "abc", "python": "3.11", "torch": "2", "cpu": "a processor", "device": "cpu", "device model": "x86_64 AVX2"}
SEVERITIES = (20.0, 10.0, 5.0, 0.0, -5.0)
CURVE = (10, 20, 30)
SOLVED = 0.9
"""From so much skill on a trial counts as solved."""

Skill = Callable[[str, str, int, int], float | str | None]


def even(_variant: str, _task: str, _length: int, seed: int) -> float:
    """Everybody learns, a little more or less by seed."""
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
) -> Store:
    """A store of the plan "synthetic".

    skill: the test skill of (variant, task, length, seed); None for a trial that diverged, "failed" for one that failed,
    "missing" for one that was never run
    times: milliseconds by (variant, engine)
    """
    chosen = [(one, {}) if isinstance(one, str) else one for one in variants]
    plan = plans.check(
        {
            "name": "synthetic",
            "question": question,
            "variants": [{"name": name, "options": options} for name, options in chosen],
            "tasks": [{"name": name, "lengths": list(lengths)} for name in tasks],
            "seeds": list(range(seeds)),
            "training": {"learning_rates": list(rates), "steps": CURVE[-1], "validate_every": CURVE[0]},
            "evaluations": {"lengths": [2], "corruptions": ["gaussian_noise", "step_drop"]},
            "timing": {"lengths": [16, 32], "repeats": 3},
        },
        "a test",
    )
    store, trials = Store(runs, plan.name), []
    for task, length, (name, options), rate, seed in itertools.product(tasks, lengths, chosen, rates, range(seeds)):
        trial = _trial(name, options, task, length, seed, rate)
        trials.append(trial)
        found = skill(trial.variant_label, task, length, seed)
        if found != "missing":
            store.put(trial, _outcome(trial, found, reason), PROVENANCE)
    timings = _timings(store, times or {})
    store.enter(plan, trials, timings, [], tuple(broken), PROVENANCE)
    return store


def _trial(variant: str, options: dict[str, Any], task: str, length: int, seed: int, rate: float) -> Trial:
    key = digest([variant, options, task, length, seed, rate])
    asked = [Evaluation("length", "length", (1.0, 2.0))]
    asked += [Evaluation("corruption", name, SEVERITIES) for name in ("gaussian_noise", "step_drop")]
    return Trial(
        variant=variant,
        variant_options=options,
        task=task,
        task_options={},
        length=length,
        seed=seed,
        eval_seed=0,
        hidden_size=32,
        parameters=1100 if variant == "gru" else 1010,
        budget=1000,
        causal=variant != "bilstm",
        engine="reference",
        device="cpu",
        training=Training("adam", rate, 32, CURVE[-1], CURVE[0], 64, 1.0, "budget", "float32"),
        ingredients={f"suite.dropins.plugins.{variant}": "0" * 64, "torch": "2"},
        key=key,
        evaluations=tuple(Evaluation(one.kind, one.name, one.at, f"{key}-{one.name}") for one in asked),
    )


def _point(at: float, length: int, skill: float) -> dict[str, Any]:
    return {"at": at, "length": length, "scores": {"loss": 0.5 * (1 - skill)}, "baseline": 0.5, "solved": skill >= SOLVED}


def _outcome(trial: Trial, skill: float | str | None, reason: str) -> Outcome:
    if isinstance(skill, str):
        return Outcome(trial.key, "failed", reason=reason, traceback=f"Traceback\n  in a plugin\n{reason}")
    reached = [(skill or 0.0) * step / CURVE[-1] for step in CURVE]
    curve = [{"step": step, "scores": {"loss": 0.5 * (1 - value)}} for step, value in zip(CURVE, reached, strict=True)]
    solved = next((step for step, value in zip(CURVE, reached, strict=True) if value >= SOLVED), None)
    learning = {"goal": "loss < 0.05", "baseline": 0.5, "steps_to_solve": solved, "best_step": CURVE[-1], "curve": curve}
    if skill is None:
        return Outcome(trial.key, "diverged", reason=reason, learning=learning)
    points = {}
    for one in trial.evaluations:
        if one.kind == "length":
            points[one.key] = [_point(at, round(at * trial.length), skill / at) for at in one.at]
        else:
            points[one.key] = [_point(at, trial.length, skill * (1 - 0.15 * place)) for place, at in enumerate(one.at)]
    return Outcome(trial.key, "ok", learning=learning, evaluations=points, measured={"train_seconds": 1.0})


def _timings(store: Store, times: dict[tuple[str, str], float]) -> list[Timing]:
    timings = []
    for length, ((variant, engine), time) in itertools.product((16, 32) if times else (), times.items()):
        timing = Timing(variant, {}, engine, length, 32, 8, 32, 1000, 3, "float32", "cpu", f"{variant}-{engine}-{length}")
        rounds = [0.98e-3 * time, 1e-3 * time, 1.02e-3 * time]
        base = [1e-3 * times["lstm", engine]] * 3 if variant != "lstm" else rounds
        record: dict[str, Any] = {"causal": variant != "bilstm"}
        record["seconds"] = {"forward": rounds, "forward+backward": rounds}
        record["baseline_seconds"] = {"forward": base, "forward+backward": base}
        store.put_timing(timing, record)
        timings.append(timing)
    return timings
