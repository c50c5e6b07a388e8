"""Finds out which engines a variant can run on, by trying a small one on the CPU."""

from __future__ import annotations

import contextlib
import functools
import os
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from ..answers import folder
from ..errors import contained
from ..keys import digest
from ..spec import Options, Variant
from .scan import observed, scanning
from .streaming import Stream

if TYPE_CHECKING:
    from .recurrence import Deriver

INPUT_SIZE, SAMPLES, STEPS, MEMBERS = 3, 2, 4, 2
HIDDEN_SIZES = (4, 16)
"""Some variants take only sizes that a number of heads divides."""

TOLERANCE = 1e-8
"""How far outputs and gradients in float64 may depart from the plain loop's, as a part of the largest of them."""

FUSED = ("mkldnn_rnn_layer", "_cudnn_rnn", "_thnn_fused", "miopen_rnn")
"""Operations of torch that run a whole recurrence, or one step of it, as one kernel."""


_versions: dict[Variant, str] = {}
"""A digest of the code behind a variant, where it is known: then answers are kept on disk, since asking takes a good part of a second."""


def identify(variant: Variant, version: str) -> None:
    """Let answers about a variant be kept, as long as the digest of the code behind it (and behind the asking) stays."""
    _versions[variant] = version


def asked_once(function: Callable[[Variant, Options], str]) -> Callable[[Variant, Options], str]:
    """Remember the answer for each variant and set of options, beyond this process where the variant's code is identified."""
    answers: dict[tuple[Any, ...], str] = {}

    @functools.wraps(function)
    def answer(variant: Variant, options: Options) -> str:
        key = (variant, tuple(sorted(options.items())))
        if key not in answers:
            kept = _kept(function.__name__, variant, options)
            with contextlib.suppress(OSError):  # no such answer yet
                if kept is not None:
                    answers[key] = kept.read_text(encoding="utf-8")
        if key not in answers:
            answers[key] = function(variant, options)
            with contextlib.suppress(OSError):  # a home that cannot be written to: it is asked again the next time
                if kept is not None:
                    kept.parent.mkdir(parents=True, exist_ok=True)
                    partial = kept.with_name(f".{kept.name}.{os.getpid()}")  # whole or not at all: an empty file would be a yes
                    partial.write_text(answers[key], encoding="utf-8")
                    partial.replace(kept)
        return answers[key]

    return answer


def _kept(question: str, variant: Variant, options: Options) -> Path | None:
    """The file of an answer in the user's cache; None where the variant's code is not identified."""
    if variant not in _versions:
        return None
    return folder("engines") / digest([question, variant.name, _versions[variant], dict(options), torch.__version__])


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

    return _why_not_by(DERIVER, core, wanted)


def _why_not_by(deriver: Deriver, core: nn.Module, wanted: Sequence[Tensor]) -> str:
    """Why what is derived from a core's steps is of no use; empty where it gives what is wanted, alone and for several members."""

    def derived(x: Tensor) -> Tensor:
        with scanning(deriver.scan):
            y: Tensor = core(x)
        return y

    with contained() as raised:
        given = _answers(core, derived)
    if raised:
        return raised.reason
    if not all(_near(value, expected) for value, expected in zip(given, wanted, strict=True)):
        return "what is derived from its step departs from the plain loop: does it mix the samples of a batch, or go back by its own rule?"
    with contained() as raised:
        with scanning(deriver.scan):
            together = _stacked(core)
        if not _near(together, _in_turn(core)):
            return "what is derived from its step departs from the plain loop when several members run at once"
        return _why_not_padded(core)
    return f"its forward does not run for several members at once: {raised.reason}" if raised else ""


@asked_once
def why_not_compiled(variant: Variant, options: Options) -> str:
    """Why torch's compiler is of no use to what is derived from the variant's steps; empty where it is."""
    from .recurrence import PLACER

    core = _core(variant, options)
    if isinstance(core, str):
        return core
    with contained() as raised, torch.no_grad(), _Complex() as mode:
        core(_noise(SAMPLES, STEPS, INPUT_SIZE))
    if raised:
        return f"its forward raises {raised.reason}"
    if mode.seen:
        return "it computes with complex numbers, which torch's compiler does not compile"
    return _why_not_by(PLACER, core, _answers(core, core))


@asked_once
def why_not_batched(variant: Variant, options: Options) -> str:
    """Why the forward cannot run for several members at once (``torch.func.vmap``); empty where it can."""
    core = _core(variant, options)
    if isinstance(core, str):
        return core
    with contained() as raised, warnings.catch_warnings():
        warnings.simplefilter("error")  # an operation without a batching rule is run member by member, with a warning
        if not _near(_stacked(core), _in_turn(core)):
            return "its forward gives other numbers when several members run at once"
        return _why_not_padded(core)
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


@asked_once
def why_not_streamed(variant: Variant, options: Options) -> str:
    """Why the variant cannot take a sequence one step at a time; empty where it can."""
    core = _core(variant, options)
    if isinstance(core, str):
        return core
    x = _noise(SAMPLES, STEPS, INPUT_SIZE)
    with contained() as raised, torch.no_grad(), observed() as scans:
        whole = core.eval()(x)
        if not scans:
            return "its forward calls no ops.scan"
        stream = Stream(core)
        if not _near(torch.stack([stream(x_t) for x_t in x.unbind(1)], dim=1), whole):
            return "its forward looks at more of the sequence than its states carry on"
    return f"its forward raises {raised.reason}" if raised else ""


def is_fused(operation: str) -> bool:
    return any(name in operation for name in FUSED)


class _Operations(TorchDispatchMode):  # type: ignore[no-untyped-call]
    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.names: list[str] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.names.append(func.name())
        return func(*args, **(kwargs or {}))


class _Complex(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Notes whether any operation gives complex numbers."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.seen = False

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        made = func(*args, **(kwargs or {}))
        self.seen |= isinstance(made, Tensor) and made.is_complex()
        return made


def operations(call: Callable[[], object]) -> Sequence[str]:
    """The names of the operations that torch's dispatcher runs in a call, in order, without gradients."""
    with torch.no_grad(), _Operations() as mode:
        call()
    names: list[str] = mode.names
    return names


def _core(variant: Variant, options: Options, dtype: torch.dtype = torch.float64) -> nn.Module | str:
    """A small core in training mode, as it is trained; the reason where none can be built."""
    for size in HIDDEN_SIZES:
        with contained() as raised, torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(0)
            core = variant.build(INPUT_SIZE, size, **options)
        if not raised and not isinstance(core, nn.Module):
            return f"build returned {type(core).__name__}, not an nn.Module"
        if not raised:
            for tensor in (*core.parameters(), *core.buffers()):
                if tensor.is_floating_point() or tensor.is_complex():
                    tensor.data = tensor.data.to(dtype.to_complex() if tensor.is_complex() else dtype)
            return core
    return f"it cannot be built: {raised.reason}"


def _noise(*shape: int) -> Tensor:
    return torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


def _answers(core: nn.Module, forward: Callable[[Tensor], Tensor]) -> list[Tensor]:
    """The output, and the gradients of its squares; zeros where there is none."""
    core.zero_grad()
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(0)
        y = forward(_noise(SAMPLES, STEPS, INPUT_SIZE))
    trained = [parameter for parameter in core.parameters() if parameter.requires_grad]
    gradients = torch.autograd.grad(y.abs().square().mean(), trained, allow_unused=True, materialize_grads=True) if trained else ()
    return [y.detach(), *gradients]


def _stacked(core: nn.Module) -> Tensor:
    """Forward and backward of several members at once."""
    weights = _weights_of_members(core)
    y = torch.vmap(lambda own, x: torch.func.functional_call(core, own, (x,)))(weights, _noise(MEMBERS, SAMPLES, STEPS, INPUT_SIZE))
    if y.requires_grad:
        y.abs().square().mean().backward()
    return y.detach()  # type: ignore[no-any-return]


@torch.no_grad()
def _in_turn(core: nn.Module) -> Tensor:
    """Forward of the same members, one after another."""
    weights, x = _weights_of_members(core), _noise(MEMBERS, SAMPLES, STEPS, INPUT_SIZE)
    members = ({name: value[member] for name, value in weights.items()} for member in range(MEMBERS))
    return torch.stack([torch.func.functional_call(core, own, (x[member],)) for member, own in enumerate(members)])


@torch.no_grad()
def _why_not_padded(core: nn.Module) -> str:
    """Why samples of zeros beside a batch would not leave it as it is; empty where they do."""
    before = [buffer.clone() for buffer in core.buffers()]
    x = _noise(SAMPLES, STEPS, INPUT_SIZE)
    alone, padded = core(x), core(torch.cat([x, torch.zeros_like(x)]))
    if any(not torch.equal(buffer, value) for buffer, value in zip(core.buffers(), before, strict=True)):
        return "its forward changes a buffer, which members could not share"
    return "" if _near(padded[:SAMPLES], alone) else "its forward mixes the samples of a batch"


def _weights_of_members(core: nn.Module) -> dict[str, Tensor]:
    """The core's weights for each member, a little smaller for each."""
    sizes = [0.9**member for member in range(MEMBERS)]
    named = dict(core.named_parameters())
    return {
        name: torch.stack([size * value.detach() for size in sizes]).requires_grad_(value.requires_grad) for name, value in named.items()
    }


def _near(tensor: Tensor, wanted: Tensor) -> bool:
    """Whether no value departs by more than a part of the largest that is wanted."""
    return tensor.shape == wanted.shape and bool((tensor - wanted).abs().max() <= TOLERANCE * wanted.abs().max())
