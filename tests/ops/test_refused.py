"""Checks that a step which no graph can stand for is refused in a plain sentence, and that no step gives wrong numbers."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from suite import SuiteError, Variant, ops
from suite.ops.probing import why_not_batched, why_not_derived
from suite.ops.recurrence import Deriver

from .answering import answers, built, departures, noise
from .cores import LRU, ByPartial, Core, Nested, Orthogonal, WeightNorm

AROUND = torch.ones(())


class Branches(Core):
    def step(self, x_t: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
        return super().step(x_t, h if h.sum() > 0 else -h)


class AsksForAValue(Core):
    def step(self, x_t: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
        return super().step(x_t, h * h.abs().max().item())


class SelectsByAMask(Core):
    def step(self, x_t: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
        return super().step(x_t, h + h[h > 0].sum())


class UsesNumPy(Core):
    def step(self, x_t: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
        return super().step(x_t, torch.from_numpy(np.tanh(h.detach().numpy())))


class FlipsTheBatch(Core):
    def step(self, x_t: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
        return super().step(x_t.flip(0), h)


class NormalisesTheBatch(Core):
    def __init__(self, hidden_size: int) -> None:
        super().__init__(hidden_size)
        self.norm = nn.BatchNorm1d(hidden_size)

    def step(self, x_t: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
        y, h = super().step(x_t, h)
        return self.norm(y), h


class DividesByTheBatch(Core):
    def step(self, x_t: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
        return super().step(x_t / x_t.shape[0], h)


class AsksHowManySamples(Core):
    def step(self, x_t: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
        return super().step(x_t if len(x_t) > 1 else -x_t, h)


class Counts(Core):
    def step(self, x_t: Tensor, state: tuple[Tensor, Any]) -> tuple[Tensor, Any]:
        y, h = super().step(x_t, state[0])
        return y, (h, state[1] + 1)

    def start(self, x: Tensor) -> Any:
        return super().start(x), 0


class CountsInATensor(Counts):
    def start(self, x: Tensor) -> Any:
        return Core.start(self, x), torch.zeros(x.shape[0], 1, dtype=torch.int64)


class KeepsNone(Core):
    def step(self, x_t: Tensor, state: tuple[Tensor, None]) -> tuple[Tensor, Any]:
        y, h = super().step(x_t, state[0])
        return y, (h, None)

    def start(self, x: Tensor) -> Any:
        return super().start(x), None


class KeepsNothing(Core):
    def step(self, x_t: Tensor, state: tuple[()]) -> tuple[Tensor, Any]:
        return self.of_x(x_t), state

    def start(self, x: Tensor) -> Any:  # noqa: ARG002
        return ()


class Grows(Core):
    def step(self, x_t: Tensor, states: Tensor) -> tuple[Tensor, Tensor]:
        y, h = super().step(x_t, states[:, -1])
        return y, torch.cat([states, h[:, None]], dim=1)

    def start(self, x: Tensor) -> Tensor:
        return torch.stack([super().start(x)], dim=1)


class ChangesItsForm(Core):
    def step(self, x_t: Tensor, state: Any) -> tuple[Tensor, Any]:
        y, h = super().step(x_t, state if isinstance(state, Tensor) else state[0])
        return y, (h,)


class ChangesItsType(Core):
    def step(self, x_t: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
        y, h = super().step(x_t, h.to(x_t.dtype))
        return y, h.half()


class SharesItsState(Core):
    def start(self, x: Tensor) -> Tensor:
        return torch.zeros_like(super().start(x)[:1])


class ClosesOverATensor(Core):
    def forward(self, x: Tensor) -> Tensor:
        mean = x.mean(1)
        return ops.scan(lambda x_t, h: self.step(x_t - mean, h), x, self.start(x))


class KnowsATensor(Core):
    def step(self, x_t: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
        return super().step(x_t * AROUND, h)


class MakesATensor(Core):
    def step(self, x_t: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
        return super().step(x_t, h * torch.tensor(0.5))


class ClosesOverADictionary(Core):
    def forward(self, x: Tensor) -> Tensor:
        settings = {"leak": 0.5}
        return ops.scan(lambda x_t, h: self.step(x_t, settings["leak"] * h), x, self.start(x))


class WritesIntoItsState(Core):
    def step(self, x_t: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
        h.add_(self.of_x(x_t))
        return h, h

    def start(self, x: Tensor) -> Tensor:
        return torch.zeros_like(x[:, 0]) @ self.of_x.weight.T


class CountsItsSteps(Core):
    steps = 0

    def step(self, x_t: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
        self.steps += 1
        return super().step(x_t, h)


class RemembersItsState(Core):
    last: Tensor | None = None

    def step(self, x_t: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
        y, self.last = super().step(x_t, h)
        return y, self.last


class Drops(Core):
    def step(self, x_t: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
        return super().step(x_t, functional.dropout(h, 0.5, training=self.training))


class UsesMemoryAsItIs(Core):
    def step(self, x_t: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
        return super().step(x_t, h + 0 * torch.empty_like(h))


class Rounds(Core):
    """Has a way back of its own, which lets gradients through."""

    class Through(torch.autograd.Function):
        @staticmethod
        def forward(_: Any, h: Tensor) -> Tensor:
            return h.round()

        @staticmethod
        def backward(_: Any, gradient: Tensor) -> Any:
            return gradient

    def step(self, x_t: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
        return super().step(x_t, self.Through.apply(4 * h) / 4)  # type: ignore[no-untyped-call]


class NeverScans(Core):
    def forward(self, x: Tensor) -> Tensor:
        return self.of_x(x)  # type: ignore[no-any-return]


VALUE = "its step asks for a value that only running it would tell"
DEPARTS = "what is derived from its step departs from the plain loop"
TENSOR = "is neither a weight nor a buffer"

REFUSED: dict[type[Core], str] = {
    Branches: VALUE,
    AsksForAValue: VALUE,
    SelectsByAMask: VALUE,
    UsesNumPy: "numpy() is not supported",
    FlipsTheBatch: DEPARTS,
    NormalisesTheBatch: "its step writes into a tensor in place",
    DividesByTheBatch: DEPARTS,
    AsksHowManySamples: "does one thing for some sizes of a batch",
    Counts: "its step keeps int in its state",
    CountsInATensor: "its step keeps int64 in its state",
    KeepsNone: "its step keeps NoneType in its state",
    KeepsNothing: "its step keeps no state",
    Grows: "its step gives a state of another shape or type",
    ChangesItsForm: "its step gives a state of another form",
    ChangesItsType: "its step gives a state of another shape or type",
    SharesItsState: "its step begins with a state that has no row for each sample",
    ClosesOverATensor: TENSOR,
    KnowsATensor: TENSOR,
    MakesATensor: TENSOR,
    ClosesOverADictionary: "its step holds dict",
    WritesIntoItsState: "its step writes into a tensor in place (add_)",
    CountsItsSteps: "its step writes to steps of its module",
    RemembersItsState: "its step writes to last of its module",
    Drops: "its step draws random numbers",
    UsesMemoryAsItIs: "its step uses memory that nothing was written into (empty_like)",
    Rounds: DEPARTS,
    NeverScans: "its forward calls no ops.scan",
}


def variant(build: type[Core]) -> Variant:
    return Variant(build.__name__, lambda _input_size, hidden_size: build(hidden_size))


@pytest.mark.parametrize(("build", "reason"), REFUSED.items())
def test_a_step_is_refused_in_a_sentence(build: type[Core], reason: str) -> None:
    told = why_not_derived(variant(build), {})
    assert reason in told
    assert "\n" not in told
    assert len(told) < 300


@pytest.mark.parametrize("build", [LRU, Nested, Orthogonal, WeightNorm, ByPartial])
def test_a_step_that_can_be_derived_is_not_refused(build: type[Core]) -> None:
    assert why_not_derived(variant(build), {}) == ""


def test_a_module_is_left_as_it_was() -> None:
    core, x = built(RemembersItsState), noise(2, 5, 3)
    attributes = dict(vars(core))
    with pytest.raises(SuiteError, match="writes to last"):
        answers(Deriver(compiled=False), core, x)
    assert vars(core) == attributes


def test_dropout_is_refused_in_training_mode_alone() -> None:
    core, x = built(Drops), noise(2, 5, 3)
    with pytest.raises(SuiteError, match="draws random numbers"):
        answers(Deriver(compiled=False), core, x)
    core.eval()
    assert max(departures(answers(Deriver(compiled=False), core, x), answers(None, core, x)).values()) < 1e-10


class SubtractsTheMean(Core):
    """Mixes the batch where each step is alone, so that the numbers are right all the same."""

    def step(self, x_t: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
        return super().step(x_t - x_t.mean(0, keepdim=True), h - h.mean(0))


def test_a_mean_over_the_batch_is_right() -> None:
    core, x = built(SubtractsTheMean), noise(4, 5, 3)
    assert max(departures(answers(Deriver(compiled=False), core, x), answers(None, core, x)).values()) < 1e-10


class Counting(nn.Module):
    """Counts its calls in a buffer."""

    def __init__(self, input_size: int, hidden_size: int) -> None:
        super().__init__()
        self.layer = nn.Linear(input_size, hidden_size)
        self.count: Tensor
        self.register_buffer("count", torch.zeros(()))

    def forward(self, x: Tensor) -> Tensor:  # (B, T, D) -> (B, T, H)
        self.count = self.count + 1
        return self.layer(x)  # type: ignore[no-any-return]


class Mixing(nn.Linear):
    """Subtracts the mean over the samples of a batch."""

    def forward(self, x: Tensor) -> Tensor:  # (B, T, D) -> (B, T, H)
        y = super().forward(x)
        return y - y.mean(0)


@pytest.mark.parametrize(
    ("build", "reason"), [(Counting, "changes a buffer, which members could not share"), (Mixing, "mixes the samples of a batch")]
)
def test_what_members_could_not_share_is_run_in_turn(build: Any, reason: str) -> None:
    assert why_not_batched(Variant("mine", build), {}) == f"its forward {reason}"
