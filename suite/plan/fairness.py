"""Says in what the variants of a plan are alike and in what they are not, each against the baseline."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

from ..spec import Variant
from ..trial import BASELINE, TOLERANCE, Timing, Training, Trial
from . import state

GATELESS = "own: it has no such gate"
"""Stands for the initial memory of a variant that has no gate on its state, so that no plan can set it."""

DATA, BUDGET, RATES = "data", "steps × batch", "learning rates"
PARAMETERS, STATE, MEMORY = "parameters", "state size", "initial memory"
DAMAGE, TRAINED_ON, TIMED_ON, CAUSALITY = "damage in training", "trained on", "timed on", "causality"

ALIKE = "the same streams"


def memory_of(variant: Variant, training: Training) -> str:
    """The memory that the gates of a variant begin with, as a person reads it."""
    if variant.memory is None:
        return GATELESS
    wanted = training.initial_memory
    return wanted if isinstance(wanted, str) else f"{wanted:g}"


def damage_of(training: Training) -> str:
    """What damages the input in training, as a person reads it; empty for nothing."""
    return f"{training.corruption} {training.severity:g}" if training.corruption else ""


@dataclass(frozen=True)
class Given:
    """What one trial is given: all that a fair comparison would give to every variant alike, and what is the variant's own.

    parameters, budget: its own, and the baseline's on this task; 0 where it cannot be built
    state_size: numbers carried from step to step; 0 where not known
    initial_memory, damage: as `memory_of` and `damage_of` say them; the first is empty where it is not known
    """

    variant: str
    task: str
    length: int
    seed: int
    learning_rate: float
    steps: int
    batch_size: int
    parameters: int
    budget: int
    state_size: int
    causal: bool
    engine: str
    initial_memory: str
    damage: str

    @property
    def cell(self) -> tuple[str, int, int]:
        return self.task, self.length, self.seed


@dataclass(frozen=True)
class Aspect:
    """One thing in which a variant may differ from the baseline.

    own, baseline: what each has; equal: whether that is the same for a comparison; None where it is not known
    """

    name: str
    own: str
    baseline: str
    equal: bool | None

    def text(self) -> str:
        return f"{self.name} ({self.own}; {BASELINE.label} {self.baseline})"


@dataclass(frozen=True)
class Fairness:
    """In what a variant and the baseline are alike, aspect by aspect."""

    variant: str
    aspects: tuple[Aspect, ...]

    def aspect(self, name: str) -> Aspect | None:
        return next((aspect for aspect in self.aspects if aspect.name == name), None)

    @property
    def unequal(self) -> tuple[Aspect, ...]:
        return tuple(aspect for aspect in self.aspects if aspect.equal is False)

    @property
    def unknown(self) -> tuple[Aspect, ...]:
        return tuple(aspect for aspect in self.aspects if aspect.equal is None)


def given_to(trial: Trial, variant: Variant) -> Given:
    """What a planned trial is given."""
    return Given(
        variant=trial.variant.label,
        task=trial.task.label,
        length=trial.length,
        seed=trial.seed,
        learning_rate=trial.training.learning_rate,
        steps=trial.training.steps,
        batch_size=trial.training.batch_size,
        parameters=trial.parameters,
        budget=trial.budget,
        state_size=trial.state_size,
        causal=trial.causal,
        engine=trial.engine,
        initial_memory=memory_of(variant, trial.training),
        damage=damage_of(trial.training),
    )


def timed_on(timings: Iterable[Timing]) -> dict[str, tuple[str, ...]]:
    """The engines that each variant is timed on, by label."""
    engines: dict[str, dict[str, None]] = {}
    for timing in timings:
        engines.setdefault(timing.variant.label, {})[timing.engine] = None
    return {label: tuple(names) for label, names in engines.items()}


def compare(given: Iterable[Given], engines: Mapping[str, Sequence[str]]) -> list[Fairness]:
    """Every variant against the baseline, the baseline itself first; nothing where the baseline is not among them.

    engines: those that each variant is timed on, by label; empty where nothing is timed
    """
    rows: dict[str, list[Given]] = {}
    for each in given:
        rows.setdefault(each.variant, []).append(each)
    theirs = rows.get(BASELINE.label)
    if theirs is None:
        return []
    names = sorted(rows, key=lambda name: name != BASELINE.label)
    return [Fairness(name, tuple(_aspects(rows[name], theirs, engines))) for name in names]


def _aspects(own: Sequence[Given], theirs: Sequence[Given], engines: Mapping[str, Sequence[str]]) -> Iterable[Aspect]:
    yield _data(own, theirs)
    yield _same(BUDGET, own, theirs, lambda given: (given.task, given.length, given.steps, given.batch_size), _budgets)
    yield _same(RATES, own, theirs, lambda given: given.learning_rate, lambda rows: _listed({given.learning_rate for given in rows}))
    yield _parameters(own)
    yield _states(own, theirs)
    yield _memories(own, theirs)
    if any(given.damage for given in (*own, *theirs)):
        yield _same(DAMAGE, own, theirs, lambda given: (given.task, given.damage), lambda rows: _named(given.damage for given in rows))
    yield _same(TRAINED_ON, own, theirs, lambda given: (given.task, given.length, given.engine), _engines)
    if engines:
        ours, base = (", ".join(engines.get(rows[0].variant, ())) or "not timed" for rows in (own, theirs))
        yield Aspect(TIMED_ON, ours, base, ours == base)
    causal = ["causal" if rows[0].causal else "sees the whole sequence" for rows in (own, theirs)]
    yield Aspect(CAUSALITY, causal[0], causal[1], causal[0] == causal[1])


def _same(
    name: str, own: Sequence[Given], theirs: Sequence[Given], value: Callable[[Given], object], text: Callable[[Sequence[Given]], str]
) -> Aspect:
    """An aspect that is equal where both have the same values at the tasks and lengths that both are trained at."""
    shared = {given.cell[:2] for given in own} & {given.cell[:2] for given in theirs}
    ours, base = ({value(given) for given in rows if given.cell[:2] in shared} for rows in (own, theirs))
    return Aspect(name, text(own), text(theirs), ours == base)


def _data(own: Sequence[Given], theirs: Sequence[Given]) -> Aspect:
    """Streams are keyed by task, length and seed, and by no variant: who trains in the same cells sees the same samples."""
    ours, base = ({given.cell for given in rows} for rows in (own, theirs))
    text = ALIKE if ours == base else f"{len(ours & base)} of {len(base)} streams"
    return Aspect(DATA, text, ALIKE, ours == base)


def _parameters(own: Sequence[Given]) -> Aspect:
    """As a ratio to the baseline's on the same task."""
    sized = {given.parameters / given.budget for given in own if given.parameters and given.budget}
    if not sized:
        return Aspect(PARAMETERS, "not known", "1", None)
    low, high = (f"{end:.2f}" for end in (min(sized), max(sized)))
    text = f"× {low}" if low == high else f"× {low}–{high}"
    return Aspect(PARAMETERS, text, "× 1.00", all(abs(ratio - 1) <= TOLERANCE for ratio in sized))


def _states(own: Sequence[Given], theirs: Sequence[Given]) -> Aspect:
    """Compared at each task and length."""
    ours, base = ({(given.task, given.length): given.state_size for given in rows} for rows in (own, theirs))
    both = [(ours[cell], base[cell]) for cell in ours if cell in base]
    known = [pair for pair in both if state.UNKNOWN not in pair]
    equal = all(abs(mine - other) <= TOLERANCE * other for mine, other in known) if known and len(known) == len(both) else None
    return Aspect(STATE, state.text(ours.values(), own[0].causal), state.text(base.values()), equal)


def _memories(own: Sequence[Given], theirs: Sequence[Given]) -> Aspect:
    """``own`` is what each variant's author chose, and so not the same in two variants."""
    ours, base = ({given.initial_memory for given in rows} for rows in (own, theirs))
    text, other = _named(ours), _named(base)
    if "" in ours | base:
        return Aspect(MEMORY, text, other, None)
    return Aspect(MEMORY, text, other, ours == base and ("own" not in ours or own[0].variant == theirs[0].variant))


def _budgets(rows: Sequence[Given]) -> str:
    steps, batches = ({getattr(given, name) for given in rows} for name in ("steps", "batch_size"))
    return f"{_span(steps)} × {_span(batches)}"


def _engines(rows: Sequence[Given]) -> str:
    return _named(given.engine for given in rows)


def _span(numbers: Collection[int]) -> str:
    low, high = min(numbers), max(numbers)
    return f"{low}" if low == high else f"{low}–{high}"


def _listed(numbers: Collection[float]) -> str:
    return ", ".join(f"{number:g}" for number in sorted(numbers))


def _named(names: Iterable[str]) -> str:
    return ", ".join(sorted({name or "–" for name in names}))
