"""Feeds a model a sequence one step at a time, the states of its scans carried on from call to call, as a deployed model runs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import Tensor, nn

from .scan import scanning


class Stream:
    """A core that takes a step of a sequence a call: ``stream(x_t) -> y_t``, ``(B, D) -> (B, O)``.

    What it gives is what the core gives for the whole sequence where nothing but its scans' states reaches from step to step.
    """

    def __init__(self, core: nn.Module) -> None:
        self._core = core
        self._states: list[Any] = []
        self._scans = 0

    def __call__(self, x_t: Tensor) -> Tensor:
        self._scans = 0
        with scanning(self._scan):
            y: Tensor = self._core(x_t.unsqueeze(1))
        return y[:, 0]

    def _scan(self, step: Callable[..., Any], x: Tensor, state: Any) -> Tensor:
        """One step of the scan that the forward calls at this place, from where its last one ended."""
        place = self._scans
        self._scans += 1
        if place == len(self._states):
            self._states.append(state)
        y_t, self._states[place] = step(x[:, 0], self._states[place])
        return y_t.unsqueeze(1)  # type: ignore[no-any-return]
