"""Tells listeners what happens, in a defined order; one that raises is noted and harms nobody."""

from __future__ import annotations

import traceback
from collections.abc import Sequence
from typing import Any

import pluggy


class Listeners:
    """Everyone who implements a listening hook: found plugins in the order they were found, then those handed in.

    ``@hookimpl(tryfirst=True)`` and ``trylast=True`` move one before or behind the others. `problems` says, once for each
    listener and hook, what a listener raised, with its traceback.
    """

    def __init__(self, hooks: pluggy.PluginManager, more: Sequence[object] = ()) -> None:
        self._hooks, self._more = hooks, more
        self.problems: dict[str, str] = {}

    def __enter__(self) -> Listeners:
        for listener in self._more:
            self._hooks.register(listener)
        return self

    def __exit__(self, *_: object) -> None:
        for listener in self._more:
            self._hooks.unregister(listener)

    def tell(self, hook: str, **arguments: Any) -> None:
        """Call every implementation of a hook with those of the arguments that it names."""
        implementations = getattr(self._hooks.hook, hook).get_hookimpls()
        for one in sorted(implementations, key=lambda one: one.trylast - one.tryfirst):
            try:
                one.function(*(arguments[name] for name in one.argnames))
            except Exception as error:  # a listener's own failure: the run goes on without it
                name = getattr(one.plugin, "__name__", type(one.plugin).__name__)
                self.problems.setdefault(f"{name}, {hook}", f"{type(error).__name__}: {error}\n{traceback.format_exc()}")
