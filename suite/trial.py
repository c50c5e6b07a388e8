"""Holds a run's work and its outcomes as plain frozen data: trials, timings, gradings, and what came of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, is_dataclass
from functools import cached_property
from pathlib import Path
from typing import Literal

from .keys import digest
from .spec import Machine, Plugin, Point

BASELINE = Plugin("lstm")
"""The variant that sets parameter budgets and that every other is compared with."""

TOLERANCE = 0.03
"""A count of parameters that differs from the budget by more than this part of it is flagged."""

TEST_SAMPLES = 4096
"""The size of a test stream, unless the plan says: the standard error of a share is then below one point."""

FORWARD, BOTH, STEP = "forward", "forward+backward", "step"
"""What is timed: of a whole sequence, with and without gradients; and of a stream, the next step."""

Status = Literal["ok", "diverged", "failed", "crashed", "oom", "timeout", "skipped"]
"""How a trial ends: well; with a loss that left all bounds; by what a plugin raised; by the death of its process; for want of memory;
beyond its time; or not at all, since the run was stopped before. What was skipped is not stored."""

FAULTS: tuple[Status, ...] = ("failed", "crashed", "oom", "timeout")
"""Ends that say nothing of what a variant can learn; another run tries such trials again."""


UNUSED: Mapping[str, object] = {"weight_decay": 0.0, "warmup": 0, "schedule": "constant", "recompute": 0}
"""Protocol fields that count for no key, and stand in no record of a plan, where they have these values: then nothing is other than it was
before there were such fields."""


def used(protocol: Mapping[str, object]) -> dict[str, object]:
    """Protocol fields without those that are not used."""
    return {name: value for name, value in protocol.items() if name not in UNUSED or value != UNUSED[name]}


def cell_name(variant: Plugin, task: Plugin, length: int, seed: int, learning_rate: float) -> str:
    """How a trial is named in ledgers and lists."""
    return f"{variant.label} | {task.label} | {length} | {seed} | {learning_rate!r}"


def timing_name(variant: str, engine: str, shape: Shape) -> str:
    """How a timing is named in ledgers and lists; `variant` is its label."""
    return f"{variant} | {engine} | {shape.text()}"


def _digest(record: Trial | Timing | Grading, apart: tuple[str, ...]) -> str:
    """The digest of a record's fields, some left apart; those that are records themselves count with theirs."""
    values = {field.name: getattr(record, field.name) for field in fields(record) if field.name not in apart}
    return digest({name: used(vars(value)) if is_dataclass(value) else value for name, value in values.items()})


@dataclass(frozen=True)
class Training:
    """The protocol fields of one trial.

    weight_decay: the part of each weight that a step takes away, times the learning rate; warmup: steps over which the rate rises
    schedule: what becomes of the rate afterwards
    recompute: how many steps of a derived recurrence are done again at once on the way back; 0: none, all they need is kept
    initial_memory: the bias that gates begin with which keep a state; ``chrono`` by the sequence length; ``own`` as the variant has it
    corruption, severity: damage to the input of training and validation; no name for none
    """

    optimizer: Literal["adam", "adamw", "rmsprop", "sgd"]
    learning_rate: float
    batch_size: int
    steps: int
    validate_every: int
    evaluation_samples: int
    clip: float
    stop: Literal["budget", "solved"]
    dtype: Literal["float32", "float64"]
    initial_memory: float | Literal["chrono", "own"] = 1.0
    corruption: str = ""
    severity: float = 0.0
    weight_decay: float = 0.0
    warmup: int = 0
    schedule: Literal["constant", "cosine"] = "constant"
    recompute: int = 0


@dataclass(frozen=True)
class Evaluation:
    """A measure to be asked of one trained model at its points.

    trained: the key of the trial whose model is asked
    sources: digests of the code that asks
    samples: how many the test stream has
    """

    measure: str
    axis: str
    at: tuple[float, ...]
    trained: str
    sources: Mapping[str, str]
    samples: int = TEST_SAMPLES

    @cached_property
    def key(self) -> str:
        return digest([self.trained, self.measure, self.at, self.samples, dict(self.sources)])


@dataclass(frozen=True)
class Trial:
    """One training to run.

    sources: digests of the code, and versions of the packages, that decide what is learned, by name
    surroundings: versions of torch and NumPy, the plugin API and the device, which decide it to the last bit
    test_samples: how many samples the test streams have that its model is asked on
    state_size: how many numbers the variant carries from step to step at the end of a sequence; 0 where that is not known
    """

    variant: Plugin
    task: Plugin
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
    sources: Mapping[str, str]
    surroundings: Mapping[str, str]
    test_samples: int = TEST_SAMPLES
    state_size: int = 0
    evaluations: tuple[Evaluation, ...] = ()

    @cached_property
    def key(self) -> str:
        """A digest of all that can change what is learned; the budget, the evaluations and their samples cannot."""
        return _digest(self, apart=("evaluations", "test_samples", "budget", "causal", "state_size"))

    @property
    def cell(self) -> str:
        """What the trial stands for in its plan, whatever version of the code ran it."""
        return cell_name(self.variant, self.task, self.length, self.seed, self.training.learning_rate)


@dataclass(frozen=True, order=True)
class Shape:
    """What is timed together, since its times compare.

    length, batch_size: of the input; width: the baseline's hidden size, which the variants' own are matched to
    streaming: whether the sequence comes one step at a time, each in a call that carries the state on; its length and batch are then 1
    """

    length: int
    batch_size: int
    width: int
    streaming: bool = False

    def text(self) -> str:
        return f"streaming, H={self.width}" if self.streaming else f"T={self.length}, B={self.batch_size}, H={self.width}"


@dataclass(frozen=True)
class Rule:
    """When a measurement of times ends: after `repeats` rounds at least, and `most` at most.

    Between them it ends where every ratio's interval reaches no further than `precision` of it to either side, or after so many seconds.
    """

    repeats: int
    most: int
    precision: float
    seconds: float


@dataclass(frozen=True)
class Timing:
    """One latency to measure: a variant on an engine at one shape."""

    variant: Plugin
    engine: str
    shape: Shape
    input_size: int
    hidden_size: int
    parameters: int
    rule: Rule
    dtype: str
    device: str
    causal: bool
    sources: Mapping[str, str]
    surroundings: Mapping[str, str]

    @cached_property
    def key(self) -> str:
        return _digest(self, apart=("causal",))

    @property
    def cell(self) -> str:
        return timing_name(self.variant.label, self.engine, self.shape)


@dataclass(frozen=True)
class Grading:
    """One variant whose repeatability is to be graded."""

    variant: Plugin
    hidden_size: int
    device: str
    sources: Mapping[str, str]
    surroundings: Mapping[str, str]

    @cached_property
    def key(self) -> str:
        return _digest(self, apart=())


@dataclass(frozen=True)
class Validation:
    """Scores on the validation stream at one step."""

    step: int
    scores: Mapping[str, float]


@dataclass(frozen=True)
class Learning:
    """What a trial learned, the same to the bit on a like machine.

    goal, baseline: when the task counts as solved, and the loss without looking at the input
    best_step: where validation was best; None where there was no finite validation
    steps_to_solve: the first of two successive validations that met the goal; None where there are none
    ideal: the loss of the best predictor on the validation stream; 0 where the task states none
    """

    goal: str
    baseline: float
    curve: tuple[Validation, ...] = ()
    best_step: int | None = None
    steps_to_solve: int | None = None
    ideal: float = 0.0


@dataclass(frozen=True)
class Outcome:
    """How a trial ended.

    traceback: of what was raised; of a process that died what it printed last, with the stack it stood in where that is known
    last_step: of a trial that did not end well, the last training step it is known to have begun; None where it is known of none
    learning: None where nothing was learned
    evaluations: what the measures found, by evaluation key
    train_seconds: the trial's share of its population's training, without compiling; None where nothing was trained
    compile_seconds: its share of that; members: how many trials were trained as one program

    The last three are measurements, which no digest contains.
    """

    key: str
    status: Status
    reason: str = ""
    traceback: str = ""
    last_step: int | None = None
    learning: Learning | None = None
    evaluations: Mapping[str, tuple[Point, ...]] = field(default_factory=dict)
    train_seconds: float | None = None
    compile_seconds: float | None = None
    members: int | None = None


@dataclass(frozen=True)
class Cost:
    """What forward and backward take beside time.

    peak_bytes: of memory, at most, beyond the model and its input
    operations: floating-point ones, of products of matrices alone; moved_bytes: read and written by the plain loop's operations
    joules: of energy, what an idle device uses included; None where the device does not tell
    """

    peak_bytes: int
    operations: int
    moved_bytes: int
    joules: float | None = None


@dataclass(frozen=True)
class Roof:
    """What the device reaches at most, as measured: operations a second in one large product, bytes a second in one large copy."""

    operations: float
    bytes: float


@dataclass(frozen=True)
class Timed:
    """What a timing measured, in seconds a call: by what was timed, one value a round.

    baseline_seconds: the baseline's on the same engine in the same rounds; clone_seconds: those of a copy of the baseline
    fused: whether one kernel runs the whole recurrence
    cost, roof: what else it takes, and what the device could; None where that was not measured
    failed: why there is no measurement, where there is none
    """

    seconds: Mapping[str, tuple[float, ...]] = field(default_factory=dict)
    baseline_seconds: Mapping[str, tuple[float, ...]] = field(default_factory=dict)
    clone_seconds: Mapping[str, tuple[float, ...]] = field(default_factory=dict)
    fused: bool = False
    cost: Cost | None = None
    roof: Roof | None = None
    failed: str = ""


@dataclass(frozen=True)
class Invocation:
    """One run of a plan.

    trials: all trials asked for, in the plan's order; pending: the keys among them that this run works on
    finished: outcomes that were in the store already, by trial key
    workers: how many processes train; 0 where this one does, for a debugger
    """

    plan: str
    runs: Path
    device: str
    trials: tuple[Trial, ...]
    pending: frozenset[str]
    finished: Mapping[str, Outcome]
    machine: Machine
    workers: int = 1
