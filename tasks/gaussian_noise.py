"""Adds white Gaussian noise to the input, its power set by signal-to-noise ratio.

SNR = 10 log₁₀(σ²_signal / σ²_noise) in dB, with σ²_signal the variance of the elements that may be corrupted.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from suite import Corruption, hookimpl


def apply(rng: np.random.Generator, x: NDArray[Any], protected: NDArray[Any], snr: float) -> NDArray[Any]:
    if protected.all():
        return x
    scale = np.sqrt(x[~protected].var() / 10 ** (snr / 10))
    return np.where(protected, x, x + scale * rng.standard_normal(x.shape))


@hookimpl
def suite_corruptions() -> Iterator[Corruption]:
    yield Corruption("gaussian_noise", apply, severities=(20, 10, 0, -10, -20), unit="dB SNR")
