"""Says of a plan, before anything is trained, how fair its comparisons are, what they could decide, and what speaks against them."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

import numpy as np

from ..claim import Claim, Expectation
from ..errors import contained
from ..machine import memory
from ..measures import gradient
from ..plan import fairness as fair
from ..plan.fairness import Fairness
from ..plan.limits import tested_bytes
from ..plan.schema import Plan
from ..plan.trials import ChosenTask, counts, damages, questions_of, tasks_of, variants_of
from ..registry.registry import Registry
from ..trial import BASELINE, Timing, Trial
from . import attainable, inference
from .answer import LEARNED, in_spreads, needed_seeds
from .claims import QUANTITIES
from .solving import LEAST_SEEDS
from .stats import least_p

Mark = Literal["ok", "note", "warn"]

SPREADS = (0.05, 0.2, 0.4)
"""Standard deviations of a paired difference of skills that are assumed: of variants that always solve, of most, of solved-or-not."""

WANTED = 0.1
"""A difference of skills that a plan had better find."""

FORGOTTEN = 1e-3
"""A gate that keeps less of a state over a whole sequence keeps nothing of use."""

PRECISE = 0.01
"""The standard error of a test stream's share that is small enough: one point."""

MUCH = 0.5
"""A test batch that takes more than this part of the memory is told of."""

MUST_BE_EQUAL = (fair.DATA, fair.BUDGET, fair.RATES, fair.DAMAGE)
"""What the protocol promises to every variant alike."""

MATCHED = {"parameters": fair.PARAMETERS, "state_size": fair.STATE}
"""What else must be equal, by the rule of matching."""


@dataclass(frozen=True)
class Remark:
    """Something to say of a plan: `warn` for what would overturn an answer, `note` for what a reader must know."""

    mark: Mark
    topic: str
    text: str

    def line(self) -> str:
        return f"{self.mark:4}  {self.topic}: {self.text}"


@dataclass(frozen=True)
class Lint:
    """All that is to say of a plan, and the fairness behind it."""

    plan: str
    remarks: tuple[Remark, ...]
    fairness: tuple[Fairness, ...]

    @property
    def warned(self) -> bool:
        return any(remark.mark == "warn" for remark in self.remarks)

    def also(self, remark: Remark) -> Lint:
        return replace(self, remarks=(*self.remarks, remark))

    def text(self) -> str:
        """A line for each remark, and their number."""
        marks = [remark.mark for remark in self.remarks]
        total = ", ".join(f"{marks.count(mark)} {mark}" for mark in ("ok", "note", "warn"))
        return "\n".join([*(remark.line() for remark in self.remarks), f"{self.plan}: {total}"])

    def plain(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True)
class Planned:
    """A plan with what it becomes on a device.

    plan: narrowed to what is asked for
    """

    plan: Plan
    registry: Registry
    device: str
    trials: tuple[Trial, ...]
    timings: tuple[Timing, ...]

    @property
    def compared(self) -> list[str]:
        """The variants that are judged against the baseline: none where that is not trained, and none that is not causal."""
        causal = {trial.variant.label: trial.causal for trial in self.trials}
        return [name for name, own in causal.items() if own and name != BASELINE.label] if BASELINE.label in causal else []

    @property
    def corruptions(self) -> dict[str, list[str]]:
        """The tasks that each corruption of the plan is damage to."""
        tasks, questions = tasks_of(self.plan, self.registry), questions_of(self.plan, self.registry)
        asked = [question.measure for question in questions if question.measure.corruption]
        return {measure.name: [task.plugin.label for task in tasks if counts(measure, task.provided.noun)] for measure in asked}


def lint(planned: Planned) -> Lint:
    """What is to say of a plan: of its comparisons, then of its protocol, then of what it could decide."""
    variants = planned.registry.variants
    given = [fair.given_to(trial, variants[trial.variant.name].noun) for trial in planned.trials]
    fairness = fair.compare(given, fair.timed_on(planned.timings))
    topics = (_fairness(fairness, planned), _apart(planned), _protocol(planned), _tests(planned), _lengths(planned), _power(planned))
    remarks = [*itertools.chain(*topics), *_claims(planned)]
    return Lint(planned.plan.name, tuple(remarks), tuple(fairness))


# Comparisons


def _fairness(fairness: Sequence[Fairness], planned: Planned) -> Iterator[Remark]:
    """A remark for each comparison."""
    must = {*MUST_BE_EQUAL, MATCHED.get(planned.plan.matching.rule, "")}
    for each in fairness[1:]:
        unequal, unknown = each.unequal, each.unknown
        parts = [f"not equal in {', '.join(aspect.text() for aspect in unequal)}"] if unequal else []
        parts += [f"not known: {', '.join(aspect.name for aspect in unknown)}"] if unknown else []
        mark: Mark = "warn" if must & {aspect.name for aspect in (*unequal, *unknown)} else "note" if parts else "ok"
        yield Remark(mark, "fairness", f"{each.variant}: {'; '.join(parts) or 'equal in all that is compared'}")


def _apart(planned: Planned) -> Iterator[Remark]:
    """Who is compared with nobody."""
    causal = {trial.variant.label: trial.causal for trial in planned.trials}
    if BASELINE.label not in causal:
        yield Remark("warn", "baseline", f"{BASELINE.label} is not trained, so that nothing learned is compared; add it to variants")
    elif len(causal) == 1:
        yield Remark("warn", "baseline", f"only {BASELINE.label} is trained, so that nothing is compared; add variants")
    if unseen := [name for name, own in causal.items() if not own]:
        yield Remark("note", "causality", f"ranked with nobody, since they see the future of the sequence: {', '.join(unseen)}")


# The protocol


def _protocol(planned: Planned) -> Iterator[Remark]:
    training = planned.plan.training
    if len(training.learning_rates) == 1:
        yield Remark("warn", "learning rate", f"untuned: {training.learning_rates[0]:g} for all suits some better than others; name three")
    else:
        yield Remark("ok", "learning rate", f"{len(training.learning_rates)} rates, tried alike by all and chosen by the other seeds")
    yield from _memory(planned)
    tasks = tasks_of(planned.plan, planned.registry)
    if training.corruption and not any(damages(training.corruption, task.provided.noun) for task in tasks):
        yield Remark("warn", "damage", f"training under {training.corruption} damages no task of the plan")


def _memory(planned: Planned) -> Iterator[Remark]:
    """Whether gates begin with a memory as long as the sequences."""
    wanted = planned.plan.training.initial_memory
    if wanted == "chrono":
        yield Remark("ok", "initial memory", "by the length of the sequence, alike for every variant that has such gates")
    elif isinstance(wanted, str):
        yield Remark(
            "warn", "initial memory", 'each variant begins with its own, and the ranking may measure that; set initial_memory = "chrono"'
        )
    else:
        tests = (1.0, *planned.plan.evaluations.lengths)
        yield from _constant_memory(wanted, sorted({trial.length for trial in planned.trials}), max(tests))


def _constant_memory(bias: float, lengths: Sequence[int], longest: float) -> Iterator[Remark]:
    """Of gates that all begin with one bias: tested up to so many times the trained lengths."""
    forgotten = [length for length in lengths if kept(bias, length) < FORGOTTEN]
    later = [round(longest * length) for length in lengths if length not in forgotten and kept(bias, longest * length) < FORGOTTEN]
    if forgotten:
        cells = ", ".join(f"{kept(bias, length):.0e} at T = {length}" for length in forgotten)
        text = f'a bias of {bias:g} keeps {cells}: the ranking would measure that constant; set initial_memory = "chrono"'
        yield Remark("warn", "initial memory", text)
    if later:
        lengths_later = ", ".join(map(str, later))
        yield Remark("note", "initial memory", f"a bias of {bias:g} keeps less than {FORGOTTEN:g} at the tested lengths {lengths_later}")
    if not forgotten and not later:
        yield Remark("ok", "initial memory", f"a bias of {bias:g} keeps at least {FORGOTTEN:g} of a state over every sequence")


def kept(bias: float, length: float) -> float:
    """What a gate of this bias keeps of a state over so many steps, its input apart: σ(b)^T."""
    return math.exp(-length * float(np.logaddexp(0.0, -bias)))


def _tests(planned: Planned) -> Iterator[Remark]:
    """Whether test streams tell what they are asked, and who is asked."""
    samples = planned.plan.evaluations.samples
    error = 0.5 / math.sqrt(samples)
    shares = []
    for task in tasks_of(planned.plan, planned.registry):
        with contained() as raised:
            if task.provided.noun.solved(task.lengths[0], **task.plugin.options).at_least is not None:
                shares.append(task.plugin.label)
        if raised:
            name = task.plugin.name
            yield Remark(
                "warn", "tests", f"task '{task.plugin.label}': its goal cannot be asked for ({raised.reason}); try: suite check {name}"
            )
    if shares and error > PRECISE:
        enough = math.ceil((0.5 / PRECISE) ** 2)
        text = f"{samples} samples leave a share uncertain by up to {100 * error:.1f} points ({', '.join(shares)}); set samples to {enough} or more"
        yield Remark("warn", "tests", text)
    elif shares:
        yield Remark("ok", "tests", f"{samples} samples leave a share uncertain by at most {100 * error:.1f} points")
    for corruption, tasks in planned.corruptions.items():
        if not tasks:
            yield Remark("warn", "damage", f"{corruption} is harmless to every task of the plan, and is asked of none")
    if not any(planned.corruptions.values()):
        yield Remark("note", "damage", "no corruption is asked about, so that nothing is said of robustness")
    yield from _goals(planned)
    yield from _room(planned)


def _goals(planned: Planned) -> Iterator[Remark]:
    """Whether goals can be met: on a small stream even the ideal predictor may be unlucky."""
    cells = {(trial.task.label, trial.length): trial for trial in planned.trials}
    met = 0
    for (label, length), trial in cells.items():
        task = planned.registry.task(trial.task.name).noun
        with contained() as raised:
            missed = attainable.missed(task, trial)
            met += attainable.is_asked(task, trial) and not missed
            for split in missed:
                goal = task.solved(length, **trial.task.options)
                remedy = "evaluation_samples" if split == "validation" else "[evaluations] samples"
                text = f"on the {split} stream the ideal predictor itself misses {goal}; raise {remedy}, or set another eval_seed"
                yield Remark("warn", "goals", f"{label}, T = {length}: {text}")
        if raised:
            text = f"its ideal predictor cannot be asked ({raised.reason}); try: suite check {trial.task.name}"
            yield Remark("warn", "goals", f"task '{label}': {text}")
    if met:
        yield Remark("ok", "goals", f"the ideal predictor meets the goal on the streams of {met} of {len(cells)} cells")


def _room(planned: Planned) -> Iterator[Remark]:
    """Whether the longest test batch fits; what does not fit by itself is refused before."""
    largest = max(planned.trials, key=tested_bytes)
    needed, available = tested_bytes(largest), memory(planned.device)
    text = f"the outputs of the longest test batch take {needed / 2**20:,.0f} MiB of {available / 2**20:,.0f} on {planned.device}"
    if needed > MUCH * available:
        where = f"{largest.variant.label}, {largest.task.label}, T = {largest.length}"
        yield Remark("warn", "memory", f"{text} ({where}); shorten [evaluations] lengths, or lower evaluation_samples")
    else:
        yield Remark("ok", "memory", text)


def _lengths(planned: Planned) -> Iterator[Remark]:
    """Whether a memory horizon can be read from the trained lengths."""
    for task in tasks_of(planned.plan, planned.registry):
        yield _ladder(task)


def _ladder(task: ChosenTask) -> Remark:
    name, lengths = task.plugin.label, sorted(task.lengths)
    steps = [longer / shorter for shorter, longer in itertools.pairwise(lengths)]
    shown = ", ".join(map(str, lengths))
    if not steps:
        return Remark("note", "lengths", f"{name} is trained at {shown} alone, so that no memory horizon can be read")
    if max(steps) > 2:
        return Remark(
            "note", "lengths", f"{name} at {shown}: a memory horizon is known to a factor of {max(steps):.3g} only; let lengths double"
        )
    return Remark("ok", "lengths", f"{name} at {shown}: a memory horizon is known to a factor of {max(steps):.3g}")


# What could be decided


def _power(planned: Planned) -> Iterator[Remark]:
    """What difference the plan could find, under stated assumptions."""
    compared, seeds = planned.compared, len(planned.plan.seeds)
    if not compared:
        return
    cells = len({(trial.task.label, trial.length) for trial in planned.trials})
    comparisons = len(LEARNED) * len(compared)
    asked = f"variants {len(compared)} × axes of learning {len(LEARNED)}"
    yield Remark("ok", "comparisons", f"{comparisons}, adjusted together ({asked}), over {cells} cells with {seeds} seeds each")
    for spread in SPREADS:
        least = spread * in_spreads((seeds,) * cells, comparisons)
        needed = needed_seeds(WANTED, spread, cells, comparisons)
        enough = f"{WANTED:g} takes {needed} seeds" if needed else f"{WANTED:g} takes more than {inference.MOST_SEEDS} seeds"
        assumed = f"if paired differences spread by {spread:g}"
        if least > 1:
            yield Remark("warn", "power", f"{assumed}, no difference can be found; {enough}")
        else:
            text = f"{assumed}, one of {least:.2f} in the mean over cells is found in four of five such plans; {enough}"
            yield Remark("ok" if least <= WANTED else "note", "power", text)
    if seeds < LEAST_SEEDS:
        text = f"no cell is judged by itself: that takes {LEAST_SEEDS} seeds, and {seeds} give no p below {least_p(seeds):.2g}"
        yield Remark("note", "power", text)


def _claims(planned: Planned) -> Iterator[Remark]:
    """Which of the field's claims the plan asks about, and what it would need for the others."""
    trained = {plugin.label for plugin, _ in variants_of(planned.plan, planned.registry)}
    lacking = {name: _lacking(provided.noun, trained, planned) for name, provided in sorted(planned.registry.claims.items())}
    asked = [name for name, needs in lacking.items() if not needs]
    if asked:
        yield Remark("ok", "claims", f"held against this plan: {', '.join(asked)}")
    for name, needs in lacking.items():
        if needs:
            yield Remark("note", "claims", f"{name} would need {', '.join(needs)}")


def _lacking(claim: Claim, trained: set[str], planned: Planned) -> list[str]:
    """What a plan would need for a claim to be ruled on, each once."""
    return list(dict.fromkeys(need for expected in claim.expects for need in _needs(expected, trained, planned)))


def _needs(expected: Expectation, trained: set[str], planned: Planned) -> Iterator[str]:
    yield from (name for name in (expected.variant, expected.against) if name not in trained)
    there: Mapping[str, tuple[bool, str]] = {
        "time": (bool(planned.timings), "[timing] lengths"),
        "retained": (any(planned.corruptions.values()), "a corruption in [evaluations]"),
        "beyond": (bool(planned.plan.evaluations.lengths), "[evaluations] lengths"),
        "reach": (gradient.NAME in planned.plan.evaluations.measures, f"the measure '{gradient.NAME}' in [evaluations]"),
    }
    if expected.quantity not in QUANTITIES:
        yield f"a quantity '{expected.quantity}', which there is not"
    elif expected.quantity in there and not there[expected.quantity][0]:
        yield there[expected.quantity][1]
    if expected.quantity == "time" and expected.against != BASELINE.label:
        yield f"times against {expected.against}, which are measured against {BASELINE.label} alone"
