"""Checks the time left against journals of runs whose end is known: simulated ones, and recorded ones of this suite."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from suite.listeners.course import Heard, Hearing, Layout, Pace
from suite.listeners.forecast import seconds_left
from suite.trial import Outcome, Rule, Trial

from .pretended import asked
from .replay import Asked, Line, forecasts, lines_of, paces
from .simulated import Machine, journal

RECORDED = Path(__file__).parent / "recorded" / "grid.jsonl"
"""Four variants at two lengths, three seeds and two rates, on two quiet cores, grading left out."""

FRACTIONS = (0.25, 0.5, 0.75, 0.9)

GRID = {"lstm": "vendor", "rnn 40": "compiled", "gru 40": "compiled", "layernorm 40": "compiled"}
ASKED = Asked({}, (1.0, 2.0), 4, 512, 32, 24, 25, Rule(4, 8, 0.05, 5.0))
"""What the journals do not say of their plans."""


def errors(lines: list[Line], asked: Asked = ASKED, known: Sequence[Pace] = ()) -> dict[float, float]:
    """By the fraction of a run that has passed: what was forecast, over what was left in truth; 0 where nothing was."""
    whole = next(line["time"] for line in lines if line["what"] == "report_written") - lines[0]["time"]
    said = forecasts(lines, asked, [fraction * whole for fraction in FRACTIONS], known)
    return {fraction: (left or 0.0) / truth for fraction, (truth, left) in zip(FRACTIONS, said, strict=True)}


def near(found: dict[float, float], since: float) -> bool:
    return all(1 / 1.5 <= error <= 1.5 for fraction, error in found.items() if fraction >= since)


ALIKE = Machine({"rnn": 1e-5, "lstm": 1.2e-5, "gru": 1.5e-5, "layernorm": 2e-5})
SLOW_LAST = Machine({"rnn": 1e-5, "lstm": 1e-5, "gru": 2e-5, "attention": 5e-5})
SLOW_FIRST = Machine({"attention": 5e-5, "gru": 2e-5, "lstm": 1e-5, "rnn": 1e-5})
MACHINES = {
    "alike": ALIKE,
    "the slow one last": SLOW_LAST,
    "the slow one first": SLOW_FIRST,
    "no fixed part": replace(ALIKE, fixed=0.0),
    "a busy machine": Machine({"rnn": 1e-4, "lstm": 1.5e-4, "gru": 2e-4}, 10.0, 40.0, 100.0, 0.05, 20.0, 70.0),
}


def simulated(machine: Machine, workers: int = 2) -> list[Line]:
    return journal(machine, lengths=(15, 40), seeds=3, steps=2000, validate_every=25, workers=workers, shapes=3)


@pytest.mark.parametrize("workers", [1, 2, 5])
@pytest.mark.parametrize("name", MACHINES)
def test_from_a_quarter_on_the_time_left_is_near_where_variants_are_known(name: str, workers: int) -> None:
    """The paces that are known are those of a machine that was three times slower."""
    machine = MACHINES[name]
    before = replace(machine, step={variant: 3 * seconds for variant, seconds in machine.step.items()})
    found = errors(simulated(machine, workers), known=paces(simulated(before), ASKED))
    assert near(found, since=0.25), found


@pytest.mark.parametrize("workers", [1, 2, 5])
@pytest.mark.parametrize("name", MACHINES)
def test_it_is_near_once_each_variant_was_seen(name: str, workers: int) -> None:
    found = errors(simulated(MACHINES[name], workers))
    assert near(found, since=0.5 if name.startswith("the slow one") else 0.25), found


@pytest.mark.parametrize("name", MACHINES)
def test_it_never_says_that_nothing_is_left_while_something_is(name: str) -> None:
    lines = simulated(MACHINES[name])
    said = list(forecasts(lines, ASKED, [second / 2 for second in range(int(2 * lines[-1]["time"]))]))
    told = [(truth, left) for truth, left in said if left is not None]
    assert len(told) > len(said) / 2
    assert all(left > 0 for _, left in told)
    assert not [(truth, left) for truth, left in told if truth > 12 and left < 3]


def test_what_is_said_of_a_recorded_run_of_a_minute_is_off_by_half_a_minute_at_most() -> None:
    """From a quarter on, it errs to the long side: most of it is timing, which ends as soon as its ratios are known, and nobody knows when that is."""
    lines = lines_of(RECORDED)
    end = next(line["time"] for line in lines if line["what"] == "report_written")
    said = list(forecasts(lines, replace(ASKED, engines=GRID, compiling=frozenset(["compiled"])), range(int(end / 4), int(end), 5)))
    known = [(truth, left) for truth, left in said if left is not None]
    assert len(known) == len(said)
    assert all(truth - 12 <= left <= truth + 30 for truth, left in known), known


def test_nothing_is_said_before_anything_was_measured(tiny: Trial) -> None:
    hearing = Hearing(0.0)
    assert seconds_left(hearing.layout, hearing.course, 1.0) is None
    hearing.scheduled(Layout(((tiny,),)), 0.0)
    assert seconds_left(hearing.layout, hearing.course, 1.0) is None
    hearing.known([Pace(tiny, 1, step=0.5)])
    assert seconds_left(hearing.layout, hearing.course, 1.0) == pytest.approx(20 * 0.5 + 3.0 + 1.0 + 8.0, rel=0.01)


def test_a_population_that_failed_as_a_whole_is_begun_again_in_parts(tiny: Trial) -> None:
    group = tuple(replace(tiny, seed=seed) for seed in range(4))
    hearing = Hearing(0.0)
    hearing.scheduled(Layout((group,)), 0.0)
    for trial in group:
        hearing.started(trial.key, 1.0)
    hearing.validated(group[0].key, 5, 2.0)
    hearing.validated(group[1].key, 5, 2.5)  # another member's validation at the same step
    assert hearing.course.populations == (Heard(1.0, (5, 2.0), (5, 2.0)),)
    for trial in group[:2]:
        hearing.started(trial.key, 9.0)
    assert hearing.course.populations == (Heard(9.0),)
    for moment, trial in enumerate(group, 10):
        assert hearing.course.populations[0].ended is None
        hearing.finished(trial.key, Outcome(trial.key, "failed", reason="no such luck"), float(moment))
    assert hearing.course.populations == (Heard(9.0, ended=13.0),)
    hearing.finished("unheard of", Outcome("unheard of", "failed"), 14.0)
    assert seconds_left(hearing.layout, hearing.course, 14.0) == pytest.approx(2.0 - 1.0)  # the report, on a machine that took 1 s to begin


def test_trials_that_lack_an_evaluation_alone_take_no_training(tiny: Trial) -> None:
    asked_again = asked(tiny)
    hearing = Hearing(0.0)
    hearing.known([Pace(asked_again, 1, step=100.0, sample=1e-6)])
    hearing.scheduled(Layout(((asked_again,),), trained=frozenset([asked_again.key])), 0.0)
    left = seconds_left(hearing.layout, hearing.course, 0.0)
    assert left is not None
    assert left < 20
