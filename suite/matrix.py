"""Turns a plan into a list of Trials with their keys; pure."""

from __future__ import annotations

import hashlib
import inspect
import itertools
import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

from . import machine, model
from .manager import API_VERSION, Provided, Registry, options_of
from .plan import Choice, Plan, TaskChoice, nearest
from .spec import Corruption, Evaluation, Grading, Options, SuiteError, Task, Timing, Training, Trial, Value, Variant, label

HARNESS = ("ops", "data", "model", "trainer")
"""The modules of the suite whose change can change what is learned."""

BASELINE = "lstm"
"""The variant that sets parameter budgets and that every other is timed against."""


def digest(value: Any, length: int = 20) -> str:
    """A content digest of plain data, as hexadecimal digits."""
    return hashlib.sha256(json.dumps(value, sort_keys=True, allow_nan=False).encode()).hexdigest()[:length]


def source_digest(*modules: str) -> dict[str, str]:
    """The digests of the suite's own modules, by name."""
    folder = Path(__file__).parent
    return {f"suite.{name}": hashlib.sha256((folder / f"{name}.py").read_bytes()).hexdigest() for name in modules}


def expand(choice: Choice, parameters: Mapping[str, inspect.Parameter], role: str) -> Iterator[dict[str, Value]]:
    """The option sets a choice stands for, defaults left out so that naming a default changes no key.

    Raises SuiteError for an option the plugin does not declare, or a value of another type.
    """
    for name in choice.options:
        if name not in parameters:
            known = nearest(name, parameters) if parameters else "; it takes none"
            raise SuiteError(f"{role} '{choice.name}': unknown option '{name}'{known}")
    lists = [value if isinstance(value, list) else [value] for value in choice.options.values()]
    for values in itertools.product(*lists):
        options = dict(zip(choice.options, values, strict=True))
        checked = {name: _checked(f"{role} '{choice.name}': option {name}", value, parameters[name]) for name, value in options.items()}
        yield {name: value for name, value in sorted(checked.items()) if value != parameters[name].default}


def _checked(place: str, value: Value, parameter: inspect.Parameter) -> Value:
    wanted = parameter.annotation
    if get_origin(wanted) is Literal:
        if value not in get_args(wanted):
            raise SuiteError(f"{place}: {value!r} is not one of {', '.join(map(str, get_args(wanted)))}")
        return value
    if wanted is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if wanted in (bool, int, float, str) and type(value) is not wanted:
        raise SuiteError(f"{place}: {value!r} is {type(value).__name__}, not {wanted.__name__}")
    return value


def variants_of(plan: Plan, registry: Registry) -> list[tuple[Provided[Variant], Options]]:
    """The plan's variants with each set of options, in the plan's order, none twice."""
    found = {}
    for choice in plan.variants:
        provided = registry.variant(choice.name)
        for options in expand(choice, options_of(provided.noun.build), "variant"):
            found[label(choice.name, options)] = (provided, options)
    return list(found.values())


def tasks_of(plan: Plan, registry: Registry) -> list[tuple[Provided[Task], Options, TaskChoice]]:
    """The plan's tasks with each set of options, in the plan's order.

    Raises SuiteError for one that stands twice: its lengths and steps would be of two minds.
    """
    found = {}
    for choice in plan.tasks:
        provided = registry.task(choice.name)
        for options in expand(choice, options_of(provided.noun.draw), "task"):
            name = label(choice.name, options)
            if name in found:
                raise SuiteError(f"task '{name}' stands twice in the plan; give it one entry with all its lengths")
            found[name] = (provided, options, choice)
    return list(found.values())


def sizes(plan: Plan, registry: Registry, task: Task) -> dict[str, tuple[int, int, int]]:
    """Hidden size, parameters and budget of each of the plan's variants on a task, by label.

    A variant that cannot be built gets zeros for its count: its trials then fail by themselves, with their reason.

    Raises SuiteError where a variant refuses the options asked for with a ValueError.
    """
    baseline = model.build(registry.variant(BASELINE).noun, {}, task, plan.matching.hidden_size, "reference", seed=0)
    budget = model.count_parameters(baseline)
    found = {}
    for provided, options in variants_of(plan, registry):
        try:
            if plan.matching.rule == "parameters":
                hidden_size, parameters = model.match_hidden_size(provided.noun, options, task, budget)
            else:
                hidden_size = plan.matching.hidden_size
                parameters = model.count_parameters(model.build(provided.noun, options, task, hidden_size, "reference", seed=0))
        except KeyboardInterrupt:
            raise
        except ValueError as error:
            if options:  # what the user asked for, refused by the plugin
                raise SuiteError(f"variant '{label(provided.noun.name, options)}': {error}") from None
            hidden_size, parameters = plan.matching.hidden_size, 0
        except BaseException:  # any plugin's own failure; building it again in its trial records the traceback
            hidden_size, parameters = plan.matching.hidden_size, 0
        found[label(provided.noun.name, options)] = (hidden_size, parameters, budget)
    return found


def resolve_engine(variant: Variant, asked: str) -> str:
    available = model.engines(variant)
    return asked if asked in available else available[0 if asked == "auto" else -1]


def trials(plan: Plan, registry: Registry, device: str) -> list[Trial]:
    """Every trial of the plan, in the plan's order."""
    surroundings = {
        "torch": machine.version("torch"),
        "numpy": machine.version("numpy"),
        "plugin API": str(API_VERSION),
        "device": machine.device_model(device),
        **source_digest(*HARNESS),
    }
    corruptions = [registry.corruption(name) for name in plan.evaluations.corruptions]
    found = []
    for task, task_options, choice in tasks_of(plan, registry):
        matched = sizes(plan, registry, task.noun)
        for length, (variant, options), rate, seed in itertools.product(
            choice.lengths or task.noun.lengths, variants_of(plan, registry), plan.training.learning_rates, plan.seeds
        ):
            hidden_size, parameters, budget = matched[label(variant.noun.name, options)]
            trial = Trial(
                variant=variant.noun.name,
                variant_options=options,
                task=task.noun.name,
                task_options=task_options,
                length=length,
                seed=seed,
                eval_seed=plan.eval_seed,
                hidden_size=hidden_size,
                parameters=parameters,
                budget=budget,
                causal=variant.noun.is_causal(options),
                engine=resolve_engine(variant.noun, plan.training.engine),
                device=device,
                training=_training(plan, choice, rate),
                ingredients={**surroundings, **variant.digests, **task.digests},
                key="",
            )
            found.append(_keyed(trial, plan, corruptions))
    _check_lengths(found, registry)
    return found


def _training(plan: Plan, choice: TaskChoice, rate: float) -> Training:
    fields = plan.training.model_dump(exclude={"learning_rates", "engine", "steps"})
    steps = choice.steps or plan.training.steps
    return Training(**{**fields, "validate_every": min(plan.training.validate_every, steps)}, learning_rate=rate, steps=steps)


def _keyed(trial: Trial, plan: Plan, corruptions: list[Provided[Corruption]]) -> Trial:
    key = digest({name: value for name, value in asdict(trial).items() if name not in {"key", "evaluations", "budget", "causal"}})
    evaluate = source_digest("evaluate")
    asked = [Evaluation("length", "length", (1.0, *plan.evaluations.lengths))]
    asked += [Evaluation("corruption", one.noun.name, tuple(map(float, one.noun.severities))) for one in corruptions]
    sources = [{}, *(one.digests for one in corruptions)]
    keyed = tuple(
        replace(one, key=digest([key, one.kind, one.name, one.at, evaluate, dict(source)]))
        for one, source in zip(asked, sources, strict=True)
    )
    return replace(trial, key=key, evaluations=keyed)


def _check_lengths(found: list[Trial], registry: Registry) -> None:
    """Draw one sample at each shortest length, so that a length or option a task refuses is the user's error, told at once."""
    from . import data

    shortest: dict[str, Trial] = {}
    for trial in found:
        if trial.task_label not in shortest or trial.length < shortest[trial.task_label].length:
            shortest[trial.task_label] = trial
    for name, trial in shortest.items():
        try:
            data.draw(registry.task(trial.task).noun, trial.task_options, trial.length, "check", 0, 0, 1)
        except ValueError as error:
            raise SuiteError(f"task '{name}', length {trial.length}: {error}") from None


def timings(plan: Plan, registry: Registry, device: str) -> list[Timing]:
    """Every latency the plan asks for: each variant, and the baseline always, on each engine it has."""
    surroundings = {
        "torch": machine.version("torch"),
        "device": machine.device_model(device),
        "cpu": machine.cpu_model(),
        **source_digest("ops", "model", "timing"),
    }
    shape = Task("timing", lambda: None, plan.timing.input_size, 1, "mse", lambda _length: 1.0, lambda _length: None)  # type: ignore[arg-type, return-value]
    baseline = Choice(name=BASELINE)
    asked = plan.model_copy(
        update={
            "variants": (baseline, *plan.variants),
            "matching": plan.matching.model_copy(update={"hidden_size": plan.timing.hidden_size}),
        }
    )
    matched = sizes(asked, registry, shape) if plan.timing.lengths else {}
    found = []
    for length, (variant, options) in itertools.product(plan.timing.lengths, variants_of(asked, registry)):
        hidden_size, parameters, _ = matched[label(variant.noun.name, options)]
        for engine in model.engines(variant.noun):
            timing = Timing(
                variant=variant.noun.name,
                variant_options=options,
                engine=engine,
                length=length,
                batch_size=plan.timing.batch_size,
                input_size=plan.timing.input_size,
                hidden_size=hidden_size,
                parameters=parameters,
                repeats=plan.timing.repeats,
                dtype=plan.training.dtype,
                device=device,
                key="",
            )
            found.append(replace(timing, key=digest([asdict(timing), surroundings, dict(variant.digests)])))
    return found


def gradings(plan: Plan, registry: Registry, device: str) -> list[Grading]:
    """One grading for each of the plan's variants."""
    surroundings = {"torch": machine.version("torch"), "device": machine.device_model(device), **source_digest("ops", "model", "grade")}
    found = []
    for variant, options in variants_of(plan, registry):
        grading = Grading(variant.noun.name, options, plan.matching.hidden_size, device, key="")
        found.append(replace(grading, key=digest([asdict(grading), surroundings, dict(variant.digests)])))
    return found
