"""Checks which engine a training gets: the one that is asked for where the variant has it, and the fastest by rule for ``auto``."""

from __future__ import annotations

import inspect
from dataclasses import replace

import pytest
from torch import Tensor, nn

from suite import SuiteError, Variant
from suite.ops import probing
from suite.ops.engines import (
    AUTO,
    BATCHED,
    COMPILED,
    COMPILING_PAYS,
    DERIVED,
    ENGINES,
    REFERENCE,
    VENDOR,
    compiler,
    engine,
    engines_of,
    resolve,
)
from suite.registry.finder import discover

from .cores import Core

VARIANTS = {name: provided.noun for name, provided in discover().variants.items()}
LSTM, LAYERNORM = VARIANTS["lstm"], VARIANTS["layernorm"]
FEW, MANY = COMPILING_PAYS - 1, COMPILING_PAYS

needs_compiler = pytest.mark.skipif(not compiler(), reason="there is no C++ compiler here")


class LooksUpItsState(Core):
    """Has no step that can be derived, and runs for several members at once."""

    def forward(self, x: Tensor) -> Tensor:
        return self.of_x(x).cumsum(1)  # type: ignore[no-any-return]


class Layer(nn.Module):
    """Has neither."""

    def __init__(self, input_size: int, hidden_size: int) -> None:
        super().__init__()
        self.layer = nn.LSTM(input_size, hidden_size, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.layer(x)[0]
        return y if float(y.sum()) > 0 else -y


AT_ONCE = Variant("at-once", lambda _input_size, hidden_size: LooksUpItsState(hidden_size))
LAYER = Variant("layer", Layer)


@pytest.fixture
def fused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probing, "why_not_fused", lambda _variant, _options: "")


@pytest.fixture
def unfused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probing, "why_not_fused", lambda _variant, _options: "torch runs its twin as a loop of products")


@pytest.mark.usefixtures("fused")
def test_a_fused_twin_comes_first() -> None:
    assert resolve(LSTM, {}, AUTO, FEW, "cpu") == resolve(LSTM, {}, AUTO, MANY, "cpu") == VENDOR.name


@pytest.mark.usefixtures("unfused")
def test_an_unfused_twin_comes_last_but_one_on_the_cpu_and_first_on_cuda() -> None:
    assert resolve(LSTM, {}, AUTO, FEW, "cpu") == DERIVED.name
    assert resolve(LSTM, {}, AUTO, FEW, "cuda") == VENDOR.name
    assert resolve(replace(LAYER, vendor=lambda module, x: module(x)), {}, AUTO, FEW, "cpu") == VENDOR.name


@needs_compiler
@pytest.mark.usefixtures("unfused")
@pytest.mark.parametrize("variant", [LSTM, LAYERNORM], ids=lambda variant: variant.name)
def test_compiling_pays_from_so_many_steps(variant: Variant) -> None:
    assert resolve(variant, {}, AUTO, FEW, "cpu") == DERIVED.name
    assert resolve(variant, {}, AUTO, MANY, "cpu") == COMPILED.name


@needs_compiler
@pytest.mark.parametrize("steps", [1, FEW, MANY])
def test_a_named_engine_is_taken_whatever_it_costs(steps: int) -> None:
    for device in ("cpu", "cuda"):
        names = [known.name for known in ENGINES if device in known.devices]
        assert [resolve(LSTM, {}, name, steps, device) for name in names] == names


@needs_compiler
def test_a_named_engine_gives_way_to_the_next_that_the_variant_has() -> None:
    assert resolve(LAYERNORM, {}, VENDOR.name, 1, "cpu") == COMPILED.name
    assert resolve(AT_ONCE, {}, VENDOR.name, 1, "cpu") == resolve(AT_ONCE, {}, AUTO, MANY, "cpu") == BATCHED.name
    assert resolve(LAYER, {}, VENDOR.name, 1, "cpu") == resolve(LAYER, {}, AUTO, MANY, "cpu") == REFERENCE.name


def test_engines_of_are_those_that_lack_nothing() -> None:
    assert engines_of(LAYER, {}, "cpu") == (REFERENCE,)
    assert engines_of(AT_ONCE, {}, "cpu") == (BATCHED, REFERENCE)


def test_the_choice_rests_on_nothing_else() -> None:
    assert list(inspect.signature(resolve).parameters) == ["variant", "options", "asked", "steps", "device"]


def test_an_unknown_engine_is_named() -> None:
    with pytest.raises(SuiteError, match="unknown engine 'derivd'; did you mean 'derived'"):
        engine("derivd")
    with pytest.raises(SuiteError, match="unknown engine"):
        resolve(LSTM, {}, "fast", 1, "cpu")
