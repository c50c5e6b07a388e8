"""Writes a variant that was defined in Python, as in a notebook, to a plugin's file, which other processes can import."""

from __future__ import annotations
import __future__

import ast
import contextlib
import dataclasses
import functools
import importlib
import importlib.metadata
import importlib.util
import inspect
import linecache
import re
import symtable
import sys
import textwrap
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import CodeType, FunctionType, ModuleType
from typing import Any

from .. import dropins
from ..errors import SuiteError
from ..spec import NAME, Variant
from .finder import discover
from .sources import SUITE

CURE = "or put the variant into a file: `suite new variant NAME` writes one to begin with"

PLAIN = (bool, int, float, str, bytes, type(None))


@contextlib.contextmanager
def importable(variants: Sequence[Variant], root: Path) -> Iterator[None]:
    """While this lasts, the variants are found as those of files are: each is written to one below the root, which is searched too.

    Raises SuiteError for a variant that needs something which cannot be written, and for one whose name another has.
    """
    if not variants:
        yield
        return
    files = {variant.name: root / dropins.FOLDERS[0] / f"{_stem(variant)}.py" for variant in variants}
    if len(set(files.values())) < len(variants):
        raise SuiteError(f"variants {', '.join(variant.name for variant in variants)}: two have one name; give each a name of its own")
    for variant in variants:
        _write(files[variant.name], source_of(variant))
    with found_beside(root):
        for name, file in files.items():
            _check_found(name, file)
        yield


@contextlib.contextmanager
def found_beside(root: Path) -> Iterator[None]:
    """While this lasts, plugins are looked for in one more root, whose files are imported as they are now."""
    with dropins.beside(root):
        _forget(root)
        try:
            yield
        finally:
            _forget(root)


def source_of(variant: Variant) -> str:
    """The text of a plugin's file that yields the variant: its classes and functions, with all of their modules that these refer to.

    Raises SuiteError where something it needs cannot be written down.
    """
    file = _File(variant.name)
    fields = [field for field in dataclasses.fields(variant) if getattr(variant, field.name) != field.default]
    given = [f"{field.name}={file.expression(field.name, getattr(variant, field.name))}" for field in fields]
    parts = [
        f'"""The variant {variant.name} as it was defined in Python."""',
        "from __future__ import annotations" if file.postponed else "",
        "\n".join([*sorted(file.imports), f"import {SUITE}"]),
        *file.definitions(),
        f"@{SUITE}.hookimpl\ndef suite_variants():\n    yield {SUITE}.Variant({', '.join(given)})",
    ]
    return "\n\n".join(filter(None, parts)) + "\n"


def _stem(variant: Variant) -> str:
    """The name of a variant as a module's.

    Raises SuiteError for one that no plugin may have.
    """
    if not isinstance(variant.name, str) or not NAME.fullmatch(variant.name):
        raise SuiteError(
            f"the name {variant.name!r} of a variant must be letters, digits, '_', '-' and '.', at most 40, and begin with a letter"
        )
    return re.sub(r"\W", "_", variant.name).lower()


def _write(file: Path, text: str) -> None:
    """Raises SuiteError where the file cannot be written."""
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        if not file.is_file() or file.read_text(encoding="utf-8") != text:
            file.write_text(text, encoding="utf-8")
            # Python takes compiled code for a file's where its size and second are the same
            Path(importlib.util.cache_from_source(str(file))).unlink(missing_ok=True)
    except OSError as error:
        raise SuiteError(f"{file}: cannot be written: {error.strerror}; use another folder for runs") from None


def _forget(root: Path) -> None:
    """Let modules below the root, and others of their names, be imported anew, and plugins be found anew: their files may have changed."""
    for folder in dropins.FOLDERS:
        for path in (root / folder).glob("*.py"):
            sys.modules.pop(f"{dropins.__name__}.{folder}.{path.stem}", None)
    for name, module in list(sys.modules.items()):
        if name.startswith(f"{dropins.__name__}.") and Path(getattr(module, "__file__", None) or "/").is_relative_to(root):
            del sys.modules[name]
    importlib.invalidate_caches()
    discover.cache_clear()


def _check_found(name: str, file: Path) -> None:
    """Raises SuiteError where the variant of that name is not the file's."""
    registry = discover()
    provided = {known.casefold(): provided for known, provided in registry.variants.items()}.get(name.casefold())
    if provided is not None and provided.path != file:
        raise SuiteError(f"variant '{name}': {provided.source} provides one of that name; give yours another")
    for broken in registry.broken:
        if broken.source == str(file):
            raise SuiteError(f"variant '{name}', as it was written to {file}: {broken.reason}")


@dataclass(frozen=True)
class _Definition:
    """A class or function at the top of a module: its text, what its names mean there, and whether annotations are not evaluated."""

    text: str
    meanings: Mapping[str, Any]
    postponed: bool


@dataclass(frozen=True)
class _Statement:
    """A statement of the file that gives a name its meaning, and the names that it needs when it is run."""

    name: str
    text: str
    needed: frozenset[str] = frozenset()


class _File:
    """Gathers what a variant needs: imports, and statements."""

    def __init__(self, variant: str) -> None:
        self._variant = variant
        self._named: dict[str, Any] = {}
        self.imports: set[str] = set()
        self.postponed = False
        self._statements: list[_Statement] = []

    def definitions(self) -> Iterator[str]:
        """The statements in an order in which they can be run."""
        waiting = list(self._statements)
        while waiting:
            absent = {statement.name for statement in waiting}
            statement = next((each for each in waiting if not (each.needed - {each.name}) & absent), waiting[0])
            waiting.remove(statement)
            yield statement.text

    def expression(self, field: str, value: Any) -> str:
        """A field of the variant as it stands in the file.

        Raises SuiteError where it cannot stand in one.
        """
        if isinstance(value, PLAIN):
            return repr(value)
        if not isinstance(value, type | FunctionType) or not value.__name__.isidentifier():
            what = "a lambda" if isinstance(value, FunctionType) else f"a {type(value).__name__}"
            raise self._refusal(f"its {field} is {what}, which has no name in a file; use a class or a function with a name")
        self._take(value.__name__, value)
        return value.__name__

    def _refusal(self, why: str) -> SuiteError:
        return SuiteError(f"variant '{self._variant}' cannot be taken to the processes that train: {why}, {CURE}")

    def _take(self, name: str, value: Any) -> None:
        """Let the file give a name the meaning that it has where the variant was defined."""
        if name in self._named:
            if self._named[name] is not value and not (_literal(value) and self._named[name] == value):
                raise self._refusal(f"'{name}' means two things in the modules that it is from; rename one of them")
            return
        self._named[name] = value
        if _literal(value):
            self._statements.append(_Statement(name, f"{name} = {value!r}"))
        elif isinstance(value, ModuleType):
            self._take_module(name, value)
        elif isinstance(value, type | FunctionType) and not _installed(value.__module__):
            self._define(value) if name == value.__name__ else self._take_alias(name, value)
        elif line := _imported(name, value):
            self.imports.add(line)
        else:
            raise self._refusal(f"it uses '{name}', a {type(value).__name__}; make that a number, a word, or an option of build")

    def _take_module(self, name: str, module: ModuleType) -> None:
        if not _installed(module.__name__):
            raise self._refusal(
                f"it uses the module '{module.__name__}', which no package installs; import from it the classes and functions themselves"
            )
        self.imports.add(f"import {module.__name__}" if name == module.__name__ else f"import {module.__name__} as {name}")

    def _take_alias(self, name: str, value: type | FunctionType) -> None:
        self._take(value.__name__, value)
        self._statements.append(_Statement(name, f"{name} = {value.__name__}", frozenset({value.__name__})))

    def _define(self, value: type | FunctionType) -> None:
        """Enter the text of a class or function, after what it needs."""
        definition = self._definition(value)
        self.postponed |= definition.postponed
        read = dict(sorted(_read(definition.text)))
        for other in read:
            if other in definition.meanings and other != value.__name__ and not other.startswith("__"):
                self._take(other, definition.meanings[other])
        needed = frozenset(other for other, at_once in read.items() if at_once)
        self._statements.append(_Statement(value.__name__, definition.text, needed))

    def _definition(self, value: type | FunctionType) -> _Definition:
        """Raises SuiteError for what does not stand at the top of a module or a cell, and where its source is not known."""
        if value.__qualname__ != value.__name__:
            raise self._refusal(f"'{value.__qualname__}' is defined inside another; define it at the top of a module or cell")
        for function in _functions(value):
            code: CodeType = function.__code__
            linecache.checkcache(code.co_filename)
            lines = linecache.getlines(code.co_filename, function.__globals__)
            if text := _statement("".join(lines), value.__name__, code.co_firstlineno):
                postponed = bool(code.co_flags & __future__.annotations.compiler_flag)
                return _Definition(text, function.__globals__, postponed)
        if isinstance(value, type) and not any(_functions(value)):
            raise self._refusal(f"the source of '{value.__name__}' is found by its functions, and it has none of its own; give it one")
        raise self._refusal(f"the source of '{value.__name__}' is not known; define it in a notebook's cell or a script")


def _functions(value: type | FunctionType) -> Iterator[FunctionType]:
    """The function itself, undecorated, or those that a class defines."""
    members = vars(value).values() if isinstance(value, type) else [value]
    for member in members:
        function = (
            inspect.unwrap(getattr(member, "__func__", None) or getattr(member, "fget", None) or member) if member is not None else None
        )
        if isinstance(function, FunctionType) and function.__module__ == value.__module__:
            yield function


def _statement(text: str, name: str, line: int) -> str:
    """The statement that defines a name and has this line in it, with its decorators; empty where there is none."""
    try:
        tree = ast.parse(text)
    except SyntaxError:  # the file was edited since
        return ""
    for node in ast.walk(tree):
        if isinstance(node, ast.ClassDef | ast.FunctionDef) and node.name == name:
            first = min([node.lineno, *(decorator.lineno for decorator in node.decorator_list)])
            if first <= line <= (node.end_lineno or first):
                return textwrap.dedent("\n".join(text.splitlines()[first - 1 : node.end_lineno]))
    return ""


def _read(text: str) -> set[tuple[str, bool]]:
    """The names that a statement takes from its module, and whether it does when it is run, and not when what it defines is called.

    Where it does both, the last of the two in order is that it does when it is run.
    """

    def within(table: symtable.SymbolTable, at_once: bool) -> Iterator[tuple[str, bool]]:
        outermost = table.get_type() == "module"
        for symbol in table.get_symbols():
            if symbol.is_referenced() and (not symbol.is_assigned() if outermost else symbol.is_global()):
                yield symbol.get_name(), at_once
        for inner in table.get_children():
            yield from within(inner, at_once and inner.get_type() == "class")

    return set(within(symtable.symtable(text, "<variant>", "exec"), True))


def _literal(value: Any) -> bool:
    """Whether a value is plain data that Python's own notation gives back."""
    if isinstance(value, float):
        return value - value == 0
    if isinstance(value, tuple | list):
        return type(value) in (tuple, list) and all(map(_literal, value))
    if type(value) is dict:
        return all(_literal(key) and _literal(entry) for key, entry in value.items())
    return type(value) in PLAIN


@functools.cache
def _packages() -> Mapping[str, Sequence[str]]:
    return importlib.metadata.packages_distributions()


def _installed(module: str | None) -> bool:
    """Whether a module is Python's, the suite's or an installed package's, so that a file may import it."""
    top = (module or "__main__").partition(".")[0]
    return top != "__main__" and (top in sys.stdlib_module_names or top == SUITE or top in _packages())


def _imported(name: str, value: Any) -> str:
    """The line that imports a value under a name, from its own module or else from the one nearest to the top; empty where none has it."""
    own = getattr(value, "__module__", None)
    order: Callable[[str], Any] = lambda module: (module != own, "._" in f".{module}", module.count("."), module)  # noqa: E731
    modules = [(module, vars(content)) for module, content in list(sys.modules.items()) if isinstance(content, ModuleType)]
    for known in dict.fromkeys((name, getattr(value, "__name__", name))):
        if homes := [module for module, names in modules if names.get(known) is value and _installed(module)]:
            return f"from {min(homes, key=order)} import {known}" + (f" as {name}" if known != name else "")
    return ""
