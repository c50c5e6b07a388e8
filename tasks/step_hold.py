"""Drops whole time steps, each with a probability; in place of a lost one stands the last that arrived (zeros before the first)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from suite import Corruption, hookimpl


def apply(rng: np.random.Generator, x: NDArray[Any], protected: NDArray[Any], probability: float) -> NDArray[Any]:
    arrived = protected | (rng.random((*x.shape[:2], 1)) >= probability)
    steps = np.arange(x.shape[1])[None, :, None]
    last = np.maximum.accumulate(np.where(arrived, steps, -1), axis=1)
    return np.where(last < 0, 0.0, np.take_along_axis(x, np.maximum(last, 0), axis=1))


@hookimpl
def suite_corruptions() -> Iterator[Corruption]:
    yield Corruption("step_hold", apply, severities=(0.1, 0.3, 0.5, 0.7, 0.9), unit="probability of loss")
