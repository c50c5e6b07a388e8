"""Cores whose steps differ in form, for the derived engine to be compared with the plain loop on."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrizations

from suite import ops

INPUT_SIZE = 3

Step = Callable[[Tensor, Any], tuple[Tensor, Any]]


class Core(nn.Module):
    """Weights, and a step along time; the classes below have other steps."""

    def __init__(self, hidden_size: int) -> None:
        super().__init__()
        self.hidden_size = hidden_size
        self.of_x = nn.Linear(INPUT_SIZE, hidden_size)
        self.of_h = nn.Linear(hidden_size, hidden_size, bias=False)

    def step(self, x_t: Tensor, h: Any) -> tuple[Tensor, Any]:
        h = torch.tanh(self.of_x(x_t) + self.of_h(h))
        return h, h

    def start(self, x: Tensor) -> Any:
        return x.new_zeros(x.shape[0], self.hidden_size)

    def forward(self, x: Tensor) -> Tensor:  # (B, T, D) -> (B, T, O)
        return ops.scan(self.step, x, self.start(x))


class Peephole(Core):
    def __init__(self, hidden_size: int) -> None:
        super().__init__(hidden_size)
        self.gates = nn.Linear(INPUT_SIZE + hidden_size, 4 * hidden_size)
        self.peep_i, self.peep_f, self.peep_o = (nn.Parameter(torch.randn(hidden_size)) for _ in range(3))

    def step(self, x_t: Tensor, state: tuple[Tensor, Tensor]) -> tuple[Tensor, Any]:
        h, c = state
        i, f, g, o = self.gates(torch.cat([h, x_t], dim=1)).chunk(4, dim=1)
        c = torch.sigmoid(f + self.peep_f * c) * c + torch.sigmoid(i + self.peep_i * c) * torch.tanh(g)
        h = torch.sigmoid(o + self.peep_o * c) * torch.tanh(c)
        return h, (h, c)

    def start(self, x: Tensor) -> Any:
        zeros = super().start(x)
        return zeros, zeros


class SeesInputAndCell(Peephole):
    def __init__(self, hidden_size: int) -> None:
        super().__init__(hidden_size)
        self.gates = nn.Linear(INPUT_SIZE + 2 * hidden_size, 2 * hidden_size)

    def step(self, x_t: Tensor, state: tuple[Tensor, Tensor]) -> tuple[Tensor, Any]:
        h, c = state
        f, g = self.gates(torch.cat([x_t, h, c], dim=-1)).chunk(2, dim=-1)
        c = torch.sigmoid(f) * c + torch.tanh(g)
        return torch.tanh(c), (torch.tanh(c), c)


class Gated(Core):
    """As minGRU: the gates see the input alone."""

    def step(self, x_t: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
        z = torch.sigmoid(self.of_x(x_t))
        h = (1 - z) * h + z * torch.tanh(self.of_h(z))
        return h, h


class LogSpace(Gated):
    """Keeps the logarithm of a positive state, as exponential gates do."""

    def step(self, x_t: Tensor, log_h: Tensor) -> tuple[Tensor, Tensor]:
        k = self.of_x(x_t)
        log_h = torch.logaddexp(log_h - nn.functional.softplus(k), -nn.functional.softplus(-k) + self.of_h(k))
        return torch.exp(log_h), log_h


class LRU(Core):
    """Complex weights and a complex state; real output."""

    def __init__(self, hidden_size: int) -> None:
        super().__init__(hidden_size)
        self.nu, self.theta = nn.Parameter(torch.rand(hidden_size) - 1), nn.Parameter(torch.rand(hidden_size))
        self.B = nn.Parameter(torch.randn(hidden_size, INPUT_SIZE, dtype=torch.cfloat))
        self.C = nn.Parameter(torch.randn(hidden_size, hidden_size, dtype=torch.cfloat) / math.sqrt(hidden_size))

    def step(self, x_t: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
        decay = torch.exp(torch.complex(-torch.exp(self.nu), torch.exp(self.theta)))
        h = decay * h + torch.sqrt(1 - decay.abs() ** 2) * (x_t.to(self.B.dtype) @ self.B.T)
        return (h @ self.C.T).real + self.of_h(self.of_x(x_t)), h

    def start(self, x: Tensor) -> Tensor:
        return x.new_zeros(x.shape[0], self.hidden_size, dtype=self.B.dtype)


class Readout(Core):
    def step(self, x_t: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
        _, h = super().step(x_t, h)
        return torch.sigmoid(self.of_h(h)) * self.of_x(x_t), h


class SeesTheStateBefore(Core):
    def step(self, x_t: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
        return h * self.of_x(x_t), super().step(x_t, h)[1]


class Einsum(Core):
    """Heads of one unit each, every one with its own weights."""

    def __init__(self, hidden_size: int) -> None:
        super().__init__(hidden_size)
        self.heads = nn.Parameter(torch.randn(hidden_size, 1, 1))

    def step(self, x_t: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
        mixed = torch.einsum("bnk,nkl->bnl", h.reshape(h.shape[0], -1, 1), self.heads).flatten(1)
        h = torch.tanh(mixed + torch.einsum("bd,hd->bh", x_t, self.of_x.weight))
        return h, h


class Chained(Core):
    def forward(self, x: Tensor) -> Tensor:
        lower = ops.scan(self.step, x, self.start(x))
        return ops.scan(lambda y_t, h: (self.of_h(y_t) + 0.5 * h, torch.tanh(h + y_t)), lower, self.start(x))


class BothWays(Core):
    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([super().forward(x), super().forward(x.flip(1)).flip(1)], dim=2)


class Nested(Core):
    def step(self, x_t: Tensor, state: Any) -> tuple[Tensor, Any]:
        (a, (b,)), c = state["pair"], state["c"]
        h = torch.tanh(self.of_x(x_t) + self.of_h(a) + b)
        return h + c, {"pair": (h, (0.5 * a,)), "c": c * 0.9 + h}

    def start(self, x: Tensor) -> Any:
        zeros = super().start(x)
        return {"pair": (zeros, (zeros,)), "c": zeros + 1}


class LearnsItsStart(Core):
    def __init__(self, hidden_size: int) -> None:
        super().__init__(hidden_size)
        self.first = nn.Parameter(torch.randn(hidden_size))

    def start(self, x: Tensor) -> Tensor:
        return self.first.expand(x.shape[0], -1)


class BeginsWithTheInput(Core):
    def start(self, x: Tensor) -> Tensor:
        return torch.tanh(self.of_x(x.mean(1)))


class PassesAStateOn(Core):
    def step(self, x_t: Tensor, state: tuple[Tensor, Tensor]) -> tuple[Tensor, Any]:
        h, kept = state
        y, h = super().step(x_t, h)
        return y * kept, (h, kept)

    def start(self, x: Tensor) -> Any:
        return super().start(x), torch.tanh(self.of_x(x[:, 0]))


class RemembersTwice(Core):
    """Its two states, which begin apart, are the same value after each step, of which gradients go back through one alone."""

    def __init__(self, hidden_size: int) -> None:
        super().__init__(hidden_size)
        self.of_other = nn.Linear(hidden_size, hidden_size, bias=False)

    def step(self, x_t: Tensor, state: tuple[Tensor, Tensor]) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        h, other = state
        h = torch.tanh(self.of_x(x_t) + self.of_h(h) + self.of_other(other))
        return h, (h, self.same(h))

    def same(self, h: Tensor) -> Tensor:
        return h

    def forward(self, x: Tensor) -> Tensor:
        return ops.scan(self.step, x, (self.start(x), 1 + self.start(x)))


class RemembersAndDetaches(RemembersTwice):
    def same(self, h: Tensor) -> Tensor:
        return h.detach()


class ForgetsItsState(Core):
    """Its way back is nothing but the gradient that comes in."""

    def step(self, x_t: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:  # noqa: ARG002
        return self.of_h(h), torch.zeros_like(h)


class DelaysItsInput(Core):
    def step(self, x_t: Tensor, state: tuple[Tensor, Tensor]) -> tuple[Tensor, Any]:
        h, before = state
        h = torch.tanh(self.of_x(before) + self.of_h(h))
        return h, (h, x_t)

    def start(self, x: Tensor) -> Any:
        return super().start(x), torch.zeros_like(x[:, 0])


class IgnoresItsInput(Core):
    def step(self, x_t: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:  # noqa: ARG002
        h = torch.tanh(self.of_h(h) + self.of_x.bias)
        return h, h

    def start(self, x: Tensor) -> Tensor:
        return torch.ones_like(super().start(x))


class IgnoresItsState(Core):
    def step(self, x_t: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
        return torch.tanh(self.of_x(x_t)), h


class Tied(Core):
    def __init__(self, hidden_size: int) -> None:
        super().__init__(hidden_size)
        self.again = nn.Linear(hidden_size, hidden_size, bias=False)
        self.again.weight = self.of_h.weight

    def step(self, x_t: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
        y, h = super().step(x_t, h)
        return self.again(y), h


class Frozen(Core):
    def __init__(self, hidden_size: int) -> None:
        super().__init__(hidden_size)
        self.of_h.requires_grad_(False)


class HasABuffer(Core):
    decay: Tensor

    def __init__(self, hidden_size: int) -> None:
        super().__init__(hidden_size)
        self.register_buffer("decay", torch.rand(hidden_size))

    def step(self, x_t: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
        h = self.decay * h + torch.tanh(self.of_x(x_t) + self.of_h(h))
        return h, h


class Orthogonal(Core):
    def __init__(self, hidden_size: int) -> None:
        super().__init__(hidden_size)
        parametrizations.orthogonal(self.of_h)


class WeightNorm(Core):
    def __init__(self, hidden_size: int) -> None:
        super().__init__(hidden_size)
        parametrizations.weight_norm(self.of_h)


class StopsGradients(Core):
    def step(self, x_t: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
        return super().step(x_t, 0.5 * h + 0.5 * h.detach())


class Masks(Core):
    """Uses whether the state is positive both in the recurrence and in the output."""

    def step(self, x_t: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
        a = self.of_x(x_t) + self.of_h(h)
        positive = a > 0
        h = torch.where(positive, torch.tanh(a), 0.1 * a)
        return torch.where(positive, h, -h * a), h


class Transposed(Core):
    """Gives a state whose memory lies otherwise than that of the first."""

    def step(self, x_t: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
        h = torch.tanh(self.of_x(x_t).T + self.of_h.weight @ h.T).T
        return h, h


class Normalised(Core):
    def __init__(self, hidden_size: int) -> None:
        super().__init__(hidden_size)
        self.norm = nn.LayerNorm(hidden_size)

    def step(self, x_t: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
        y, h = super().step(x_t, self.norm(h))
        return torch.softmax(y, dim=1), h


class ByLambda(Core):
    def forward(self, x: Tensor) -> Tensor:
        return ops.scan(lambda x_t, h: self.step(x_t, 0.9 * h), x, self.start(x))


def leaking(cell: Core, x_t: Tensor, h: Tensor, *, leak: float) -> tuple[Tensor, Tensor]:
    y, new = cell.step(x_t, h)
    return y, leak * h + (1 - leak) * new


class ByPartial(Core):
    def forward(self, x: Tensor) -> Tensor:
        return ops.scan(functools.partial(leaking, self, leak=0.3), x, self.start(x))


class Cell(nn.Module):
    def __init__(self, hidden_size: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(hidden_size, INPUT_SIZE))

    def forward(self, x_t: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
        h = torch.tanh(x_t @ self.weight.T - 0.5 * h)
        return h, h


class ByModule(Core):
    def __init__(self, hidden_size: int) -> None:
        super().__init__(hidden_size)
        self.cell = Cell(hidden_size)

    def forward(self, x: Tensor) -> Tensor:
        return ops.scan(self.cell, x, self.start(x))


class ByClosure(Core):
    def forward(self, x: Tensor) -> Tensor:
        first, second, steps = self.of_x, self.of_h, x.shape[1]

        def step(x_t: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
            h = torch.tanh(first(x_t) + second(h) / steps)
            return h, h

        return ops.scan(step, x, self.start(x))


CORES: tuple[type[Core], ...] = (
    Core, Peephole, SeesInputAndCell, Gated, LogSpace, LRU, Readout, SeesTheStateBefore, Einsum, Chained, BothWays, Nested, LearnsItsStart,
    BeginsWithTheInput, PassesAStateOn, RemembersTwice, RemembersAndDetaches, ForgetsItsState, DelaysItsInput, IgnoresItsInput, IgnoresItsState, Tied, Frozen, HasABuffer, Orthogonal, WeightNorm,
    StopsGradients, Masks, Transposed, Normalised, ByLambda, ByPartial, ByModule, ByClosure,
)  # fmt: skip
