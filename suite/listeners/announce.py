"""Tells listeners what happens in a run, through pluggy; what one of them raises is noted and stops neither the run nor the others."""

from __future__ import annotations

import contextlib
import functools
import inspect
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import pluggy

from ..errors import Raised, SuiteError, contained, nearest
from ..plan.choices import checked
from ..registry import hookspecs
from ..registry.registry import HOOKS, Registry, options_of
from ..spec import Value

EVENTS = [name for name in vars(hookspecs) if name.startswith("suite_") and name not in HOOKS]
"""The hooks that tell of what happens; the others ask plugins for something."""

Note = Callable[[Raised], None]


class Audience:
    """Everyone who hears one run: the listeners that are started for it, found plugins with event hooks, and objects handed in.

    pluggy calls them, so that ``tryfirst``, ``trylast`` and ``wrapper`` mean what they mean there: of equals the one registered last
    is called first. `problems` says, once for each listener and hook, what went wrong, with the traceback where there is one.

    Raises SuiteError for an option that no listener has, or a value of another type.
    """

    def __init__(self, registry: Registry, options: Mapping[str, Value], more: Sequence[object] = ()) -> None:
        self.problems: dict[str, str] = {}
        self._names: set[str] = set()
        self._hooks = pluggy.PluginManager("suite")
        self._hooks.add_hookspecs(hookspecs)
        for name, listener in self._started(registry, options).items():
            self._admit(name, listener)
        for name, plugin in registry.hooks.list_name_plugin():
            if plugin is not None:  # pluggy keeps the names of blocked plugins
                self._register(name, plugin)
        for listener in more:
            self._admit(getattr(listener, "__name__", type(listener).__name__), listener)

    def tell(self, hook: str, **arguments: Any) -> None:
        """Call every implementation of a hook with those of the arguments that it names."""
        getattr(self._hooks.hook, hook)(**arguments)

    def note(self, who: str, what: str) -> None:
        """Keep what somebody who reads the terminal should know; of what is said twice, the first."""
        self.problems.setdefault(who, what)

    def _raised(self, who: str, raised: Raised) -> None:
        """Note what was raised: of a SuiteError its message, which is meant for the user, and of anything else the traceback too."""
        self.note(who, raised.reason if isinstance(raised.error, SuiteError) else f"{raised.reason}\n{raised.traceback}")

    def _started(self, registry: Registry, options: Mapping[str, Value]) -> dict[str, object]:
        """Start each listener with those of the options that it has."""
        declared = {name: options_of(provided.noun.start) for name, provided in registry.listeners.items()}
        known = {option for parameters in declared.values() for option in parameters}
        for option in options:
            if option not in known:
                raise SuiteError(f"no listener has the option '{option}'{nearest(option, known)}")
        chosen = {
            name: checked({option: value for option, value in options.items() if option in parameters}, parameters, f"listener '{name}'")
            for name, parameters in declared.items()
        }
        started = {}
        for name, provided in registry.listeners.items():
            with _noting(functools.partial(self._raised, name)):
                listener = provided.noun.start(**chosen[name])
                if listener is not None:
                    started[name] = listener
        return started

    def _admit(self, name: str, listener: object) -> None:
        """Register a listener that the finder has not checked, and note those of its hooks that are never called."""
        who = self._unique(name)
        names = self._register(who, listener)
        if not names:
            self.note(who, "hears nothing: no method of it is marked @hookimpl")
        for name in names:
            if name not in EVENTS and name not in HOOKS:
                self.note(f"{who}, {name}", f"@hookimpl on '{name}', which is no hook{nearest(name, EVENTS)}")

    def _unique(self, name: str) -> str:
        """The name, with a number where another listener has it already."""
        numbered = (name, *(f"{name} {number}" for number in range(2, len(self._names) + 3)))
        who = next(candidate for candidate in numbered if candidate not in self._names)
        self._names.add(who)
        return who

    def _register(self, who: str, plugin: object) -> list[str]:
        """Let pluggy call a plugin's event hooks; returns the names of all hooks that the plugin implements."""
        implementations = list(_implementations(plugin))
        for implementation in implementations:
            if implementation.hook in EVENTS:
                note = functools.partial(self._raised, f"{who}, {implementation.hook}")
                with _noting(note):
                    self._hooks.register(SimpleNamespace(**{implementation.hook: _careful(implementation, note)}))
        return [implementation.hook for implementation in implementations]


@dataclass(frozen=True)
class _Implementation:
    """One method or function marked ``@hookimpl``, with the marks that pluggy reads."""

    hook: str
    function: Callable[..., Any]
    marks: Mapping[str, Any]


def _implementations(plugin: object) -> Iterator[_Implementation]:
    """The hook implementations of a module or an object; its properties are not evaluated, as pluggy does not."""
    for name in dir(plugin):
        holder = inspect.getattr_static(plugin, name, None)
        if not inspect.isroutine(holder):
            continue
        marks = getattr(holder, "suite_impl", None) or getattr(getattr(holder, "__func__", None), "suite_impl", None)
        if isinstance(marks, dict):
            yield _Implementation(marks.get("specname") or name, getattr(plugin, name), marks)


@contextlib.contextmanager
def _noting(note: Note) -> Iterator[None]:
    """Note what the code inside raises instead of passing it on."""
    with contained() as raised:
        yield
    if raised:
        note(raised)


def _careful(implementation: _Implementation, note: Note) -> Callable[..., Any]:
    """A function with the parameters and marks of an implementation, which calls it and notes what it raises."""
    wraps = implementation.marks.get("wrapper") or implementation.marks.get("hookwrapper")
    careful = _careful_wrapper(implementation.function, note) if wraps else _careful_call(implementation.function, note)
    vars(careful)["suite_impl"] = {**implementation.marks, "specname": None}
    return careful


def _careful_call(function: Callable[..., object], note: Note) -> Callable[..., None]:
    @functools.wraps(function)
    def call(*arguments: Any, **named: Any) -> None:
        with _noting(note):
            function(*arguments, **named)

    return call


def _careful_wrapper(function: Callable[..., Generator[None, Any, Any]], note: Note) -> Callable[..., Any]:
    """A wrapper around the other listeners' calls; where it raises, they are still called and their result stands."""

    @functools.wraps(function)
    def call(*arguments: Any, **named: Any) -> Generator[None, Any, Any]:
        generator = None
        with _noting(note):
            generator = _begun(function(*arguments, **named))
        try:
            result = yield
        except BaseException as interrupt:  # the other listeners let nothing else through
            if generator is not None:
                with _noting(note), contextlib.suppress(type(interrupt)):  # the wrapper may let it pass
                    _finish(functools.partial(generator.throw, interrupt), generator)
            raise
        if generator is not None:
            with _noting(note), _unchanged(result):
                _finish(functools.partial(generator.send, result), generator)
        return result

    return call


def _begun(generator: Generator[None, Any, Any]) -> Generator[None, Any, Any]:
    """The generator, advanced to its yield.

    Raises SuiteError where it has none.
    """
    try:
        next(generator)
    except StopIteration:
        raise SuiteError("does not yield; a wrapper yields once, and the other listeners are called there") from None
    return generator


def _finish(go_on: Callable[[], object], generator: Generator[None, Any, Any]) -> None:
    """Run what stands behind the yield.

    Raises SuiteError where that yields again.
    """
    try:
        go_on()
    except StopIteration:
        return
    generator.close()
    raise SuiteError("yields more than once; a wrapper yields once")


@contextlib.contextmanager
def _unchanged(result: object) -> Iterator[None]:
    """Restore the ``pluggy.Result`` that an old-style wrapper was handed, and raise the exception that the wrapper put into it.

    An interrupt that the wrapper raises is put into the result, from which pluggy raises it: of others it warns.
    """
    if not isinstance(result, pluggy.Result):
        yield
        return
    before = result.exception
    try:
        yield
        forced = result.exception
    except KeyboardInterrupt as interrupt:
        before = forced = interrupt
    finally:
        if before is None:
            result.force_result([])
        else:
            result.force_exception(before)
    if forced is not None and forced is not before:
        raise forced
