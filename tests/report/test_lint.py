"""Checks what is said of a plan before anything is trained."""

from __future__ import annotations

import math
import re
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from torch import nn

from suite import Claim, Expectation, Variant
from suite.plan import trials as planning
from suite.registry.registry import Provided, Registry
from suite.report import lint
from suite.report.inference import seeds_needed, smallest_effect
from suite.report.lint import Lint, Planned

from ..plan.planned import REGISTRY, plan, with_variant


def linted(registry: Registry = REGISTRY, **changes: Any) -> Lint:
    asked = plan(**changes)
    planned, timings = tuple(planning.trials(asked, registry, "cpu")), tuple(planning.timings(asked, registry, "cpu"))
    return lint.lint(Planned(asked, registry, "cpu", planned, timings))


def said(found: Lint, topic: str) -> list[tuple[str, str]]:
    return [(remark.mark, remark.text) for remark in found.remarks if remark.topic == topic]


def marks(found: Lint, topic: str) -> list[str]:
    return [mark for mark, _ in said(found, topic)]


# Comparisons


def test_parameters_that_differ_are_a_warning_where_they_are_matched() -> None:
    rule = {"hidden_size": 3}
    by_size, by_parameters = (linted(matching={**rule, "rule": name}) for name in ("hidden_size", "parameters"))
    (_, text), *_ = said(by_size, "fairness")
    assert text.startswith("residual: not equal in parameters (× 1.95; lstm × 1.00), state size (12; lstm 6)")
    assert marks(by_size, "fairness") == ["note"]
    assert marks(by_parameters, "fairness") == ["warn"]  # so small, no hidden size gives two layers the parameters of one


def test_a_twin_is_equal_in_all() -> None:
    lstm = REGISTRY.variant("lstm").noun
    found = linted(with_variant(replace(lstm, name="twin")), variants=["lstm", "twin"])
    assert said(found, "fairness") == [("ok", "twin: equal in all that is compared")]


def test_a_state_that_is_not_known_is_told() -> None:
    linear = Variant("linear", nn.Linear)
    ((mark, text),) = said(linted(with_variant(linear), variants=["lstm", "linear"]), "fairness")
    assert mark == "note"
    assert text.endswith("; not known: state size")


@pytest.mark.parametrize(
    ("variants", "told"),
    [
        (["residual"], "lstm is not trained, so that nothing learned is compared; add it to variants"),
        (["lstm"], "only lstm is trained, so that nothing is compared; add variants"),
    ],
)
def test_a_plan_that_compares_nobody_is_warned_of(variants: list[str], told: str) -> None:
    found = linted(variants=variants)
    assert said(found, "baseline") == [("warn", told)]
    assert said(found, "comparisons") == said(found, "power") == []
    assert found.warned


def test_who_sees_the_future_is_named_and_enters_no_comparison() -> None:
    found = linted(variants=["lstm", "gru", "bilstm", "attention(span=whole)"])
    ((mark, text),) = said(found, "causality")
    assert mark == "note"
    assert text.endswith(": bilstm, attention(span=whole)")
    ((_, counted),) = said(found, "comparisons")
    assert counted == "2, adjusted together (variants 1 × axes of learning 2), over 2 cells with 2 seeds each"


# The protocol


@pytest.mark.parametrize(("rates", "mark"), [([0.01], "warn"), ([0.01, 0.1], "ok")])
def test_one_learning_rate_is_untuned(rates: list[float], mark: str) -> None:
    assert marks(linted(training={"learning_rates": rates}), "learning rate") == [mark]


@pytest.mark.parametrize(
    ("memory", "lengths", "wanted"),
    [
        (1.0, [20], ["ok"]),  # σ(1)²⁰ = 0.0019
        (1.0, [23], ["warn"]),  # 0.0007
        (5.0, [20, 400], ["ok"]),
        (5.0, [20, 2000], ["warn"]),
        (0.0, [9], ["ok"]),
        (0.0, [10], ["warn"]),  # 2⁻¹⁰ = 0.00098
        ("chrono", [2000], ["ok"]),
        ("own", [20], ["warn"]),
    ],
)
def test_a_memory_shorter_than_the_sequences_is_warned_of(memory: Any, lengths: list[int], wanted: list[str]) -> None:
    tasks = [{"name": "adding", "lengths": lengths}]
    assert marks(linted(tasks=tasks, training={"initial_memory": memory}, evaluations={"lengths": []}), "initial memory") == wanted


def test_the_warning_names_what_is_kept_and_the_cure() -> None:
    found = linted(tasks=[{"name": "adding", "lengths": [20, 60]}], training={"initial_memory": 1.0}, evaluations={"lengths": [4]})
    (warned, warning), (noted, note) = said(found, "initial memory")
    assert (warned, noted) == ("warn", "note")
    assert warning == 'a bias of 1 keeps 7e-09 at T = 60: the ranking would measure that constant; set initial_memory = "chrono"'
    assert note == "a bias of 1 keeps less than 0.001 at the tested lengths 80"
    assert lint.kept(1.0, 60) == pytest.approx((1 / (1 + math.exp(-1))) ** 60)
    assert lint.kept(-800.0, 1) == 0.0


def test_a_test_stream_whose_own_error_is_above_a_point_is_warned_of() -> None:
    shares = ["adding", {"name": "noisy", "lengths": [6], "options": {"form": "b"}}]
    few, enough = (linted(tasks=shares, evaluations={"samples": samples}) for samples in (1024, 2500))
    assert said(few, "tests") == [
        ("warn", "1024 samples leave a share uncertain by up to 1.6 points (noisy(form=b)); set samples to 2500 or more")
    ]
    assert said(enough, "tests") == [("ok", "2500 samples leave a share uncertain by at most 1.0 points")]
    assert said(linted(tasks=["adding"], evaluations={"samples": 100}), "tests") == []  # an error of a mean square is no share


def test_a_corruption_that_harms_no_task_is_warned_of() -> None:
    noisy = [{"name": "noisy", "lengths": [6]}]
    asked = {"corruptions": ["gaussian_noise", "step_drop"]}
    assert said(linted(tasks=noisy, evaluations=asked), "damage") == [
        ("warn", "step_drop is harmless to every task of the plan, and is asked of none")
    ]
    assert said(linted(tasks=[*noisy, "adding"], evaluations=asked), "damage") == []
    assert marks(linted(evaluations={"corruptions": []}), "damage") == ["note"]
    trained = linted(tasks=noisy, training={"corruption": "step_drop", "severity": 0.5})
    assert said(trained, "damage") == [("warn", "training under step_drop damages no task of the plan")]


def test_a_test_batch_that_takes_much_of_the_memory_is_warned_of(monkeypatch: pytest.MonkeyPatch) -> None:
    assert marks(linted(), "memory") == ["ok"]
    outputs = 4 * 128 * 2 * 9 * 3  # bytes a value, samples of a batch, twice the longer length, hidden size
    monkeypatch.setattr(lint, "memory", lambda _device: 2 * outputs - 1)
    ((mark, text),) = said(linted(), "memory")
    assert mark == "warn"
    assert "adding, T = 9); shorten [evaluations] lengths, or lower evaluation_samples" in text


@pytest.mark.parametrize(
    ("lengths", "mark", "told"),
    [
        ([6], "note", "adding is trained at 6 alone, so that no memory horizon can be read"),
        ([40, 10, 20], "ok", "adding at 10, 20, 40: a memory horizon is known to a factor of 2"),
        ([10, 15], "ok", "adding at 10, 15: a memory horizon is known to a factor of 1.5"),
        ([20, 45], "note", "adding at 20, 45: a memory horizon is known to a factor of 2.25 only; let lengths double"),
    ],
)
def test_lengths_that_do_not_double_are_noted(lengths: list[int], mark: str, told: str) -> None:
    assert said(linted(tasks=[{"name": "adding", "lengths": lengths}]), "lengths") == [(mark, told)]


# What could be decided


def test_power_is_that_of_the_answers_test() -> None:
    found = linted(variants=["lstm", "gru", "rnn"], seeds=[0, 1, 2, 3])  # two cells
    told = said(found, "power")
    for (mark, text), spread in zip(told, lint.SPREADS, strict=False):
        least = smallest_effect([4, 4], spread, 4, np.random.default_rng(0))
        needed = seeds_needed(lint.WANTED, lambda seeds, spread=spread: smallest_effect([seeds] * 2, spread, 4, np.random.default_rng(0)))  # type: ignore[misc]
        assert text.startswith(f"if paired differences spread by {spread:g}, one of {least:.2f} in the mean over cells is found")
        assert needed is not None
        said_needed = re.search(r"; 0\.1 takes (\d+) seeds$", text)
        assert said_needed is not None
        assert abs(int(said_needed[1]) - needed) <= 1  # of other random draws
        assert mark == ("ok" if least <= 0.1 else "note")
    assert told[-1] == ("note", "no cell is judged by itself: that takes 8 seeds, and 4 give no p below 0.12")


def test_a_plan_that_can_find_nothing_is_warned_of() -> None:
    found = linted(seeds=[0], tasks=[{"name": "adding", "lengths": [6]}])
    assert marks(found, "power") == ["warn", "warn", "warn", "note"]
    assert ", no difference can be found; 0.1 takes " in said(found, "power")[0][1]


def test_from_eight_seeds_on_cells_are_judged_by_themselves() -> None:
    assert len(said(linted(seeds=list(range(8))), "power")) == len(lint.SPREADS)


def test_claims_are_named_with_what_they_would_need() -> None:
    def claim(name: str, *expects: Expectation) -> Provided[Claim]:
        return Provided(Claim(name, "So it is.", expects), "here", None, {})

    claims = [
        claim("a", Expectation("residual", "skill", "more")),
        claim("b", Expectation("gru", "skill", "more"), Expectation("gru", "time", "less")),
        claim("c", Expectation("residual", "retained", "more")),
        claim("d", Expectation("residual", "beauty", "more")),
        claim("e", Expectation("lstm", "time", "less", against="residual"), Expectation("lstm", "beyond", "more", against="residual")),
        claim("f", Expectation("residual", "reach", "more")),
    ]
    registry = replace(REGISTRY, claims={each.noun.name: each for each in claims})
    bare = linted(registry, evaluations={"corruptions": [], "lengths": []})
    assert said(bare, "claims") == [
        ("ok", "held against this plan: a"),
        ("note", "b would need gru, [timing] lengths"),
        ("note", "c would need a corruption in [evaluations]"),
        ("note", "d would need a quantity 'beauty', which there is not"),
        ("note", "e would need [timing] lengths, times against residual, which are measured against lstm alone, [evaluations] lengths"),
        ("note", "f would need the measure 'gradient' in [evaluations]"),
    ]
    whole = linted(registry, variants=["lstm", "residual", "gru"], timing={"lengths": [4]})
    assert said(whole, "claims")[0] == ("ok", "held against this plan: a, b, c")
    asked = linted(registry, evaluations={"measures": ["gradient"]})
    assert said(asked, "claims")[0] == ("ok", "held against this plan: a, c, f")


def test_all_is_plain_and_counted() -> None:
    found = linted()
    record = found.plain()
    assert record["plan"] == "test"
    assert [row["mark"] for row in record["remarks"]] == [remark.mark for remark in found.remarks]
    assert [row["variant"] for row in record["fairness"]] == ["lstm", "residual"]
    *lines, total = found.text().splitlines()
    assert len(lines) == len(found.remarks)
    counted = {mark: sum(line.startswith(mark) for line in lines) for mark in ("ok", "note", "warn")}
    assert total == "test: " + ", ".join(f"{count} {mark}" for mark, count in counted.items())
    assert found.warned == (counted["warn"] > 0)


# Whether goals can be met


NOISY = [{"name": "noisy", "lengths": [6], "options": {"form": "b"}}]


def test_a_goal_that_the_ideal_predictor_misses_is_a_warning() -> None:
    """Of some hundred samples the Bayes rule errs in more than a point over its mean once in a while; the seeds are searched, not chosen."""
    small: dict[str, Any] = {"tasks": NOISY, "training": {"evaluation_samples": 100}, "evaluations": {"samples": 20_000}}
    texts = [text for seed in range(12) for mark, text in said(linted(eval_seed=seed, **small), "goals") if mark == "warn"]
    assert texts
    (text,) = set(texts)
    assert text.startswith("noisy(form=b), T = 6: on the validation stream the ideal predictor itself misses accuracy ≥ 0.977326; ")
    assert text.endswith("raise evaluation_samples, or set another eval_seed")


def test_a_goal_that_the_ideal_predictor_meets_is_told() -> None:
    large: dict[str, Any] = {"training": {"evaluation_samples": 20_000}, "evaluations": {"samples": 20_000}}
    both = linted(tasks=[*NOISY, {"name": "adding", "lengths": [4]}], **large)
    assert said(both, "goals") == [("ok", "the ideal predictor meets the goal on the streams of 2 of 2 cells")]


def test_an_ideal_predictor_that_raises_is_told() -> None:
    noisy = REGISTRY.tasks["noisy"]

    def ideal(*_: object, **_options: object) -> np.ndarray[Any, Any]:
        raise ZeroDivisionError("no such luck")

    broken = replace(REGISTRY, tasks={**REGISTRY.tasks, "noisy": replace(noisy, noun=replace(noisy.noun, ideal=ideal))})
    ((mark, text),) = said(linted(broken, tasks=NOISY), "goals")
    assert (mark, text) == (
        "warn",
        "task 'noisy(form=b)': its ideal predictor cannot be asked (ZeroDivisionError: no such luck); try: suite check noisy",
    )


def test_goals_that_are_not_asked_about_are_not_called_met() -> None:
    damaged: dict[str, Any] = {"training": {"evaluation_samples": 20_000, "corruption": "gaussian_noise", "severity": 10}}
    assert said(linted(tasks=NOISY, evaluations={"samples": 20_000}, **damaged), "goals") == []
