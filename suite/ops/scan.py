"""Runs a step along time: the slow, readable reference that every engine is compared with."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

State = TypeVar("State")
Scan = Callable[[Callable[..., Any], Tensor, Any], Tensor]

_observed: ContextVar[list[tuple[Callable[..., Any], Any]] | None] = ContextVar("observed", default=None)
_in_place: ContextVar[Scan | None] = ContextVar("in_place", default=None)
_piece_length: ContextVar[int] = ContextVar("piece_length", default=0)


def scan(step: Callable[[Tensor, State], tuple[Tensor, State]], x: Tensor, state: State) -> Tensor:
    """Apply ``step(x_t, state) -> (y_t, state)`` along time.

    x ``(B, T, D)``, x_t ``(B, D)``, y_t ``(B, O)`` -> ``(B, T, O)``
    """
    calls = _observed.get()
    if calls is not None:
        calls.append((step, state))
    derived = _in_place.get()
    if derived is not None:
        return derived(step, x, state)
    outputs = []
    for x_t in x.unbind(1):  # indexing x[:, t] would make the backward pass quadratic in T
        y_t, state = step(x_t, state)
        outputs.append(y_t)
    return torch.stack(outputs, dim=1)


def initialise(module: nn.Module, hidden_size: int) -> None:
    """Draw every parameter from U(−1/√H, 1/√H), as torch's own recurrent layers do."""
    bound = hidden_size**-0.5
    for parameter in module.parameters():
        nn.init.uniform_(parameter, -bound, bound)


@contextlib.contextmanager
def observed() -> Iterator[list[tuple[Callable[..., Any], Any]]]:
    """Collect the step and the initial state of every scan that runs inside."""
    calls: list[tuple[Callable[..., Any], Any]] = []
    token = _observed.set(calls)
    try:
        yield calls
    finally:
        _observed.reset(token)


@contextlib.contextmanager
def scanning(scan: Scan) -> Iterator[None]:
    """Let another function do the scans that run inside."""
    token = _in_place.set(scan)
    try:
        yield
    finally:
        _in_place.reset(token)


@contextlib.contextmanager
def recomputing(steps: int) -> Iterator[None]:
    """Let derived scans inside keep the state of every so many steps alone, and do what lies between again on the way back; 0: keep all."""
    token = _piece_length.set(steps)
    try:
        yield
    finally:
        _piece_length.reset(token)


def piece_length() -> int:
    """How many steps are done again at once on the way back; 0 where all that it needs is kept."""
    return _piece_length.get()
