"""Lists the engines: what each is called, where it runs, which variants have it, and how it runs them."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..errors import SuiteError, nearest
from ..spec import Options, Variant

if TYPE_CHECKING:
    from torch import Tensor, nn

AUTO = "auto"
"""Asks for the fastest engine that a variant has; resolved before any key is made."""

COMPILING_PAYS = 3_000
"""Steps of recurrence in a training from which on compiling, some seconds for each shape, costs less than it saves."""


@dataclass(frozen=True)
class Engine:
    """One way to run a variant's recurrence.

    about: what it is, for the readers of a report; devices: those it runs on
    lacks: why a variant with its options does not have it; empty where it does
    run: ``run(variant, core, x) -> y``, x ``(B, T, D)`` and y ``(B, T, O)``
    stacks: whether it runs inside ``torch.func.vmap``, so that the members of a population are one program
    compiles: whether each new shape costs seconds of compiling
    replays: whether a whole training step is recorded and replayed
    """

    name: str
    about: str
    devices: tuple[str, ...]
    lacks: Callable[[Variant, Options], str]
    run: Callable[[Variant, nn.Module, Tensor], Tensor]
    stacks: bool = False
    compiles: bool = False
    replays: bool = False


def _run_vendor(variant: Variant, core: nn.Module, x: Tensor) -> Tensor:
    if variant.vendor is None:
        raise SuiteError(f"variant '{variant.name}' has no vendor twin")
    return variant.vendor(core, x)


def _run_derived(_variant: Variant, core: nn.Module, x: Tensor) -> Tensor:
    from .recurrence import DERIVER
    from .scan import scanning

    with scanning(DERIVER.scan):
        return core(x)  # type: ignore[no-any-return]


def _run_compiled(_variant: Variant, core: nn.Module, x: Tensor) -> Tensor:
    from .recurrence import COMPILER
    from .scan import scanning

    with scanning(COMPILER.scan):
        return core(x)  # type: ignore[no-any-return]


def _run_plainly(_variant: Variant, core: nn.Module, x: Tensor) -> Tensor:
    return core(x)  # type: ignore[no-any-return]


def _lacks_vendor(variant: Variant, _options: Options) -> str:
    return "" if variant.vendor else "it has no vendor twin"


def _lacks_derived(variant: Variant, options: Options) -> str:
    from .probing import why_not_derived

    return why_not_derived(variant, options)


def _lacks_compiled(variant: Variant, options: Options) -> str:
    from .probing import why_not_compiled

    lacking = "" if compiler() else "there is no C++ compiler (g++ or clang++) on this machine"
    return lacking or _lacks_derived(variant, options) or why_not_compiled(variant, options)


def _lacks_batched(variant: Variant, options: Options) -> str:
    from .probing import why_not_batched

    return why_not_batched(variant, options)


def compiler() -> str:
    """The C++ compiler that torch's own compiler would use; empty where there is none."""
    return next((path for name in ("g++", "clang++", "c++") if (path := shutil.which(name))), "")


def compile_seconds() -> float:
    """How long this process has spent compiling, and on what compiling starts from."""
    import sys

    module = sys.modules.get(f"{__package__}.recurrence")
    return module.DERIVER.seconds + module.COMPILER.seconds if module else 0.0


EVERYWHERE = ("cpu", "cuda")

VENDOR = Engine("vendor", "cuDNN or oneDNN kernel", EVERYWHERE, _lacks_vendor, _run_vendor)
GRAPH = Engine(
    "graph", "derived from the step, each training step replayed", ("cuda",), _lacks_derived, _run_derived, stacks=True, replays=True
)
COMPILED = Engine("compiled", "derived from the step, compiled", EVERYWHERE, _lacks_compiled, _run_compiled, stacks=True, compiles=True)
DERIVED = Engine("derived", "derived from the step", EVERYWHERE, _lacks_derived, _run_derived, stacks=True)
BATCHED = Engine("batched", "loop over steps, members at once", EVERYWHERE, _lacks_batched, _run_plainly, stacks=True)
REFERENCE = Engine("reference", "loop over steps", EVERYWHERE, lambda _variant, _options: "", _run_plainly)

ENGINES = (VENDOR, GRAPH, COMPILED, DERIVED, BATCHED, REFERENCE)
"""Every engine, in the order in which a training prefers them."""


def timed_engines(variant: Variant, options: Options, compiling: bool, device: str) -> tuple[Engine, ...]:
    """The engines that a variant is timed on, of those that it has on a device.

    compiling: whether the plan's trainings compile, so that the compiled engine is worth its seconds
    """
    timed = (VENDOR, GRAPH, COMPILED if compiling else DERIVED, REFERENCE)
    return tuple(known for known in timed if device in known.devices and not known.lacks(variant, options))


def engine(name: str) -> Engine:
    """The engine of a name.

    Raises SuiteError for a name that is none.
    """
    for known in ENGINES:
        if known.name == name:
            return known
    raise SuiteError(f"unknown engine '{name}'{nearest(name, [AUTO, *(known.name for known in ENGINES)])}")


def engines_of(variant: Variant, options: Options, device: str) -> tuple[Engine, ...]:
    """The engines that a variant has on a device."""
    return tuple(known for known in ENGINES if device in known.devices and not known.lacks(variant, options))


def resolve(variant: Variant, options: Options, asked: str, steps: int, device: str) -> str:
    """The engine that a training of so many steps of recurrence runs on where `asked` is wanted.

    That one where the variant has it, else the next that it has. For ``auto``: the vendor's where that is one fused kernel on this
    device, else the first that the variant has, compiled only where compiling pays, and replayed only where asked. Nothing here depends on a measured time or on
    how many members a population has, so that the same trial always gets the same engine.
    """
    candidates = [known for known in ENGINES if device in known.devices]
    if asked == AUTO:
        candidates = [known for known in candidates if not known.replays]
        if not _fused(variant, options, device):
            candidates.remove(VENDOR)
            candidates.insert(-1, VENDOR)
        if steps < COMPILING_PAYS:
            candidates.remove(COMPILED)
    else:
        candidates = [known for known in candidates if ENGINES.index(known) >= ENGINES.index(engine(asked))]
    return next(known.name for known in candidates if not known.lacks(variant, options))


def _fused(variant: Variant, options: Options, device: str) -> bool:
    """Whether the variant's twin is a fused kernel; cuDNN's always is."""
    from .probing import why_not_fused

    return variant.vendor is not None and (device == "cuda" or not why_not_fused(variant, options))
