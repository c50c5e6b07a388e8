"""Reads the manifest of a report, and says whether the report is whole; it imports nothing that draws."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

MANIFEST = "manifest.json"


def whole(folder: Path) -> dict[str, Any] | None:
    """The manifest of the report in a folder; None where there is none, or a file of the report is not as it was written."""
    try:
        recorded = json.loads((folder / MANIFEST).read_bytes())
        digests = {name: hashlib.sha256((folder / name).read_bytes()).hexdigest() for name in recorded["sha256"]}
        return recorded if digests == recorded["sha256"] else None
    except (OSError, ValueError, KeyError, TypeError):
        return None
