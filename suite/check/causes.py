"""Names the usual causes of failed checks, each with advice that fits better than the check's own."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from ..errors import contained
from ..measures.soundness import noise
from . import probe
from .contract import Subject
from .surroundings import sealed

MIXED_AXES = frozenset({"shapes", "causality", "batch", "gradients", "summary", "step", "learns", "remembers"})
"""Checks that fail where batch and time are mistaken for each other."""


@dataclass(frozen=True)
class Failure:
    """A check that a plugin failed, and the reason it gave."""

    subject: Subject[Any]
    check: str
    reason: str


@dataclass(frozen=True)
class Cause:
    """A mistake that many make.

    culprit: the name of what is at fault where this mistake is behind the failure; empty where it is not
    advice: what to do, with ``{culprit}`` for that name
    """

    culprit: Callable[[Failure], str]
    advice: str


def advice(failure: Failure) -> str:
    """What to do about a failure of a known cause; empty where the cause is not known."""
    for cause in CAUSES:
        with contained(), sealed():  # looking at a plugin that is broken may raise
            if culprit := cause.culprit(failure):
                return cause.advice.format(culprit=culprit)
    return ""


def _says(pattern: str) -> Callable[[Failure], str]:
    """The culprit is what the pattern matches in the reason."""

    def culprit(failure: Failure) -> str:
        match = re.search(pattern, failure.reason)
        return match[0] if match else ""

    return culprit


def _layer_with_time_first(failure: Failure) -> str:
    """The class of a torch layer without ``batch_first=True`` that is handed (B, T, D)."""
    if failure.subject.kind != "variant" or failure.check not in MIXED_AXES:
        return ""
    rows, steps = 5, 3
    culprits: list[str] = []

    def note(layer: nn.Module, arguments: tuple[Any, ...]) -> None:
        if arguments and isinstance(arguments[0], Tensor) and arguments[0].shape[:2] == (rows, steps):
            culprits.append(str(layer.mode).partition("_")[0])  # LSTM, GRU, or RNN with its nonlinearity

    core = probe.build(failure.subject, 2, 4)
    for layer in core.modules():
        if isinstance(layer, nn.RNNBase) and not layer.batch_first:
            layer.register_forward_pre_hook(note)
    with contained():  # a state of (1, B, H) does not fit such a layer, which raises after it was noted
        probe.forward(failure.subject, core, noise(rows, steps, 2))
    return culprits[0] if culprits else ""


CAUSES = (
    Cause(
        _says(r"before Module\.__init__\(\) call|has no attribute '_(parameters|modules|buffers|\w*hooks\w*)'"),
        "Call super().__init__() first in __init__.",
    ),
    Cause(
        _layer_with_time_first,
        "Give the nn.{culprit} batch_first=True: x is (B, T, D).",
    ),
    Cause(
        _says(r"(gave|returned) tuple"),
        "Return the outputs alone: torch's recurrent layers give (outputs, final state), so write y, _ = self.lstm(x).",
    ),
    Cause(
        _says(r"gave torch\.complex"),
        "Return real numbers: let y be the real part, (…).real, of a complex state.",
    ),
    Cause(
        _says(r"(float|double) != c10::complex<"),
        "Convert the real x to the dtype of the complex weights before they meet: x.to(self.weight.dtype).",
    ),
)
"""The known causes, the surest first."""
