"""Checks the checks of variants: each planted fault is caught, by the check that names it and by no other that could mislead."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from suite import Variant, ops

from .sound import Sound, failures


class LooksAhead(Sound):
    step = None  # type: ignore[assignment]

    def forward(self, x: Tensor) -> Tensor:
        y = ops.scan(super().step, x, self.start(x))
        return y + 1e-6 * x.mean((1, 2), keepdim=True)


class LeaksOverTheBatch(Sound):
    step = None  # type: ignore[assignment]

    def forward(self, x: Tensor) -> Tensor:
        y = ops.scan(super().step, x, self.start(x))
        return y + 1e-6 * x.mean(0).sum(1, keepdim=True)


class DrawsFromTheGlobalGenerator(Sound):
    def forward(self, x: Tensor) -> Tensor:
        torch.rand(1)
        return super().forward(x)


class SeedsTheGlobalGenerator(Sound):
    def __init__(self, input_size: int, hidden_size: int) -> None:
        np.random.seed(0)
        super().__init__(input_size, hidden_size)


class SetsThreads(Sound):
    def forward(self, x: Tensor) -> Tensor:
        torch.set_num_threads(2)
        return super().forward(x)


class DetachesTheFirstStep(Sound):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(torch.cat([x[:, :1].detach(), x[:, 1:]], dim=1))


class WritesIntoItsInput(Sound):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.clamp_(-1, 1))


class ForgetsAStep(Sound):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x)[:, 1:]


class FailsAtOddSizes(Sound):
    def forward(self, x: Tensor) -> Tensor:
        y = super().forward(x)
        return y.view(*y.shape[:2], 2, -1).flatten(2)


class DiffersFromRunToRun(Sound):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x) * (1 + int.from_bytes(os.urandom(2), "big") / 2**20)


class IgnoresItsSeed(Sound):
    def __init__(self, input_size: int, hidden_size: int) -> None:
        super().__init__(input_size, hidden_size)
        generator = torch.Generator().manual_seed(0)
        for parameter in self.parameters():
            nn.init.uniform_(parameter, -0.5, 0.5, generator=generator)


class AnswersInFloat32(Sound):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x).float()


class HidesWeightsInAList(Sound):
    step = None  # type: ignore[assignment]

    def __init__(self, input_size: int, hidden_size: int) -> None:
        super().__init__(input_size, hidden_size)
        self.extra = [torch.full((hidden_size,), 0.5, requires_grad=True)]

    def forward(self, x: Tensor) -> Tensor:
        return ops.scan(super().step, x, self.start(x)) * self.extra[0].to(x)


class HidesWeightsFromParameters(Sound):
    def __init__(self, input_size: int, hidden_size: int) -> None:
        super().__init__(input_size, hidden_size)
        nn.init.zeros_(self.bias)

    def parameters(self, recurse: bool = True) -> Iterator[nn.Parameter]:
        return (parameter for parameter in super().parameters(recurse) if parameter is not self.bias)


class CountsWeightsItNeverUses(Sound):
    def __init__(self, input_size: int, hidden_size: int) -> None:
        super().__init__(input_size, hidden_size)
        self.idle = nn.Linear(hidden_size, hidden_size)


class KeepsItsState(Sound):
    kept: Tensor | None = None

    def forward(self, x: Tensor) -> Tensor:
        h = self.start(x) if self.kept is None or self.kept.shape[0] != len(x) else self.kept.to(x)
        y = ops.scan(super().step, x, h)
        self.kept = y[:, -1].detach()
        return y


class StepsOtherwise(Sound):
    def step(self, x_t: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
        return h, super().step(x_t, h)[1]

    def forward(self, x: Tensor) -> Tensor:
        return ops.scan(super().step, x, self.start(x))


class LosesAWeightInItsFile(Sound):
    def state_dict(self, *arguments: Any, **keywords: Any) -> Any:
        return {key: value for key, value in super().state_dict(*arguments, **keywords).items() if not key.endswith("bias")}

    def load_state_dict(self, state: Mapping[str, Any], strict: bool = True, assign: bool = False) -> Any:  # noqa: ARG002
        return super().load_state_dict(state, strict=False)


class GrowsWithoutBound(Sound):
    def step(self, x_t: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
        h = 1.05 * h + x_t @ self.weight_x.T + 0.01 * h @ self.weight_h.T + self.bias
        return h, h


class HasAWrongGradient(Sound):
    class Twice(torch.autograd.Function):
        @staticmethod
        def forward(_: Any, y: Tensor) -> Tensor:
            return y.clone()

        @staticmethod
        def backward(_: Any, gradient: Tensor) -> Any:
            return 2 * gradient

    def forward(self, x: Tensor) -> Tensor:
        return self.Twice.apply(super().forward(x))  # type: ignore[no-any-return, no-untyped-call]


class StaysOnTheCPU(Sound):
    def start(self, x: Tensor) -> Tensor:
        return torch.zeros(len(x), self.hidden_size, dtype=x.dtype)

    def step(self, x_t: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
        h = torch.tanh(x_t @ self.weight_x.T + (h + self.bias) @ self.weight_h.T)
        return h, h


class CannotLearn(Sound):
    def forward(self, x: Tensor) -> Tensor:
        return 1e-6 * ops.scan(super().step, x, self.start(x))

    def step(self, x_t: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
        y, h = super().step(x_t, h)
        return 1e-6 * y, h


class BothWays(nn.Module):
    def __init__(self, input_size: int, hidden_size: int) -> None:
        super().__init__()
        self.onward, self.reverse = Sound(input_size, hidden_size), Sound(input_size, hidden_size)

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([self.onward(x), self.reverse(x.flip(1)).flip(1)], dim=2)


class TakesADepth(Sound):
    def __init__(self, input_size: int, hidden_size: int, *, depth: list[int] = []) -> None:  # noqa: B006
        super().__init__(input_size, hidden_size)
        self.depth = depth


class TakesItByPosition(Sound):
    def __init__(self, input_size: int, hidden_size: int, depth: int = 1) -> None:
        super().__init__(input_size, hidden_size)
        self.depth = depth


class CountsItsSteps(Sound):
    """Halves its outputs after a thousand steps, which no short training reaches."""

    def __init__(self, input_size: int, hidden_size: int) -> None:
        super().__init__(input_size, hidden_size)
        self.steps = 0

    def forward(self, x: Tensor) -> Tensor:
        self.steps += self.training
        return super().forward(x) / (2 if self.steps > 1000 else 1)


def mixes_gates(module: Any, x: Tensor) -> Tensor:
    return ops.vendor_rnn(x, module.weight_x, module.weight_h.T.contiguous(), module.bias)


FAULTY: dict[str, tuple[Variant, set[str]]] = {
    "look-ahead": (Variant("v", LooksAhead), {"causality"}),
    "a claim to look ahead": (Variant("v", Sound, causal=False), {"causality"}),
    "batch leakage": (Variant("v", LeaksOverTheBatch), {"batch"}),
    "global random numbers": (Variant("v", DrawsFromTheGlobalGenerator), {"surroundings"}),
    "global seed": (Variant("v", SeedsTheGlobalGenerator), {"surroundings"}),
    "thread count": (Variant("v", SetsThreads), {"surroundings"}),
    "detached gradient at the first step": (Variant("v", DetachesTheFirstStep), {"gradients", "gradcheck", "summary"}),
    "in-place input change": (Variant("v", WritesIntoItsInput), {"input"}),
    "wrong output length": (Variant("v", ForgetsAStep), {"shapes"}),
    "odd sizes": (Variant("v", FailsAtOddSizes), {"shapes"}),
    "run-to-run nondeterminism": (Variant("v", DiffersFromRunToRun), {"determinism"}),
    "seed ignored": (Variant("v", IgnoresItsSeed), {"determinism"}),
    "dtype change": (Variant("v", AnswersInFloat32), {"dtypes"}),
    "wrong parameter claim": (Variant("v", Sound, parameters=lambda inputs, size: size * (inputs + size + 2)), {"parameters"}),
    "hidden parameters": (Variant("v", HidesWeightsInAList), {"parameters"}),
    "parameters() that hides one": (Variant("v", HidesWeightsFromParameters), {"parameters"}),
    "idle parameters": (Variant("v", CountsWeightsItNeverUses), {"parameters"}),
    "state kept between calls": (Variant("v", KeepsItsState), {"state"}),
    "count of its steps": (Variant("v", CountsItsSteps), {"resumption"}),
    "step that is not forward": (Variant("v", StepsOtherwise), {"step"}),
    "broken state_dict": (Variant("v", LosesAWeightInItsFile), {"state_dict"}),
    "NaN at T=2,000": (Variant("v", GrowsWithoutBound), {"long_sequence"}),
    "wrong gradient": (Variant("v", HasAWrongGradient), {"gradcheck"}),
    "bound to the CPU": (Variant("v", StaysOnTheCPU), {"device"}),
    "learns nothing": (Variant("v", CannotLearn), {"learns"}),
    "twin that is another": (Variant("v", Sound, vendor=mixes_gates), {"twin"}),
    "summary that saw one step": (Variant("v", BothWays, causal=False), {"summary"}),
    "option of no type": (Variant("v", TakesADepth), {"options"}),
    "option by position": (Variant("v", TakesItByPosition), {"options"}),
}


class HasAScalar(Sound):
    def __init__(self, input_size: int, hidden_size: int) -> None:
        super().__init__(input_size, hidden_size)
        self.scale = nn.Parameter(torch.tensor(0.0))  # as a residual branch that begins shut

    def step(self, x_t: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
        y, h = super().step(x_t, h)
        return y * (1 + self.scale), h


def test_a_sound_variant_passes() -> None:
    assert failures("variant", Variant("v", HasAScalar)) == set()
    assert failures("variant", Variant("v", Sound, vendor=lambda m, x: ops.vendor_rnn(x, m.weight_x, m.weight_h, m.bias))) == set()
    assert failures("variant", Variant("v", Sound, parameters=lambda inputs, size: size * (inputs + size + 1))) == set()


@pytest.mark.parametrize(("variant", "wanted"), FAULTY.values(), ids=FAULTY)
def test_a_faulty_variant_is_caught(variant: Variant, wanted: set[str]) -> None:
    assert failures("variant", variant) == wanted
