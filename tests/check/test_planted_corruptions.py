"""Checks the checks of corruptions: each planted fault is caught, by the check that names it and by no other that could mislead."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from suite import Corruption
from suite.registry.finder import discover

from .sound import failures

NOISE, DROP = (discover().corruptions[name].noun for name in ("gaussian_noise", "step_drop"))


def everywhere(rng: np.random.Generator, x: Any, _: Any, severity: float) -> Any:
    return NOISE.apply(rng, x, np.zeros(x.shape, dtype=bool), severity)


def in_place(rng: np.random.Generator, x: Any, protected: Any, severity: float) -> Any:
    x[...] = DROP.apply(rng, x, protected, severity)
    return x


def from_global_numbers(_: np.random.Generator, x: Any, protected: Any, severity: float) -> Any:
    return np.where(protected, x, x + severity * np.random.standard_normal(x.shape))


def drawing_globally_too(rng: np.random.Generator, x: Any, protected: Any, severity: float) -> Any:
    np.random.random()
    return DROP.apply(rng, x, protected, severity)


FAULTY_CORRUPTIONS: dict[str, tuple[Corruption, set[str]]] = {
    "protected elements touched": (replace(NOISE, apply=everywhere), {"protected"}),
    "input changed": (replace(DROP, apply=in_place), {"input", "strength"}),
    "no generator": (replace(DROP, apply=from_global_numbers), {"determinism"}),
    "global random numbers": (replace(DROP, apply=drawing_globally_too), {"surroundings"}),
    "strength that shrinks": (replace(NOISE, severities=(-5, 0, 5, 10, 20)), {"strength"}),
    "no damage": (replace(NOISE, apply=lambda _rng, x, _protected, _severity: x), {"strength"}),
    "four severities": (replace(NOISE, severities=(20, 10, 5, 0)), {"severities"}),
    "another shape": (replace(NOISE, apply=lambda _rng, x, _protected, _severity: x[..., None]), {"shapes"}),
}


@pytest.mark.parametrize(("corruption", "wanted"), FAULTY_CORRUPTIONS.values(), ids=FAULTY_CORRUPTIONS)
def test_a_faulty_corruption_is_caught(corruption: Corruption, wanted: set[str]) -> None:
    assert failures("corruption", corruption) == wanted
