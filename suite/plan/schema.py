"""Reads a plan (TOML) and checks it: unknown keys refused, every error named by file and field."""

from __future__ import annotations

import re
import shlex
import tomllib
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, Field, ValidationError, model_validator

from ..errors import SuiteError, nearest
from ..trial import TEST_SAMPLES, Rule, Shape
from .choices import Choice, Strict, parse_choice

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
    """A task with the lengths to train at (the task's own where the field is left out) and, if they differ, its steps."""

    lengths: Annotated[tuple[Length, ...], Field(min_length=1)] | None = None
    steps: Positive | None = None


class Matching(Strict):
    """What makes variants comparable: `parameters` of an LSTM of this hidden size, its `state_size`, or the `hidden_size` itself."""

    rule: Literal["parameters", "state_size", "hidden_size"] = "parameters"
    hidden_size: Size = 32


class TrainingPlan(Strict):
    """The same for every variant; each learning rate is tried by all, and validation chooses.

    initial_memory: the bias of every gate that keeps a state, at first: a number, ``chrono`` (by the sequence length), or ``own``
    corruption, severity: what damages every input of training and validation; a task that it is no damage to is trained without. Whether
    variants are robust that have met the damage before is a question of its own, so it takes a plan of its own
    """

    optimizer: Literal["adam", "rmsprop", "sgd"] = "adam"
    learning_rates: Annotated[tuple[Amount, ...], Field(min_length=1)] = (0.001,)
    batch_size: Positive = 32
    steps: Positive = 1000
    validate_every: Positive = 50
    evaluation_samples: Positive = 512
    clip: Amount = 1.0
    stop: Literal["budget", "solved"] = "budget"
    dtype: Literal["float32", "float64"] = "float32"
    engine: Annotated[str, AfterValidator(_engine)] = "auto"
    initial_memory: Annotated[float, Field(strict=True)] | Literal["chrono", "own"] = 1.0
    corruption: str = ""
    severity: Annotated[float, Field(strict=True, allow_inf_nan=False)] | None = None

    @model_validator(mode="after")
    def _whole_damage(self) -> TrainingPlan:
        if bool(self.corruption) != (self.severity is not None):
            raise ValueError("corruption and severity go together: name both, or neither")
        return self


class EvaluationPlan(Strict):
    """What is asked of each trained model beside its own length: factors of that length, corruptions, and other measures.

    samples: how many each test stream has; the validation stream has the training's `evaluation_samples`
    """

    samples: Positive = TEST_SAMPLES
    lengths: tuple[Factor, ...] = (2.0, 4.0)
    corruptions: tuple[str, ...] = ()
    measures: tuple[str, ...] = ()


class TimingPlan(Strict):
    """The shapes at which every variant is timed on every engine it has; no lengths switches timing off.

    lengths: of the sequence, at `batch_size` and the `hidden_size` of the baseline; batch_sizes, hidden_sizes: further ones, one changed
    at a time, at the longest length; streaming: whether one step of a stream is timed as well
    repeats, most_repeats, precision, seconds: rounds at least and at most; between them, until every ratio is known to so small a part
    of itself, or until so many seconds have passed at a shape
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
    """A question as a grid: every variant on every task at every length with every seed and learning rate."""

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


def limited(plan: Plan, executor: str | None = None, **limits: float | None) -> Plan:
    """The plan with its executor and limits replaced by those of these that are not None, as an option of a run does.

    Raises SuiteError for a limit that is out of range, and for an executor that does not read as a name with options.
    """
    changes = {name: value for name, value in limits.items() if value is not None}
    if not changes and executor is None:
        return plan
    elsewhere = {} if executor is None else {"executor": executor}
    return check({**plan.model_dump(), "limits": {**plan.limits.model_dump(), **changes}, **elsewhere}, f"plan {plan.name}")


def check(raw: dict[str, Any], place: str) -> Plan:
    """Validate plain data as a plan; `place` stands in the messages."""
    try:
        return Plan.model_validate(raw)
    except ValidationError as error:
        raise SuiteError(_explained(error, place)) from None


@dataclass(frozen=True)
class Request:
    """What a run is asked for: a plan, and lists in place of the plan's own, as they stand on the command line.

    source: the plan's packaged name or its file; empty for a plan made in Python
    path: the folders that were searched for plugins too; runs: where results were kept, empty for the usual folder. Both say where it
    was run and not what was asked for: requests that differ in them alone are equal.
    """

    source: str = ""
    variants: str | None = None
    tasks: str | None = None
    seeds: int | None = None
    path: tuple[str, ...] = field(default=(), compare=False)
    runs: str = field(default="", compare=False)

    @property
    def lists(self) -> list[str]:
        """The lists as command-line options."""
        asked = {"--variants": self.variants, "--tasks": self.tasks, "--seeds": self.seeds}
        return [word for option, value in asked.items() if value is not None for word in (option, str(value))]

    def command(self, device: str) -> str:
        """The command line that runs it on a device."""
        path = [word for folder in self.path for word in ("--path", folder)]
        runs = ["--runs", self.runs] if self.runs else []
        return shlex.join(["suite", "run", self.source, *self.lists, *path, *runs, "--device", device])


def _explained(error: ValidationError, place: str) -> str:
    """The first two mistakes, a line each, and how many more there are."""
    entries = error.errors(include_url=False)
    # a list whose entries are wrong is then said to be too short as well
    inner = {entry["loc"][: len(entry["loc"]) - back] for entry in entries for back in range(1, len(entry["loc"]))}
    lines = [_explain(entry, place) for entry in entries if entry["type"] != "too_short" or entry["loc"] not in inner]
    more = f" (and {len(lines) - 2} more)" if len(lines) > 2 else ""
    return "\n".join(dict.fromkeys(lines[:2])) + more


def _explain(entry: Any, source: str) -> str:
    place = ".".join(str(part) for part in entry["loc"])
    if entry["type"] == "extra_forbidden":
        return f"{source}: {place}: unknown key{nearest(str(entry['loc'][-1]), _keys(entry['loc'][:-1]))}"
    if entry["type"] == "missing":
        return f"{source}: {place}: missing"
    if entry["type"] == "too_short":
        return f"{source}: {place}: names none; it takes at least one"
    if entry["type"] == "tuple_type":
        return f"{source}: {place}: must be a list, not {entry['input']!r}"
    given = "" if isinstance(entry["input"], dict) else f", not {entry['input']!r}"
    return f"{source}: {place or 'plan'}: {entry['msg'].removeprefix('Value error, ').rstrip('.')}{given}"


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
