"""Reads a plan (TOML) and checks it: unknown keys refused, every error named by file and field."""

from __future__ import annotations

import contextlib
import difflib
import math
import re
import tomllib
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StrictBool,
    StrictFloat,
    StrictInt,
    StrictStr,
    ValidationError,
    model_validator,
)

from .spec import SuiteError, Value

PACKAGED = Path(__file__).resolve().parent / "plans"


def _split(text: str) -> list[str]:
    """Split at the commas outside parentheses and brackets."""
    parts, depth = [""], 0
    for character in text:
        depth += (character in "([") - (character in ")]")
        if character == "," and depth == 0:
            parts.append("")
        else:
            parts[-1] += character
    return [part.strip() for part in parts]


def _value(text: str) -> Value | list[Value]:
    if text.startswith("[") and text.endswith("]"):
        return [_value(part) for part in _split(text[1:-1])]  # type: ignore[misc]
    if text in {"true", "false"}:
        return text == "true"
    for kind in (int, float):
        with contextlib.suppress(ValueError):  # not a number of this kind
            if math.isfinite(number := kind(text)):
                return number
    return text.strip("'\"")


def parse_choice(text: str) -> dict[str, Any]:
    """``attention(score=additive, depth=[1,2])`` becomes its name and options.

    Raises ValueError where the text has another form.
    """
    match = re.fullmatch(r"\s*([A-Za-z0-9_.-]+)\s*(?:\((.*)\))?\s*", text, flags=re.DOTALL)
    if not match:
        raise ValueError(f"'{text}' is not of the form name or name(option=value, …)")
    name, inside = match.groups()
    options = {}
    for part in _split(inside) if inside else []:
        key, equals, value = part.partition("=")
        if not equals or not key.strip() or not value.strip():
            raise ValueError(f"'{part}' in '{text}' is not of the form option=value")
        options[key.strip()] = _value(value.strip())
    return {"name": name, "options": options}


def parse_choices(text: str) -> list[dict[str, Any]]:
    """A comma-separated list of choices, commas inside parentheses kept."""
    return [parse_choice(part) for part in _split(text) if part]


def _choice(value: Any) -> Any:
    return parse_choice(value) if isinstance(value, str) else value


class Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


# strict: `true` is no number, and "1000" is a word
Positive = Annotated[int, Field(ge=1, le=10_000_000, strict=True)]
Length = Annotated[int, Field(ge=1, le=1_000_000, strict=True)]
Size = Annotated[int, Field(ge=1, le=65_536, strict=True)]
Seed = Annotated[int, Field(ge=0, lt=2**63, strict=True)]
Amount = Annotated[float, Field(gt=0, strict=True)]
Factor = Annotated[float, Field(gt=1, strict=True)]
Scalar = StrictBool | StrictInt | StrictFloat | StrictStr


class Choice(Strict):
    """A plugin by name, with options; an option that is a list stands for one choice an entry."""

    name: str
    options: dict[str, Scalar | list[Scalar]] = {}


class TaskChoice(Choice):
    """A task with the lengths to train at (the task's own where none are named) and, if they differ, its steps."""

    lengths: tuple[Length, ...] = ()
    steps: Positive | None = None


class Matching(Strict):
    """What makes variants comparable: `parameters` of an LSTM of this hidden size, or the `hidden_size` itself."""

    rule: Literal["parameters", "hidden_size"] = "parameters"
    hidden_size: Size = 32


class TrainingPlan(Strict):
    """The same for every variant; each learning rate is tried by all, and validation chooses."""

    optimizer: Literal["adam", "rmsprop", "sgd"] = "adam"
    learning_rates: Annotated[tuple[Amount, ...], Field(min_length=1)] = (0.001,)
    batch_size: Positive = 32
    steps: Positive = 1000
    validate_every: Positive = 50
    evaluation_samples: Positive = 512
    clip: Amount = 1.0
    stop: Literal["budget", "solved"] = "budget"
    dtype: Literal["float32", "float64"] = "float32"
    engine: Literal["auto", "vendor", "reference"] = "auto"


class EvaluationPlan(Strict):
    """What is asked of each trained model beside its own length: factors of that length, and corruptions."""

    lengths: tuple[Factor, ...] = (2.0, 4.0)
    corruptions: tuple[str, ...] = ()


class TimingPlan(Strict):
    """Sequence lengths at which every variant is timed on every engine it has; none switches timing off."""

    lengths: tuple[Length, ...] = ()
    batch_size: Positive = 32
    input_size: Size = 8
    hidden_size: Size = 32
    repeats: Positive = 7


class Plan(Strict):
    """A question as a grid: every variant on every task at every length with every seed and learning rate."""

    name: str = ""
    question: str = "Which variant is faster, more robust to noise, and remembers further?"
    variants: Annotated[tuple[Annotated[Choice, BeforeValidator(_choice)], ...], Field(min_length=1)]
    tasks: Annotated[tuple[Annotated[TaskChoice, BeforeValidator(_choice)], ...], Field(min_length=1)]
    seeds: Annotated[tuple[Seed, ...], Field(min_length=1)] = (0,)
    eval_seed: Seed = 0
    matching: Matching = Matching()
    training: TrainingPlan = TrainingPlan()
    evaluations: EvaluationPlan = EvaluationPlan()
    timing: TimingPlan = TimingPlan()

    @model_validator(mode="after")
    def _no_repeats(self) -> Plan:
        lists: dict[str, tuple[Any, ...]] = {
            "seeds": self.seeds,
            "training.learning_rates": self.training.learning_rates,
            "evaluations.lengths": self.evaluations.lengths,
            "evaluations.corruptions": self.evaluations.corruptions,
            "timing.lengths": self.timing.lengths,
            **{f"tasks.{index}.lengths": task.lengths for index, task in enumerate(self.tasks)},
        }
        for field, values in lists.items():
            if len(set(values)) != len(values):
                raise ValueError(f"{field} names a value twice")
        return self


def packaged() -> list[str]:
    """The names of the plans that come with the suite."""
    return sorted(path.stem for path in PACKAGED.glob("*.toml"))


def nearest(word: str, words: Iterable[str]) -> str:
    """``; did you mean 'x'?`` where a word is near, else the words there are."""
    known = sorted(words)
    close = difflib.get_close_matches(word, known, n=1, cutoff=0.6)
    return f"; did you mean '{close[0]}'?" if close else f"; there is {', '.join(known)}" if known else ""


def load(name: str) -> Plan:
    """Read a packaged plan by name, or a file by path.

    Raises SuiteError, naming file and field, for a plan that is not there, not TOML, or not valid.
    """
    path = Path(name)
    if path.suffix != ".toml" and "/" not in name:
        path = PACKAGED / f"{name}.toml"
        if not path.is_file():
            raise SuiteError(f"unknown plan '{name}'{nearest(name, packaged())} (or give the path of a .toml file)")
    try:
        raw = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise SuiteError(f"{path}: {error.strerror or error}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SuiteError(f"{path}: not valid TOML: {error}") from None
    raw.setdefault("name", path.stem)
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}", str(raw["name"])):
        raise SuiteError(f"{path}: name: '{raw['name']}' names a folder; use letters, digits, '_', '-' and '.'")
    return check(raw, str(path))


def check(raw: dict[str, Any], source: str) -> Plan:
    """Validate plain data as a plan; `source` stands in the messages."""
    try:
        return Plan.model_validate(raw)
    except ValidationError as error:
        entries = error.errors(include_url=False)
        # a list whose entries are wrong is then said to be too short as well
        inner = {entry["loc"][: len(entry["loc"]) - back] for entry in entries for back in range(1, len(entry["loc"]))}
        lines = [_explain(entry, source) for entry in entries if entry["type"] != "too_short" or entry["loc"] not in inner]
        more = f" (and {len(lines) - 2} more)" if len(lines) > 2 else ""
        raise SuiteError("\n".join(dict.fromkeys(lines[:2])) + more) from None


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
        "tasks": TaskChoice,
        "matching": Matching,
        "training": TrainingPlan,
        "evaluations": EvaluationPlan,
        "timing": TimingPlan,
    }
    if place:
        model = tables.get(str(place[0]), Plan)
    return list(model.model_fields)
