"""Checks counts of memory and arithmetic against what can be worked out by hand."""

from __future__ import annotations

import pytest
import torch

from suite.measures import cost


def test_peak_bytes_are_those_held_at_once() -> None:
    def call() -> None:
        first = torch.zeros(1000)  # 4,000 bytes
        second = first + 1  # 8,000 at once
        del first
        second.mul_(2)
        torch.zeros(500)  # 4,000 + 2,000

    assert cost.peak_bytes(call, "cpu") == pytest.approx(8000, abs=300)  # blocks are aligned


def test_a_training_step_holds_what_its_way_back_needs() -> None:
    layer, x = torch.nn.LSTM(4, 16, batch_first=True), torch.randn(8, 50, 4)
    peaks = []
    for steps in (10, 50):
        part = x[:, :steps]
        peaks.append(cost.peak_bytes(lambda part=part: layer(part)[0].mean().backward(), "cpu"))  # type: ignore[misc]
    assert peaks[1] > 3 * peaks[0]


def test_what_raises_leaves_no_profiler_behind() -> None:
    def call() -> None:
        raise RuntimeError("no such luck")

    for _ in range(2):
        with pytest.raises(RuntimeError, match="no such luck"):
            cost.peak_bytes(call, "cpu")


def test_operations_and_bytes_of_a_product() -> None:
    a, b = torch.zeros(3, 5), torch.zeros(5, 7)
    assert cost.arithmetic(lambda: (a @ b).t()) == (2 * 3 * 5 * 7, 4 * (3 * 5 + 5 * 7 + 3 * 7))  # a transpose moves nothing


def test_the_roof_is_measured() -> None:
    roof = cost.roof("cpu", torch.float32)
    assert roof.operations > 1e8
    assert roof.bytes > 1e8
