"""Tells listeners what happens in a run, through pluggy; one that raises is noted and harms nobody."""

from __future__ import annotations

import functools
from collections.abc import Callable, Generator, Mapping, Sequence
from typing import Any

import pluggy

from ..errors import Raised, SuiteError, contained, nearest
from ..plan.choices import checked
from ..registry import hookspecs
from ..registry.registry import HOOKS, Registry, options_of
from ..spec import Value

EVENTS = [name for name in vars(hookspecs) if name.startswith("suite_") and name not in HOOKS]
"""The hooks that tell of something."""

Note = Callable[[str, Raised], None]


class Audience:
    """Everyone who hears one run: the listeners that are started for it, found plugins with event hooks, and objects handed in.

    pluggy calls them, so that ``tryfirst``, ``trylast`` and ``wrapper`` mean what they mean there: of equals the one registered last
    is called first. `problems` says, once for each listener and hook, what went wrong, with the traceback where there is one.

    Raises SuiteError for an option that no listener has, or a value of another type.
    """

    def __init__(self, registry: Registry, options: Mapping[str, Value], more: Sequence[object] = ()) -> None:
        self.problems: dict[str, str] = {}
        self._hooks = pluggy.PluginManager("suite")
        self._hooks.add_hookspecs(hookspecs)
        found = [plugin for _, plugin in registry.hooks.list_name_plugin() if plugin is not None]
        for plugin in (*self._started(registry, options), *found, *more):
            self._hooks.register(_Careful(plugin, self._raised))

    def tell(self, hook: str, **arguments: Any) -> None:
        """Call every implementation of a hook with those of the arguments that it names."""
        getattr(self._hooks.hook, hook)(**arguments)

    def note(self, who: str, what: str) -> None:
        """Keep what somebody who reads the terminal should know; of what is said twice, the first."""
        self.problems.setdefault(who, what)

    def _raised(self, who: str, raised: Raised) -> None:
        self.note(who, f"{raised.reason}\n{raised.traceback}")

    def _started(self, registry: Registry, options: Mapping[str, Value]) -> list[object]:
        declared = {name: options_of(provided.noun.start) for name, provided in registry.listeners.items()}
        known = {option for parameters in declared.values() for option in parameters}
        for option in options:
            if option not in known:
                raise SuiteError(f"no listener has the option '{option}'{nearest(option, known)}")
        started = []
        for name, provided in registry.listeners.items():
            own = {option: value for option, value in options.items() if option in declared[name]}
            chosen = checked(own, declared[name], f"listener '{name}'")
            with contained() as raised:
                listener = provided.noun.start(**chosen)
                if listener is not None:
                    started.append(listener)
            if raised:
                self._raised(name, raised)
        return started


class _Careful:
    """A listener's event hooks, each of which notes what it raises instead of passing it on."""

    def __init__(self, plugin: object, note: Note) -> None:
        who = getattr(plugin, "__name__", type(plugin).__name__)
        for hook in EVENTS:
            implementation = getattr(plugin, hook, None)
            marks = getattr(implementation, "suite_impl", None)
            if implementation is None or not isinstance(marks, dict):
                continue
            wraps = marks["wrapper"] or marks["hookwrapper"]
            careful = (_careful_wrapper if wraps else _careful)(implementation, functools.partial(note, f"{who}, {hook}"))
            careful.suite_impl = marks  # type: ignore[attr-defined]
            setattr(self, hook, careful)


def _careful(implementation: Callable[..., object], note: Callable[[Raised], None]) -> Callable[..., None]:
    @functools.wraps(implementation)
    def call(*arguments: Any) -> None:
        with contained() as raised:
            implementation(*arguments)
        if raised:
            note(raised)

    return call


def _careful_wrapper(implementation: Callable[..., Generator[None, Any, Any]], note: Callable[[Raised], None]) -> Callable[..., Any]:
    """A wrapper around the other listeners' calls; where it raises, they are still called and their result stands."""

    @functools.wraps(implementation)
    def call(*arguments: Any) -> Generator[None, Any, Any]:
        with contained() as raised:
            generator = implementation(*arguments)
            next(generator)
        if raised:
            note(raised)
            return (yield)
        result = yield
        with contained() as raised:
            generator.send(result)
            raise RuntimeError("it yields more than once")
        if not isinstance(raised.error, StopIteration):
            note(raised)
        return result

    return call
