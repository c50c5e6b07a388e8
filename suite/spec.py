"""Names the nouns of the suite: frozen data that plugins hand out and the harness passes along."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, Protocol, TypeAlias

if TYPE_CHECKING:
    from pathlib import Path

    import numpy as np
    from matplotlib.figure import Figure
    from numpy.typing import NDArray
    from pandas import DataFrame
    from torch import Tensor, nn

Array: TypeAlias = "NDArray[Any]"
Value: TypeAlias = bool | int | float | str
Options: TypeAlias = Mapping[str, Value]
Status: TypeAlias = Literal["ok", "diverged", "failed"]

NAME = re.compile(r"[a-z][a-z0-9_]{0,39}")


class SuiteError(Exception):
    """A mistake its author can mend; the message names the file or field and the fix."""


class Unavailable(SuiteError):
    """Raised by a plugin that has nothing to offer on this machine; it is then left out without complaint."""


class Metric(Protocol):
    """Scores raw outputs (logits or values, as NumPy) against a batch; a mean over samples."""

    def __call__(self, output: Array, batch: Batch) -> float: ...


@dataclass(frozen=True)
class Batch:
    """Samples of one length.

    x: float ``(B, T, D)``, or integer tokens ``(B, T)`` that the harness one-hots to ``D`` = the task's input size
    y: one answer a sequence ``(B,)`` or one a step ``(B, T)``; class indices or values
    weight: ``(B, T)`` of the per-step loss, or None for all steps alike
    protected: bool ``(B, T)`` or ``(B, T, D)``, what a corruption may not touch; None for nothing
    """

    x: Array
    y: Array
    weight: Array | None = None
    protected: Array | None = None


@dataclass(frozen=True)
class Variant:
    """A recurrent architecture under test. It never sees the task.

    build: ``build(input_size, hidden_size, *, **options) -> nn.Module`` with forward ``(B, T, D) -> (B, T, O)``
    causal: whether y up to step t depends on x up to step t alone; ``causal(**options) -> bool`` where options decide
    vendor: ``vendor(module, x) -> y``, the module's forward on cuDNN or oneDNN, with the module's own parameters
    summary: ``(B, T, O) -> (B, O)``, what one answer a sequence is read from; by default the last step
    paper: where the equations come from
    parameters: ``parameters(input_size, hidden_size, **options) -> int``, the count the paper states; `suite check` compares
    """

    name: str
    build: Callable[..., nn.Module]
    causal: bool | Callable[..., bool] = True
    paper: str = ""
    vendor: Callable[[Any, Tensor], Tensor] | None = None
    summary: Callable[[Tensor], Tensor] | None = None
    parameters: Callable[..., int] | None = None

    def is_causal(self, options: Options) -> bool:
        return self.causal(**options) if callable(self.causal) else self.causal


@dataclass(frozen=True)
class Goal:
    """When a task counts as solved: `metric` below `below`, or at least `at_least`."""

    metric: str
    below: float | None = None
    at_least: float | None = None

    def __post_init__(self) -> None:
        if (self.below is None) == (self.at_least is None):
            raise ValueError("Goal takes one of below= and at_least=")

    def met(self, scores: Mapping[str, float]) -> bool:
        value = scores[self.metric]
        return value < self.below if self.below is not None else value >= self.at_least  # type: ignore[operator]

    def __str__(self) -> str:
        return f"{self.metric} < {self.below:g}" if self.below is not None else f"{self.metric} ≥ {self.at_least:g}"


@dataclass(frozen=True)
class Task:
    """A source of data with a question.

    draw: ``draw(rng, batch_size, length, *, **options) -> Batch``, from the NumPy Generator alone
    input_size, output_size: D and the number of classes (or values)
    per_step: whether y has one answer a step
    baseline: ``baseline(length, **options)``, the loss of the best predictor that knows the step but not the input
    solved: ``solved(length, **options) -> Goal``
    metrics: scores beside the loss; a per-step task's outputs are ``(B, T, C)``, else ``(B, C)``
    lengths: where a plan that names none trains
    """

    name: str
    draw: Callable[..., Batch]
    input_size: int
    output_size: int
    loss: Literal["cross_entropy", "mse"]
    baseline: Callable[..., float]
    solved: Callable[..., Goal]
    metrics: Mapping[str, Metric] = field(default_factory=dict)
    per_step: bool = False
    lengths: tuple[int, ...] = (20, 50)
    paper: str = ""


@dataclass(frozen=True)
class Corruption:
    """Damage to a trained model's input, in five severities from mild to harsh.

    apply: ``apply(rng, x, protected, severity) -> x'``, all ``(B, T, D)``; protected elements come back unchanged
    """

    name: str
    apply: Callable[[np.random.Generator, Array, Array, float], Array]
    severities: tuple[float, ...]
    unit: str = ""


@dataclass(frozen=True)
class Prose:
    """A paragraph of plain text in a report section."""

    text: str


@dataclass(frozen=True)
class Plot:
    """A figure in a report section; `name` is its file name, `caption` says what to see."""

    name: str
    figure: Figure
    caption: str


@dataclass(frozen=True)
class Table:
    """A table in a report section, cells shown as they are."""

    frame: DataFrame
    caption: str = ""


Element: TypeAlias = Prose | Plot | Table


@dataclass(frozen=True)
class Results:
    """All a report is drawn from.

    frame: one row per trial and score (columns: see ``suite.results.COLUMNS``)
    trials: one row per trial, also those that failed, with reason
    plan: the resolved plan, as plain data
    provenance: versions, hardware, commit and digests behind the rows
    """

    frame: DataFrame
    trials: DataFrame
    plan: Mapping[str, Any]
    provenance: Mapping[str, Any]


@dataclass(frozen=True)
class Section:
    """A part of the report: `draw(results)` yields its elements in order; sections stand by `order`, then name."""

    name: str
    title: str
    draw: Callable[[Results], Iterator[Element]]
    order: int = 50


@dataclass(frozen=True)
class Training:
    """The protocol fields of one trial."""

    optimizer: Literal["adam", "rmsprop", "sgd"]
    learning_rate: float
    batch_size: int
    steps: int
    validate_every: int
    evaluation_samples: int
    clip: float
    stop: Literal["budget", "solved"]
    dtype: Literal["float32", "float64"]


@dataclass(frozen=True)
class Evaluation:
    """A question to a trained model: `kind` "length" (factors of the trained length) or "corruption" (severities)."""

    kind: Literal["length", "corruption"]
    name: str
    at: tuple[float, ...]
    key: str = ""


@dataclass(frozen=True)
class Trial:
    """One training to run, as plain data: names, numbers and the digests that make its key."""

    variant: str
    variant_options: Options
    task: str
    task_options: Options
    length: int
    seed: int
    eval_seed: int
    hidden_size: int
    parameters: int
    budget: int
    causal: bool
    engine: str
    device: str
    training: Training
    ingredients: Mapping[str, str]
    key: str
    evaluations: tuple[Evaluation, ...] = ()

    @property
    def variant_label(self) -> str:
        return label(self.variant, self.variant_options)

    @property
    def task_label(self) -> str:
        return label(self.task, self.task_options)

    @property
    def cell(self) -> str:
        """What the trial stands for in its plan, whatever version of the code ran it."""
        return f"{self.variant_label} | {self.task_label} | {self.length} | {self.seed} | {self.training.learning_rate!r}"


@dataclass(frozen=True)
class Timing:
    """One latency to measure: a variant on an engine at one length, as plain data."""

    variant: str
    variant_options: Options
    engine: str
    length: int
    batch_size: int
    input_size: int
    hidden_size: int
    parameters: int
    repeats: int
    dtype: str
    device: str
    key: str

    @property
    def variant_label(self) -> str:
        return label(self.variant, self.variant_options)

    @property
    def cell(self) -> str:
        return f"{self.variant_label} | {self.engine} | {self.length}"


@dataclass(frozen=True)
class Grading:
    """One variant whose repeatability is to be graded, as plain data."""

    variant: str
    variant_options: Options
    hidden_size: int
    device: str
    key: str

    @property
    def variant_label(self) -> str:
        return label(self.variant, self.variant_options)


@dataclass(frozen=True)
class Measure:
    """Scores on the validation stream at one step."""

    step: int
    scores: Mapping[str, float]


@dataclass(frozen=True)
class Snapshot:
    """The best weights so far by validation, on the CPU."""

    step: int
    state: Mapping[str, Tensor]


@dataclass(frozen=True)
class Outcome:
    """How a trial ended, as plain data.

    learning: what is reproducible to the bit (curve, best step, step solved); {} where nothing was learned
    evaluations: scores by evaluation key
    measured: times, which are not reproducible
    """

    key: str
    status: Status
    reason: str = ""
    traceback: str = ""
    learning: Mapping[str, Any] = field(default_factory=dict)
    evaluations: Mapping[str, Any] = field(default_factory=dict)
    measured: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Invocation:
    """One run of a plan.

    trials: all trials of the plan, in order; pending: the keys among them that this run works on
    finished: outcomes that were in the store already
    """

    plan: str
    runs: Path
    device: str
    trials: tuple[Trial, ...]
    pending: frozenset[str]
    finished: Mapping[str, Outcome]
    provenance: Mapping[str, Any]


@dataclass(frozen=True)
class Broken:
    """A drop-in that cannot be used, and why."""

    source: str
    reason: str
    traceback: str = ""


def label(name: str, options: Options) -> str:
    """``attention`` or ``attention(score=additive)``: how a choice reads in keys, tables and on the command line."""
    if not options:
        return name
    inside = ", ".join(f"{key}={str(value).lower() if isinstance(value, bool) else value}" for key, value in sorted(options.items()))
    return f"{name}({inside})"
