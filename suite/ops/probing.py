"""Finds out which engines a variant can run on, by trying a small one on the CPU."""

from __future__ import annotations

import functools
import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from ..errors import contained
from ..spec import Options, Variant
from .scan import observed, scanning

INPUT_SIZE, SAMPLES, STEPS, MEMBERS = 3, 2, 4, 2
HIDDEN_SIZES = (4, 16)
"""Some variants take only sizes that a number of heads divides."""

TOLERANCE = 1e-8
"""How far outputs and gradients in float64 may depart from the plain loop's, as a part of the largest of them."""

FUSED = ("mkldnn_rnn_layer", "_cudnn_rnn", "_thnn_fused", "miopen_rnn")
"""Operations of torch that run a whole recurrence, or one step of it, as one kernel."""


def asked_once(function: Callable[[Variant, Options], str]) -> Callable[[Variant, Options], str]:
    """Remember the answer for each variant and set of options."""
    answers: dict[tuple[Any, ...], str] = {}

    @functools.wraps(function)
    def answer(variant: Variant, options: Options) -> str:
        key = (variant, tuple(sorted(options.items())))
        if key not in answers:
            answers[key] = function(variant, options)
        return answers[key]

    return answer


@asked_once
def why_not_derived(variant: Variant, options: Options) -> str:
    """Why no engine can be derived from the variant's steps; empty where one can, with the plain loop's outputs and gradients."""
    from .recurrence import DERIVER  # imports torch's tracer, which only runs that need it should wait for

    core = _core(variant, options)
    if isinstance(core, str):
        return core
    with contained() as raised, observed() as scans:
        wanted = _answers(core, core)
    if raised:
        return f"its forward raises {raised.reason}"
    if not scans:
        return "its forward calls no ops.scan"

    def derived(x: Tensor) -> Tensor:
        with scanning(DERIVER.scan):
            y: Tensor = core(x)
        return y

    with contained() as raised:
        given = _answers(core, derived)
    if raised:
        return raised.reason
    apart = max(_relative(value, expected) for value, expected in zip(given, wanted, strict=True))
    if not apart <= TOLERANCE:
        return f"what is derived from its step departs by {apart:.2g} from the plain loop: does it mix the samples of a batch?"
    with contained() as raised, scanning(DERIVER.scan):
        _stacked(core)
    return f"its forward does not run for several members at once: {raised.reason}" if raised else ""


@asked_once
def why_not_batched(variant: Variant, options: Options) -> str:
    """Why the forward cannot run for several members at once (``torch.func.vmap``); empty where it can."""
    core = _core(variant, options)
    if isinstance(core, str):
        return core
    with contained() as raised, warnings.catch_warnings():
        warnings.simplefilter("error")  # an operation without a batching rule is run member by member, with a warning
        _stacked(core)
    return f"its forward does not run for several members at once: {raised.reason}" if raised else ""


@asked_once
def why_not_fused(variant: Variant, options: Options) -> str:
    """Why the variant's twin is no fused kernel on this machine's CPU; empty where it is."""
    core = _core(variant, options, torch.float32)
    if isinstance(core, str) or variant.vendor is None:
        return core if isinstance(core, str) else "it has no vendor twin"
    with contained() as raised:
        names = operations(lambda: variant.vendor(core, torch.zeros(SAMPLES, STEPS, INPUT_SIZE)))  # type: ignore[misc]
    if raised:
        return f"its twin raises {raised.reason}"
    return "" if any(is_fused(name) for name in names) else "torch runs its twin as a loop of products"


def is_fused(operation: str) -> bool:
    return any(name in operation for name in FUSED)


class _Operations(TorchDispatchMode):
    def __init__(self) -> None:
        super().__init__()
        self.names: list[str] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.names.append(func.name())
        return func(*args, **(kwargs or {}))


def operations(call: Callable[[], object]) -> Sequence[str]:
    """The names of the operations that torch's dispatcher runs in a call, in order, without gradients."""
    with torch.no_grad(), _Operations() as mode:
        call()
    return mode.names


def _core(variant: Variant, options: Options, dtype: torch.dtype = torch.float64) -> nn.Module | str:
    """A small core in evaluation mode; the reason where none can be built."""
    for size in HIDDEN_SIZES:
        with contained() as raised, torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(0)
            core = variant.build(INPUT_SIZE, size, **options)
        if not raised:
            for tensor in (*core.parameters(), *core.buffers()):
                if tensor.is_floating_point() or tensor.is_complex():
                    tensor.data = tensor.data.to(dtype.to_complex() if tensor.is_complex() else dtype)
            return core
    return f"it cannot be built: {raised.reason}"


def _noise(*shape: int) -> Tensor:
    return torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


def _answers(core: nn.Module, forward: Callable[[Tensor], Tensor]) -> list[Tensor]:
    """The output, and the gradients of its squares."""
    core.zero_grad()
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(0)
        y = forward(_noise(SAMPLES, STEPS, INPUT_SIZE))
    trained = [parameter for parameter in core.parameters() if parameter.requires_grad]
    gradients = torch.autograd.grad(y.abs().square().mean(), trained, allow_unused=True) if trained else ()
    return [y.detach(), *(gradient for gradient in gradients if gradient is not None)]


def _stacked(core: nn.Module) -> Tensor:
    """Forward and backward of several members at once."""
    weights = {name: torch.stack([value.detach()] * MEMBERS) for name, value in core.named_parameters()}
    for name, value in core.named_parameters():
        weights[name].requires_grad_(value.requires_grad)
    x = _noise(MEMBERS, SAMPLES, STEPS, INPUT_SIZE)

    def member(own: Mapping[str, Tensor], x: Tensor) -> Tensor:
        return torch.func.functional_call(core, dict(own), (x,))  # type: ignore[no-any-return]

    y = torch.vmap(member)(weights, x)
    if y.requires_grad:
        y.abs().square().mean().backward()
    return y


def _relative(tensor: Tensor, wanted: Tensor) -> float:
    return float((tensor - wanted).abs().max() / wanted.abs().max().clamp_min(1e-30))
