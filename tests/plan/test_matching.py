"""Checks that sizes match by brute force, and what becomes of a variant that cannot be matched."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from suite import SuiteError, Task, Variant
from suite.ops.engines import DERIVED, REFERENCE, VENDOR
from suite.plan import matching
from suite.plan.state import state_size
from suite.training import model

from .planned import REGISTRY, trials, with_variant


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
    lstm = 4 * 16 * (3 + 16) + 4 * 16 + 16 + 1  # four gates of x (with its constant channel), h and a bias; a readout of one
    assert {trial.budget for trial in planned} == {lstm}
    assert {(trial.hidden_size, trial.parameters) for trial in planned if trial.variant.name == "lstm"} == {(16, lstm)}
    assert {abs(trial.parameters / lstm - 1) < 0.05 for trial in planned} == {True}
    assert len({trial.hidden_size for trial in planned}) == 3


def test_matching_by_hidden_size_leaves_the_counts_apart() -> None:
    planned = trials(matching={"rule": "hidden_size", "hidden_size": 5}, variants=["rnn", "lstm"])
    rnn = 5 * (3 + 5) + 5 + 5 + 1
    assert {(trial.variant.name, trial.hidden_size, trial.parameters) for trial in planned} >= {("rnn", 5, rnn)}
    assert {trial.hidden_size for trial in planned} == {5}


@pytest.mark.parametrize("name", ["rnn", "gru", "residual(depth=3)", "bilstm"])
def test_states_match_the_nearest_by_brute_force(name: str) -> None:
    planned = trials(variants=["lstm", name], matching={"rule": "state_size", "hidden_size": 13})
    (lstm,) = {(trial.hidden_size, trial.state_size) for trial in planned if trial.variant.name == "lstm"}
    ((size, reached, parameters),) = {
        (trial.hidden_size, trial.state_size, trial.parameters) for trial in planned if trial.variant.name != "lstm"
    }
    plugin = planned[-1].variant
    variant, noun = REGISTRY.variant(plugin.name).noun, REGISTRY.task("adding").noun
    states = {each: state_size(variant, plugin.options, noun.width, each, 9).size for each in range(1, 40)}
    assert lstm == (13, 26)
    assert abs(reached - 26) == min(abs(count - 26) for count in states.values())
    assert states[size] == reached
    assert parameters == matching.Counter(variant, plugin.options, noun)(size)


def test_a_state_that_grows_with_the_sequence_is_matched_at_one_length_alone() -> None:
    with pytest.raises(
        SuiteError,
        match=r"\[matching\] rule = \"state_size\": variant 'attention': of hidden size \d+ it carries \d+ numbers after 6 steps and \d+ after 9, "
        r".* leave it out, train at one length, or take another rule",
    ):
        trials(variants=["lstm", "attention"], matching={"rule": "state_size", "hidden_size": 16})
    alone = trials(
        variants=["lstm", "attention"], tasks=[{"name": "adding", "lengths": [6]}], matching={"rule": "state_size", "hidden_size": 16}
    )
    sizes = {(trial.variant.name, trial.hidden_size, trial.state_size) for trial in alone}
    assert sizes == {("lstm", 16, 32), ("attention", 4, 8 * 4)}


def test_a_state_that_is_not_known_is_not_matched() -> None:
    with pytest.raises(
        SuiteError, match=r"variant 'linear': what it carries is not known: its forward calls no ops.scan; let it state that"
    ):
        trials(with_variant(Variant("linear", nn.Linear)), variants=["lstm", "linear"], matching={"rule": "state_size", "hidden_size": 4})


def test_a_state_that_does_not_grow_with_the_hidden_size_is_told() -> None:
    fixed = Variant("fixed", nn.Linear, state=lambda *_: 5)
    with pytest.raises(SuiteError, match=r"variant 'fixed': it has 5 numbers to carry on at hidden_size \d+ and never reaches 8"):
        trials(with_variant(fixed), variants=["lstm", "fixed"], matching={"rule": "state_size", "hidden_size": 4})


def test_a_state_of_certain_sizes_is_matched_among_their_multiples() -> None:
    heads = Variant("heads", Heads, state=lambda core, _length: core.layer.out_features)
    planned = trials(with_variant(heads), variants=["lstm", "heads"], matching={"rule": "state_size", "hidden_size": 11})
    assert {(trial.hidden_size, trial.state_size) for trial in planned if trial.variant.name == "heads"} == {(20, 20)}


def fails(_input_size: int, _hidden_size: int) -> Any:
    raise RuntimeError("no such luck")


def exits(_input_size: int, _hidden_size: int) -> Any:
    raise SystemExit(3)


@pytest.mark.parametrize(
    ("rule", "build"),
    [
        *((rule, build) for rule in ("parameters", "state_size", "hidden_size") for build in (fails, exits, lambda _d, _h: "not a module")),
        *((rule, lambda _d, _h: nn.Identity()) for rule in ("parameters", "hidden_size")),
    ],
)
def test_a_variant_that_cannot_be_built_keeps_its_trials(build: Any, rule: str) -> None:
    planned = trials(with_variant(Variant("broken", build)), variants=["lstm", "broken"], matching={"rule": rule})
    broken = [trial for trial in planned if trial.variant.name == "broken"]
    assert len(broken) == len(planned) // 2
    assert {trial.hidden_size for trial in broken} == {3}


def test_engines_are_resolved_before_the_key() -> None:
    planned = trials(variants=["lstm", "layernorm"], training={"steps": 100})
    assert {(trial.variant.name, trial.engine) for trial in planned} == {("lstm", VENDOR.name), ("layernorm", DERIVED.name)}
    planned = trials(variants=["lstm", "layernorm"], training={"engine": REFERENCE.name})
    assert {trial.engine for trial in planned} == {REFERENCE.name}


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
    assert size == (16, 3 * 3 + 3 + 3 + 1)
