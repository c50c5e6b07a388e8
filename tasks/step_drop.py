"""Drops whole time steps: each is lost with a probability, and reads as zeros where it is not protected."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from suite import Corruption, hookimpl


def apply(rng: np.random.Generator, x: NDArray[Any], protected: NDArray[Any], probability: float) -> NDArray[Any]:
    dropped = rng.random((*x.shape[:2], 1)) < probability
    return np.where(dropped & ~protected, 0.0, x)


@hookimpl
def suite_corruptions() -> Iterator[Corruption]:
    yield Corruption("step_drop", apply, severities=(0.1, 0.3, 0.5, 0.7, 0.9), unit="probability of loss")
