"""Finds an unprotected element that holds information on the answer that the protected ones lack, by linear regression."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
COLUMNS = 1500
"""At most so many columns are regressed on, since more would need more samples and more time."""


def strongest(x: Floats, protected: NDArray[np.bool_], targets: Floats) -> tuple[tuple[int, int], float] | None:
    """The step and feature of the element that adds most to what is known of the targets, and its score; None where none adds.

    The targets' residuals after regression on the protected elements are correlated with each unprotected one. What only
    several elements together say (a parity) is not seen.

    x ``(N, T, D)``, protected ``(N, T, D)``, targets ``(N, K)``
    """
    flat, mask = x.reshape(len(x), -1), protected.reshape(len(x), -1)
    kept = _varying(np.concatenate([np.where(mask, flat, 0), mask.astype(np.float64)], axis=1))[0][:, :COLUMNS]
    rest = _centred(targets)
    scale = np.sqrt((rest**2).mean(axis=0))
    if kept.shape[1]:
        gram = kept.T @ kept / len(x)
        weights = np.linalg.solve(gram + 1e-10 * np.eye(len(gram)), kept.T @ rest / len(x))
        rest = rest - kept @ weights
    left = np.sqrt((rest**2).mean(axis=0)) > 1e-3 * np.maximum(scale, 1e-300)  # what the protected elements explain in full
    rest = rest[:, left]
    means = (flat * ~mask).sum(axis=0) / np.maximum((~mask).sum(axis=0), 1)
    free, columns = _varying(np.where(mask, 0, flat - means))
    if not rest.shape[1] or not free.shape[1]:
        return None
    scores = np.abs(free.T @ (rest / rest.std(axis=0))) / math.sqrt(len(x))  # (elements, targets), standard normal if independent
    best = int(scores.max(axis=1).argmax())
    if scores.max() <= 5 + math.sqrt(2 * math.log(scores.size)):
        return None
    step, feature = divmod(int(columns[best]), x.shape[2])
    return (step, feature), float(scores.max())


def _centred(columns: Floats) -> Floats:
    return np.asarray(columns - columns.mean(axis=0))


def _varying(columns: Floats) -> tuple[Floats, NDArray[np.intp]]:
    """The columns that are not constant, of mean 0 and variance 1, and where they stood."""
    spread = columns.std(axis=0)
    places = np.nonzero(spread > 1e-9)[0]
    return _centred(columns[:, places]) / spread[places], places
