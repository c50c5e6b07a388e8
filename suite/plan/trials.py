"""Turns a plan into trials, timings and gradings; the same plan gives the same ones."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

from .. import machine
from ..errors import SuiteError, contained
from ..keys import digest
from ..measures import length as lengths
from ..ops import engines
from ..ops.probing import identify, why_not_streamed
from ..registry.registry import API_VERSION, Provided, Registry, options_of
from ..registry.sources import harness_sources
from ..spec import Measure, Options, Plugin, Task, Variant
from ..training import data
from ..trial import BASELINE, Evaluation, Grading, Shape, Timing, Training, Trial
from .choices import Choice, expand
from .limits import check_sequences
from .matching import Matcher
from .schema import Plan, TaskChoice
from .state import States


@dataclass(frozen=True)
class ChosenTask:
    """A task of the plan with one set of options, and the entry of the plan it comes from."""

    plugin: Plugin
    provided: Provided[Task]
    entry: TaskChoice

    @property
    def lengths(self) -> tuple[int, ...]:
        return self.entry.lengths or self.provided.noun.lengths


@dataclass(frozen=True)
class Question:
    """A measure that the plan asks of every model, with its points and the digests of the code that asks."""

    measure: Measure
    at: tuple[float, ...]
    sources: Mapping[str, str]


def variants_of(plan: Plan, registry: Registry) -> list[tuple[Plugin, Provided[Variant]]]:
    """The plan's variants with each set of options, in the plan's order, none twice."""
    chosen = {}
    asking, deadly = harness_sources("ops.probing"), {each.variant.name for each in registry.deadly.values()}
    for choice in plan.variants:
        provided = registry.variant(choice.name)
        if provided.noun.name not in deadly:  # of such a variant nothing is remembered: it is asked anew each time
            identify(provided.noun, digest({**asking, **provided.digests}))
        for options in expand(choice, options_of(provided.noun.build), "variant"):
            plugin = Plugin(provided.noun.name, options)
            chosen[plugin.label] = (plugin, provided)
    return list(chosen.values())


def tasks_of(plan: Plan, registry: Registry) -> list[ChosenTask]:
    """The plan's tasks with each set of options, in the plan's order.

    Raises SuiteError for one that stands twice: its lengths and steps would be of two minds.
    """
    chosen: dict[str, ChosenTask] = {}
    for choice in plan.tasks:
        provided = registry.task(choice.name)
        for options in expand(choice, options_of(provided.noun.draw), "task"):
            plugin = Plugin(provided.noun.name, options)
            if plugin.label in chosen:
                raise SuiteError(f"task '{plugin.label}' stands twice in the plan; give it one entry with all its lengths")
            chosen[plugin.label] = ChosenTask(plugin, provided, choice)
    return list(chosen.values())


def lengths_of(plan: Plan, registry: Registry) -> tuple[int, ...]:
    """The lengths that the plan trains at, each once, in order."""
    return tuple(sorted({length for task in tasks_of(plan, registry) for length in task.lengths}))


def questions_of(plan: Plan, registry: Registry) -> list[Question]:
    """The plan's measures: the trained length with its factors first, then corruptions, then others at their own points."""
    asked: list[tuple[Provided[Measure], tuple[float, ...]]] = [(registry.measure(lengths.NAME), (1.0, *plan.evaluations.lengths))]
    for name in plan.evaluations.corruptions:
        measure = registry.measure(registry.corruption(name).noun.name)
        asked.append((measure, measure.noun.points))
    asked += [(measure, measure.noun.points) for name in plan.evaluations.measures if (measure := registry.measure(name))]
    names = [measure.noun.name for measure, _ in asked]
    if twice := [name for name in names if names.count(name) > 1]:
        raise SuiteError(f"[evaluations] asks '{twice[0]}' twice; the trained length is always asked, and each name once is enough")
    return [Question(measure.noun, at, _sources(measure, registry)) for measure, at in asked]


def damages(corruption: str, task: Task) -> bool:
    """Whether a corruption is damage to a task."""
    return corruption not in task.harmless


def counts(measure: Measure, task: Task) -> bool:
    """Whether a measure is asked of models of a task: a corruption that is no damage to it is not."""
    return not measure.corruption or damages(measure.corruption, task)


def _sources(measure: Provided[Measure], registry: Registry) -> dict[str, str]:
    corruption = registry.corruption(measure.noun.corruption).digests if measure.noun.corruption else {}
    return {**measure.digests, **corruption, **harness_sources("measures.evaluate")}


def cells_of(plan: Plan, registry: Registry) -> Iterator[tuple[ChosenTask, int, Plugin, Provided[Variant], float, int]]:
    """Task, length, variant, learning rate and seed of every trial, in the plan's order."""
    variants = variants_of(plan, registry)
    for task in tasks_of(plan, registry):
        grid = itertools.product(task.lengths, variants, plan.training.learning_rates, plan.seeds)
        yield from ((task, length, plugin, variant, rate, seed) for length, (plugin, variant), rate, seed in grid)


def trials(plan: Plan, registry: Registry, device: str) -> list[Trial]:
    """Every trial of the plan, in the plan's order.

    Raises SuiteError for a plan that asks for what is not there, or for more than this machine can hold.
    """
    surroundings = _surroundings(device, "numpy")
    harness = harness_sources("training.trainer")
    questions = questions_of(plan, registry)
    states = States(registry)
    matcher = Matcher(registry, plan, device, states, lengths_of(plan, registry))
    planned = []
    for task, length, plugin, variant, rate, seed in cells_of(plan, registry):
        size = matcher.size(plugin, task.provided.noun, plan.matching.hidden_size)
        training = _training(plan, task, rate)
        engine = engines.resolve(variant.noun, plugin.options, plan.training.engine, training.steps * length, device)
        training = training if engines.engine(engine).derives else replace(training, recompute=0)
        damage = registry.corruption(training.corruption).digests if training.corruption else {}
        trial = Trial(
            variant=plugin,
            task=task.plugin,
            length=length,
            seed=seed,
            eval_seed=plan.eval_seed,
            hidden_size=size.hidden_size,
            parameters=size.parameters,
            budget=size.budget,
            causal=variant.noun.is_causal(plugin.options),
            engine=engine,
            device=device,
            training=training,
            sources={**harness, **variant.digests, **task.provided.digests, **damage},
            surroundings=surroundings,
            test_samples=plan.evaluations.samples,
            state_size=states.counted(plugin, task.provided.noun.width, size.hidden_size, length).size,
        )
        if device != "cpu" and engines.engine(engine).stacks:  # there, numbers may depend on the company in which they are computed
            company = f"seeds {list(plan.seeds)}, learning rates {list(plan.training.learning_rates)}"
            trial = replace(trial, surroundings={**surroundings, "trained together": company})
        evaluations = tuple(
            Evaluation(question.measure.name, question.measure.axis, question.at, trial.key, question.sources, trial.test_samples)
            for question in questions
            if counts(question.measure, task.provided.noun)
        )
        planned.append(replace(trial, evaluations=evaluations))
    check_tasks(plan, registry)
    check_sequences(planned, registry)
    return planned


def _surroundings(device: str, *packages: str) -> dict[str, str]:
    versions = {package: machine.version(package) for package in ("torch", *packages)}
    return {**versions, "plugin API": str(API_VERSION), "device": machine.device_model(device)}


def _training(plan: Plan, task: ChosenTask, rate: float) -> Training:
    fields = plan.training.model_dump(exclude={"learning_rates", "engine", "steps", "corruption", "severity"})
    if plan.training.corruption and damages(plan.training.corruption, task.provided.noun):
        fields |= {"corruption": plan.training.corruption, "severity": plan.training.severity}
    steps = task.entry.steps or plan.training.steps
    return Training(**{**fields, "validate_every": min(plan.training.validate_every, steps)}, learning_rate=rate, steps=steps)


def check_tasks(plan: Plan, registry: Registry) -> None:
    """Draw one sample of each task at its shortest length, so that what it refuses is told before anything runs."""
    for task in tasks_of(plan, registry):
        name, length = task.plugin.label, min(task.lengths)
        with contained() as raised:
            data.draw(task.provided.noun, task.plugin.options, length, "check", 0, 0, 1)
        if isinstance(raised.error, ValueError):
            raise SuiteError(f"task '{name}', length {length}: {raised.error}")
        if raised:
            source = task.provided.source
            raise SuiteError(f"task '{name}' ({source}), length {length}: draw raised {raised.reason}; try: suite check {name}")


def compiles(plan: Plan, registry: Registry) -> bool:
    """Whether some training of the plan is so long that it is compiled."""
    steps = [length * _training(plan, task, 0.0).steps for task in tasks_of(plan, registry) for length in task.lengths]
    return max(steps, default=0) >= engines.COMPILING_PAYS


def timed_engines(shape: Shape, variant: Variant, options: Options, compiling: bool, device: str) -> tuple[engines.Engine, ...]:
    """The engines that a variant is timed on at a shape: a stream runs by the plain step alone, where the variant can be fed so."""
    if shape.streaming:
        return () if why_not_streamed(variant, options) else (engines.REFERENCE,)
    return engines.timed_engines(variant, options, compiling, device)


def timings(plan: Plan, registry: Registry, device: str) -> list[Timing]:
    """Every latency the plan asks for: each variant, and the baseline always, at each shape on each engine it has."""
    if not plan.timing.lengths:
        return []
    surroundings = {**_surroundings(device), "cpu": machine.cpu_model()}
    harness = harness_sources("measures.timing")
    channels = plan.timing.input_size - 1  # of a task; with the constant one, a core is matched at the input size that is timed
    task = Task("timing", lambda: None, channels, 1, "mse", lambda _length: 1.0, lambda _length: None)  # type: ignore[arg-type, return-value]
    with_baseline = plan.model_copy(update={"variants": (Choice(name=BASELINE.name), *plan.variants)})
    matcher = Matcher(registry, plan, device, States(registry), lengths_of(plan, registry))
    compiling = compiles(plan, registry)
    planned = []
    for shape, (plugin, variant) in itertools.product(plan.timing.shapes, variants_of(with_baseline, registry)):
        size = matcher.size(plugin, task, shape.width)
        for engine in timed_engines(shape, variant.noun, plugin.options, compiling, device):
            planned.append(
                Timing(
                    variant=plugin,
                    engine=engine.name,
                    shape=shape,
                    input_size=plan.timing.input_size,
                    hidden_size=size.hidden_size,
                    parameters=size.parameters,
                    rule=plan.timing.rule,
                    dtype=plan.training.dtype,
                    device=device,
                    causal=variant.noun.is_causal(plugin.options),
                    sources={**harness, **variant.digests},
                    surroundings=surroundings,
                )
            )
    return planned


def gradings(plan: Plan, registry: Registry, device: str) -> list[Grading]:
    """One grading for each of the plan's variants."""
    surroundings = _surroundings(device)
    harness = harness_sources("measures.repeatability")
    return [
        Grading(plugin, plan.matching.hidden_size, device, {**harness, **variant.digests}, surroundings)
        for plugin, variant in variants_of(plan, registry)
    ]
