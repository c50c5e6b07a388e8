"""Checks that a model fed one step at a time gives what it gives for the whole sequence, and that it is said which cannot be fed so."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from suite import Variant
from suite.ops.probing import why_not_streamed
from suite.ops.streaming import Stream
from suite.registry.finder import discover

VARIANTS = {name: provided.noun for name, provided in discover().variants.items()}


@pytest.mark.parametrize("name", ["rnn", "lstm", "gru", "layernorm", "residual"])
def test_a_stream_gives_what_the_whole_sequence_does(name: str) -> None:
    torch.manual_seed(0)
    core, x = VARIANTS[name].build(3, 8).double().eval(), torch.randn(2, 12, 3, dtype=torch.float64)
    stream = Stream(core)
    assert why_not_streamed(VARIANTS[name], {}) == ""
    with torch.no_grad():
        streamed = torch.stack([stream(x_t) for x_t in x.unbind(1)], dim=1)
        assert torch.allclose(streamed, core(x), rtol=0, atol=1e-12)


@pytest.mark.parametrize("name", ["attention", "bilstm"])
def test_who_looks_beyond_its_state_cannot_be_streamed(name: str) -> None:
    assert why_not_streamed(VARIANTS[name], {}) == "its forward looks at more of the sequence than its states carry on"


class Scanless(nn.Linear):
    """Calls no scan."""


class Broken(nn.Linear):
    def forward(self, _: Tensor) -> Tensor:
        raise RuntimeError("no such luck")


@pytest.mark.parametrize(
    ("build", "why"),
    [(Scanless, "its forward calls no ops.scan"), (Broken, "its forward raises RuntimeError: no such luck")],
)
def test_why_not_is_a_sentence(build: type[nn.Module], why: str) -> None:
    assert why_not_streamed(Variant("mine", build), {}) == why
