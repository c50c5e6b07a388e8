"""Writes files whole or not at all, and turns typed records into sealed JSON and back."""

from __future__ import annotations

import contextlib
import hashlib
import json
import math
import os
import re
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, TypeVar

from pydantic import TypeAdapter

from ..errors import SuiteError

Record = TypeVar("Record")

FORM = 1
"""The version of the files of a store. Raise it where an older suite would misread them; files without a form are of form 0."""

_SEAL = re.compile(rb'\{\n "form": (?P<form>\d+),\n "kind": "(?P<kind>\w+)",\n "sha256": "(?P<digest>[0-9a-f]{64})",\n')
_NULL_SCORE = re.compile(rb'"scores": \{[^}]*null')


def write(path: Path, text: str | bytes) -> None:
    """Replace a file as a whole, as `put` does.

    Raises SuiteError where the disk is full or the folder cannot be written.
    """
    try:
        put(path, text if isinstance(text, bytes) else text.encode())
    except FileNotFoundError:  # it was made a moment ago
        raise SuiteError(f"{path}: cannot be written: its folder was removed while the run was at work; run again") from None
    except OSError as error:
        raise SuiteError(f"{path}: cannot be written: {error.strerror}; finished trials are kept, run again once there is room") from None


def put(path: Path, content: bytes) -> None:
    """Replace a file as a whole: what is read there is the old content or the new, never a part.

    Raises OSError where that cannot be done; what was there before stays.
    """
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with partial.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    except OSError:
        with contextlib.suppress(OSError):  # what is left of it is a hidden file that nothing reads
            partial.unlink(missing_ok=True)
        raise


def dump(record: Any) -> str:
    """A frozen dataclass or plain data as JSON."""
    plain = asdict(record) if hasattr(record, "__dataclass_fields__") else record
    return json.dumps(finite(plain), indent=1, allow_nan=False, ensure_ascii=False) + "\n"


def finite(value: Any) -> Any:
    """The same data with null for NaN and infinity, which JSON has no words for."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {key: finite(entry) for key, entry in value.items()}
    return [finite(entry) for entry in value] if isinstance(value, list | tuple) else value


class Spoiled(SuiteError):
    """A file that was truncated, edited by hand, or holds something else than its record; the message names it and the cure."""


def seal(kind: str, record: Any) -> str:
    """A record as the text of its file, which begins with the form, the kind and a digest of all that follows."""
    body = dump(record).removeprefix("{\n")
    return f'{{\n "form": {FORM},\n "kind": "{kind}",\n "sha256": "{_digest(body.encode())}",\n{body}'


def load(path: Path | str, kind: type[Record], cure: str, sealed_as: str = "") -> Record | None:
    """The record that a file holds; None where there is no file. A file from before there were forms has no seal, and is read as it is.

    sealed_as: the kind that its seal names; empty for a file that is written without one

    Raises Spoiled, with the cure, for a file that is not as it was written, and SuiteError for one that a newer version wrote or that
    cannot be read at all.
    """
    try:
        with open(path, "rb") as file:  # a Path's own way takes twice the time, and there may be tens of thousands of files
            content = file.read()
    except (FileNotFoundError, NotADirectoryError):  # a folder that is none is told of when it is written
        return None
    except OSError as error:
        raise SuiteError(f"{path}: cannot be read: {error.strerror}; {cure}") from None
    return parse(path, content, kind, cure, sealed_as)


def parse(path: Path | str, content: bytes, kind: type[Record], cure: str, sealed_as: str = "") -> Record:
    """The record that the content of a file holds; `load` says the rest."""
    try:
        record: Record = _unsealed(path, content, _adapter(kind), sealed_as)
        return record
    except ValueError as error:
        first = str(error).strip().splitlines()[0]
        raise Spoiled(f"{path}: cannot be read, since it is truncated or was edited: {first}; {cure}") from None


def _unsealed(path: Path | str, content: bytes, adapter: TypeAdapter[Record], sealed_as: str) -> Record:
    """The record of a file's content.

    Raises ValueError where the content is not what the seal says, and SuiteError where its form is newer than the suite.
    """
    head = _SEAL.match(content)
    if head is None:  # an older file, or one that is not laid out as it was written
        plain = json.loads(content, object_hook=_scores)
        if not isinstance(plain, dict):
            raise ValueError("it is no record")
        _check_form(path, plain.get("form", 0))
        if plain.keys() & {"form", "kind", "sha256"}:
            raise ValueError("it is laid out in another way than it was written")
        return adapter.validate_python(plain)
    _check_form(path, int(head["form"]))
    if int(head["form"]) < 1 or head["kind"].decode() != sealed_as:
        raise ValueError("its first lines are not those that it was written with")
    if _digest(content[head.end() :]).encode() != head["digest"]:
        raise ValueError("its content is not what its digest says")
    if _NULL_SCORE.search(content):
        return adapter.validate_python(json.loads(content, object_hook=_scores))
    return adapter.validate_json(content)


def _check_form(path: Path | str, form: object) -> None:
    if isinstance(form, int) and form > FORM:
        raise SuiteError(
            f"{path}: is of form {form}, which a newer version of the suite wrote, and this one reads forms up to {FORM}; "
            "upgrade the suite (pip install --upgrade recurrent-suite), or use --runs with another folder"
        )


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


_ADAPTERS: dict[type[Any], TypeAdapter[Any]] = {}


def _adapter(kind: type[Any]) -> TypeAdapter[Any]:
    """What reads a kind of record, made when it is first needed."""
    if kind not in _ADAPTERS:
        _ADAPTERS[kind] = TypeAdapter(kind)
    return _ADAPTERS[kind]


def _scores(record: dict[str, Any]) -> dict[str, Any]:
    """A score that was not finite was written as null."""
    scores = record.get("scores")
    if isinstance(scores, dict):
        record["scores"] = {name: math.nan if value is None else value for name, value in scores.items()}
    return record
