"""Turns single tokens into other ones, each of the others as likely: the channels of a step are rotated by a random amount."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from suite import Corruption, hookimpl


def apply(rng: np.random.Generator, x: NDArray[Any], protected: NDArray[Any], probability: float) -> NDArray[Any]:
    batch, steps, channels = x.shape
    shift = rng.integers(1, max(2, channels), size=(batch, steps, 1))
    substituted = rng.random((batch, steps, 1)) < probability
    rotated = np.take_along_axis(x, (np.arange(channels) - shift) % channels, axis=2)
    return np.where(substituted & ~protected, rotated, x)


@hookimpl
def suite_corruptions() -> Iterator[Corruption]:
    yield Corruption("token_substitution", apply, severities=(0.02, 0.05, 0.1, 0.2, 0.5), unit="probability of another token")
