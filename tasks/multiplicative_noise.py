"""Scales every element of the input by a factor of its own, 1 + σ ε with ε ~ N(0, 1), as a sensor whose gain fluctuates does."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from suite import Corruption, hookimpl


def apply(rng: np.random.Generator, x: NDArray[Any], protected: NDArray[Any], sigma: float) -> NDArray[Any]:
    return np.where(protected, x, x * (1 + sigma * rng.standard_normal(x.shape)))


@hookimpl
def suite_corruptions() -> Iterator[Corruption]:
    yield Corruption("multiplicative_noise", apply, severities=(0.25, 0.5, 1, 2, 4), unit="σ of the factor")
