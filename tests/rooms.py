"""Knows the order of the suite's rooms: its folders, and the few files beside them."""

from __future__ import annotations

from pathlib import Path

SUITE = Path(__file__).resolve().parents[1] / "suite"

ORDER = (
    "__main__", "cli", "status", "estimate", "api", "check", "execution", "report", "listeners", "store", "plan", "measures",
    "training", "registry", "trial", "machine", "ops", "spec", "errors", "keys", "dropins",
)  # fmt: skip
"""A room imports only from those that stand behind it here."""


def room_of(file: Path) -> str:
    """The folder of a module of the suite, or its own name where it stands beside the folders."""
    return file.relative_to(SUITE).parts[0].removesuffix(".py")
