"""Checks that keys change when, and only when, the work changes, and that sizes match by brute force."""

from __future__ import annotations

import hashlib
import inspect
from collections.abc import Iterator, Mapping
from dataclasses import fields, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from suite import Batch, Corruption, Measure, SuiteError, Task, Variant, machine
from suite.measures import robustness
from suite.ops.engines import REFERENCE, VENDOR
from suite.plan import choices, matching, schema
from suite.plan import trials as planning
from suite.plan.choices import Choice
from suite.plan.schema import Plan
from suite.registry import sources
from suite.registry.finder import discover
from suite.registry.registry import Provided, Registry
from suite.spec import Plugin
from suite.training import model
from suite.trial import Training, Trial

REGISTRY = discover()

LEAST: dict[str, Any] = {
    "variants": ["lstm", "residual"],
    "tasks": [{"name": "adding", "lengths": [6, 9]}],
    "seeds": [0, 1],
    "matching": {"rule": "hidden_size", "hidden_size": 3},
    "training": {"learning_rates": [0.01]},
    "evaluations": {"lengths": [2], "corruptions": ["gaussian_noise"]},
}


def plan(**changes: Any) -> Plan:
    """The least plan, tables merged with the changes."""
    merged = {**LEAST, **{name: {**LEAST.get(name, {}), **value} if isinstance(value, dict) else value for name, value in changes.items()}}
    return schema.check({"name": "test", **merged}, "test")


def trials(registry: Registry = REGISTRY, **changes: Any) -> list[Trial]:
    return planning.trials(plan(**changes), registry, "cpu")


def keys(planned: list[Trial]) -> list[str]:
    return [trial.key for trial in planned]


def evaluation_keys(planned: list[Trial]) -> list[str]:
    return [evaluation.key for trial in planned for evaluation in trial.evaluations]


def disjoint(one: list[str], other: list[str]) -> bool:
    return not set(one) & set(other)


def with_variant(variant: Variant, digests: Mapping[str, str] | None = None) -> Registry:
    return replace(REGISTRY, variants={**REGISTRY.variants, variant.name: Provided(variant, "here", None, digests or {})})


def with_task(task: Task) -> Registry:
    return replace(REGISTRY, tasks={**REGISTRY.tasks, task.name: Provided(task, "here", None, {})})


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
    "clip": 0.5,
    "stop": "solved",
    "dtype": "float64",
}


def test_every_training_field_is_tried_below() -> None:
    assert {name.removesuffix("s") if name == "learning_rates" else name for name in CHANGES} == {one.name for one in fields(Training)}


@pytest.mark.parametrize("field", CHANGES)
def test_a_training_field_changes_every_key(field: str) -> None:
    before, after = trials(), trials(training={field: CHANGES[field]})
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
    named = {**least, "evaluations": {"lengths": [2, 4], "corruptions": []}}
    one, two = (planning.trials(schema.check(raw, "test"), REGISTRY, "cpu") for raw in (least, named))
    assert one == two


# Options


def build(
    input_size: int, hidden_size: int, *, rate: float = 0.5, depth: int = 1, deep: bool = False, score: Literal["dot", "sum"] = "dot"
) -> Any: ...


OPTIONS = {name: one for name, one in inspect.signature(build, eval_str=True).parameters.items() if one.kind is one.KEYWORD_ONLY}


@pytest.mark.parametrize(
    ("options", "wanted"),
    [
        ({}, [{}]),
        ({"depth": 3}, [{"depth": 3}]),
        ({"rate": 2}, [{"rate": 2.0}]),
        ({"rate": 0.5, "depth": 1, "deep": False, "score": "dot"}, [{}]),
        ({"score": ["sum", "dot"], "depth": [1, 2]}, [{"score": "sum"}, {"depth": 2, "score": "sum"}, {}, {"depth": 2}]),
    ],
    ids=str,
)
def test_options_expand(options: dict[str, Any], wanted: list[dict[str, Any]]) -> None:
    planned = list(choices.expand(Choice(name="mine", options=options), OPTIONS, "variant"))
    assert repr(planned) == repr(wanted)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"dept": 2}, "variant 'mine': unknown option 'dept'; did you mean 'depth'?"),
        ({"zzz": 2}, "variant 'mine': unknown option 'zzz'; there is deep, depth, rate, score"),
        ({"depth": "two"}, "variant 'mine': option depth: 'two' is str, not int"),
        ({"depth": 2.0}, "variant 'mine': option depth: 2.0 is float, not int"),
        ({"depth": True}, "variant 'mine': option depth: True is bool, not int"),
        ({"depth": [1, "2"]}, "variant 'mine': option depth: '2' is str, not int"),
        ({"deep": 1}, "variant 'mine': option deep: 1 is int, not bool"),
        ({"rate": True}, "variant 'mine': option rate: True is bool, not float"),
        ({"score": "cosine"}, "variant 'mine': option score: 'cosine' is not one of dot, sum"),
    ],
    ids=str,
)
def test_a_wrong_option_is_refused_with_what_is_allowed(options: dict[str, Any], message: str) -> None:
    with pytest.raises(SuiteError) as caught:
        list(choices.expand(Choice(name="mine", options=options), OPTIONS, "variant"))
    assert str(caught.value) == message


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


# Sizes


@pytest.mark.parametrize("task", ["adding", "copy"])
@pytest.mark.parametrize("name", REGISTRY.variants)
def test_parameters_match_the_nearest_by_brute_force(name: str, task: str) -> None:
    variant, noun = REGISTRY.variant(name).noun, REGISTRY.task(task).noun
    counts = {size: model.count_parameters(model.build(variant, {}, noun, size, REFERENCE.name, 0)) for size in range(1, 65)}
    counter = matching.Counter(variant, {}, noun)
    assert {size: counter(size) for size in counts} == counts
    for budget in (1, 150, 1_000, 1_999, counts[32], (counts[20] + counts[21]) // 2):
        for guess in (1, 3, 32, 500):
            size, parameters = counter.nearest(budget, guess)
            assert abs(parameters - budget) == min(abs(count - budget) for count in counts.values())
            assert counts[size] == parameters


class Wide(nn.Module):
    """A core whose output grows with the square of the hidden size, which no straight line predicts."""

    def __init__(self, input_size: int, hidden_size: int) -> None:
        super().__init__()
        self.layer = nn.Linear(input_size, hidden_size**2 + 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.layer(x)  # type: ignore[no-any-return]


class OnTheCpu(nn.Module):
    """A core that looks at its numbers, so that the meta device cannot build it."""

    def __init__(self, input_size: int, hidden_size: int) -> None:
        super().__init__()
        self.layer = nn.Linear(input_size, hidden_size)
        self.scale = float(self.layer.weight.detach().abs().max())

    def forward(self, x: Tensor) -> Tensor:
        return self.layer(x) / self.scale  # type: ignore[no-any-return]


@pytest.mark.parametrize("build", [Wide, OnTheCpu])
def test_what_cannot_be_predicted_is_counted_all_the_same(build: type[nn.Module]) -> None:
    variant, noun = Variant("mine", build), REGISTRY.task("copy").noun
    counts = {size: model.count_parameters(model.build(variant, {}, noun, size, REFERENCE.name, 0)) for size in range(1, 40)}
    size, parameters = matching.Counter(variant, {}, noun).nearest(counts[17] + 1, 32)
    assert (size, parameters) == (17, counts[17])


def test_each_variant_is_counted_once_for_each_task_shape(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[tuple[str, str]] = []
    real = matching.Counter

    def counted(variant: Variant, options: Any, task: Task) -> matching.Counter:
        made.append((variant.name, task.name))
        return real(variant, options, task)

    monkeypatch.setattr(matching, "Counter", counted)
    trials(matching={"rule": "parameters"}, training={"learning_rates": [0.1, 0.2, 0.3]})
    assert sorted(made) == [("lstm", "adding"), ("residual", "adding")]


def test_a_variant_that_does_not_grow_is_told() -> None:
    with pytest.raises(SuiteError, match=r"it has 7 parameters at hidden_size 65536 and never reaches 1000; does it use hidden_size\?"):
        matching.nearest_size(lambda _size: 7, 1000, 32)


def test_a_complex_weight_counts_as_two() -> None:
    module = nn.Linear(3, 2)
    module.weight = nn.Parameter(torch.zeros(2, 3, dtype=torch.complex64))
    assert model.count_parameters(module) == 2 * 6 + 2


def test_the_budget_is_the_lstms() -> None:
    planned = trials(matching={"rule": "parameters", "hidden_size": 16}, variants=["rnn", "lstm", "bilstm"])
    lstm = 4 * 16 * (2 + 16) + 4 * 16 + 16 + 1  # four gates of x, h and a bias; a readout of one
    assert {trial.budget for trial in planned} == {lstm}
    assert {(trial.hidden_size, trial.parameters) for trial in planned if trial.variant.name == "lstm"} == {(16, lstm)}
    assert {abs(trial.parameters / lstm - 1) < 0.05 for trial in planned} == {True}
    assert len({trial.hidden_size for trial in planned}) == 3


def test_matching_by_hidden_size_leaves_the_counts_apart() -> None:
    planned = trials(matching={"rule": "hidden_size", "hidden_size": 5}, variants=["rnn", "lstm"])
    rnn = 5 * (2 + 5) + 5 + 5 + 1
    assert {(trial.variant.name, trial.hidden_size, trial.parameters) for trial in planned} >= {("rnn", 5, rnn)}
    assert {trial.hidden_size for trial in planned} == {5}


def fails(_input_size: int, _hidden_size: int) -> Any:
    raise RuntimeError("no such luck")


def exits(_input_size: int, _hidden_size: int) -> Any:
    raise SystemExit(3)


@pytest.mark.parametrize("build", [fails, exits, lambda _d, _h: "not a module", lambda _d, _h: nn.Identity()])
@pytest.mark.parametrize("rule", ["parameters", "hidden_size"])
def test_a_variant_that_cannot_be_built_keeps_its_trials(build: Any, rule: str) -> None:
    planned = trials(with_variant(Variant("broken", build)), variants=["lstm", "broken"], matching={"rule": rule})
    broken = [trial for trial in planned if trial.variant.name == "broken"]
    assert len(broken) == len(planned) // 2
    assert {trial.hidden_size for trial in broken} == {3}


def test_engines_are_resolved_before_the_key() -> None:
    planned = trials(variants=["lstm", "layernorm"])
    assert {(trial.variant.name, trial.engine) for trial in planned} == {("lstm", VENDOR.name), ("layernorm", REFERENCE.name)}
    planned = trials(variants=["lstm", "layernorm"], training={"engine": REFERENCE.name})
    assert {trial.engine for trial in planned} == {REFERENCE.name}


# Limits


@pytest.mark.parametrize("rule", ["parameters", "hidden_size"])
def test_a_model_beyond_memory_is_refused_before_anything_is_built(rule: str) -> None:
    with pytest.raises(SuiteError, match=r"`lstm` of hidden size 60000 has .* needs at least .* GiB and there are .* GiB here; lower"):
        trials(matching={"rule": rule, "hidden_size": 60000})


def test_a_sequence_beyond_memory_is_refused() -> None:
    with pytest.raises(
        SuiteError, match=r"task 'adding', length 1000000: a t.* needs at least .* GiB and there are .* GiB here; shorten it"
    ):
        trials(tasks=[{"name": "adding", "lengths": [1_000_000]}], matching={"hidden_size": 64}, training={"batch_size": 64})


def test_what_a_step_keeps_is_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    """A step of an LSTM keeps its gates and states: some ten values of the hidden size for each sample and step, of four bytes each."""
    from suite.plan import limits

    (trial, *_) = trials(variants=["lstm"], tasks=[{"name": "adding", "lengths": [100]}], matching={"hidden_size": 64})
    kept = limits.step_bytes(replace(trial, engine=REFERENCE.name), REGISTRY)
    state = trial.training.batch_size * 100 * 64 * 4
    assert 6 * state < kept < 25 * state
    monkeypatch.setattr(limits, "memory", lambda _device: kept // 2)
    monkeypatch.setattr(limits, "SMALL", 0.0)
    with pytest.raises(SuiteError, match="length 100: a training step of `lstm` needs at least"):
        limits.check_sequences([replace(trial, engine=REFERENCE.name)], REGISTRY)


def test_a_task_whose_draw_raises_anything_is_told_in_one_line() -> None:
    def draw(_rng: Any, _batch_size: int, _length: int) -> Batch:
        raise KeyError("no\nsuch luck")

    task = Task("mine", draw, 1, 1, "mse", lambda _length: 1.0, lambda _length: None, lengths=(3,))  # type: ignore[arg-type, return-value]
    with pytest.raises(SuiteError) as caught:
        trials(with_task(task), tasks=["mine"])
    assert str(caught.value) == "task 'mine' (here), length 3: draw raised KeyError: 'no\\nsuch luck'; try: suite check mine"


# Timings


def timings(**changes: Any) -> list[tuple[str, str, int]]:
    return [(timing.variant.label, timing.engine, timing.length) for timing in planning.timings(plan(**changes), REGISTRY, "cpu")]


def test_every_variant_is_timed_on_every_engine_with_the_baseline_beside() -> None:
    assert timings(variants=["layernorm", "residual(depth=3)"], timing={"lengths": [4, 8]}) == [
        (name, engine, length)
        for length in (4, 8)
        for name, engine in [
            *(("lstm", "vendor"), ("lstm", "reference")),
            ("layernorm", "reference"),
            *(("residual(depth=3)", "vendor"), ("residual(depth=3)", "reference")),
        ]
    ]


def test_no_length_is_no_timing() -> None:
    assert timings() == []


@pytest.mark.parametrize("change", [{"repeats": 8}, {"batch_size": 31}, {"input_size": 7}, {"hidden_size": 31}, {"lengths": [5]}], ids=str)
def test_a_timings_shape_changes_its_key(change: dict[str, Any]) -> None:
    before, after = (planning.timings(plan(timing={"lengths": [4], **fields}), REGISTRY, "cpu") for fields in ({}, change))
    assert disjoint([one.key for one in before], [one.key for one in after])


# Tasks and corruptions of others


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
    mine = Measure("mine", "memory", lambda *_: None, (3.0, 4.0))  # type: ignore[arg-type]
    registry = replace(REGISTRY, measures={**REGISTRY.measures, "mine": Provided(mine, "here", None, {"mine": "0"})})
    for trial in trials(registry, evaluations={"measures": ["mine"]}):
        assert (trial.evaluations[-1].axis, trial.evaluations[-1].measure, trial.evaluations[-1].at) == ("memory", "mine", (3.0, 4.0))


def test_names_are_compared_without_case() -> None:
    assert trials(variants=["LSTM", "Residual"], tasks=[{"name": "Adding", "lengths": [6, 9]}]) == trials()
    assert trials()[0].variant == Plugin("lstm")


class Heads(nn.Module):
    """A core that takes only sizes that a number of heads divides."""

    def __init__(self, input_size: int, hidden_size: int, *, heads: int = 4) -> None:
        super().__init__()
        if hidden_size % heads:
            raise ValueError(f"hidden_size must be a multiple of {heads}")
        self.layer = nn.Linear(input_size, hidden_size)

    def forward(self, x: Tensor) -> Tensor:
        return self.layer(x)  # type: ignore[no-any-return]


def test_a_variant_of_certain_sizes_is_matched_among_their_multiples() -> None:
    planned = trials(
        with_variant(Variant("heads", Heads)),
        variants=["lstm", "heads", "heads(heads=8)"],
        matching={"rule": "parameters", "hidden_size": 16},
    )
    sizes = {trial.variant.label: trial.hidden_size for trial in planned}
    assert sizes["heads"] % 4 == 0
    assert sizes["heads(heads=8)"] % 8 == 0
    assert {trial.parameters > 0 for trial in planned} == {True}
    with pytest.raises(SuiteError, match=r"variant 'heads\(heads=3\)': hidden_size must be a multiple of 3"):
        trials(with_variant(Variant("heads", Heads)), variants=["heads(heads=3)"], matching={"hidden_size": 16})


def test_a_variant_that_cannot_be_matched_keeps_its_own_count_and_is_flagged() -> None:
    fixed = Variant("fixed", lambda input_size, _hidden_size: nn.Linear(input_size, 3))
    planned = trials(with_variant(fixed), variants=["lstm", "fixed"], matching={"rule": "parameters", "hidden_size": 16})
    (size,) = {(trial.hidden_size, trial.parameters) for trial in planned if trial.variant.name == "fixed"}
    assert size == (16, 2 * 3 + 3 + 3 + 1)


def test_a_measure_is_asked_once() -> None:
    for asked in ({"measures": ["length"]}, {"corruptions": ["step_drop"], "measures": ["Step_Drop"]}):
        with pytest.raises(SuiteError, match=r"asks '(length|step_drop)' twice"):
            trials(evaluations=asked)


def test_a_literal_takes_its_members_alone() -> None:
    def build(*, k: Literal[1, 2] = 1) -> None: ...

    declared = dict(inspect.signature(build, eval_str=True).parameters)
    for value in (2.0, True, 3):
        with pytest.raises(SuiteError, match="is not one of 1, 2"):
            choices.checked({"k": value}, declared, "variant 'mine'")
    assert choices.checked({"k": 2}, declared, "variant 'mine'") == {"k": 2}


def test_a_variant_that_raises_is_no_reason_to_refuse_a_long_plan(monkeypatch: pytest.MonkeyPatch) -> None:
    from suite.plan import limits

    class Raises(nn.Linear):
        def forward(self, x: Tensor) -> Tensor:
            if x.shape[1] > 3:
                raise RuntimeError("no such luck")
            return super().forward(x)

    monkeypatch.setattr(limits, "SMALL", 0.0)
    assert len(trials(with_variant(Variant("sad", Raises)), variants=["sad"])) == 4
