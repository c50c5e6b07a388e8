"""Knows where answers about plugins are kept from one process to the next, and that something came through."""

from __future__ import annotations

import contextlib
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .keys import digest


def folder(what: str) -> Path:
    """The folder of the user's cache for answers of one kind."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "recurrent-suite" / what


@dataclass(frozen=True)
class Mark:
    """Whether something has come through before.

    kind: of what; basis: plain data that everything rests on that decides it
    """

    kind: str
    basis: Any

    @property
    def _file(self) -> Path:
        return folder(self.kind) / digest(self.basis)

    def stands(self) -> bool:
        with contextlib.suppress(OSError, RuntimeError):  # a home that cannot be read, or none
            return self._file.exists()
        return False

    def take_away(self) -> None:
        with contextlib.suppress(OSError, RuntimeError):
            self._file.unlink(missing_ok=True)

    def make(self) -> None:
        with contextlib.suppress(OSError, RuntimeError):  # a home that cannot be written to, or none: it is tried again the next time
            self._file.parent.mkdir(parents=True, exist_ok=True)
            self._file.touch()
