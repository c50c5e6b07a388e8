"""Checks that what is derived from a step gives the plain loop's outputs and gradients, for one model and for a population."""

from __future__ import annotations

import functools
import gc
import weakref
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from suite import ops
from suite.ops.recurrence import Deriver
from suite.ops.scan import scanning
from suite.registry.finder import discover
from suite.training import model

from .answering import answers, built, departures, noise, population, run
from .cores import CORES, Core, HasABuffer, Peephole, leaking

TOLERANCES = {torch.float64: 1e-10, torch.float32: 1e-5}
VARIANTS = {
    name: provided.noun for name, provided in discover().variants.items() if provided.path and provided.path.stem != "torchrecurrent"
}


@pytest.fixture
def deriver() -> Deriver:
    return Deriver(compiled=False)


def hold(given: dict[str, Tensor], wanted: dict[str, Tensor], tolerance: float) -> None:
    far = {name: apart for name, apart in departures(given, wanted).items() if not apart <= tolerance}
    assert far == {}


def check_alone_and_together(deriver: Deriver, build: Callable[[int], nn.Module], dtype: torch.dtype) -> None:
    cores, x = [built(build, dtype=dtype, seed=seed) for seed in range(3)], noise(3, 2, 5, 3, dtype=dtype)
    wanted = [answers(None, core, own) for core, own in zip(cores, x, strict=True)]
    hold(answers(deriver, cores[0], x[0]), wanted[0], TOLERANCES[dtype])
    for given, each in zip(population(deriver, cores, x), wanted, strict=True):
        hold(given, each, TOLERANCES[dtype])


@pytest.mark.parametrize("dtype", TOLERANCES, ids=str)
@pytest.mark.parametrize("build", CORES)
def test_a_core_alone_and_in_a_population(build: type[Core], dtype: torch.dtype, deriver: Deriver) -> None:
    check_alone_and_together(deriver, build, dtype)


@pytest.mark.parametrize("dtype", TOLERANCES, ids=str)
@pytest.mark.parametrize("name", VARIANTS)
def test_a_variant_alone_and_in_a_population(name: str, dtype: torch.dtype, deriver: Deriver) -> None:
    check_alone_and_together(deriver, lambda hidden_size: model.build_core(VARIANTS[name], {}, 3, hidden_size, torch.initial_seed()), dtype)


@pytest.mark.parametrize(("samples", "steps", "hidden_size"), [(1, 5, 4), (2, 1, 4), (2, 5, 1), (1, 1, 1), (7, 70, 5)])
@pytest.mark.parametrize("build", [Core, Peephole])
def test_odd_sizes(build: type[Core], samples: int, steps: int, hidden_size: int, deriver: Deriver) -> None:
    core, x = built(build, hidden_size), noise(samples, steps, 3)
    hold(answers(deriver, core, x), answers(None, core, x), 1e-10)


def test_other_sizes_afterwards(deriver: Deriver) -> None:
    core = built(Peephole)
    for samples, steps in ((2, 5), (4, 5), (2, 9), (1, 1), (2, 5)):
        x = noise(samples, steps, 3)
        hold(answers(deriver, core, x), answers(None, core, x), 1e-10)


def test_one_trace_serves_every_size_and_one_specialisation_every_length(deriver: Deriver) -> None:
    cores = [built(Peephole, seed=seed) for seed in range(3)]
    for steps in (5, 9, 1):
        population(deriver, cores, noise(3, 2, steps, 3))
    assert len(deriver._calls) == 2  # forward and back
    population(deriver, cores, noise(3, 4, 5, 3))
    assert len(deriver._calls) == 4
    assert len(deriver._programs) == 1


def test_other_weights_later_give_the_other_result(deriver: Deriver) -> None:
    core, x = built(HasABuffer), noise(2, 5, 3)
    first = answers(deriver, core, x)
    with torch.no_grad():
        core.of_h.weight.mul_(2)  # type: ignore[union-attr, operator]
        core.decay = torch.rand(4, dtype=torch.float64)
    core.of_x = nn.Linear(3, 4).double()
    second = answers(deriver, core, x)
    hold(second, answers(None, core, x), 1e-10)
    assert not torch.allclose(first["y"], second["y"])


class HasAScale(Core):
    scale = 1.0

    def __init__(self, hidden_size: int) -> None:
        super().__init__(hidden_size)
        self.activation: nn.Module = nn.Tanh()

    def step(self, x_t: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
        h = self.activation(self.of_x(x_t) + self.scale * self.of_h(h))
        return (2 * h if self.training else h), h


@pytest.mark.parametrize(
    "change",
    [
        lambda core: setattr(core, "scale", 0.5),
        lambda core: setattr(core, "activation", nn.Sigmoid()),
        lambda core: core.of_x.requires_grad_(False),
        lambda core: core.eval(),
    ],
)
def test_a_changed_module_is_traced_anew(change: Callable[[nn.Module], object], deriver: Deriver) -> None:
    core, x = built(HasAScale), noise(2, 5, 3)
    answers(deriver, core, x)
    change(core)
    hold(answers(deriver, core, x), answers(None, core, x), 1e-10)


def test_an_attribute_that_forward_sets_counts(deriver: Deriver) -> None:
    class KnowsItsLength(HasAScale):
        def forward(self, x: Tensor) -> Tensor:
            self.scale = 1 / x.shape[1]
            return super().forward(x)

    core = built(KnowsItsLength)
    for steps in (4, 9):
        hold(answers(deriver, core, noise(2, steps, 3)), answers(None, core, noise(2, steps, 3)), 1e-10)


def test_arguments_of_a_partial_are_told_apart(deriver: Deriver) -> None:
    core, x = built(Core), noise(2, 5, 3)
    assert isinstance(core, Core)
    ends = []
    for leak in (0.3, 0.6):
        step = functools.partial(leaking, core, leak=leak)
        ends.append(deriver.scan(step, x, core.start(x)))
        torch.testing.assert_close(ends[-1], ops.scan(step, x, core.start(x)))
    first, second = ends
    assert not torch.allclose(first, second)


def test_no_gradients_are_kept_where_none_are_wanted(deriver: Deriver) -> None:
    core, x = built(Peephole), noise(2, 5, 3)
    with torch.no_grad():
        y = run(deriver, core, x)
    assert not y.requires_grad
    torch.testing.assert_close(y, core(x))
    core.requires_grad_(False)
    assert not run(deriver, core, x).requires_grad


def test_gradients_twice_from_one_graph(deriver: Deriver) -> None:
    core, x = built(Peephole), noise(2, 5, 3)
    loss = run(deriver, core, x).square().sum()
    first, again = (torch.autograd.grad(loss, list(core.parameters()), retain_graph=True, allow_unused=True) for _ in range(2))
    assert all(torch.equal(one, two) for one, two in zip(first, again, strict=True) if one is not None)


def tensors_kept(deriver: Deriver, core: nn.Module, steps: int) -> int:
    """How many numbers are alive for a way back through so many steps."""
    gc.collect()
    before = {id(value) for value in gc.get_objects() if issubclass(type(value), Tensor)}
    y = run(deriver, core, noise(2, steps, 3))
    alive = [value for value in gc.get_objects() if issubclass(type(value), Tensor) and id(value) not in before]
    kept: int = sum(value.numel() for value in alive)
    del y
    return kept


def test_memory_grows_as_the_steps_do(deriver: Deriver) -> None:
    core = built(Peephole)
    tensors_kept(deriver, core, 4)  # traces
    short, middle, long = (tensors_kept(deriver, core, steps) for steps in (50, 100, 200))
    assert long - middle == pytest.approx(2 * (middle - short), rel=0.05)


def test_a_module_is_let_go(deriver: Deriver) -> None:
    core = built(Peephole)
    answers(deriver, core, noise(2, 5, 3))
    module = weakref.ref(core)
    del core
    gc.collect()
    assert module() is None
    answers(deriver, built(Peephole, seed=1), noise(2, 5, 3))
    assert len(deriver._programs) == 1  # one trace serves all modules of a form


def test_scans_outside_are_plain_again(deriver: Deriver) -> None:
    core, x = built(Core), noise(2, 5, 3)
    with scanning(deriver.scan):
        core(x)
    traced = len(deriver._calls)
    built(Peephole)(x)
    assert len(deriver._calls) == traced
