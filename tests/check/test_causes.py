"""Checks that the advice of a failed check fits the mistake behind it, where the mistake is one that many make."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from suite import Variant, check

from .sound import Sound, failed, failed_of

SUPER = "Call super().__init__() first in __init__."


class WithoutSuper(nn.Module):
    def __init__(self, input_size: int, hidden_size: int) -> None:
        self.weights = nn.Linear(input_size, hidden_size)

    def forward(self, x: Tensor) -> Tensor:
        return self.weights(x)  # type: ignore[no-any-return]


class WithoutSuperOrWeights(nn.Module):
    def __init__(self, input_size: int, hidden_size: int) -> None:
        self.sizes = input_size, hidden_size

    def forward(self, x: Tensor) -> Tensor:
        return x


@pytest.mark.parametrize("build", [WithoutSuper, WithoutSuperOrWeights])
def test_a_forgotten_super_is_named(build: type[nn.Module]) -> None:
    [finding] = failed_of(build)
    assert finding.remedy == SUPER


def layer(kind: Callable[..., nn.Module], both_ways: bool = False) -> type[nn.Module]:
    """A variant around one of torch's layers, with its batch_first forgotten."""

    class TimeFirst(nn.Module):
        def __init__(self, input_size: int, hidden_size: int) -> None:
            super().__init__()
            self.layer = kind(input_size, hidden_size, bidirectional=both_ways)

        def forward(self, x: Tensor) -> Tensor:
            y, _ = self.layer(x)
            return y  # type: ignore[no-any-return]

    return TimeFirst


@pytest.mark.parametrize("kind", [nn.LSTM, nn.GRU, nn.RNN])
def test_a_forgotten_batch_first_is_named(kind: type[nn.Module]) -> None:
    findings = {finding.check: finding for finding in failed_of(layer(kind))}
    assert {"batch", "gradients", "summary"} <= set(findings)
    for name in ("batch", "gradients", "summary"):
        assert findings[name].remedy == f"Give the nn.{kind.__name__} batch_first=True: x is (B, T, D)."


def test_a_forgotten_batch_first_is_named_where_it_hides_that_the_layer_looks_ahead() -> None:
    findings = {finding.check: finding for finding in failed("variant", Variant("v", layer(nn.LSTM, both_ways=True), causal=False))}
    assert findings["causality"].remedy.startswith("Give the nn.LSTM batch_first=True")


class WithAState(nn.Module):
    """Hands over an initial state, so that the layer itself complains."""

    def __init__(self, input_size: int, hidden_size: int) -> None:
        super().__init__()
        self.hidden_size, self.layer = hidden_size, nn.GRU(input_size, hidden_size)

    def forward(self, x: Tensor) -> Tensor:
        y, _ = self.layer(x, x.new_zeros(1, len(x), self.hidden_size))
        return y  # type: ignore[no-any-return]


def test_a_forgotten_batch_first_is_named_where_the_state_does_not_fit() -> None:
    [finding] = failed_of(WithAState)
    assert finding.check == "shapes"
    assert finding.remedy.startswith("Give the nn.GRU batch_first=True")


class Transposed(nn.Module):
    """Hands the layer time first, as it wants it, and spoils something else."""

    def __init__(self, input_size: int, hidden_size: int) -> None:
        super().__init__()
        self.layer = nn.GRU(input_size, hidden_size)

    def forward(self, x: Tensor) -> Tensor:
        y, _ = self.layer(x.transpose(0, 1))
        return y.transpose(0, 1) + 1e-6 * x.mean(0).sum(1, keepdim=True)  # type: ignore[no-any-return]


def test_a_layer_that_has_time_first_on_purpose_is_not_blamed() -> None:
    [finding] = failed_of(Transposed)
    assert finding.check == "batch"
    assert finding.remedy.startswith("Use no statistic over the batch")


class ReturnsItsState(nn.Module):
    def __init__(self, input_size: int, hidden_size: int) -> None:
        super().__init__()
        self.layer = nn.GRU(input_size, hidden_size, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        return self.layer(x)  # type: ignore[no-any-return]


def test_a_returned_state_is_named() -> None:
    [finding] = failed_of(ReturnsItsState)
    assert finding.remedy.startswith("Return the outputs alone")


class AnswersInComplexNumbers(nn.Module):
    def __init__(self, input_size: int, hidden_size: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(hidden_size, input_size, dtype=torch.cfloat))

    def forward(self, x: Tensor) -> Tensor:
        return x.to(self.weight.dtype) @ self.weight.T


class MixesRealAndComplex(AnswersInComplexNumbers):
    def forward(self, x: Tensor) -> Tensor:
        return (x @ self.weight.T).real


@pytest.mark.parametrize(
    ("build", "remedy"), [(AnswersInComplexNumbers, "Return real numbers"), (MixesRealAndComplex, "Convert the real x to the dtype")]
)
def test_complex_numbers_in_the_wrong_place_are_named(build: type[nn.Module], remedy: str) -> None:
    [finding] = failed_of(build)
    assert finding.remedy.startswith(remedy)


class Exits(Sound):
    def forward(self, x: Tensor) -> Tensor:  # noqa: ARG002
        raise SystemExit("a long\nstory")


def test_whatever_a_plugin_raises_is_a_finding_in_one_line() -> None:
    [finding] = failed_of(Exits)
    assert (finding.check, finding.reason) == ("shapes", "SystemExit: a long story")
    assert finding.remedy == next(promise.remedy for promise in check.checks_for(check.Subject("variant", Variant("v", Exits))))
