"""Digests plain data, so that equal work has equal keys."""

from __future__ import annotations

import hashlib
import json
from typing import Any


def digest(value: Any, length: int = 20) -> str:
    """A content digest of plain data, as hexadecimal digits."""
    return hashlib.sha256(json.dumps(value, sort_keys=True, allow_nan=False).encode()).hexdigest()[:length]
