"""Runs a piece step after step, with as little of Python in between as can be, and keeps what is needed of its outputs."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from .derive import Piece
from .pieces import FIXED, Call, Ends
from .tracing import results

Specialise = Callable[[Piece, Sequence[Tensor], Ends], Call]
"""Makes a piece run for members and samples as many as some tensors have."""


class Series:
    """Values ``(P, B, …)`` of each step: parts of one block ``(P, T, B, …)``, or, where there is none, stacked when they are asked for."""

    def __init__(self, values: Sequence[Tensor], block: Tensor | None = None) -> None:
        self.values, self._block = values, block

    @classmethod
    def of(cls, block: Tensor) -> Series:
        return cls(block.unbind(1), block)

    @property
    def block(self) -> Tensor:  # (P, T, B, …)
        return torch.stack(list(self.values), dim=1) if self._block is None else self._block

    @property
    def samples(self) -> Tensor:  # (P, T·B, …)
        return self.block.flatten(1, 2)


@dataclass(frozen=True)
class Outputs:
    """What is done with the outputs of a piece that runs step after step.

    same: for each output, which one it is the same as, itself or another; held: those that are needed of each step, and stand in no block
    """

    ends: Ends
    same: tuple[int, ...]
    held: tuple[int, ...]


def outputs(piece: Piece, stacked: Iterable[int], listed: Iterable[int], alone: Iterable[int], *, placing: bool) -> Outputs:
    """What is done with a piece's outputs, by their indices.

    stacked: needed of all steps at once, and where `placing` written into one block; listed: needed of each step
    alone: those whose memory is not shared with others, though they be the same values
    """
    nodes, apart = results(piece.graph.graph), set(alone)
    first = {node: index for index, node in reversed(list(enumerate(nodes))) if index not in apart}
    same = [index if index in apart else first[node] for index, node in enumerate(nodes)]
    placed = sorted({same[index] for index in stacked}) if placing else []
    given = [index for index in sorted(set(same)) if index not in placed]
    held = {same[index] for index in (*stacked, *listed)} - set(placed)
    return Outputs(Ends(tuple(placed), tuple(given)), tuple(same), tuple(sorted(held)))


@dataclass(frozen=True)
class Carried:
    """What each step hands to the next: values of one kind.

    onward: which output each of them is after a step; one without stays as it is
    """

    kind: str
    values: Sequence[Tensor]
    onward: Mapping[int, int]


class Stepping:
    """A piece that runs step after step.

    blocks: those that outputs are to be written into, where they are there already
    before: what was carried into each step, where `trailing`
    """

    def __init__(self, specialise: Specialise, piece: Piece, outputs: Outputs, steps: int, blocks: Mapping[int, Tensor]) -> None:
        self._specialise, self._piece, self._outputs, self._steps = specialise, piece, outputs, steps
        self._series = {
            outputs.same[index]: Series.of(block) for index, block in blocks.items() if outputs.same[index] in outputs.ends.placed
        }
        self._lists: dict[int, list[Tensor]] = {}
        self.before: list[Sequence[Tensor]] = []

    def go(
        self,
        order: Sequence[int],
        known: Mapping[str, Any],
        carried: Carried,
        sums: Mapping[int, Tensor] | None = None,
        *,
        trailing: bool = False,
    ) -> Sequence[Tensor]:
        """Take the steps in this order; what is carried, behind the last of them.

        known: constants, and a Series of each other value, by kind and place; sums: what outputs are added to
        """
        now = list(carried.values)
        first = [self._value(known, source, order[0], carried.kind, now) for source in self._piece.takes]
        call = self._specialise(self._piece, first, self._outputs.ends)
        self._prepare(call, first[0])
        rows = self._rows(known, carried.kind)
        filled = [(position, place) for position, (kind, place) in enumerate(self._piece.takes) if kind == carried.kind]
        at = {index: position for position, index in enumerate(self._outputs.ends.given)}
        placed, made_at = self._onward(carried, at)
        held = [(self._lists[index], at[index]) for index in self._outputs.held]
        added = [(total, at[self._outputs.same[index]]) for index, total in (sums or {}).items()]
        for step in order:
            if trailing:
                self.before.append(list(now))
            row = rows[step]
            for position, place in filled:
                row[position] = now[place]
            made = [value.contiguous() for value in call.run(row)]
            for place, values in placed:
                now[place] = values[step]
            for place, position in made_at:
                now[place] = made[position]
            for values, position in held:
                values[step] = made[position]
            for total, position in added:
                total.add_(made[position])
        return now

    def series(self, index: int) -> Series:
        """An output of each step."""
        index = self._outputs.same[index]
        return self._series[index] if index in self._series else Series(self._lists[index])

    @staticmethod
    def _value(known: Mapping[str, Any], source: tuple[str, int], step: int, carried: str, now: Sequence[Tensor]) -> Tensor:
        kind, place = source
        value: Any = now[place] if kind == carried else known[kind][place]
        return value.values[step] if isinstance(value, Series) else value

    def _prepare(self, call: Call, any_: Tensor) -> None:
        """Make room for what is kept."""
        for index in self._outputs.ends.placed:
            made = call.outputs[index]
            if index not in self._series and made is not None:
                self._series[index] = Series.of(made.block(self._steps))
        self._lists = {index: [any_] * self._steps for index in self._outputs.held}

    def _rows(self, known: Mapping[str, Any], carried: str) -> list[list[Any]]:
        """What the piece takes at each step, but for what is carried there, and where it writes to."""
        columns: list[Sequence[Any]] = []
        for kind, place in self._piece.takes:
            alike = kind in FIXED or kind == carried
            columns.append([None if kind == carried else known[kind][place]] * self._steps if alike else known[kind][place].values)
        columns += [self._series[index].values for index in self._outputs.ends.placed]
        return [list(row) for row in zip(*columns, strict=True)]

    def _onward(self, carried: Carried, at: Mapping[int, int]) -> tuple[list[tuple[int, Sequence[Tensor]]], list[tuple[int, int]]]:
        """Where each carried value is found after a step: among those of a series, or among what the step gave."""
        same = {place: self._outputs.same[index] for place, index in carried.onward.items()}
        placed = [(place, self._series[index].values) for place, index in same.items() if index in self._series]
        return placed, [(place, at[index]) for place, index in same.items() if index not in self._series]
