"""Checks that claims are ruled on as their effects say, on planted truth."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from suite import Claim, Expectation, Results, figures, verdict
from suite.check.imagined import fill
from suite.registry.finder import discover
from suite.report import page
from suite.report.claims import Ruled, rulings
from suite.spec import Grade
from suite.store import frame

from .drawing import TIMES, elements_of, section_of, working, write

LESS = Claim("better", "gru is better.", (Expectation("gru", "skill", "more"),))
NOISE = np.random.default_rng(0).normal(0, 0.01, size=(3, 2, 2, 5))
PLACE = {name: index for index, name in enumerate(("lstm", "gru", "rnn", "adding", "noisy"))}


def noisy(variant: str, task: str, length: int, seed: int) -> float:
    return 0.93 + float(NOISE[PLACE[variant], PLACE[task] - 3, length // 20, seed])


def shifted(by: float) -> Callable[[str, str, int, int], float]:
    """gru's skill is so much above the others'."""
    return lambda variant, task, length, seed: noisy(variant, task, length, seed) + by * (variant == "gru")


def results_of(folder: Path, skill: Callable[[str, str, int, int], Any], *claims: Claim, **changes: Any) -> Results:
    results = frame.read(fill(folder, skill, **{"variants": ["lstm", "gru", "rnn"], "seeds": 5, **changes}))
    return replace(results, claims=claims)


def ruled(folder: Path, skill: Callable[[str, str, int, int], Any], claim: Claim, **changes: Any) -> Ruled:
    (ruling,) = rulings(results_of(folder, skill, claim, **changes))
    return ruling


@pytest.mark.parametrize(("by", "ruling"), [(0.05, "supported"), (-0.05, "refuted"), (0.0, "undecided")])
def test_a_claim_of_more_skill_is_ruled_on_by_the_pairs(tmp_path: Path, by: float, ruling: str) -> None:
    found = ruled(tmp_path, shifted(by), LESS)
    assert found.ruling == ruling
    (part,) = found.evidence
    assert (part.pairs, part.cells) == (20, 4)
    assert part.effect.mean == pytest.approx(by, abs=0.02)


@pytest.mark.parametrize(("by", "ruling"), [(0.05, "refuted"), (-0.05, "supported")])
def test_what_is_expected_to_be_less_may_be_so_against_another_than_the_baseline(tmp_path: Path, by: float, ruling: str) -> None:
    claim = Claim("worse", "gru is worse than rnn.", (Expectation("gru", "skill", "less", against="rnn"),))
    assert ruled(tmp_path, shifted(by), claim).ruling == ruling


@pytest.mark.parametrize(("margin", "ruling"), [(0.9, "supported"), (0.0, "undecided")])
def test_no_worse_is_judged_by_the_interval(tmp_path: Path, margin: float, ruling: str) -> None:
    claim = Claim("equal", "gru is no worse.", (Expectation("gru", "skill", "not worse", margin=margin),))
    found = ruled(tmp_path, noisy, claim)
    assert found.ruling == ruling
    assert math.isnan(found.evidence[0].p)


def test_who_loses_more_than_the_margin_is_worse(tmp_path: Path) -> None:
    claim = Claim("equal", "gru is no worse.", (Expectation("gru", "skill", "not worse", margin=0.01),))
    skill = shifted(-0.9)
    assert ruled(tmp_path, skill, claim, seeds=5, lengths=[10, 20]).ruling == "refuted"


def test_time_is_judged_by_its_ratio(tmp_path: Path) -> None:
    claim = Claim("fast", "gru is fast.", (Expectation("gru", "time", "less"),))
    found = ruled(tmp_path, lambda *_: 0.9, claim, variants=["lstm", "gru", "bilstm"], times=TIMES)
    assert found.ruling == "supported"
    assert found.evidence[0].effect.mean == pytest.approx(0.5)


def test_a_slower_one_refutes_that_it_is_faster(tmp_path: Path) -> None:
    times = {name: value * (4 if name[0] == "gru" else 1) for name, value in TIMES.items()}
    claim = Claim("fast", "gru is fast.", (Expectation("gru", "time", "less"),))
    assert ruled(tmp_path, lambda *_: 0.9, claim, variants=["lstm", "gru", "bilstm"], times=times).ruling == "refuted"


def test_all_that_a_claim_expects_must_be_found(tmp_path: Path) -> None:
    parts = (Expectation("gru", "skill", "more"), Expectation("rnn", "skill", "more"))
    assert ruled(tmp_path, shifted(0.05), Claim("both", "Both are.", parts)).ruling == "undecided"
    assert ruled(tmp_path, shifted(-0.05), Claim("both", "Both are.", parts)).ruling == "refuted"


@pytest.mark.parametrize(
    ("expectation", "why"),
    [
        (Expectation("attention", "skill", "more"), "the plan does not train attention"),
        (Expectation("gru", "skill", "more", against="attention"), "the plan does not train attention"),
        (Expectation("gru", "beauty", "more"), "there is no quantity 'beauty'; there is skill, beyond, retained, reach, steps, time"),
        (Expectation("gru", "time", "less", against="rnn"), "times are measured against lstm alone"),
        (Expectation("gru", "time", "less"), "gru was not timed beside lstm"),
    ],
)
def test_what_a_plan_does_not_ask_is_said(tmp_path: Path, expectation: Expectation, why: str) -> None:
    found = ruled(tmp_path, noisy, Claim("absent", "It is.", (expectation,)))
    assert (found.ruling, found.evidence[0].why) == ("not asked", why)


def test_a_variant_that_failed_a_check_of_its_contract_supports_no_claim(tmp_path: Path) -> None:
    results = results_of(tmp_path, shifted(0.05), LESS)
    grades = {"gru": Grade(True, True, None, unsound="mixes rows")}
    (ruling,) = rulings(replace(results, provenance=replace(results.provenance, grades=grades)))
    assert (ruling.ruling, ruling.evidence[0].why) == ("not asked", "gru: it failed a check of its contract: mixes rows")


def test_the_p_of_all_claims_are_adjusted_together(tmp_path: Path) -> None:
    alone = ruled(tmp_path / "one", shifted(0.05), LESS)
    many = [LESS, *(Claim(f"other{index}", "Another.", (Expectation("rnn", "skill", "more"),)) for index in range(9))]
    first = rulings(results_of(tmp_path / "ten", shifted(0.05), *many))[0]
    assert first.evidence[0].p == pytest.approx(10 * alone.evidence[0].p)


def test_steps_are_parts_of_the_budget_and_the_unsolved_took_all(tmp_path: Path) -> None:
    skill = lambda v, _t, _n, s: 0.95 if v == "gru" or s < 3 else 0.5  # noqa: E731
    claim = Claim("steps", "gru needs fewer steps.", (Expectation("gru", "steps", "less"),))
    (part,) = ruled(tmp_path, skill, claim).evidence
    taken = verdict.steps(results_of(tmp_path / "again", skill))
    solved = taken.loc[~taken["censored"].astype(bool), "value"].iloc[0] / 30
    assert part.effect.mean == pytest.approx(2 / 5 * (solved - 1))


def test_beyond_is_the_skill_at_the_longest_multiple(tmp_path: Path) -> None:
    """Imagined models keep half of their skill at twice the length."""
    claim = Claim("beyond", "gru reaches further.", (Expectation("gru", "beyond", "more"),))
    (part,) = ruled(tmp_path, lambda v, *_: 0.95 if v == "gru" else 0.91, claim).evidence
    assert part.effect.mean == pytest.approx(0.02)


def test_a_claim_that_expects_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="claim 'empty': expects nothing"):
        Claim("empty", "It is.", ())


def test_the_shipped_claims_ask_what_exists() -> None:
    registry = discover()
    assert len(registry.claims) >= 7
    for provided in registry.claims.values():
        claim = provided.noun
        assert claim.paper
        assert claim.figure in registry.sections
        for expectation in claim.expects:
            assert expectation.quantity in verdict.QUANTITIES
            for label in (expectation.variant, expectation.against):
                registry.variant(label.partition("(")[0])


def test_the_report_rules_on_claims_of_any_drop_in(tmp_path: Path) -> None:
    registry = working()
    mine = replace(next(iter(registry.claims.values())), noun=replace(LESS, sentence="Mine is better.", caveat="If at all."))
    store = fill(tmp_path, shifted(0.05), variants=["lstm", "gru", "rnn"], seeds=5)
    section = section_of(write(store, replace(registry, claims={"better": mine})), "claims")
    assert "Mine is better." in section
    assert "▲ supported" in section
    assert "If at all." in section
    results = page.presentable(frame.read(store), replace(registry, claims={}))
    assert "No claim is known here." in str(elements_of("claims", results))


def test_effects_are_drawn_with_the_side_that_was_expected() -> None:
    import pandas as pd

    rows = pd.DataFrame(
        [("a", 0.2, 0.1, 0.3, 1, "found"), ("b", -0.1, -0.3, 0.1, -1, "open"), ("c", 0, -0.5, 0.5, 0, "contradicted")],
        columns=["label", "mean", "low", "high", "expected", "state"],
    )
    with figures.theme():
        (axis,) = figures.effects(rows).axes
    arrows = [line for line in axis.lines if line.get_marker() in {"<", ">"}]
    assert [line.get_marker() for line in arrows] == [">", "<"]
    assert [text.get_text() for text in axis.get_yticklabels()] == ["a", "b", "c"]
