"""Holds all that decides how a training goes on, as plain data that a file takes, so that it can be interrupted anywhere."""

from __future__ import annotations

import io
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from ..trial import Validation


@dataclass(frozen=True)
class Standing:
    """How far one member of a population has come.

    weights, remembered: its row of the block, and of what the optimizer remembers of each weight, by the optimizer's names
    fixed: what its model uses and does not train; random: the state of the generator that it draws dropout from, None where it has none
    losses: its training losses since the last validation, added up
    state: the weights that validated best, at `best_step` with a loss of `best`; curve, steps_to_solve: as in what it learned
    met_at: the step of its last validation, where that met the goal; ended, diverged: whether it moves no more, and how it diverged
    """

    weights: Tensor
    remembered: Mapping[str, Tensor]
    fixed: Mapping[str, Tensor]
    random: Tensor | None
    losses: Tensor
    curve: tuple[Validation, ...]
    state: Mapping[str, Tensor]
    best: float
    best_step: int | None
    steps_to_solve: int | None
    met_at: int | None
    ended: bool
    diverged: str


@dataclass(frozen=True)
class Snapshot:
    """A population after one of its training steps.

    counted: what the optimizer keeps for all members alike, which is how many steps it took
    members: by the key of the trial
    seconds, compile_seconds: what a member's training took so far, without compiling, and its share of that
    """

    step: int
    counted: Mapping[str, Tensor]
    members: Mapping[str, Standing]
    seconds: float = 0.0
    compile_seconds: float = 0.0

    def of(self, keys: Collection[str]) -> Snapshot:
        """The same for some of the members alone."""
        return replace(self, members={key: member for key, member in self.members.items() if key in keys})


Take = Callable[[], Snapshot]
"""Takes a snapshot of a training as it is now."""


def never(_take: Take) -> None:
    """Keeps no snapshot."""


def to_bytes(snapshot: Snapshot) -> bytes:
    """The content of a file."""
    members = {key: {**vars(member), "curve": _plain(member.curve)} for key, member in snapshot.members.items()}
    buffer = io.BytesIO()
    torch.save({**vars(snapshot), "members": members}, buffer)
    return buffer.getvalue()


def from_bytes(content: bytes) -> Snapshot:
    """What a file holds, on the CPU; nothing but plain data is read, so that no file can run code."""
    plain: dict[str, Any] = torch.load(io.BytesIO(content), weights_only=True, map_location="cpu")
    members = {key: Standing(**{**member, "curve": _curve(member["curve"])}) for key, member in plain["members"].items()}
    return Snapshot(**{**plain, "members": members})


def _plain(curve: tuple[Validation, ...]) -> list[tuple[int, dict[str, float]]]:
    return [(validation.step, dict(validation.scores)) for validation in curve]


def _curve(plain: list[tuple[int, dict[str, float]]]) -> tuple[Validation, ...]:
    return tuple(Validation(step, scores) for step, scores in plain)
