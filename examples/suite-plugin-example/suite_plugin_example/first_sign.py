"""First sign: say at the end whether the first number was positive.

    input   x_t ~ N(0, 1)               (B, T, 1)
    target  whether x_1 > 0, at the end  2 classes

Who does not see x_1 answers either class alike: a cross-entropy of ln 2.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from suite import Batch, Goal, Task, hookimpl

suite_api = 1


def draw(rng: np.random.Generator, batch_size: int, length: int) -> Batch:
    x = rng.standard_normal((batch_size, length, 1))
    protected = np.broadcast_to(np.arange(length) == 0, (batch_size, length))
    return Batch(x, (x[:, 0, 0] > 0).astype(np.int64), protected=protected)


def accuracy(output: NDArray[Any], batch: Batch) -> float:
    return float(np.mean(output.argmax(axis=1) == batch.y))


@hookimpl
def suite_tasks() -> Iterator[Task]:
    yield Task(
        "first_sign",
        draw,
        input_size=1,
        output_size=2,
        loss="cross_entropy",
        baseline=lambda _length: math.log(2),
        solved=lambda _length: Goal("accuracy", at_least=0.95),
        metrics={"accuracy": accuracy},
        lengths=(10, 20),
    )
