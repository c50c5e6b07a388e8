"""Inserts false signals: a step shows, with a probability, what a protected step of a random sequence of the batch shows.

Protected steps are those that the answer rests on. Where a task protects none, the false signal is any step.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from suite import Corruption, hookimpl


def apply(rng: np.random.Generator, x: NDArray[Any], protected: NDArray[Any], probability: float) -> NDArray[Any]:
    signal = protected.any(axis=2)
    rows, steps = np.nonzero(signal if signal.any() else np.ones_like(signal))
    drawn = rng.integers(len(rows), size=signal.shape)
    inserted = rng.random((*signal.shape, 1)) < probability
    return np.where(inserted & ~protected, x[rows[drawn], steps[drawn]], x)


@hookimpl
def suite_corruptions() -> Iterator[Corruption]:
    yield Corruption("distractors", apply, severities=(0.02, 0.05, 0.1, 0.2, 0.5), unit="probability of a false signal")
