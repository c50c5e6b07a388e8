"""Reads a plan (TOML) and checks it: unknown keys refused, every error named by file and field."""

from __future__ import annotations

import re
import shlex
import tomllib
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    Field,
    SerializerFunctionWrapHandler,
    ValidationError,
    model_serializer,
    model_validator,
)

from ..errors import SuiteError, nearest
from ..trial import TEST_SAMPLES, Rule, Shape, used
from .choices import Choice, Strict, parse_choice
from .mistakes import explained

PACKAGED = Path(__file__).resolve().parent / "plans"


def _choice(value: Any) -> Any:
    return parse_choice(value) if isinstance(value, str) else value


NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")
"""What the name of a plan may be, which names a folder as well."""


def _named(name: str) -> str:
    if not NAME.fullmatch(name):
        raise ValueError("names a folder; use letters, digits, '_', '-' and '.'")
    return name


def _engine(name: str) -> str:
    from ..ops import engines  # imports torch, which a plan with a mistake should not wait for

    if name != engines.AUTO:
        try:
            engines.engine(name)
        except SuiteError as error:
            raise ValueError(str(error)) from None
    return name


# strict: `true` is no number, and "1000" is a word
Positive = Annotated[int, Field(ge=1, le=10_000_000, strict=True)]
Length = Annotated[int, Field(ge=1, le=1_000_000, strict=True)]
Size = Annotated[int, Field(ge=1, le=65_536, strict=True)]
Seed = Annotated[int, Field(ge=0, lt=2**63, strict=True)]
Amount = Annotated[float, Field(gt=0, strict=True)]
Factor = Annotated[float, Field(gt=1, strict=True)]


class TaskChoice(Choice):
    """A task by name, with options as a variant has them; a task stands in one entry with all its lengths.

    lengths: of the sequences to train at; the task's own where the key is left out
    steps: of its training, where they are not those of `[training]`
    """

    lengths: Annotated[tuple[Length, ...], Field(min_length=1)] | None = None
    steps: Positive | None = None


class Matching(Strict):
    """What makes variants comparable.

    rule: each has about as many `parameters` as an LSTM of the hidden size, or its `state_size`, or the `hidden_size` itself
    hidden_size: of the LSTM
    """

    rule: Literal["parameters", "state_size", "hidden_size"] = "parameters"
    hidden_size: Size = 32


class TrainingPlan(Strict):
    """The same for every variant.

    optimizer: of torch, with its defaults but for the learning rate and the decay
    weight_decay: of `adamw` alone (Loshchilov & Hutter, 2019, arXiv:1711.05101): each step takes this part, times the learning rate, of
        every weight away, biases included
    learning_rates: all are tried by all variants, and the validation of other seeds chooses
    warmup: steps over which the rate rises in a line to its full height, which it has at the last of them
    schedule: of the rate after that: it stays `constant`, or falls to 0 at the end of the steps as half a `cosine`
    batch_size: sequences a step, drawn anew each step
    steps: of training, unless a task has its own
    validate_every: steps between two validations; the weights that validated best are tested
    evaluation_samples: sequences of the validation stream
    clip: each step's gradient is scaled down to this norm where it is longer
    stop: at the `budget` of steps, or when a task is `solved`, in two successive validations
    dtype: of weights and inputs
    engine: what runs the recurrences; `auto` takes the fastest that is the same to rounding (docs/engines.md)
    recompute: steps of a recurrence that are done again at once on the way back, so that memory holds one state for each piece of so many;
        0 keeps all. It is for engines derived from the step (`compiled`, `derived`, `graph`); the others keep all
    initial_memory: the bias of every gate that keeps a state, at first: a number, `chrono` (by the sequence length), or
        `own` (as the variant has it)
    corruption: what damages every input of training and validation; a task that it is no damage to is trained without. Whether
        variants are robust that have met the damage before is a question of its own, so it takes a plan of its own
    severity: of the corruption
    """

    optimizer: Literal["adam", "adamw", "rmsprop", "sgd"] = "adam"
    weight_decay: Annotated[float, Field(ge=0, lt=1e6, strict=True)] = 0.0
    learning_rates: Annotated[tuple[Amount, ...], Field(min_length=1)] = (0.001,)
    warmup: Annotated[int, Field(ge=0, le=10_000_000, strict=True)] = 0
    schedule: Literal["constant", "cosine"] = "constant"
    batch_size: Positive = 32
    steps: Positive = 1000
    validate_every: Positive = 50
    evaluation_samples: Positive = 512
    clip: Amount = 1.0
    stop: Literal["budget", "solved"] = "budget"
    dtype: Literal["float32", "float64"] = "float32"
    engine: Annotated[str, AfterValidator(_engine)] = "auto"
    recompute: Annotated[int, Field(ge=0, le=10_000_000, strict=True)] = 0
    initial_memory: Annotated[float, Field(strict=True)] | Literal["chrono", "own"] = 1.0
    corruption: str = ""
    severity: Annotated[float, Field(strict=True, allow_inf_nan=False)] | None = None

    @model_validator(mode="after")
    def _whole_damage(self) -> TrainingPlan:
        if bool(self.corruption) != (self.severity is not None):
            raise ValueError("corruption and severity go together: name both, or neither")
        return self

    @model_validator(mode="after")
    def _decay_of_adamw(self) -> TrainingPlan:
        if (self.optimizer == "adamw") != (self.weight_decay > 0):
            raise ValueError(
                'optimizer = "adamw" and a weight_decay above 0 go together: without decay it is adam, and no other decays weights'
            )
        return self

    @model_serializer(mode="wrap")
    def _used(self, plain: SerializerFunctionWrapHandler) -> dict[str, Any]:
        return used(plain(self))


class EvaluationPlan(Strict):
    """What is asked of each trained model beside the test at its own length.

    samples: sequences of each test stream
    lengths: factors of the trained length at which it is tested too
    corruptions: whose severities damage its test stream
    measures: others, at their own points
    """

    samples: Positive = TEST_SAMPLES
    lengths: tuple[Factor, ...] = (2.0, 4.0)
    corruptions: tuple[str, ...] = ()
    measures: tuple[str, ...] = ()


class TimingPlan(Strict):
    """The shapes at which every variant is timed on every engine it has.

    lengths: of the sequence, at `batch_size` and `hidden_size`; none switches timing off
    batch_sizes: further ones, at the longest length
    hidden_sizes: further ones of the baseline, at the longest length
    streaming: whether one step of a stream is timed as well
    batch_size: sequences at once
    input_size: channels, the constant one included
    hidden_size: of the baseline, to which the others are matched
    repeats: rounds at least
    most_repeats: rounds at most
    precision: between the two, measuring ends when every ratio is known to so small a part of itself
    seconds: or when so many have passed at a shape
    """

    lengths: tuple[Length, ...] = ()
    batch_sizes: tuple[Positive, ...] = ()
    hidden_sizes: tuple[Size, ...] = ()
    streaming: bool = True
    batch_size: Positive = 32
    input_size: Size = 8
    hidden_size: Size = 32
    repeats: Positive = 7
    most_repeats: Positive = 25
    precision: Amount = 0.05
    seconds: Amount = 30.0

    @property
    def shapes(self) -> tuple[Shape, ...]:
        """Every shape that is timed, each once."""
        if not self.lengths:
            return ()
        longest = Shape(max(self.lengths), self.batch_size, self.hidden_size)
        shapes = [replace(longest, length=length) for length in self.lengths]
        shapes += [replace(longest, batch_size=size) for size in self.batch_sizes]
        shapes += [replace(longest, width=size) for size in self.hidden_sizes]
        shapes += [Shape(1, 1, self.hidden_size, streaming=True)] if self.streaming else []
        return tuple(dict.fromkeys(shapes))

    @property
    def rule(self) -> Rule:
        return Rule(self.repeats, max(self.repeats, self.most_repeats), self.precision, self.seconds)


class Limits(Strict):
    """What a run may take, which changes no result of a trial that keeps within it, and so is part of no key.

    timeout: seconds of wall time for each trial, its evaluations and compiling included; a population may take the sum of its trials'
    memory: GiB of host memory for each process that trains, with all processes that it begins
    retries: how often a trial whose process died is tried again in the same run; what raises, or goes beyond a limit, is not
    max_failures: after so many trials that failed, crashed or went beyond a limit, no other is begun
    checkpoint: seconds between two moments at which a training is kept, from which an interrupted one goes on
    """

    timeout: Amount | None = None
    memory: Amount | None = None
    retries: Annotated[int, Field(ge=0, le=100, strict=True)] = 0
    max_failures: Positive | None = None
    checkpoint: Amount = 60.0


class Plan(Strict):
    """A question as a grid: every variant on every task at every length with every seed and learning rate.

    name: of the folder that results are kept in; by default the file's
    question: the title of the report
    variants: such as `"lstm"`, `"attention(score=general)"`, or tables with `name` and `options`, of which a list stands for several
    tasks: likewise, with lengths and steps
    seeds: of first weights and training data; each is a pair in every comparison
    eval_seed: of the streams of validation and test, which all trials share
    matching: the table `[matching]`
    training: the table `[training]`
    evaluations: the table `[evaluations]`
    timing: the table `[timing]`
    limits: the table `[limits]`
    executor: where it trains, such as `"local"`, `"ray(address=auto)"`, or a table with `name` and `options`; it decides no result
    """

    name: Annotated[str, AfterValidator(_named)] = "plan"
    question: str = "Which variant is faster, more robust to noise, and remembers further?"
    variants: Annotated[tuple[Annotated[Choice, BeforeValidator(_choice)], ...], Field(min_length=1)]
    tasks: Annotated[tuple[Annotated[TaskChoice, BeforeValidator(_choice)], ...], Field(min_length=1)]
    seeds: Annotated[tuple[Seed, ...], Field(min_length=1)] = (0,)
    eval_seed: Seed = 0
    matching: Matching = Matching()
    training: TrainingPlan = TrainingPlan()
    evaluations: EvaluationPlan = EvaluationPlan()
    timing: TimingPlan = TimingPlan()
    limits: Limits = Limits()
    executor: Annotated[Choice, BeforeValidator(_choice)] = Choice(name="local")

    @model_validator(mode="after")
    def _no_repeats(self) -> Plan:
        lists: dict[str, tuple[Any, ...]] = {
            "seeds": self.seeds,
            "training.learning_rates": self.training.learning_rates,
            "evaluations.lengths": self.evaluations.lengths,
            "evaluations.corruptions": self.evaluations.corruptions,
            "evaluations.measures": self.evaluations.measures,
            "timing.lengths": self.timing.lengths,
            "timing.batch_sizes": self.timing.batch_sizes,
            "timing.hidden_sizes": self.timing.hidden_sizes,
            **{f"tasks.{index}.lengths": task.lengths or () for index, task in enumerate(self.tasks)},
        }
        for place, values in lists.items():
            if len(set(values)) != len(values):
                raise ValueError(f"{place} names a value twice")
        return self

    @model_validator(mode="after")
    def _warm_in_time(self) -> Plan:
        least = min(task.steps or self.training.steps for task in self.tasks)
        if self.training.warmup >= least:
            raise ValueError(f"training.warmup is {self.training.warmup}, and the shortest training has {least} steps; it takes fewer")
        return self

    @property
    def asked(self) -> dict[str, Any]:
        """All that a result can depend on, as plain data: where it is run and what it may take are left out."""
        return self.model_dump(mode="json", exclude={"limits", "executor"})


def packaged() -> list[str]:
    """The names of the plans that come with the suite."""
    return sorted(path.stem for path in PACKAGED.glob("*.toml"))


def load(name: str) -> Plan:
    """Read a packaged plan by name, or a file by path.

    Raises SuiteError, naming file and field, for a plan that is not there, not TOML, or not valid.
    """
    path = _file_of(name)
    try:
        raw = tomllib.loads(text(name))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SuiteError(f"{path}: not valid TOML: {error}") from None
    raw.setdefault("name", path.stem)
    return check(raw, str(path))


def text(name: str) -> str:
    """What the file of a plan says, a packaged one by name or any by path.

    Raises SuiteError for one that is not there.
    """
    path = _file_of(name)
    try:
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise SuiteError(f"{path}: {error.strerror or error}") from None


def _file_of(name: str) -> Path:
    path = Path(name)
    if path.suffix == ".toml" or "/" in name:
        return path
    path = PACKAGED / f"{name}.toml"
    if not path.is_file():
        raise SuiteError(f"unknown plan '{name}'{nearest(name, packaged())} (or give the path of a .toml file)")
    return path


def limited(plan: Plan, executor: str | None = None, devices: str | None = None, **limits: float | None) -> Plan:
    """The plan with its executor and limits replaced by those of these that are not None, as an option of a run does.

    devices: the GPUs that the executor places its calls on, an option of it

    Raises SuiteError for a limit that is out of range, and for an executor that does not read as a name with options.
    """
    changes = {name: value for name, value in limits.items() if value is not None}
    if not changes and executor is None and devices is None:
        return plan
    elsewhere = {} if executor is None else {"executor": executor}
    changed = check({**plan.model_dump(), "limits": {**plan.limits.model_dump(), **changes}, **elsewhere}, f"plan {plan.name}")
    where, placed = changed.executor, {} if devices is None else {"devices": devices}
    return changed.model_copy(update={"executor": where.model_copy(update={"options": {**where.options, **placed}})})


def check(raw: dict[str, Any], place: str) -> Plan:
    """Validate plain data as a plan; `place` stands in the messages."""
    try:
        return Plan.model_validate(raw)
    except ValidationError as error:
        raise SuiteError(explained(error, place, _keys)) from None


@dataclass(frozen=True)
class Request:
    """What a run is asked for: a plan, and lists in place of the plan's own, as they stand on the command line.

    source: the plan's packaged name or its file; empty for a plan made in Python
    seeds: those from 0 on, so many; or these
    path: the folders that were searched for plugins too; runs: where results were kept, empty for the usual folder. Both say where it
    was run and not what was asked for: requests that differ in them alone are equal.
    """

    source: str = ""
    variants: str | None = None
    tasks: str | None = None
    seeds: int | tuple[int, ...] | None = None
    path: tuple[str, ...] = field(default=(), compare=False)
    runs: str = field(default="", compare=False)

    @property
    def lists(self) -> list[str]:
        """The lists as command-line options."""
        seeds = f"[{','.join(map(str, self.seeds))}]" if isinstance(self.seeds, tuple) else self.seeds
        asked = {"--variants": self.variants, "--tasks": self.tasks, "--seeds": seeds}
        return [word for option, value in asked.items() if value is not None for word in (option, str(value))]

    def command(self, device: str) -> str:
        """The command line that runs it on a device."""
        path = [word for folder in self.path for word in ("--path", folder)]
        runs = ["--runs", self.runs] if self.runs else []
        return shlex.join(["suite", "run", self.source, *self.lists, *path, *runs, "--device", device])


def _keys(place: tuple[Any, ...]) -> list[str]:
    """The keys a table of the plan takes."""
    model: type[BaseModel] = Plan
    tables: dict[str, type[BaseModel]] = {
        "variants": Choice,
        "executor": Choice,
        "tasks": TaskChoice,
        "matching": Matching,
        "training": TrainingPlan,
        "evaluations": EvaluationPlan,
        "timing": TimingPlan,
        "limits": Limits,
    }
    if place:
        model = tables.get(str(place[0]), Plan)
    return list(model.model_fields)
