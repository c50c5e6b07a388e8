"""Lets several sections ask for the same thing of the same results, which is then worked out once."""

from __future__ import annotations

import functools
import weakref
from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from ..spec import Results

Value = TypeVar("Value")


def once(of: Callable[[Results], Value]) -> Callable[[Results], Value]:
    """The function, which keeps what it gave for the results that it was last asked about; others are other objects, whatever they hold."""
    last: list[tuple[weakref.ref[Results], Value]] = []

    @functools.wraps(of)
    def asked(results: Results) -> Value:
        if not last or last[0][0]() is not results:
            last[:] = [(weakref.ref(results), of(results))]
        return last[0][1]

    return asked
