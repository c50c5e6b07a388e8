"""Copy memory: ten symbols, a long silence, a marker, and the ten symbols must be said again.

Hochreiter & Schmidhuber, 1997, doi:10.1162/neco.1997.9.8.1735; in this form Arjovsky et al., 2016, arXiv:1511.06464

    input   s_1 … s_10, T − 1 blanks, marker, 10 blanks      T + 20 tokens of 10
    target  T + 10 blanks, s_1 … s_10                         9 classes

Who knows the step but not the symbols answers blank, then each of eight symbols alike: 10 ln 8 / (T + 20).
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from suite import Batch, Goal, Task, hookimpl

SYMBOLS, BLANK, MARKER, COUNT = 8, 0, 9, 10


def draw(rng: np.random.Generator, batch_size: int, length: int) -> Batch:
    symbols = rng.integers(1, SYMBOLS + 1, size=(batch_size, COUNT))
    steps = length + 2 * COUNT
    x = np.full((batch_size, steps), BLANK)
    x[:, :COUNT] = symbols
    x[:, COUNT + length - 1] = MARKER
    y = np.full((batch_size, steps), BLANK)
    y[:, -COUNT:] = symbols
    return Batch(x, y, protected=x != BLANK)


def recall_loss(output: NDArray[Any], batch: Batch) -> float:
    logits = output[:, -COUNT:].astype(np.float64)
    peak = logits.max(axis=2, keepdims=True)
    log_norm = peak[..., 0] + np.log(np.exp(logits - peak).sum(axis=2))
    chosen = np.take_along_axis(logits, batch.y[:, -COUNT:, None], axis=2)[..., 0]
    return float(np.mean(log_norm - chosen))


def recall_accuracy(output: NDArray[Any], batch: Batch) -> float:
    return float(np.mean(output[:, -COUNT:].argmax(axis=2) == batch.y[:, -COUNT:]))


def exact_sequence(output: NDArray[Any], batch: Batch) -> float:
    return float(np.mean((output[:, -COUNT:].argmax(axis=2) == batch.y[:, -COUNT:]).all(axis=1)))


SURE = 30.0
"""A logit so far above the others leaves no loss to speak of."""


def ideal(x: NDArray[Any], batch: Batch) -> NDArray[Any]:
    """Blank, and at the end the symbols as they were read."""
    logits = np.zeros((*batch.y.shape, SYMBOLS + 1))
    logits[:, :-COUNT, BLANK] = SURE
    read = x[:, :COUNT, 1 : SYMBOLS + 1].argmax(axis=2) + 1
    np.put_along_axis(logits[:, -COUNT:], read[..., None], SURE, axis=2)
    return logits


@hookimpl
def suite_tasks() -> Iterator[Task]:
    yield Task(
        "copy",
        draw,
        input_size=10,
        output_size=9,
        loss="cross_entropy",
        per_step=True,
        baseline=lambda length: COUNT * math.log(SYMBOLS) / (length + 2 * COUNT),
        solved=lambda _length: Goal("recall_accuracy", at_least=0.99),
        metrics={"recall_loss": recall_loss, "recall_accuracy": recall_accuracy, "exact_sequence": exact_sequence},
        lengths=(10, 50),
        ideal=ideal,
        paper="arXiv:1511.06464",
    )
