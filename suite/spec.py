"""Names the nouns of the suite: frozen data that plugins hand out, and the results that report sections take."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, Protocol, TypeAlias

import pluggy

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from pandas import DataFrame
    from torch import Tensor, nn

    from .claim import Claim
    from .shown import Element

Array: TypeAlias = "NDArray[Any]"
Value: TypeAlias = bool | int | float | str
Options: TypeAlias = Mapping[str, Value]

hookimpl = pluggy.HookimplMarker("suite")
"""Marks a function as an implementation of one of the hooks in ``suite.registry.hookspecs``."""

NAME = re.compile(r"[A-Za-z][A-Za-z0-9_.-]{0,39}")
"""What a plugin may be called; names that differ in case alone are the same name."""


def label(name: str, options: Options) -> str:
    """``attention`` or ``attention(score=additive)``: how a choice reads in keys, tables and on the command line."""
    if not options:
        return name
    inside = ", ".join(f"{key}={str(value).lower() if isinstance(value, bool) else value}" for key, value in sorted(options.items()))
    return f"{name}({inside})"


@dataclass(frozen=True)
class Plugin:
    """Which plugin with which options, as plain data; options that equal their default are left out."""

    name: str
    options: Options = field(default_factory=dict)

    @property
    def label(self) -> str:
        return label(self.name, self.options)

    def __str__(self) -> str:
        return self.label


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
    memory: ``memory(module)`` yields, for each set of gates on a state, the bias ``(H,)`` of the gate that keeps the state and that of the gate
        that writes to it (None where one gate does both), so that the harness can let all variants begin with the same memory
    state: ``state(module, length) -> int``, how many numbers it carries from step to step after so many, for one sequence; by default those
        of the states of its scans
    """

    name: str
    build: Callable[..., nn.Module]
    causal: bool | Callable[..., bool] = True
    paper: str = ""
    vendor: Callable[[Any, Tensor], Tensor] | None = None
    summary: Callable[[Tensor], Tensor] | None = None
    parameters: Callable[..., int] | None = None
    memory: Callable[[Any], Iterable[tuple[Tensor, Tensor | None]]] | None = None
    state: Callable[[Any, int], int] | None = None

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
        return bool(value < self.below if self.below is not None else value >= self.at_least)  # type: ignore[operator]

    def __str__(self) -> str:
        return f"{self.metric} < {self.below:g}" if self.below is not None else f"{self.metric} ≥ {self.at_least:g}"


@dataclass(frozen=True)
class Task:
    """A source of data with a question.

    draw: ``draw(rng, batch_size, length, *, **options) -> Batch``, from the NumPy Generator alone
    input_size, output_size: D and the number of classes (or values); models get one channel more, see `width`
    per_step: whether y has one answer a step
    baseline: ``baseline(length, **options)``, the loss of the best predictor that knows the step but not the input
    solved: ``solved(length, **options) -> Goal``
    metrics: scores beside the loss; a per-step task's outputs are ``(B, T, C)``, else ``(B, C)``
    lengths: where a plan that names none trains
    ideal: ``ideal(x, batch, **options) -> outputs``, what the best predictor answers to the input x ``(B, T, D)``, which may be damaged, in
        the form of a model's raw outputs; where there is none, no loss at all counts as ideal
    harmless: names of the corruptions that are no damage to it, and are not asked of its models
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
    ideal: Callable[..., Array] | None = None
    harmless: tuple[str, ...] = ()

    @property
    def width(self) -> int:
        """How many channels a model gets: the task's own, and a constant one of ones, which the harness adds and nothing damages.

        Without it, a layer norm of W x over a single channel would keep no more of x than its sign.
        """
        return self.input_size + 1


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
class Point:
    """What a measure found at one of its points.

    at: the point: a factor of the trained length, a severity, …; length: the sequence length that was tested
    scores: ``loss`` and the task's metrics
    baseline: the loss of a predictor that does not look at the input, at this length
    solved: whether the scores meet the task's goal
    ideal: the loss of the best predictor on the very same stream; 0 where the task states none
    """

    at: float
    length: int
    scores: Mapping[str, float]
    baseline: float
    solved: bool
    ideal: float = 0.0


@dataclass(frozen=True)
class Stream:
    """A test stream: its length, as tasks count it, and batches with the input ``(B, T, D)`` that a model is to get for each."""

    length: int
    batches: Iterable[tuple[Array, Batch]]


@dataclass(frozen=True)
class Measure:
    """A question to a trained model, asked at several points: how well it does on a stream, or one of its own.

    axis: the part of the report that its answers belong to, such as ``robustness``; unit: of the points
    stream: ``stream(task, trial, at) -> Stream``; the harness runs all models of a population on it at once and scores them
    ask: ``ask(model, task, trial, at) -> Point``, with the model (an nn.Module in evaluation mode) on the trial's device
    points: where it is asked, unless the plan says
    corruption: the corruption that it applies, whose source then counts for its key

    Raises ValueError unless there is one of `stream` and `ask`.
    """

    name: str
    axis: str
    stream: Callable[..., Stream] | None = None
    ask: Callable[..., Point] | None = None
    points: tuple[float, ...] = (1.0,)
    unit: str = ""
    corruption: str = ""

    def __post_init__(self) -> None:
        if (self.stream is None) == (self.ask is None):
            raise ValueError(f"measure '{self.name}': takes one of stream= and ask=")


@dataclass(frozen=True)
class Listener:
    """Hears one run: ``start(**options)`` returns an object with hook implementations, or None to stay away.

    The options are keyword-only parameters of `start` with a type and a default; ``suite run --listen NAME=VALUE`` and the keywords
    of ``suite.run`` set them.
    """

    name: str
    start: Callable[..., object | None]
    about: str = ""


@dataclass(frozen=True)
class Executor:
    """Where populations are trained, which changes no result.

    start: ``start(workers, device, **options)`` returns a pool, which keeps the contract in ``suite.execution.executor``
    workers: ``workers(device, **options) -> int``, how many calls are done at once where a run does not say; its options are those of `start`
    """

    name: str
    start: Callable[..., Any]
    workers: Callable[..., int]
    about: str = ""


@dataclass(frozen=True)
class Broken:
    """A plugin that cannot be used, and why."""

    source: str
    reason: str
    traceback: str = ""


@dataclass(frozen=True)
class Machine:
    """Where results come from: versions, hardware, and the commit of the suite.

    device: ``cpu`` or ``cuda``; device_model: the GPU, or the CPU's instruction set
    """

    commit: str
    python: str
    packages: Mapping[str, str]
    system: str
    cpu: str
    cores: int
    device: str
    device_model: str
    threads: int = 1
    tf32: bool = False

    def described(self) -> dict[str, str]:
        """Each property with its name, as a person reads it."""
        return {
            "commit": self.commit,
            "python": self.python,
            **self.packages,
            "system": self.system,
            "cpu": self.cpu,
            "cores": str(self.cores),
            "device": self.device,
            "device model": self.device_model,
            "threads per trial": str(self.threads),
            "TF32": "on" if self.tf32 else "off",
        }


@dataclass(frozen=True)
class Grade:
    """What may be expected of a variant when it is run again.

    run_to_run: outputs and gradients of two runs on one device are the same bits; batch_sizes: a row alone gives the same bits as in a batch
    devices: CPU and CUDA agree to 1e-5 of the largest value, None where there is one of them; failed: why there is no grade
    unresumable: how a training that goes on from a checkpoint departs from one that was never interrupted; empty where it does not
    unsound: what the variant does that forbids comparing it, such as looking ahead while it claims to be causal; empty where nothing was found
    """

    run_to_run: bool | None = None
    batch_sizes: bool | None = None
    devices: bool | None = None
    failed: str = ""
    unsound: str = ""
    unresumable: str = ""

    def __str__(self) -> str:
        if self.failed:
            return f"none: {self.failed}"
        marks = {True: "✓", False: "✗", None: "–"}
        return f"run to run {marks[self.run_to_run]} · batch size {marks[self.batch_sizes]} · device {marks[self.devices]}"


@dataclass(frozen=True)
class Origin:
    """Where a variant is from: its paper, the file that it stands in, and the text of that file, where it is still what the trials rest on."""

    paper: str
    source: str
    text: str = ""


@dataclass(frozen=True)
class Stale:
    """What a report leaves out: the cell of a trial or timing, with the measure where only that is stale, and the sources that changed."""

    what: str
    changed: tuple[str, ...]


@dataclass(frozen=True)
class Provenance:
    """What the rows of a report come from.

    command: the command line that makes them again; empty where they come from a Plan made in Python
    machine: where the last run took place; machines: every set of machine, commit and versions behind a trial, each once
    failed_timings: reasons by cell; grades: by the variant's label; units: of a measure's points, by the measure's name
    sources: name and SHA-256 of each file behind the learning results; accepted: why some stand though their code has changed, by cell
    missing: cells asked for that have no result; edited: fields of the plan that say something else now than when the results were made
    origins: of variants, by the plugin's name; options: of variants and tasks that differ from their defaults, by label
    ended: the day on which the last trial ended, as ``2026-01-31``; empty where no trial says
    """

    command: str
    machine: Machine
    machines: tuple[Machine, ...] = ()
    broken: tuple[Broken, ...] = ()
    failed_timings: Mapping[str, str] = field(default_factory=dict)
    grades: Mapping[str, Grade] = field(default_factory=dict)
    sources: tuple[tuple[str, str], ...] = ()
    missing: tuple[str, ...] = ()
    stale: tuple[Stale, ...] = ()
    edited: tuple[str, ...] = ()
    units: Mapping[str, str] = field(default_factory=dict)
    accepted: Mapping[str, str] = field(default_factory=dict)
    origins: Mapping[str, Origin] = field(default_factory=dict)
    options: Mapping[str, Options] = field(default_factory=dict)
    ended: str = ""


@dataclass(frozen=True)
class Results:
    """All a report is drawn from.

    frame: one row per trial and score (columns: see ``suite.store.frame.COLUMNS``)
    trials: one row per trial, also those that failed, with reason
    plan: the resolved plan, as plain data; claims: sentences of the field to be held against them, by name
    """

    frame: DataFrame
    trials: DataFrame
    plan: Mapping[str, Any]
    provenance: Provenance
    claims: tuple[Claim, ...] = ()


@dataclass(frozen=True)
class Section:
    """A part of the report: `draw(results)` yields its elements in order; sections stand by `order`, then name.

    folded: whether only its title is seen until a reader opens it
    """

    name: str
    title: str
    draw: Callable[[Results], Iterator[Element]]
    order: int = 50
    folded: bool = False
