"""Checks how many numbers a variant carries from step to step: by its equations, and where that cannot be known."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from suite import SuiteError, Variant, ops
from suite.plan.state import UNKNOWN, state_size, text
from suite.store.store import differences

from .planned import REGISTRY, trials, with_variant


@pytest.mark.parametrize(
    ("name", "options", "wanted"),
    [
        ("rnn", {}, lambda size, _steps: size),
        ("gru", {}, lambda size, _steps: size),
        ("lstm", {}, lambda size, _steps: 2 * size),
        ("layernorm", {}, lambda size, _steps: 2 * size),
        ("refined", {}, lambda size, _steps: 2 * size),
        ("residual", {}, lambda size, _steps: 2 * 2 * size),
        ("residual", {"depth": 5, "skip": False}, lambda size, _steps: 2 * 5 * size),
        ("residual", {"depth": 3, "layers": 2}, lambda size, _steps: 2 * (1 + 2 * 2) * size),
        ("attention", {}, lambda size, steps: (2 + steps) * size),
        ("bilstm", {}, lambda size, _steps: 2 * 2 * size),
    ],
)
def test_a_shipped_variant_carries_what_its_equations_say(name: str, options: dict[str, Any], wanted: Callable[[int, int], int]) -> None:
    for size, steps in ((1, 6), (7, 6), (7, 40)):
        assert state_size(REGISTRY.variant(name).noun, options, 3, size, steps).size == wanted(size, steps)


class Carrying(nn.Module):
    """A core with a state of one's choice, which its step adds up."""

    def __init__(self, input_size: int, hidden_size: int) -> None:
        super().__init__()
        self.hidden_size = hidden_size
        self.layer = nn.Linear(input_size, hidden_size)

    def start(self, x: Tensor) -> Any:
        return x.new_zeros(len(x), self.hidden_size)

    def step(self, x_t: Tensor, state: Any) -> tuple[Tensor, Any]:
        h = torch.tanh(self.layer(x_t) + state)
        return h, h

    def forward(self, x: Tensor) -> Tensor:
        return ops.scan(self.step, x, self.start(x))


class Complex(Carrying):
    def start(self, x: Tensor) -> Tensor:
        return torch.zeros(len(x), self.hidden_size, dtype=x.dtype.to_complex())

    def step(self, x_t: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        state = 0.5j * state + self.layer(x_t)
        return state.real, state


class Nested(Carrying):
    """A matrix and two vectors, in a tuple and a dictionary."""

    def start(self, x: Tensor) -> Any:
        zeros = x.new_zeros(len(x), self.hidden_size)
        return {"matrix": x.new_zeros(len(x), self.hidden_size, self.hidden_size), "vectors": (zeros, zeros)}

    def step(self, x_t: Tensor, state: Any) -> tuple[Tensor, Any]:
        h = torch.tanh(self.layer(x_t) + state["vectors"][0])
        return h, {"matrix": state["matrix"] + h[:, :, None] * h[:, None], "vectors": (h, state["vectors"][1] + h)}


class OwnLoop(Carrying):
    def forward(self, x: Tensor) -> Tensor:
        outputs, state = [], self.start(x)
        for x_t in x.unbind(1):
            y, state = self.step(x_t, state)
            outputs.append(y)
        return torch.stack(outputs, dim=1)


class Torchs(Carrying):
    """A layer of torch beneath the scan, whose state no scan shows."""

    def __init__(self, input_size: int, hidden_size: int) -> None:
        super().__init__(hidden_size, hidden_size)
        self.below = nn.LSTM(input_size, hidden_size, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(self.below(x)[0])


class LooksBack(Carrying):
    """What the scan gets of a step holds the step before, which is carried on beside the scan's state."""

    def forward(self, x: Tensor) -> Tensor:
        before = torch.cat([torch.zeros_like(x[:, :1]), x[:, :-1]], dim=1)
        return super().forward(x + before)


@pytest.mark.parametrize(("build", "wanted"), [(Carrying, 4), (Complex, 8), (Nested, 16 + 2 * 4)])
def test_every_number_of_a_state_counts(build: Callable[..., nn.Module], wanted: int) -> None:
    assert state_size(Variant("mine", build), {}, 3, 4, 9).size == wanted


@pytest.mark.parametrize(
    ("variant", "why"),
    [
        (Variant("mine", OwnLoop), "its forward calls no ops.scan"),
        (Variant("mine", nn.Linear), "its forward calls no ops.scan"),
        (Variant("mine", Torchs), "its forward looks at more of the sequence than its states carry on"),
        (Variant("mine", LooksBack), "its forward looks at more of the sequence than its states carry on"),
        (Variant("mine", Torchs, causal=False), "a recurrent layer of torch keeps its state to itself"),
        (Variant("mine", lambda _input, _hidden: nn.Linear(1, 1), causal=False), "RuntimeError"),
        (Variant("mine", lambda _input, _hidden: 1 / 0), "it cannot be built: ZeroDivisionError"),  # type: ignore[arg-type, return-value]
    ],
    ids=["own loop", "no loop", "a layer of torch", "the step before", "a layer of torch, both ways", "raises", "not built"],
)
def test_what_carries_numbers_that_no_scan_shows_is_not_known(variant: Variant, why: str) -> None:
    counted = state_size(variant, {}, 3, 4, 9)
    assert counted.size == UNKNOWN
    assert counted.why.startswith(why)


def test_what_a_variant_states_counts_in_place_of_its_scans() -> None:
    assert state_size(Variant("mine", Torchs, state=lambda core, _length: 3 * core.hidden_size), {}, 3, 4, 9).size == 12
    windowed = Variant("mine", Carrying, state=lambda core, length: min(length, 5) * core.hidden_size)
    assert [state_size(windowed, {}, 3, 4, length).size for length in (2, 5, 9)] == [8, 20, 20]
    looks = Variant("mine", Carrying, state=lambda core, _length: int(core.layer.bias.detach().abs().max() < 9) + 1)
    assert state_size(looks, {}, 3, 4, 9).size == 2  # its numbers are there for it to look at


@pytest.mark.parametrize("wrong", [2.5, -1, 0, None, "many"])
def test_a_variant_that_states_no_count_is_told(wrong: Any) -> None:
    with pytest.raises(SuiteError, match=r"variant 'mine': state\(module, length\) must give how many numbers .* is no count"):
        trials(with_variant(Variant("mine", Carrying, state=lambda *_: wrong)), variants=["mine"])


def test_a_variant_whose_statement_raises_is_told() -> None:
    with pytest.raises(SuiteError, match=r"variant 'mine': state\(module, length\) must give .*: AttributeError: .*width"):
        trials(with_variant(Variant("mine", Carrying, state=lambda core, _length: core.width)), variants=["mine"])


def test_trials_have_the_state_of_their_own_size_and_length() -> None:
    planned = trials(variants=["lstm", "gru", "attention"], matching={"rule": "parameters", "hidden_size": 16})
    sizes = {(trial.variant.name, trial.length): (trial.hidden_size, trial.state_size) for trial in planned}
    assert sizes["lstm", 6] == sizes["lstm", 9] == (16, 32)
    hidden, state = sizes["gru", 6]
    assert hidden == state > 16
    hidden, _ = sizes["attention", 6]
    assert (sizes["attention", 6][1], sizes["attention", 9][1]) == (8 * hidden, 11 * hidden)


def test_the_state_is_in_no_key_and_makes_nothing_stale() -> None:
    (trial, *_) = trials()
    before = replace(trial, state_size=0)
    assert trial.state_size == 6
    assert before.key == trial.key
    assert differences(before, trial) == []


@pytest.mark.parametrize(
    ("sizes", "causal", "wanted"),
    [
        ({64}, True, "64"),
        ({702, 1352}, True, "702–1,352"),
        ({88}, False, "88, whole sequence"),
        ({0}, True, "–"),
        ({0}, False, "–"),
        ((), True, "–"),
    ],
)
def test_sizes_are_told(sizes: set[int], causal: bool, wanted: str) -> None:
    assert text(sizes, causal) == wanted
