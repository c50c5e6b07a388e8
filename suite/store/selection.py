"""Says what a report is to show, by name and not by key, so that a store reads the same on any machine."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from ..plan.schema import Plan, Request
from ..plan.trials import cells_of, compiles, counts, questions_of, tasks_of, timed_engines, variants_of
from ..registry.registry import Registry
from ..spec import Plugin
from ..trial import BASELINE, cell_name, timing_name


@dataclass(frozen=True)
class Selection:
    """What a report shows, in the plan's order.

    plan: narrowed by the request, as plain data
    cells, timings, grades: of trials, of timings, and of variants; measures: asked of each model, with the points, by task
    steps: of the trials, by task
    """

    plan: Mapping[str, Any]
    request: Request
    cells: tuple[str, ...]
    timings: tuple[str, ...]
    grades: tuple[str, ...]
    measures: Mapping[str, Mapping[str, tuple[float, ...]]]
    steps: Mapping[str, int]


def select(plan: Plan, request: Request, registry: Registry, device: str) -> Selection:
    """What the plan, which is narrowed already, asks to be shown of what ran on a device."""
    cells = list(cells_of(plan, registry))
    variants = variants_of(plan, registry)
    questions = questions_of(plan, registry)
    compiling = compiles(plan, registry)
    timed = {plugin.label: (plugin, provided) for plugin, provided in [(BASELINE, registry.variant(BASELINE.name)), *variants]}
    return Selection(
        plan=plan.asked,
        request=request,
        cells=tuple(cell_name(variant, task.plugin, length, seed, rate) for task, length, variant, _, rate, seed in cells),
        timings=tuple(
            timing_name(label, engine.name, shape)
            for shape in plan.timing.shapes
            for label, (plugin, provided) in timed.items()
            for engine in timed_engines(shape, provided.noun, plugin.options, compiling, device)
        ),
        grades=_labels(plugin for plugin, _ in variants),
        measures={
            task.plugin.label: {asked.measure.name: asked.at for asked in questions if counts(asked.measure, task.provided.noun)}
            for task in tasks_of(plan, registry)
        },
        steps={task.plugin.label: task.entry.steps or plan.training.steps for task, *_ in cells},
    )


def _labels(plugins: Iterable[Plugin]) -> tuple[str, ...]:
    return tuple(plugin.label for plugin in plugins)
