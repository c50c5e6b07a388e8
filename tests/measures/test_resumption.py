"""Checks that what keeps a training from going on from a file is found, and that dropout and honest buffers do not."""

from __future__ import annotations

import random
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from suite import Variant
from suite.measures.repeatability import grade
from suite.measures.resumption import departure
from suite.registry.finder import discover

VARIANTS = {name: provided.noun for name, provided in discover().variants.items()}


class Linear(nn.Module):
    """Goes on exactly; others spoil it."""

    kept: Any = None

    def __init__(self, input_size: int, hidden_size: int) -> None:
        super().__init__()
        self.linear = nn.Linear(input_size, hidden_size)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.linear(x)
        return self.spoil(y) if self.training else y

    def spoil(self, y: Tensor) -> Tensor:
        return y


class DropsOut(Linear):
    def spoil(self, y: Tensor) -> Tensor:
        return nn.functional.dropout(y, 0.5)


class RemembersTheLength(Linear):
    """Computes once what depends on the length alone, which a fresh module computes again."""

    def spoil(self, y: Tensor) -> Tensor:
        if self.kept is None:
            self.kept = {y.shape[1]: torch.linspace(0, 1, y.shape[1])}
        factors: Tensor = self.kept.get(y.shape[1], torch.ones(y.shape[1]))
        return y * factors[:, None]


class Counts(Linear):
    def spoil(self, y: Tensor) -> Tensor:
        self.kept = (self.kept or 0) + 1
        return y


class CountsInside(Linear):
    def spoil(self, y: Tensor) -> Tensor:
        self.kept = self.kept or SimpleNamespace(counts=[0])
        self.kept.counts[0] += 1
        return y


class Keeps(Linear):
    """Adds its last output, as a tensor that is no buffer."""

    def spoil(self, y: Tensor) -> Tensor:
        before, self.kept = self.kept, y.detach()
        return y if before is None or before.shape != y.shape else y + before


class DrawsByItself(Linear):
    """Draws from a generator of its own, which begins anew with the module."""

    def __init__(self, input_size: int, hidden_size: int) -> None:
        super().__init__(input_size, hidden_size)
        self.generator = self.begin()

    def begin(self) -> Any:
        return torch.Generator().manual_seed(0)

    def spoil(self, y: Tensor) -> Tensor:
        return y * float(torch.rand((), generator=self.generator))


class DrawsByNumPy(DrawsByItself):
    def begin(self) -> Any:
        return np.random.default_rng(0)

    def spoil(self, y: Tensor) -> Tensor:
        self.generator.random()
        return y


class DrawsByPython(DrawsByNumPy):
    def begin(self) -> Any:
        return random.Random(0)


COUNTED = {"counts": 0}


class CountsElsewhere(Linear):
    """Keeps its count in the file, where it shows by what it does alone."""

    def spoil(self, y: Tensor) -> Tensor:
        COUNTED["counts"] += 1
        return y * COUNTED["counts"]


@pytest.mark.parametrize("build", [Linear, DropsOut, RemembersTheLength])
def test_what_goes_on_exactly_passes(build: type[nn.Module]) -> None:
    assert departure(Variant("v", build), {}, "cpu") == ""


@pytest.mark.parametrize("build", [Counts, CountsInside, Keeps])
def test_what_a_module_remembers_is_named(build: type[nn.Module]) -> None:
    assert departure(Variant("v", build), {}, "cpu") == "keeps kept, which is neither a weight nor a buffer and changes with training"


@pytest.mark.parametrize("build", [DrawsByItself, DrawsByNumPy, DrawsByPython])
def test_a_generator_of_its_own_is_named(build: type[nn.Module]) -> None:
    assert departure(Variant("v", build), {}, "cpu").startswith("keeps generator, ")


def test_what_is_remembered_elsewhere_shows_in_the_numbers() -> None:
    assert departure(Variant("v", CountsElsewhere), {}, "cpu").startswith("weights, ")


def test_a_twin_is_looked_at_too() -> None:
    def vendor(module: Linear, x: Tensor) -> Tensor:
        module.kept = (module.kept or 0) + 1
        return module(x)  # type: ignore[no-any-return]

    assert departure(Variant("v", Linear, vendor=vendor), {}, "cpu").startswith("keeps kept, ")


@pytest.mark.parametrize("name", VARIANTS)
def test_every_variant_found_here_goes_on_exactly(name: str) -> None:
    assert departure(VARIANTS[name], {}, "cpu") == ""


def test_a_grade_says_so() -> None:
    graded = grade(Variant("v", Counts), {}, 3, 4, "cpu")
    assert (graded.run_to_run, graded.unsound) == (True, "")
    assert graded.unresumable.startswith("keeps kept, ")
