"""Holds every discovered variant to the contract, so that a new file in `plugins/` is tested by being there."""

from __future__ import annotations

import functools
import io
import itertools
from collections.abc import Iterator
from dataclasses import replace
from typing import Literal, get_args, get_origin

import pytest
import torch
from torch import Tensor, nn

from suite import Variant, model
from suite.manager import discover, options_of
from suite.spec import Task, label


def cases() -> Iterator[tuple[str, Variant]]:
    """Every variant with its defaults, and with each word that an option of it may be; a package's own layers are `suite check`'s to try."""
    for name, provided in discover().variants.items():
        if provided.source == "plugins/torchrecurrent.py":
            continue
        words = {
            key: get_args(one.annotation) for key, one in options_of(provided.noun.build).items() if get_origin(one.annotation) is Literal
        }
        for chosen in itertools.product(*words.values()):
            options = dict(zip(words, chosen, strict=True))
            build = functools.partial(provided.noun.build, **options)
            shown = {key: word for key, word in options.items() if word != options_of(provided.noun.build)[key].default}
            yield label(name, shown), replace(provided.noun, build=build, causal=provided.noun.is_causal(options))


VARIANTS = dict(cases())
SIZES = [(1, 1, 1, 1), (7, 1, 7, 1), (1, 7, 1, 7), (7, 7, 7, 7), (3, 2, 5, 4)]  # B, T, D, H

each = pytest.mark.parametrize("variant", VARIANTS.values(), ids=VARIANTS)
each_twin = pytest.mark.parametrize(
    "variant",
    [variant for variant in VARIANTS.values() if variant.vendor],
    ids=[name for name, variant in VARIANTS.items() if variant.vendor],
)
each_engine = pytest.mark.parametrize(
    ("variant", "engine"),
    [pytest.param(variant, engine, id=f"{name}-{engine}") for name, variant in VARIANTS.items() for engine in model.engines(variant)],
)


def build(variant: Variant, input_size: int, hidden_size: int, dtype: torch.dtype = torch.float64, seed: int = 0) -> nn.Module:
    return model.build_core(variant, {}, input_size, hidden_size, seed).to(dtype)


def noise(*shape: int, dtype: torch.dtype = torch.float64, seed: int = 1) -> Tensor:
    return torch.randn(*shape, dtype=dtype, generator=torch.Generator().manual_seed(seed))


def test_the_seven_variants_are_there() -> None:
    assert set(VARIANTS) >= {"rnn", "lstm", "gru", "attention", "layernorm", "residual", "bilstm"}


@each_engine
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("sizes", SIZES, ids=str)
def test_shape_and_dtype(variant: Variant, engine: str, sizes: tuple[int, int, int, int], dtype: torch.dtype) -> None:
    B, T, D, H = sizes
    core = build(variant, D, H, dtype)
    y = model.run(variant, core, noise(B, T, D, dtype=dtype), engine)
    assert y.shape == (B, T, model.output_size(variant, core, D))
    assert y.dtype == dtype
    assert y.isfinite().all()


@each_engine
def test_causality_is_as_marked(variant: Variant, engine: str) -> None:
    T = 9
    core, x = build(variant, 3, 4), noise(2, T, 3)
    past_is_kept = []
    for t in range(T - 1):
        changed = x.clone()
        changed[:, t + 1 :] = noise(2, T - t - 1, 3, seed=2)
        before, after = model.run(variant, core, x, engine), model.run(variant, core, changed, engine)
        assert not torch.allclose(before[:, t + 1 :], after[:, t + 1 :])
        past_is_kept.append(torch.allclose(before[:, : t + 1], after[:, : t + 1], rtol=0, atol=1e-12))
    assert all(past_is_kept) == variant.is_causal({})


@each_engine
def test_rows_of_a_batch_do_not_meet(variant: Variant, engine: str) -> None:
    core, x = build(variant, 3, 4), noise(5, 6, 3)
    together = model.run(variant, core, x, engine)
    for row in range(len(x)):
        torch.testing.assert_close(model.run(variant, core, x[row : row + 1], engine), together[row : row + 1], rtol=0, atol=1e-12)


@each
def test_weights_come_from_the_seed_alone(variant: Variant) -> None:
    torch.manual_seed(1)
    first = build(variant, 3, 4, seed=5).state_dict()
    torch.manual_seed(2)
    again, other = build(variant, 3, 4, seed=5).state_dict(), build(variant, 3, 4, seed=6).state_dict()
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert any(not torch.equal(first[name], other[name]) for name in first)


@each
def test_building_leaves_the_global_generator(variant: Variant) -> None:
    before = torch.get_rng_state()
    build(variant, 3, 4)
    assert torch.equal(torch.get_rng_state(), before)


@each_engine
def test_the_input_is_left_as_it_was(variant: Variant, engine: str) -> None:
    core, x = build(variant, 3, 4), noise(2, 5, 3)
    kept = x.clone()
    model.run(variant, core, x, engine).sum().backward()  # type: ignore[no-untyped-call]
    assert torch.equal(x, kept)


@each_engine
def test_gradients_are_finite_and_reach_the_first_step(variant: Variant, engine: str) -> None:
    core, x = build(variant, 3, 5), noise(4, 7, 3).requires_grad_()
    y = model.run(variant, core, x, engine)
    answer = variant.summary(y) if variant.summary else y[:, -1]
    (answer * noise(*answer.shape)).sum().backward()  # type: ignore[no-untyped-call]
    assert x.grad is not None
    assert x.grad.isfinite().all()
    assert (x.grad[:, 0].abs().amax(dim=1) > 0).all()
    for name, parameter in core.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name
        assert parameter.grad.abs().max() > 0, name


@each_engine
def test_gradients_are_those_of_finite_differences(variant: Variant, engine: str) -> None:
    core, x = build(variant, 2, 3), noise(2, 3, 2).requires_grad_()
    parameters = tuple(core.parameters())

    def forward(x: Tensor, *_parameters: Tensor) -> Tensor:  # gradcheck moves the parameters in place
        return model.run(variant, core, x, engine)

    assert torch.autograd.gradcheck(forward, (x, *parameters))


@each
def test_weights_survive_a_file(variant: Variant) -> None:
    one, other, x = build(variant, 3, 4, seed=0), build(variant, 3, 4, seed=1), noise(2, 5, 3)
    assert not torch.equal(one(x), other(x))
    file = io.BytesIO()
    torch.save(one.state_dict(), file)
    file.seek(0)
    other.load_state_dict(torch.load(file, weights_only=True))
    assert torch.equal(one(x), other(x))


@each
def test_summary_sees_the_whole_sequence(variant: Variant) -> None:
    """What one answer is read from depends on every step of the input."""
    core, x = build(variant, 3, 4), noise(2, 6, 3).requires_grad_()
    y = core(x)
    summary = variant.summary(y) if variant.summary else y[:, -1]
    assert summary.shape == (2, y.shape[2])
    for half in summary.chunk(2, dim=1):
        (grad,) = torch.autograd.grad(half.square().sum(), x, retain_graph=True)
        assert (grad.abs().amax(dim=2) > 0).all()


def relative(found: Tensor, wanted: Tensor) -> float:
    return float((found - wanted).abs().max() / wanted.abs().max())


def assert_twins(variant: Variant, dtype: torch.dtype, tolerance: float, device: str = "cpu") -> None:
    """Output and every gradient of the vendor's kernel are those of the reference."""
    core, x = build(variant, 8, 32, dtype).to(device), noise(4, 50, 8, dtype=dtype).to(device).requires_grad_()
    names = ["x", *dict(core.named_parameters())]
    outputs, gradients = [], []
    for engine in ("reference", "vendor"):
        y = model.run(variant, core, x, engine)
        outputs.append(y.detach())
        gradients.append(torch.autograd.grad(y.mean(), [x, *core.parameters()]))
    assert relative(outputs[1], outputs[0]) <= tolerance
    for name, wanted, found in zip(names, *gradients, strict=True):
        assert relative(found, wanted) <= tolerance, name


@each_twin
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-5), (torch.float64, 1e-10)], ids=["float32", "float64"])
def test_vendor_twin_equals_the_reference(variant: Variant, dtype: torch.dtype, tolerance: float) -> None:
    assert_twins(variant, dtype, tolerance)


@pytest.mark.gpu
@pytest.mark.filterwarnings("ignore:RNN module weights are not part of single contiguous chunk")  # the equations have one bias a gate
@each_twin
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-5), (torch.float64, 1e-10)], ids=["float32", "float64"])
def test_vendor_twin_equals_the_reference_on_cuda(variant: Variant, dtype: torch.dtype, tolerance: float) -> None:
    assert_twins(variant, dtype, tolerance, "cuda")


@each
def test_hidden_size_sets_the_parameter_count(variant: Variant) -> None:
    task = Task("shape", lambda: None, 3, 2, "mse", lambda: 1.0, lambda: None)  # type: ignore[arg-type, return-value]
    counts = [model.count_parameters(model.build(variant, {}, task, hidden_size, "reference", 0)) for hidden_size in (1, 2, 4, 8, 16)]
    assert counts == sorted(set(counts))
