"""Adding problem: the sum of two marked numbers among many, one in each half of the sequence or both anywhere.

Hochreiter & Schmidhuber, 1997, doi:10.1162/neco.1997.9.8.1735 (experiment 4)

    channel 0  U[0, 1]
    channel 1  1 at two steps, else 0
    target     the sum of the two marked values, at the end

Who does not see the values answers 1, and errs by the variance of a sum of two uniforms: 2 · 1/12 = 1/6.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from suite import Batch, Goal, Task, hookimpl


def draw(rng: np.random.Generator, batch_size: int, length: int, *, markers: Literal["halves", "anywhere"] = "halves") -> Batch:
    if length < 2:
        raise ValueError(f"adding needs a length of at least 2, not {length}: it marks two steps")
    rows = np.arange(batch_size)
    values = rng.random((batch_size, length))
    first = rng.integers(0, length // 2, size=batch_size)
    second = rng.integers(length // 2, length, size=batch_size)
    if markers == "anywhere":
        first = rng.integers(0, length, size=batch_size)
        second = (first + rng.integers(1, length, size=batch_size)) % length
    marked = np.zeros((batch_size, length))
    marked[rows, first] = marked[rows, second] = 1
    protected = np.stack([marked == 1, np.ones_like(marked, dtype=bool)], axis=2)
    return Batch(np.stack([values, marked], axis=2), values[rows, first] + values[rows, second], protected=protected)


def within(output: NDArray[Any], batch: Batch) -> float:
    """Share of answers with an error under 0.08: Hochreiter & Schmidhuber's 0.04 on their scale, half of this one."""
    return float(np.mean(np.abs(output[:, 0] - batch.y) < 0.08))


def ideal(x: NDArray[Any], _batch: Batch, **_options: str) -> NDArray[Any]:
    """The sum of the marked values, which no damage reaches."""
    return np.asarray((x[:, :, 0] * x[:, :, 1]).sum(axis=1, keepdims=True))


@hookimpl
def suite_tasks() -> Iterator[Task]:
    yield Task(
        "adding",
        draw,
        input_size=2,
        output_size=1,
        loss="mse",
        baseline=lambda _length, **_options: 1 / 6,
        solved=lambda _length, **_options: Goal("loss", below=0.01),
        metrics={"within_0.08": within},
        lengths=(20, 50),
        ideal=ideal,
        harmless=("distractors", "token_substitution"),  # one value is as good as another where it is not marked, and nothing is a token
        paper="doi:10.1162/neco.1997.9.8.1735",
    )
