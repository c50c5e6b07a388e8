"""Checks what is said in a word of each variant, and the bars that show it."""

from __future__ import annotations

import math

import pytest

from suite import Bar
from suite.report.answer import BEST, Answer, Row
from suite.report.bars import bars
from suite.report.stats import Interval
from suite.report.worth import Worth, worth

EFFECTS = {"better": 0.3, "worse": -0.3, "undecided": 0.0}
RATIOS = {"better": 0.5, "worse": 2.0, "undecided": 1.0}


def rows(speed: str, robustness: str, memory: str, best: str = "") -> Answer:
    """An answer about one variant, by its verdicts."""
    found = [
        Row("gru", axis, engine, verdict, Interval(effect, effect - 0.1, effect + 0.1, 2))  # type: ignore[arg-type]
        for axis, engine, verdict, effect in (
            ("speed", "reference", speed, RATIOS.get(speed, math.nan)),
            ("speed", BEST, best or speed, RATIOS.get(best or speed, math.nan)),
            ("robustness", "", robustness, EFFECTS.get(robustness, math.nan)),
            ("long_range", "", memory, EFFECTS.get(memory, math.nan)),
        )
    ]
    return Answer(tuple(found), ())


@pytest.mark.parametrize(
    ("verdicts", "said"),
    [
        (("better", "undecided", "better"), Worth("Worth it", "faster and remembers further; robustness undecided.")),
        (("better", "better", "better"), Worth("Worth it", "faster, more robust and remembers further, and nothing lost.")),
        (("better", "undecided", "worse"), Worth("A trade", "faster, but remembers less far; robustness undecided.")),
        (("worse", "undecided", "undecided"), Worth("No gain seen", "slower; robustness and memory undecided.")),
        (("undecided", "undecided", "undecided"), Worth("Undecided", "no difference to lstm was found.")),
    ],
)
def test_gains_and_losses_make_a_word(verdicts: tuple[str, str, str], said: Worth) -> None:
    assert worth(rows(*verdicts), "gru") == said


def test_speed_says_where_it_holds_unless_it_holds_on_both_engines() -> None:
    said = worth(rows("better", "undecided", "undecided", best="worse"), "gru")
    assert said == Worth("A trade", "faster on the reference engine, but slower with each on its fastest; robustness and memory undecided.")


def test_what_compares_in_nothing_says_why() -> None:
    none = Row("bilstm", "long_range", "", "not comparable", Interval(math.nan, math.nan, math.nan, 0), why="it sees the future")
    assert worth(Answer((none,), ()), "bilstm") == Worth("Not compared", "it sees the future.")
    assert worth(Answer((), ()), "bilstm").word == "Not compared"


def test_bars_of_both_times_share_a_scale_with_lstm_in_the_middle() -> None:
    columns = bars(rows("better", "undecided", "worse", best="worse"), ["gru"])
    assert list(columns) == ["time, reference engine", "time, best available", "robust", "remembers"]
    (same,), (best,), _, (memory,) = columns.values()
    assert isinstance(same, Bar)
    assert isinstance(best, Bar)
    assert isinstance(memory, Bar)
    assert same.mean == pytest.approx(1 - best.mean), "half and twice lie equally far from lstm"
    assert same.low < same.mean < same.high < same.level == 0.5 < best.mean
    assert memory.mean < memory.high < 0.5
    assert str(memory) == "▼ −0.30 (−0.40 to −0.20)"
    assert memory.verdict == "worse"


def test_a_row_without_an_effect_has_no_bar() -> None:
    none = Answer((Row("gru", "robustness", "", "not comparable", Interval(math.nan, math.nan, math.nan, 0)),), ())
    assert bars(none, ["gru"])["robust"] == ["–"]
