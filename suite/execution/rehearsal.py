"""Plans each variant in a process of its own first, so that one that ends or hangs its process does not end or hang the run."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping
from typing import Any

import torch

from .. import machine
from ..answers import Mark
from ..errors import SuiteError, contained, writable
from ..plan import trials
from ..plan.choices import Choice
from ..plan.schema import Plan, TaskChoice
from ..plan.trials import ChosenTask
from ..registry.finder import discover
from ..registry.registry import Deadly, Provided, Registry
from ..registry.sources import harness_sources
from ..spec import Plugin, Variant
from ..trial import BASELINE
from .executor import Died, answer, bounds_of
from .local import LocalPool, default_workers

SECONDS = 120.0
"""Planning a variant takes a second or two; one that is not planned after so long hangs, where the plan has no time limit."""

LEAST_SECONDS, MOST_SECONDS = 10.0, 600.0
"""The time limit of the plan's trials is the limit here too, but for these bounds: the process also imports the plugins in that time, and
nothing is trained before all variants were tried.
"""

UNRELATED = {"name", "question", "seeds", "eval_seed", "evaluations", "limits", "executor"}
"""Parts of a plan that decide nothing of how a variant is planned."""


def survivors(plan: Plan, registry: Registry, device: str, gpus: str = "") -> Registry:
    """The plugins, of which the variants that end or hang the process that plans them are known as deadly, and run no more code of theirs.

    What came through once is remembered for as long as its code, the suite's and the plan are the same; where all did, no process is begun.

    Raises SuiteError where a task or the baseline is deadly, since no variant can be planned without them.
    """
    with contextlib.ExitStack() as resources:
        rehearsal = _Rehearsal(plan, device, gpus, resources)
        tasks = trials.tasks_of(plan, registry)
        with_baseline = plan.model_copy(update={"variants": (Choice(name=BASELINE.name), *plan.variants)})
        sources = {name: value for task in tasks for name, value in task.provided.digests.items()}
        sources |= registry.variant(BASELINE.name).digests
        ends = [
            *[rehearsal.try_task(task) for task in tasks],
            # the baseline first, to which all others are matched
            *[rehearsal.try_variant(variant, provided, sources) for variant, provided in trials.variants_of(with_baseline, registry)],
        ]
        deadly = {end.variant.label: end for end in (ended() for ended in ends) if end is not None}
        return registry.without(deadly) if deadly else registry


class _Rehearsal:
    """Tries the parts of a plan in processes, which are begun when something is tried that is not known to come through.

    What tries a part returns a function that waits for how that ended.
    """

    def __init__(self, plan: Plan, device: str, gpus: str, resources: contextlib.ExitStack) -> None:
        self._plan, self._device, self._gpus, self._resources = plan, device, gpus, resources
        self._seconds = min(MOST_SECONDS, max(LEAST_SECONDS, plan.limits.timeout or SECONDS))
        self._bounds = bounds_of(plan.limits.model_copy(update={"timeout": self._seconds}))
        self._surroundings = [harness_sources("plan.trials"), torch.__version__, device, gpus]
        self._pool: LocalPool | None = None

    def try_task(self, task: ChosenTask) -> Callable[[], None]:
        entry = TaskChoice(name=task.plugin.name, options=dict(task.plugin.options), lengths=(min(task.lengths),))
        part = self._plan.model_copy(update={"tasks": (entry,)})
        died = self._tried([entry.model_dump(), task.provided.digests], draw, part)

        def end() -> None:
            if how := died():
                advice = "mend its draw, or leave the task out"
                raise SuiteError(
                    f"task '{task.plugin.label}' ({task.provided.source}): when a sample was drawn, {self._how(how)}; {advice}"
                )

        return end

    def try_variant(self, variant: Plugin, provided: Provided[Variant], sources: Mapping[str, str]) -> Callable[[], Deadly | None]:
        """Plan one variant alone.

        sources: what others than the variant bring in, by name
        """
        entry = Choice(name=variant.name, options=dict(variant.options))
        rates = self._plan.training.model_copy(update={"learning_rates": self._plan.training.learning_rates[:1]})
        part = self._plan.model_copy(update={"variants": (entry,), "seeds": self._plan.seeds[:1], "training": rates})
        known = [part.model_dump(mode="json", exclude=UNRELATED), sources, provided.digests]
        died = self._tried(known, plan_alone, part, self._device, self._gpus)

        def end() -> Deadly | None:
            if (how := died()) is None:
                return None
            reason = f"when it was planned, {self._how(how)}; mend its build or forward, or leave the variant out"
            if variant == BASELINE:
                raise SuiteError(f"variant '{variant.label}' ({provided.source}), to which all others are matched: {reason}")
            return Deadly(variant, how.status, reason, writable(how.output))

        return end

    def _how(self, died: Died) -> str:
        return f"it had not ended after {self._seconds:g} s" if died.status == "timeout" else str(died)

    def _tried(self, known: object, call: Callable[..., None], *arguments: Any) -> Callable[[], Died | None]:
        """Begin a call, unless the same came through before; a function that waits for how it ended its process, or was ended for."""
        mark = Mark("planned", [call.__name__, self._surroundings, known])
        if mark.stands():
            return lambda: None
        if self._pool is None:
            # what is printed there is printed again when the run plans
            pool = LocalPool(default_workers(self._device), show=lambda _printed: None)
            self._pool = self._resources.enter_context(pool)
        pool, future = self._pool, self._pool.submit(call, *arguments, bounds=self._bounds)

        def end() -> Died | None:
            try:
                answer(pool, future)
            except Died as died:
                return died
            mark.make()
            return None

        return end


def draw(plan: Plan) -> None:
    """Draw a sample of each task; what that raises is told when the run does so."""
    with contained():
        trials.check_tasks(plan, discover())


def plan_alone(plan: Plan, device: str, gpus: str) -> None:
    """Plan the trials and timings of one variant; what that raises is told when the run does so."""
    registry = discover()
    with machine.first_of(gpus), machine.one_thread():
        for planned in (trials.trials, trials.timings):
            with contained():
                planned(plan, registry, device)
