"""Noisy sequences: the class is told in the first steps, and all that follows is noise.

Hochreiter & Schmidhuber, 1997, doi:10.1162/neco.1997.9.8.1735 (experiment 3; here the length is T, not drawn from T to 1.1 T)

    form a  x_1 … x_N = ±1 by class, the rest N(0, 0.2)
    form b  the same with N(0, 0.2) added to the first N steps too
    target  the class, at the end

In form b the best rule is the sign of x_1 + … + x_N, which errs with probability Φ(−√(N/0.2)).
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from statistics import NormalDist
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from suite import Batch, Goal, Task, hookimpl

VARIANCE = 0.2


def draw(rng: np.random.Generator, batch_size: int, length: int, *, form: Literal["a", "b"] = "a", signal_steps: int = 1) -> Batch:
    if not 1 <= signal_steps <= length:
        raise ValueError(f"signal_steps is {signal_steps}; it takes 1 to the length, {length}")
    y = rng.integers(0, 2, size=batch_size)
    x = math.sqrt(VARIANCE) * rng.standard_normal((batch_size, length))
    sign = (2.0 * y - 1)[:, None]
    x[:, :signal_steps] = sign if form == "a" else sign + x[:, :signal_steps]
    protected = np.broadcast_to(np.arange(length) < signal_steps, x.shape)
    return Batch(x[..., None], y, protected=protected)


def bayes_error(form: str, signal_steps: int) -> float:
    return NormalDist().cdf(-math.sqrt(signal_steps / VARIANCE)) if form == "b" else 0.0


def solved(_length: int, form: str = "a", signal_steps: int = 1) -> Goal:
    return Goal("accuracy", at_least=1 - bayes_error(form, signal_steps) - 0.01)


def accuracy(output: NDArray[Any], batch: Batch) -> float:
    return float(np.mean(output.argmax(axis=1) == batch.y))


SURE = 30.0
"""A logit so far above the other leaves no loss to speak of."""


def ideal(x: NDArray[Any], _batch: Batch, form: str = "a", signal_steps: int = 1) -> NDArray[Any]:
    """The posterior of the class: its log-odds are 2 (x_1 + … + x_N) / 0.2, and in form a x_1 alone is certain."""
    told = x[:, :signal_steps, 0].sum(axis=1)
    odds = 2 * told / VARIANCE if form == "b" else SURE * np.sign(told)
    return np.stack([-odds / 2, odds / 2], axis=1)


@hookimpl
def suite_tasks() -> Iterator[Task]:
    yield Task(
        "noisy",
        draw,
        input_size=1,
        output_size=2,
        loss="cross_entropy",
        baseline=lambda _length, **_options: math.log(2),
        solved=solved,
        metrics={"accuracy": accuracy},
        lengths=(20, 50),
        ideal=ideal,
        # a model is the better for every step of noise that it is spared, and for every repetition of the signal
        harmless=("step_drop", "step_hold", "token_substitution"),
        paper="doi:10.1162/neco.1997.9.8.1735",
    )
