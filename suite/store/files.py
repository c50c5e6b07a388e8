"""Writes files whole or not at all, and turns typed records into JSON and back."""

from __future__ import annotations

import contextlib
import json
import math
import os
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, TypeVar

from pydantic import TypeAdapter

from ..errors import SuiteError

Record = TypeVar("Record")


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


def load(path: Path, kind: type[Record], cure: str) -> Record | None:
    """The record that a file holds; None where there is no file.

    Raises SuiteError, with the cure, for a file that cannot be read or holds something else.
    """
    try:
        record: Record = _adapter(kind).validate_python(json.loads(path.read_bytes(), object_hook=_scores))
        return record
    except (FileNotFoundError, NotADirectoryError):  # a folder that is none is told of when it is written
        return None
    except (OSError, ValueError) as error:
        first = str(error).strip().splitlines()[0]
        raise SuiteError(f"{path}: cannot be read: {first}; {cure}") from None


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
