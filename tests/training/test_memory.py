"""Checks that gates begin with the memory that a plan asks for, and that this is all that changes."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from suite import SuiteError, Variant
from suite.registry.finder import discover
from suite.spec import Plugin
from suite.training import trainer
from suite.trial import Trial

REGISTRY = discover()
ADDING = REGISTRY.task("adding").noun
GATED = {"lstm": 1, "gru": 1, "layernorm": 1, "attention": 1, "residual": 2, "bilstm": 2}


def built(tiny: Trial, name: str, memory: float | str, **changes: int) -> nn.Module:
    training = replace(tiny.training, initial_memory=memory)  # type: ignore[arg-type]
    trial = replace(tiny, variant=Plugin(name), training=training, **changes)  # type: ignore[arg-type]
    (net,) = trainer.build([trial], REGISTRY.variant(name).noun, ADDING)
    return net


def biases(net: nn.Module, name: str) -> list[tuple[Tensor, Tensor | None]]:
    memory = REGISTRY.variant(name).noun.memory
    assert memory is not None
    return list(memory(net.core))


@pytest.mark.parametrize(("name", "gates"), GATED.items())
def test_every_gate_that_keeps_a_state_begins_as_asked(tiny: Trial, name: str, gates: int) -> None:
    before, net = built(tiny, name, "own"), built(tiny, name, 3.0)
    pairs = biases(net, name)
    assert len(pairs) == gates
    for keep, _ in pairs:
        assert keep.tolist() == [3.0] * len(keep)
        keep.data.fill_(0.0)
    for keep, _ in biases(before, name):
        keep.data.fill_(0.0)
    assert all(torch.equal(one, two) for one, two in zip(before.parameters(), net.parameters(), strict=True))  # nothing else moved


@pytest.mark.parametrize("name", GATED)
def test_chrono_is_spread_over_the_sequence_and_the_same_for_a_seed(tiny: Trial, name: str) -> None:
    one, same, other = (built(tiny, name, "chrono", length=100, seed=seed) for seed in (0, 0, 1))
    for (keep, write), (again, _), (apart, _) in zip(*(biases(net, name) for net in (one, same, other)), strict=True):
        assert torch.equal(keep, again)
        assert not torch.equal(keep, apart)
        assert 0 <= keep.min() <= keep.max() <= math.log(99)
        assert write is None or torch.equal(write, -keep)


def test_a_gate_keeps_what_its_bias_says(tiny: Trial) -> None:
    """σ(b)^T of the cell is left after T steps of nothing, where the input gate is shut."""
    lstm: Any = built(tiny, "lstm", 5.0).core
    with torch.no_grad():
        lstm.gates.weight.zero_()
        lstm.gates.bias[: lstm.hidden_size] = -1e9
        state = (torch.zeros(1, lstm.hidden_size), torch.ones(1, lstm.hidden_size))
        for _ in range(20):
            _, state = lstm.step(torch.zeros(1, ADDING.width), state)
    assert state[1][0, 0].item() == pytest.approx((1 / (1 + math.exp(-5))) ** 20, rel=1e-5)


def test_a_variant_without_such_gates_stays_as_it_is(tiny: Trial) -> None:
    own, asked = built(tiny, "rnn", "own"), built(tiny, "rnn", 3.0)
    assert all(torch.equal(one, two) for one, two in zip(own.parameters(), asked.parameters(), strict=True))


def test_what_is_no_bias_is_told(tiny: Trial) -> None:
    wrong = Variant("wrong", REGISTRY.variant("gru").noun.build, memory=lambda core: [(core.weight_x, None)])
    with pytest.raises(SuiteError, match=r"variant 'wrong': memory yields pairs of biases \(H,\)"):
        trainer.build([tiny], wrong, ADDING)


def test_it_is_in_the_key(tiny: Trial) -> None:
    memories: tuple[Any, ...] = (1.0, 3.0, "chrono", "own")
    keys = {replace(tiny, training=replace(tiny.training, initial_memory=memory)).key for memory in memories}
    assert len(keys) == 4
