"""Replaces single elements of the input by impulses, five standard deviations above or below the mean of those that may be corrupted."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from suite import Corruption, hookimpl

HEIGHT = 5.0


def apply(rng: np.random.Generator, x: NDArray[Any], protected: NDArray[Any], probability: float) -> NDArray[Any]:
    if protected.all():
        return x
    open_to_damage = x[~protected]
    height = HEIGHT * open_to_damage.std() * rng.choice([-1.0, 1.0], size=x.shape)
    struck = rng.random(x.shape) < probability
    return np.where(struck & ~protected, open_to_damage.mean() + height, x)


@hookimpl
def suite_corruptions() -> Iterator[Corruption]:
    yield Corruption("impulse_noise", apply, severities=(0.02, 0.05, 0.1, 0.2, 0.4), unit="probability of an impulse")
