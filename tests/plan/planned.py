"""Makes small plans and their trials, for the tests of what becomes of a plan."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from suite import Task, Variant
from suite.plan import schema
from suite.plan import trials as planning
from suite.plan.schema import Plan
from suite.registry.finder import discover
from suite.registry.registry import Provided, Registry
from suite.trial import Trial

REGISTRY = discover()

LEAST: dict[str, Any] = {
    "variants": ["lstm", "residual"],
    "tasks": [{"name": "adding", "lengths": [6, 9]}],
    "seeds": [0, 1],
    "matching": {"rule": "hidden_size", "hidden_size": 3},
    "training": {"learning_rates": [0.01]},
    "evaluations": {"lengths": [2], "corruptions": ["gaussian_noise"]},
}


def plan(**changes: Any) -> Plan:
    """The least plan, tables merged with the changes."""
    merged = {**LEAST, **{name: {**LEAST.get(name, {}), **value} if isinstance(value, dict) else value for name, value in changes.items()}}
    return schema.check({"name": "test", **merged}, "test")


def trials(registry: Registry = REGISTRY, **changes: Any) -> list[Trial]:
    return planning.trials(plan(**changes), registry, "cpu")


def with_variant(variant: Variant, digests: Mapping[str, str] | None = None) -> Registry:
    return replace(REGISTRY, variants={**REGISTRY.variants, variant.name: Provided(variant, "here", None, digests or {})})


def with_task(task: Task) -> Registry:
    return replace(REGISTRY, tasks={**REGISTRY.tasks, task.name: Provided(task, "here", None, {})})
