"""LSTM that attends over its own states, so that a distant step is one hop away.

Cheng et al., 2016, arXiv:1601.06733 (attention within one sequence); Luong et al., 2015, arXiv:1508.04025 (the output layer,
not fed back here, and the general score); Vaswani et al., 2017, arXiv:1706.03762 (the scaled dot score); Bahdanau et al.,
2015, arXiv:1409.0473 (the additive score)

    h_1 … h_T = LSTM(x_1 … x_T)
    score(h_t, h_s) = h_t · h_s / √H                    dot
                      h_t · W_a h_s / √H                general (scaled as the dot score is)
                      v · tanh(W_a h_s + U_a h_t)       additive
    α_{t,s} = softmax_s(score(h_t, h_s)),  s ≤ t, or any s where the span is the whole sequence
    c_t = Σ_s α_{t,s} h_s
    y_t = tanh(W_c [c_t; h_t] + b_c)
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Literal

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from suite import Variant, hookimpl

from .lstm import LSTM, memory

ROWS = 16
"""The additive score makes (B, ROWS, T, H) at a time, and again when going backward: (B, T, T, H) would not fit in memory."""


class Attention(nn.Module):
    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        *,
        score: Literal["dot", "general", "additive"] = "dot",
        span: Literal["past", "whole"] = "past",
    ) -> None:
        super().__init__()
        self.score, self.span = score, span
        self.lstm = LSTM(input_size, hidden_size)
        self.combine = nn.Linear(2 * hidden_size, hidden_size)
        if score != "dot":
            self.keys = nn.Linear(hidden_size, hidden_size, bias=False)  # W_a
        if score == "additive":
            self.queries = nn.Linear(hidden_size, hidden_size, bias=False)  # U_a
            self.energy = nn.Linear(hidden_size, 1, bias=False)  # v

    def scores(self, h: Tensor) -> Tensor:  # (B, T, H) -> (B, T, T): of step t (row) with step s (column)
        if self.score == "dot":
            return h @ h.mT / math.sqrt(h.shape[2])
        keys = self.keys(h)
        if self.score == "general":
            return h @ keys.mT / math.sqrt(h.shape[2])  # type: ignore[no-any-return]
        score = h.new_empty(len(h), h.shape[1], h.shape[1])  # one block from the start: pieces would leave holes between the rows
        for first, queries in enumerate(self.queries(h).split(ROWS, dim=1)):
            rows = checkpoint(self.additive, queries, keys, use_reentrant=False, preserve_rng_state=False)
            score[:, first * ROWS : (first + 1) * ROWS] = rows
        return score

    def additive(self, queries: Tensor, keys: Tensor) -> Tensor:  # (B, R, H), (B, T, H) -> (B, R, T)
        return self.energy(torch.tanh(queries[:, :, None] + keys[:, None]))[..., 0]  # type: ignore[no-any-return]

    def attend(self, h: Tensor) -> Tensor:  # (B, T, H) -> (B, T, H)
        score = self.scores(h)
        if self.span == "past":
            steps = h.shape[1]
            score = score.masked_fill(torch.ones(steps, steps, dtype=torch.bool, device=h.device).triu(1), -torch.inf)
        context = torch.softmax(score, dim=2) @ h
        return torch.tanh(self.combine(torch.cat([context, h], dim=2)))

    def forward(self, x: Tensor) -> Tensor:  # (B, T, D) -> (B, T, H)
        return self.attend(self.lstm(x))

    def vendor(self, x: Tensor) -> Tensor:  # (B, T, D) -> (B, T, H)
        return self.attend(self.lstm.vendor(x))


def causal(*, score: str = "dot", span: str = "past") -> bool:  # noqa: ARG001
    return span == "past"


def state(core: Attention, length: int) -> int:
    """The LSTM's h and c, and every h so far."""
    return (2 + length) * core.lstm.hidden_size


@hookimpl
def suite_variants() -> Iterator[Variant]:
    yield Variant("attention", Attention, causal=causal, vendor=Attention.vendor, memory=memory, state=state, paper="arXiv:1601.06733")
