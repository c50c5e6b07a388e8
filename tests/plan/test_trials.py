"""Checks that a plan becomes its whole grid, and that keys change when, and only when, the work changes."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from suite import Batch, Corruption, Measure, SuiteError, Task, machine
from suite.measures import robustness
from suite.ops import engines
from suite.plan import schema
from suite.plan import trials as planning
from suite.registry import sources
from suite.registry.registry import Provided
from suite.spec import Plugin
from suite.trial import TEST_SAMPLES, Training, Trial

from .planned import REGISTRY, plan, trials, with_task, with_variant


def keys(planned: list[Trial]) -> list[str]:
    return [trial.key for trial in planned]


def evaluation_keys(planned: list[Trial]) -> list[str]:
    return [evaluation.key for trial in planned for evaluation in trial.evaluations]


def disjoint(one: list[str], other: list[str]) -> bool:
    return not set(one) & set(other)


# The grid


def test_a_plan_becomes_its_whole_grid_in_order() -> None:
    planned = trials(training={"learning_rates": [0.01, 0.1]})
    cells = [(trial.length, trial.variant.name, trial.training.learning_rate, trial.seed) for trial in planned]
    wanted = [(length, name, rate, seed) for length in (6, 9) for name in ("lstm", "residual") for rate in (0.01, 0.1) for seed in (0, 1)]
    assert cells == wanted
    assert len(set(keys(planned))) == len({trial.cell for trial in planned}) == len(planned)


def test_a_task_without_lengths_trains_at_its_own() -> None:
    assert {trial.length for trial in trials(tasks=["adding"])} == set(REGISTRY.task("adding").noun.lengths)


def test_a_tasks_own_steps_hold_and_bound_the_validations() -> None:
    planned = trials(tasks=[{"name": "adding", "lengths": [6], "steps": 7}, {"name": "noisy", "lengths": [6]}])
    assert {(trial.task.name, trial.training.steps, trial.training.validate_every) for trial in planned} == {
        ("adding", 7, 7),
        ("noisy", 1000, 50),
    }


def test_a_list_of_options_is_one_choice_an_entry() -> None:
    planned = trials(
        variants=["lstm", "residual(depth=[1, 2, 3])"], tasks=[{"name": "noisy", "lengths": [5], "options": {"form": ["a", "b"]}}]
    )
    assert list(dict.fromkeys(trial.variant.label for trial in planned)) == ["lstm", "residual(depth=1)", "residual", "residual(depth=3)"]
    assert list(dict.fromkeys(trial.task.label for trial in planned)) == ["noisy", "noisy(form=b)"]


def test_the_same_choice_twice_is_one() -> None:
    assert keys(trials(variants=["lstm", "residual", "lstm", "residual(depth=2)"])) == keys(trials())


def test_a_task_that_stands_twice_is_refused() -> None:
    with pytest.raises(SuiteError, match="task 'adding' stands twice"):
        trials(tasks=[{"name": "adding", "lengths": [6]}, {"name": "adding", "lengths": [9]}])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"variants": ["lstm(depth=2)"]}, "variant 'lstm': unknown option 'depth'; it takes none"),
        ({"variants": ["lstmm"]}, "unknown variant 'lstmm'; did you mean 'lstm'?"),
        ({"tasks": ["addding"]}, "unknown task 'addding'; did you mean 'adding'?"),
        ({"evaluations": {"corruptions": ["step_dropp"]}}, "unknown corruption 'step_dropp'; did you mean 'step_drop'?"),
        ({"tasks": [{"name": "adding", "lengths": [9, 1]}]}, "task 'adding', length 1: adding needs a length of at least 2"),
        (
            {"tasks": [{"name": "noisy", "lengths": [5], "options": {"signal_steps": 6}}]},
            "task 'noisy(signal_steps=6)', length 5: signal_steps",
        ),
    ],
    ids=str,
)
def test_a_wrong_plan_is_told_before_anything_runs(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(SuiteError) as caught:
        trials(**changes)
    assert str(caught.value).startswith(message)


# Keys

chosen = st.fixed_dictionaries(
    {},
    optional={
        "seeds": st.lists(st.integers(0, 99), min_size=1, max_size=2, unique=True),
        "eval_seed": st.integers(0, 9),
        "training": st.fixed_dictionaries(
            {},
            optional={"steps": st.integers(1, 99), "clip": st.floats(0.1, 9), "optimizer": st.sampled_from(["adam", "sgd", "rmsprop"])},
        ),
    },
)


@given(chosen)
@settings(max_examples=10)
def test_the_same_plan_gives_the_same_keys(changes: dict[str, Any]) -> None:
    one, two = trials(**changes), trials(**changes)
    assert one == two


training = st.fixed_dictionaries(
    {
        "optimizer": st.sampled_from(["adam", "sgd"]),
        "learning_rates": st.sampled_from([0.01, 0.02]).map(lambda rate: [rate]),
        "steps": st.integers(98, 99),
        "validate_every": st.integers(9, 10),
        "clip": st.sampled_from([0.5, 1, 1.0]),
        "stop": st.sampled_from(["budget", "solved"]),
    }
)


@given(training, training)
def test_keys_are_the_same_if_and_only_if_the_training_is(one: dict[str, Any], two: dict[str, Any]) -> None:
    first, second = keys(trials(training=one)), keys(trials(training=two))
    assert first == second if one == two else disjoint(first, second)


CHANGES: dict[str, Any] = {
    "optimizer": "sgd",
    "learning_rates": [0.02],
    "batch_size": 31,
    "steps": 999,
    "validate_every": 49,
    "evaluation_samples": 511,
    "initial_memory": "chrono",
    "clip": 0.5,
    "stop": "solved",
    "dtype": "float64",
    "corruption": "gaussian_noise",
    "severity": 0.7,
    "weight_decay": 0.2,
    "warmup": 3,
    "schedule": "cosine",
    "recompute": 2,
}

DAMAGED = {"corruption": "step_drop", "severity": 0.5}
BESIDE: dict[str, dict[str, Any]] = {
    "corruption": DAMAGED,
    "severity": DAMAGED,
    "weight_decay": {"optimizer": "adamw", "weight_decay": 0.1},
    "recompute": {"engine": "derived"},
}
"""What a plan says already where the field changes, since some go together."""


def test_every_training_field_is_tried_below() -> None:
    assert {name.removesuffix("s") if name == "learning_rates" else name for name in CHANGES} == {one.name for one in fields(Training)}


@pytest.mark.parametrize("field", CHANGES)
def test_a_training_field_changes_every_key(field: str) -> None:
    plain = BESIDE.get(field, {})
    before, after = trials(training=plain), trials(training={**plain, field: CHANGES[field]})
    assert disjoint(keys(before), keys(after))
    assert disjoint(evaluation_keys(before), evaluation_keys(after))


@pytest.mark.parametrize(
    "changes",
    [
        {"eval_seed": 5},
        {"seeds": [2, 3]},
        {"matching": {"hidden_size": 4}},
        {"tasks": [{"name": "adding", "lengths": [7]}]},
        {"training": {"engine": "reference"}},
    ],
    ids=str,
)
def test_what_the_work_depends_on_changes_every_key(changes: dict[str, Any]) -> None:
    assert disjoint(keys(trials()), keys(trials(**changes)))


def test_the_device_changes_every_key(monkeypatch: pytest.MonkeyPatch) -> None:
    before = keys(trials())
    monkeypatch.setattr(machine, "device_model", lambda device: f"another {device}")
    assert disjoint(before, keys(trials()))


@pytest.mark.parametrize("package", ["torch", "numpy"])
def test_a_version_changes_every_key(package: str, monkeypatch: pytest.MonkeyPatch) -> None:
    before, real = keys(trials()), machine.version
    monkeypatch.setattr(machine, "version", lambda name: "0.0" if name == package else real(name))
    assert disjoint(before, keys(trials()))


@pytest.mark.parametrize("changes", [{"question": "Another?"}, {"timing": {"lengths": [5]}}, {"training": {"engine": "vendor"}}], ids=str)
def test_what_the_work_does_not_depend_on_changes_no_key(changes: dict[str, Any]) -> None:
    assert trials() == trials(**changes)


@pytest.mark.parametrize("changes", [{"lengths": [3]}, {"lengths": []}, {"corruptions": ["step_drop"]}, {"corruptions": []}], ids=str)
def test_evaluations_change_evaluation_keys_alone(changes: dict[str, Any]) -> None:
    before, after = trials(), trials(evaluations=changes)
    assert keys(before) == keys(after)
    assert evaluation_keys(before) != evaluation_keys(after)


def test_one_evaluation_changes_no_other() -> None:
    for before, after in zip(trials(), trials(evaluations={"lengths": [3], "corruptions": ["gaussian_noise", "step_drop"]}), strict=True):
        assert before.evaluations[0].key != after.evaluations[0].key
        assert before.evaluations[1] == after.evaluations[1]


def test_a_corruptions_source_changes_its_evaluations_alone() -> None:
    noise = REGISTRY.corruption("gaussian_noise")
    edited = replace(REGISTRY, corruptions={**REGISTRY.corruptions, "gaussian_noise": replace(noise, digests={"edited": "0"})})
    for before, after in zip(trials(), trials(edited), strict=True):
        assert before.key == after.key
        assert [one.key == two.key for one, two in zip(before.evaluations, after.evaluations, strict=True)] == [True, False]


def test_a_variants_source_changes_its_keys_alone() -> None:
    edited = with_variant(REGISTRY.variant("residual").noun, {"edited": "0"})
    for before, after in zip(trials(), trials(edited), strict=True):
        assert (before.key == after.key) == (before.variant.name == "lstm")


def test_a_tasks_source_changes_every_key() -> None:
    assert disjoint(keys(trials()), keys(trials(with_task(REGISTRY.task("adding").noun))))


@pytest.mark.parametrize(
    ("module", "training", "evaluation"),
    [
        ("suite.training.trainer", True, True),
        ("suite.training.data", True, True),
        ("suite.ops.scan", True, True),
        ("suite.measures.evaluate", False, True),
        ("suite.report.page", False, False),
        ("suite.execution.worker", False, False),
    ],
)
def test_the_sources_that_training_imports_change_every_key(
    module: str, training: bool, evaluation: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Which modules of the suite count is read from their imports; the best weights are picked in the trainer."""
    before, real = trials(), sources.harness_sources

    def edited(name: str) -> dict[str, str]:
        return {source: "0" if source == module else value for source, value in real(name).items()}

    monkeypatch.setattr(planning, "harness_sources", edited)
    after = trials()
    assert disjoint(keys(before), keys(after)) == training
    assert disjoint(evaluation_keys(before), evaluation_keys(after)) == evaluation


def test_a_source_is_digested_by_its_bytes() -> None:
    file = Path(sources.__file__).parents[1] / "training" / "data.py"
    assert sources.harness_sources("training.trainer")["suite.training.data"] == hashlib.sha256(file.read_bytes()).hexdigest()


@pytest.mark.parametrize(
    ("plain", "named"),
    [
        ({}, {"variants": ["lstm()", "residual(depth=2)"]}),
        ({"tasks": ["noisy"]}, {"tasks": [{"name": "noisy", "lengths": [20, 50], "options": {"form": "a", "signal_steps": 1}}]}),
        ({"training": {}}, {"training": {"optimizer": "adam", "clip": 1, "batch_size": 32, "engine": "auto"}}),
    ],
    ids=["variant", "task", "training"],
)
def test_naming_a_default_changes_no_key(plain: dict[str, Any], named: dict[str, Any]) -> None:
    assert trials(**plain) == trials(**named)


def test_naming_the_default_evaluations_changes_no_key() -> None:
    least = {"variants": ["lstm"], "tasks": ["adding"]}
    named = {**least, "evaluations": {"samples": TEST_SAMPLES, "lengths": [2, 4], "corruptions": []}}
    one, two = (planning.trials(schema.check(raw, "test"), REGISTRY, "cpu") for raw in (least, named))
    assert one == two


# Timings


def timings(**changes: Any) -> list[tuple[str, str, int]]:
    return [(timing.variant.label, timing.engine, timing.shape.length) for timing in planning.timings(plan(**changes), REGISTRY, "cpu")]


def test_every_variant_is_timed_on_every_engine_with_the_baseline_beside() -> None:
    assert timings(
        variants=["layernorm", "residual(depth=3)"], training={"steps": 100}, timing={"lengths": [4, 8], "streaming": False}
    ) == [
        (name, engine, length)
        for length in (4, 8)
        for name, engine in [
            *(("lstm", "vendor"), ("lstm", "derived"), ("lstm", "reference")),
            *(("layernorm", "derived"), ("layernorm", "reference")),
            *(("residual(depth=3)", "vendor"), ("residual(depth=3)", "derived"), ("residual(depth=3)", "reference")),
        ]
    ]


@pytest.mark.skipif(not engines.compiler(), reason="there is no C++ compiler here")
def test_what_trainings_compile_is_timed_compiled() -> None:
    long = {
        "tasks": [{"name": "adding", "lengths": [50], "steps": engines.COMPILING_PAYS // 50}],
        "timing": {"lengths": [4], "streaming": False},
    }
    assert timings(variants=["lstm"], **long) == [("lstm", "vendor", 4), ("lstm", "compiled", 4), ("lstm", "reference", 4)]


def test_no_length_is_no_timing() -> None:
    assert timings() == []


@pytest.mark.parametrize(
    "change",
    [
        {"repeats": 8},
        {"precision": 0.2},
        {"seconds": 2.0},
        {"most_repeats": 30},
        {"batch_size": 31},
        {"input_size": 7},
        {"hidden_size": 31},
        {"lengths": [5]},
    ],
    ids=str,
)
def test_a_timings_shape_changes_its_key(change: dict[str, Any]) -> None:
    base = {"lengths": [4], "streaming": False}
    before, after = (planning.timings(plan(timing={**base, **fields}), REGISTRY, "cpu") for fields in ({}, change))
    assert disjoint([one.key for one in before], [one.key for one in after])


# What others provide


def tasks() -> Iterator[Task]:
    def draw(rng: np.random.Generator, batch_size: int, length: int) -> Batch:
        return Batch(rng.random((batch_size, length, 1)), rng.random(batch_size))

    yield Task("mine", draw, 1, 1, "mse", lambda _length: 1.0, lambda _length: None, lengths=(3,))  # type: ignore[arg-type, return-value]


def test_a_task_of_ones_own_stands_in_the_grid() -> None:
    (task,) = tasks()
    assert {trial.length for trial in trials(with_task(task), tasks=["mine"])} == {3}


def test_a_corruption_of_ones_own_is_asked_at_its_severities() -> None:
    mine = Corruption("mine", lambda _rng, x, _protected, _severity: x, (1, 2, 3, 4, 5))
    (measure,) = robustness.suite_measures({"mine": mine})
    registry = replace(
        REGISTRY,
        corruptions={**REGISTRY.corruptions, "mine": Provided(mine, "here", None, {"mine": "0"})},
        measures={**REGISTRY.measures, "mine": Provided(measure, "there", None, {})},
    )
    for trial in trials(registry, evaluations={"corruptions": ["mine"]}):
        assert [(asked.axis, asked.measure, asked.at) for asked in trial.evaluations] == [
            ("long_range", "length", (1.0, 2.0)),
            ("robustness", "mine", (1.0, 2.0, 3.0, 4.0, 5.0)),
        ]
        assert trial.evaluations[1].sources["mine"] == "0"


def test_a_measure_of_ones_own_is_asked_at_its_points() -> None:
    mine = Measure("mine", "memory", ask=lambda *_: None, points=(3.0, 4.0))  # type: ignore[arg-type]
    registry = replace(REGISTRY, measures={**REGISTRY.measures, "mine": Provided(mine, "here", None, {"mine": "0"})})
    for trial in trials(registry, evaluations={"measures": ["mine"]}):
        assert (trial.evaluations[-1].axis, trial.evaluations[-1].measure, trial.evaluations[-1].at) == ("memory", "mine", (3.0, 4.0))


def test_names_are_compared_without_case() -> None:
    assert trials(variants=["LSTM", "Residual"], tasks=[{"name": "Adding", "lengths": [6, 9]}]) == trials()
    assert trials()[0].variant == Plugin("lstm")


def test_a_measure_is_asked_once() -> None:
    for asked in ({"measures": ["length"]}, {"corruptions": ["step_drop"], "measures": ["Step_Drop"]}):
        with pytest.raises(SuiteError, match=r"asks '(length|step_drop)' twice"):
            trials(evaluations=asked)
