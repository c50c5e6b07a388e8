"""Takes the optimizer's step for all members of a population at once, each with its own learning rate, which may change with the step."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from ..trial import Training, Trial
from .members import Members

OPTIMIZERS = {"adam": torch.optim.Adam, "adamw": torch.optim.Adam, "rmsprop": torch.optim.RMSprop, "sgd": torch.optim.SGD}

"""By name; the decay of ``adamw`` is taken apart from its step."""

COUNTING = {"adam", "adamw", "rmsprop"}
"""Those of them that count their steps."""


def factor(training: Training, step: int) -> float:
    """What the learning rate is multiplied by at a step, counted from 1: t/W up to W steps of warm-up; then 1, or with ``cosine``

    ½ (1 + cos(π (t − 1 − W) / (S − W))) of S steps, which is 1 at the first of these and would be 0 at step S + 1.
    """
    if step <= training.warmup:
        return step / training.warmup
    if training.schedule == "constant":
        return 1.0
    return (1 + math.cos(math.pi * (step - 1 - training.warmup) / (training.steps - training.warmup))) / 2


class Optimizer:
    """Takes a step with each member's own learning rate; its gradient is clipped by its own norm first.

    torch's optimizers are linear in the learning rate: theirs is 1, and their step is scaled. On CUDA they keep their count of steps
    on the device, as a recorded step must (pytorch#77862).
    """

    def __init__(self, members: Members, trials: Sequence[Trial]) -> None:
        self._members, self._training = members, trials[0].training
        self._full = [trial.training.learning_rate for trial in trials]
        self._factor = 1.0
        self.rates = members.block.new_tensor([[rate] for rate in self._full])
        self._direction = nn.Parameter(torch.zeros_like(members.block))
        self._direction.grad = members.gradients
        kind = trials[0].training.optimizer
        counting = {"capturable": True} if members.block.is_cuda and kind in COUNTING else {}
        self._optimizer = OPTIMIZERS[kind]([self._direction], lr=1.0, **counting)

    def begin(self, step: int) -> None:
        """Set the learning rates of a step, counted from 1; apart from the step itself, which a GPU may only replay."""
        now = factor(self._training, step)
        if now != self._factor:
            self._factor = now
            self.rates.copy_(torch.tensor([[rate * now] for rate in self._full], dtype=torch.float64))

    def end(self, row: int) -> None:
        """Let a member move no more."""
        self._full[row] = 0.0
        self.rates[row] = 0

    @torch.no_grad()
    def step(self) -> None:
        norms = torch.linalg.vector_norm(self._members.gradients, dim=1, keepdim=True)
        self._members.gradients.mul_((self._training.clip / (norms + 1e-6)).clamp(max=1.0))
        self._direction.zero_()
        self._optimizer.step()
        if self._training.weight_decay:
            self._members.block.mul_(1 - self.rates * self._training.weight_decay)
        self._members.block.addcmul_(self._direction, self.rates)

    @property
    def counted(self) -> dict[str, Tensor]:
        """What it keeps for all members alike, on the CPU."""
        return {name: value.cpu().clone() for name, value in self._kept.items() if not value.dim()}

    def remembered(self, row: int) -> dict[str, Tensor]:
        """What it keeps of each weight of a member, on the CPU."""
        return {name: value[row].cpu().clone() for name, value in self._kept.items() if value.dim()}

    def restore(self, counted: Mapping[str, Tensor], remembered: Sequence[Mapping[str, Tensor]]) -> None:
        """Go on from what was kept; `remembered` is of each member."""
        rows = {name: torch.stack([each[name] for each in remembered]) for name in remembered[0]}
        device = self._direction.device
        self._optimizer.state[self._direction] = {name: value.to(device, copy=True) for name, value in {**counted, **rows}.items()}

    @property
    def _kept(self) -> Mapping[str, Tensor]:
        state: Mapping[str, Any] = self._optimizer.state[self._direction]
        return {name: value for name, value in state.items() if isinstance(value, Tensor)}
