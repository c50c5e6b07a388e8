"""Checks corruptions: strength that grows, protected elements untouched, and damage that comes from the generator alone."""

from __future__ import annotations

import itertools

import numpy as np

from ..spec import Array, Corruption
from .contract import Subject, check, require
from .surroundings import shuffle_global_generators, unchanged_surroundings


def inputs() -> dict[str, Array]:
    """Inputs of the kinds that tasks give, ``(B, T, D)``."""
    rng = np.random.default_rng(0)
    return {
        "floats": rng.standard_normal((200, 20, 3)),
        "one-hot tokens": np.eye(4, dtype=np.float32)[rng.integers(0, 4, (200, 20))],
        "a single number": rng.standard_normal((1, 1, 1)),
    }


def masks(x: Array) -> dict[str, Array]:
    """Nothing protected, a third of all elements, and everything."""
    return {
        "nothing": np.zeros(x.shape, dtype=bool),
        "a part": np.random.default_rng(1).random(x.shape) < 1 / 3,
        "everything": np.ones(x.shape, dtype=bool),
    }


def damaged(subject: Subject[Corruption], x: Array, protected: Array, severity: float, seed: int = 2) -> Array:
    return subject.noun.apply(np.random.default_rng(seed), x, protected, severity)


@check("Return an array of x's shape with finite numbers, for any (B, T, D) from (1, 1, 1).", first=True)
def shapes(subject: Subject[Corruption]) -> None:
    """What comes back has the shape of what went in, and is finite."""
    for name, x in inputs().items():
        for part, mask in masks(x).items():
            for severity in subject.noun.severities:
                output = damaged(subject, x, mask, severity)
                where = f"for {name}, {part} protected, severity {severity:g}"
                require(output.shape == x.shape, f"gave shape {output.shape} {where}, not {x.shape}")
                require(np.isfinite(output).all(), f"gave NaN or infinity {where}")


@check("Draw from the Generator handed to apply, and from nothing else.", first=True)
def determinism(subject: Subject[Corruption]) -> None:
    """The same generator gives the same damage to the bit."""
    x = inputs()["floats"]
    mask = masks(x)["nothing"]
    shuffle_global_generators(1)
    once = damaged(subject, x, mask, subject.noun.severities[-1])
    shuffle_global_generators(2)
    require(np.array_equal(once, damaged(subject, x, mask, subject.noun.severities[-1])), "two runs from one generator differ")


@check("Leave the global generators alone; draw from the Generator handed to apply.")
def surroundings(subject: Subject[Corruption]) -> None:
    """Applying it changes nothing that is shared: no global generator, no default."""
    x = inputs()["floats"]
    with unchanged_surroundings("apply"):
        damaged(subject, x, masks(x)["nothing"], subject.noun.severities[0])


@check("Work on a copy: x is used again for the next severity.")
def input(subject: Subject[Corruption]) -> None:  # noqa: A001
    """The input and its mask are the same to the bit afterwards."""
    for name, x in inputs().items():
        kept, mask = x.copy(), masks(x)["a part"]
        kept_mask = mask.copy()
        damaged(subject, x, mask, subject.noun.severities[-1])
        require(np.array_equal(x, kept), f"writes into x ({name})")
        require(np.array_equal(mask, kept_mask), f"writes into protected ({name})")


@check("Give back x where protected is true, np.where(protected, x, …), as the very last thing.")
def protected(subject: Subject[Corruption]) -> None:
    """Protected elements come back as they were, to the bit."""
    for name, x in inputs().items():
        for mask in masks(x).values():
            for severity in subject.noun.severities:
                output = damaged(subject, x, mask, severity)
                touched = int((output[mask] != x[mask]).sum())
                require(touched == 0, f"changes {touched} of {mask.sum()} protected elements of {name} at severity {severity:g}")


@check("Name five severities, no two alike, from the mildest to the harshest.")
def severities(subject: Subject[Corruption]) -> None:
    """There are five severities, no two alike."""
    values = subject.noun.severities
    listed = ", ".join(f"{value:g}" for value in values)
    require(len(set(values)) == 5 == len(values), f"its severities are {listed}; there must be five, no two alike")


@check("Order severities from mild to harsh, and let each change the input more than the one before.")
def strength(subject: Subject[Corruption]) -> None:
    """The mean squared change that is delivered grows from each severity to the next, from above zero."""
    x = inputs()["floats"]
    for part in ("nothing", "a part"):
        mask = masks(x)[part]
        changes = [float(((damaged(subject, x, mask, severity) - x) ** 2).mean()) for severity in subject.noun.severities]
        grows = changes[0] > 0 and all(mild < harsh for mild, harsh in itertools.pairwise(changes))
        require(grows, f"mean squared changes are {', '.join(f'{change:.3g}' for change in changes)} with {part} protected")
