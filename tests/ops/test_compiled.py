"""Checks that what is compiled from a step gives the plain loop's outputs and gradients, and what happens where it cannot be."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from suite import SuiteError, Variant
from suite.ops import engines
from suite.ops.engines import AUTO, COMPILED, COMPILING_PAYS, DERIVED
from suite.ops.recurrence import Deriver
from suite.registry.finder import discover
from suite.training import model

from .answering import answers, built, departure, departures, noise, population
from .cores import LRU, Core, Peephole, Transposed

VARIANTS = {name: provided.noun for name, provided in discover().variants.items()}
TOLERANCES = {torch.float64: 1e-10, torch.float32: 1e-5}

needs_compiler = pytest.mark.skipif(not engines.compiler(), reason="there is no C++ compiler here")


def of_variant(name: str) -> Callable[[int], nn.Module]:
    return lambda hidden_size: model.build_core(VARIANTS[name], {}, 3, hidden_size, torch.initial_seed())


CASES: dict[str, tuple[Callable[[int], nn.Module], torch.dtype]] = {
    "lstm": (of_variant("lstm"), torch.float32),
    "gru": (of_variant("gru"), torch.float64),
    "layernorm": (of_variant("layernorm"), torch.float64),
    "peephole": (Peephole, torch.float32),
    "state whose memory is transposed": (Transposed, torch.float64),
}


@needs_compiler
@pytest.mark.parametrize(("build", "dtype"), CASES.values(), ids=CASES)
def test_compiled_pieces_serve_every_length(build: Callable[[int], nn.Module], dtype: torch.dtype) -> None:
    compiler = Deriver(compiled=True)
    core = built(build, dtype=dtype)
    for steps in (5, 9, 1):
        x = noise(2, steps, 3, dtype=dtype)
        apart = departures(answers(compiler, core, x), answers(None, core, x))
        assert {name: value for name, value in apart.items() if not value <= TOLERANCES[dtype]} == {}
        assert len(compiler._calls) == 2  # forward and back
    assert compiler.seconds > 0


@needs_compiler
def test_a_population_is_compiled_as_one() -> None:
    compiler, cores = Deriver(compiled=True), [built(Core, seed=seed) for seed in range(3)]
    for steps in (5, 7):
        x = noise(3, 2, steps, 3)
        for given, core, own in zip(population(compiler, cores, x), cores, x, strict=True):
            assert max(departures(given, answers(None, core, own)).values()) < 1e-10
    assert len(compiler._calls) == 2


@needs_compiler
def test_float32_gradients_of_layernorm_are_as_near_the_truth_as_those_of_the_plain_loop() -> None:
    core, exact = (built(of_variant("layernorm"), 16, dtype) for dtype in (torch.float32, torch.float64))
    exact.load_state_dict(core.state_dict())
    x = noise(4, 30, 3, dtype=torch.float32)
    truth = answers(None, exact, x.double())
    plain, compiled = (_error(answers(deriver, core, x), truth) for deriver in (None, Deriver(compiled=True)))
    assert compiled <= 3 * plain


def _error(given: dict[str, Tensor], truth: dict[str, Tensor]) -> float:
    """The root mean square of the errors of all values, each as a part of its largest."""
    return math.sqrt(sum(departure(given[name].double(), value) ** 2 for name, value in truth.items()) / len(truth))


def variant(build: type[Core]) -> Variant:
    return Variant(build.__name__, lambda _input_size, hidden_size: build(hidden_size))


def test_complex_numbers_are_not_compiled() -> None:
    assert DERIVED.lacks(variant(LRU), {}) == ""
    assert "complex numbers" in COMPILED.lacks(variant(LRU), {})


def test_a_compiler_that_fails_is_named_with_the_cure(monkeypatch: pytest.MonkeyPatch) -> None:
    import torch._inductor.compile_fx

    def fails(*_arguments: object, **_keywords: object) -> None:
        raise RuntimeError("cc1plus: out of memory")

    monkeypatch.setattr(torch._inductor.compile_fx, "compile_fx_inner", fails)
    with pytest.raises(SuiteError, match=r'out of memory.*engine = "derived" in \[training\]'):
        answers(Deriver(compiled=True), built(Core), noise(2, 5, 3))


def test_without_a_compiler_the_derived_engine_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    layernorm = VARIANTS["layernorm"]
    assert COMPILED.lacks(layernorm, {}) == "there is no C++ compiler (g++ or clang++) on this machine"
    for asked in (AUTO, COMPILED.name):
        assert engines.resolve(layernorm, {}, asked, COMPILING_PAYS, "cpu") == DERIVED.name
