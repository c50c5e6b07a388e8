"""Checks what is found of each variant against the baseline: which pairs count, what is adjusted, and what makes nothing of it."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from suite import Results, verdict
from suite.check.imagined import fill
from suite.ops.engines import REFERENCE, VENDOR
from suite.report import telling
from suite.report.answer import BEST, Answer, Cell, Row, answer, differences, exchangeable
from suite.spec import Grade
from suite.store import frame

from .drawing import TIMES, write


def found(results: Results, variant: str, axis: str = "long_range", engine: str = "") -> Row:
    row = answer(results).row(variant, axis, engine)  # type: ignore[arg-type]
    assert row is not None
    return row


Skill = Callable[[str, str, int, int], "float | str | None"]


def results_of(folder: Path, skill: Skill, **changes: object) -> Results:
    return frame.read(fill(folder, skill, variants=["lstm", "gru", "rnn"], seeds=5, **changes))  # type: ignore[arg-type]


def test_a_difference_in_every_pair_is_found_and_its_mean_is_the_effect(tmp_path: Path) -> None:
    row = found(results_of(tmp_path, lambda v, _t, _n, s: 0.93 + 0.01 * s - 0.05 * (v == "gru")), "gru")
    assert (row.verdict, row.cells, row.pairs) == ("worse", 4, 20)
    assert row.effect.mean == pytest.approx(-0.05)
    assert row.effect.low < -0.05 < row.effect.high
    assert row.p < 1e-3


def test_equal_variants_are_undecided_and_it_is_said_what_would_have_been_seen(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).normal(0.93, 0.01, size=(3, 2, 2, 5))
    place = {name: index for index, name in enumerate(("lstm", "gru", "rnn", "adding", "noisy"))}
    row = found(results_of(tmp_path, lambda v, t, n, s: float(noise[place[v], place[t] - 3, n // 20, s])), "rnn")
    assert row.verdict == "undecided"
    assert 0.005 < row.visible < 0.03  # a spread of 0.014 in 20 pairs
    assert row.needed is None or row.needed > 5


def test_only_seeds_that_both_have_are_paired(tmp_path: Path) -> None:
    ways = {("gru", 0): "failed", ("lstm", 1): "missing", ("gru", 2): None}
    rows = verdict.trials(results_of(tmp_path, lambda v, _t, _n, s: ways.get((v, s), 0.9)))
    pairs = differences(rows.assign(condition=""), "gru")
    assert set(pairs) == {Cell("adding", 10), Cell("adding", 20), Cell("noisy", 10), Cell("noisy", 20)}
    assert pairs[Cell("adding", 10)].tolist() == pytest.approx([-0.9, 0, 0])  # a diverged seed has no skill, and stays


def test_what_is_exchanged_is_whole_seeds_at_every_rate(tmp_path: Path) -> None:
    """A seed of which either lost a trial at any rate is left out; one that diverged has no skill there."""
    lost = {("gru", 1): "failed", ("lstm", 2): "missing", ("gru", 3): None}
    results = results_of(tmp_path, lambda v, _t, _n, s: lost.get((v, s), 0.9), rates=(0.1, 0.01))
    ours, theirs = exchangeable(results, "gru", [Cell("adding", 10)])
    assert [np.shape(scores) for scores in (*ours[0], *theirs[0])] == [(2, 3)] * 4
    assert np.asarray(ours[0][1]).tolist() == [pytest.approx([0.9, 0.0, 0.9])] * 2
    assert np.asarray(theirs[0][1]).tolist() == [pytest.approx([0.9, 0.9, 0.9])] * 2
    assert exchangeable(results, "gru", [Cell("copy", 10)]) == ([], [])


def test_a_cell_that_nobody_solved_enters_nothing_and_is_named(tmp_path: Path) -> None:
    results = results_of(tmp_path, lambda _v, _t, n, _s: 0.95 if n == 10 else 0.5)
    assert answer(results).unsolved == (Cell("adding", 20), Cell("noisy", 20))
    assert found(results, "gru").cells == 2


def test_robustness_pairs_seeds_that_both_solved(tmp_path: Path) -> None:
    results = results_of(tmp_path, lambda v, _t, _n, s: 0.5 if (v, s) in {("gru", 0), ("lstm", 1), ("rnn", 3)} else 0.95)
    assert found(results, "gru", "robustness").pairs == 3 * 4
    unsolved = results_of(tmp_path / "more", lambda v, *_: 0.5 if v == "gru" else 0.95)
    row = found(unsolved, "gru", "robustness")
    assert (row.verdict, row.why) == ("not comparable", "it has no trial that it solved")
    assert found(unsolved, "gru").verdict == "worse"


def test_who_sees_the_future_is_compared_with_nobody(tmp_path: Path) -> None:
    results = frame.read(fill(tmp_path, times=TIMES))
    for axis, engine in (("long_range", ""), ("robustness", ""), ("speed", REFERENCE.name), ("speed", BEST)):
        row = found(results, "bilstm", axis, engine)
        assert (row.verdict, row.why) == ("not comparable", "it sees the future of the sequence")


def test_without_the_baseline_nothing_compares(tmp_path: Path) -> None:
    results = frame.read(fill(tmp_path, variants=["gru"]))
    assert [(row.verdict, row.why) for row in answer(results).rows] == [
        ("not comparable", "lstm has no trial that it solved"),
        ("not comparable", "lstm has no trial with a score"),
    ]


def test_speed_is_judged_by_the_interval_of_its_ratio(tmp_path: Path) -> None:
    results = frame.read(fill(tmp_path, variants=["lstm", "gru", "rnn"], times={**TIMES, ("rnn", REFERENCE.name): 3.0}))
    assert {name: found(results, name, "speed", REFERENCE.name).verdict for name in ("gru", "rnn")} == {"gru": "better", "rnn": "worse"}
    assert found(results, "gru", "speed", BEST).verdict == "undecided"  # as long as lstm on its vendor's
    assert found(results, "gru", "speed", VENDOR.name).why == "it was not timed on this engine"
    assert answer(results).common == REFERENCE.name
    assert answer(results).engines == (VENDOR.name, REFERENCE.name, BEST)


def test_an_answer_comes_back_from_plain_data(tmp_path: Path) -> None:
    store = fill(tmp_path, variants=["lstm", "gru", "bilstm"], seeds=5, times=TIMES)
    given = answer(frame.read(store))
    folder = write(store)
    rows = telling.read(folder)
    assert rows == json.loads(json.dumps(telling.plain(given)))
    assert {"variant", "axis", "engine", "verdict", "effect", "low", "high", "p", "cells", "pairs", "seeds_needed", "why"} == set(rows[0])
    lines = telling.text(rows).splitlines()
    assert lines[0] == "against lstm: ▲ better, ▼ worse, ≈ undecided, – not comparable"
    assert [line.split()[0] for line in lines[2:]] == ["gru", "bilstm", "–"]
    assert lines[-1] == "– bilstm: it sees the future of the sequence"
    assert "▲ 0.50 (0.49–0.51)" in lines[2]


def test_an_answer_is_told_in_markdown(tmp_path: Path) -> None:
    store = fill(tmp_path, variants=["lstm", "gru", "bilstm"], seeds=5, times=TIMES, question="Is it | so?")
    lines = (write(store) / telling.MARKDOWN).read_text().splitlines()
    assert lines[0] == "**Is it | so?**"
    head, rule, gru, bilstm = lines[2:6]
    assert {line.count("|") for line in (head, rule, gru, bilstm)} == {6}
    assert gru.startswith("| gru | ▲ 0.50 (0.49–0.51) |")
    assert lines[-1].startswith("– bilstm: it sees the future")
    assert telling.markdown(Answer((), ()), "Why?") == "**Why?**\n\nnothing to compare\n"


def test_an_answer_that_cannot_be_read_is_told(tmp_path: Path) -> None:
    with pytest.raises(Exception, match=r"answer\.json: cannot be read; write the report again"):
        telling.read(tmp_path)


def test_nothing_to_compare_is_a_line() -> None:
    assert telling.text([]) == "nothing to compare"
    assert telling.marked(None) == ""
    assert Answer((), ()).common == ""


def graded(results: Results, **unsound: str) -> Results:
    """The results, with what was found against some variants."""
    grades = {name: Grade(True, True, None, unsound=reason) for name, reason in unsound.items()}
    return replace(results, provenance=replace(results.provenance, grades=grades))


def test_a_variant_that_fails_a_check_of_its_contract_is_compared_with_nobody(tmp_path: Path) -> None:
    results = graded(results_of(tmp_path, lambda v, *_: 0.95 if v == "gru" else 0.92, times=TIMES), gru="mixes rows")
    for row in answer(results).rows:
        if row.axis != "speed":
            assert (row.verdict == "not comparable") == (row.variant in {"gru", "bilstm"}), row
        if row.variant == "gru" and row.engine not in {VENDOR.name, BEST}:
            assert row.why == "it failed a check of its contract: mixes rows"
    told = telling.text(telling.plain(answer(results)))
    assert "– gru: it failed a check of its contract: mixes rows" in told


def test_where_the_baseline_fails_one_nobody_is_compared(tmp_path: Path) -> None:
    results = graded(results_of(tmp_path, lambda *_: 0.95), lstm="looks ahead")
    assert {row.verdict for row in answer(results).rows} == {"not comparable"}
    assert "lstm is compared with nobody: it failed a check of its contract: looks ahead" in {row.why for row in answer(results).rows}
