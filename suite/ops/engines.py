"""Lists the engines: what each is called, where it runs, which variants have it, and how it runs them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..errors import SuiteError, nearest
from ..spec import Variant

if TYPE_CHECKING:
    from torch import Tensor, nn

AUTO = "auto"
"""Asks for the fastest engine that a variant has; resolved before any key is made."""


@dataclass(frozen=True)
class Engine:
    """One way to run a variant's recurrence.

    about: what it is, for the readers of a report; where: the devices it runs on
    runs: whether a variant has it
    run: ``run(variant, core, x) -> y``, x ``(B, T, D)`` and y ``(B, T, O)``
    """

    name: str
    about: str
    where: str
    runs: Callable[[Variant], bool]
    run: Callable[[Variant, nn.Module, Tensor], Tensor]


def _run_vendor(variant: Variant, core: nn.Module, x: Tensor) -> Tensor:
    if variant.vendor is None:
        raise SuiteError(f"variant '{variant.name}' has no vendor twin")
    return variant.vendor(core, x)


VENDOR = Engine("vendor", "cuDNN or oneDNN kernel", "CPU and CUDA", lambda variant: variant.vendor is not None, _run_vendor)
REFERENCE = Engine("reference", "loop over steps", "CPU and CUDA", lambda _variant: True, lambda _variant, core, x: core(x))

ENGINES = (VENDOR, REFERENCE)
"""Every engine, the fastest first."""


def engine(name: str) -> Engine:
    """The engine of a name.

    Raises SuiteError for a name that is none.
    """
    for known in ENGINES:
        if known.name == name:
            return known
    raise SuiteError(f"unknown engine '{name}'{nearest(name, [AUTO, *(known.name for known in ENGINES)])}")


def engines_of(variant: Variant) -> tuple[Engine, ...]:
    """The engines that a variant has, the fastest first."""
    return tuple(known for known in ENGINES if known.runs(variant))


def resolve(variant: Variant, asked: str) -> str:
    """The engine a variant runs on where `asked` is wanted: that one, the fastest for ``auto``, else the reference."""
    if asked == AUTO:
        return engines_of(variant)[0].name
    wanted = engine(asked)
    return wanted.name if wanted.runs(variant) else REFERENCE.name
