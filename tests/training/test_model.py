"""Checks that a model reads its answer from the right place and that a variant's mistake is told."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from suite import SuiteError, Variant
from suite.registry.finder import discover
from suite.training import model

REGISTRY = discover()
ADDING, COPY = REGISTRY.task("adding").noun, REGISTRY.task("copy").noun


class Keep(nn.Module):
    """Gives its input back, so that what the readout sees is known."""

    def __init__(self, _input_size: int, _hidden_size: int) -> None:
        super().__init__()

    def forward(self, x: Tensor) -> Tensor:  # (B, T, D) -> (B, T, D)
        return x


def test_one_answer_is_read_from_the_last_step() -> None:
    net = model.build(Variant("keep", Keep), {}, ADDING, 4, "reference", 0)
    x = torch.randn(3, 5, ADDING.width)
    torch.testing.assert_close(net(x), net.readout(x[:, -1]))


def test_one_answer_is_read_from_the_variants_own_summary() -> None:
    net = model.build(Variant("keep", Keep, summary=lambda y: y[:, 0]), {}, ADDING, 4, "reference", 0)
    x = torch.randn(3, 5, ADDING.width)
    torch.testing.assert_close(net(x), net.readout(x[:, 0]))


def test_a_task_with_an_answer_a_step_is_read_at_every_step() -> None:
    net = model.build(Variant("keep", Keep, summary=lambda y: y[:, 0]), {}, COPY, 4, "reference", 0)
    x = torch.randn(3, 5, COPY.width)
    assert net(x).shape == (3, 5, 9)
    torch.testing.assert_close(net(x), net.readout(x))


def test_the_vendors_engine_is_used_where_it_is_asked() -> None:
    variant = Variant("keep", Keep, vendor=lambda _core, x: 2 * x)
    x = torch.randn(3, 5, ADDING.width)
    slow, fast = (model.build(variant, {}, ADDING, 4, engine, 0) for engine in ("reference", "vendor"))
    torch.testing.assert_close(slow(x), slow.readout(x[:, -1]))
    torch.testing.assert_close(fast(x), fast.readout(2 * x[:, -1]))


@pytest.mark.parametrize("name", REGISTRY.variants)
def test_the_whole_model_comes_from_the_seed(name: str) -> None:
    variant, before = REGISTRY.variant(name).noun, torch.get_rng_state()
    one, two, other = (model.build(variant, {}, ADDING, 4, "reference", seed).state_dict() for seed in (1, 1, 2))
    assert torch.equal(torch.get_rng_state(), before)
    assert all(torch.equal(one[key], two[key]) for key in one)
    assert not torch.equal(one["readout.weight"], other["readout.weight"])


def test_the_engine_changes_no_weight() -> None:
    one, two = (model.build(REGISTRY.variant("lstm").noun, {}, ADDING, 4, engine, 1).state_dict() for engine in ("reference", "vendor"))
    assert all(torch.equal(one[key], two[key]) for key in one)


def test_a_core_that_draws_more_does_not_move_the_readout() -> None:
    def more(input_size: int, hidden_size: int) -> nn.Module:
        torch.randn(100)
        return Keep(input_size, hidden_size)

    one, two = (model.build(Variant("keep", build), {}, ADDING, 4, "reference", 1) for build in (Keep, more))
    assert torch.equal(one.readout.weight, two.readout.weight)


def test_only_trained_parameters_count() -> None:
    net = nn.Linear(3, 2)
    assert model.count_parameters(net) == 8
    net.bias.requires_grad_(False)
    assert model.count_parameters(net) == 6


class Says(Keep):
    def __init__(self, answer: Any) -> None:
        super().__init__(1, 1)
        self.answer = answer

    def forward(self, x: Tensor) -> Tensor:
        return self.answer(x)  # type: ignore[no-any-return]


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (lambda x: x[:, -1], r"forward gave shape \(2, 2\) for x of shape \(2, 3, 2\); it must give \(B, T, O\)"),
        (lambda x: x.transpose(0, 1), r"forward gave shape \(3, 2, 2\)"),
        (lambda x: (x, x), "forward gave tuple"),
    ],
)
def test_a_forward_of_another_shape_is_told(answer: Any, message: str) -> None:
    with pytest.raises(SuiteError, match=f"variant 'mine': {message}"):
        model.output_size(Variant("mine", Keep), Says(answer), 2)


@pytest.mark.parametrize(
    ("summary", "message"),
    [(lambda y: y, r"summary gave shape \(2, 3, 2\)"), (lambda y: y[:, 0, :1], "summary gave 1 features and forward 2")],
)
def test_a_summary_of_another_shape_is_told(summary: Any, message: str) -> None:
    with pytest.raises(SuiteError, match=f"variant 'mine': {message}"):
        model.output_size(Variant("mine", Keep, summary=summary), Keep(2, 2), 2)


def test_a_build_that_gives_no_module_is_told() -> None:
    with pytest.raises(SuiteError, match=r"variant 'mine': build returned str, not an nn.Module"):
        model.build_core(Variant("mine", lambda _d, _h: "a module"), {}, 1, 1, 0)  # type: ignore[arg-type, return-value]


def test_options_reach_the_variant() -> None:
    core: Any = model.build_core(replace(REGISTRY.variant("residual").noun), {"depth": 3}, 2, 4, 0)
    assert len(core.blocks) == 2
