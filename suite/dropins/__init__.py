"""Makes the drop-in folders importable as ``suite.dropins.plugins.gru`` and so on, wherever they lie."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import ModuleType

FOLDERS = ("plugins", "tasks", "reports")

_checkout = Path(__file__).resolve().parents[2]
ROOTS: tuple[Path, ...] = tuple(
    dict.fromkeys(
        root
        for root in (
            Path(__file__).resolve().parent,
            *([_checkout] if (_checkout / "pyproject.toml").is_file() else []),
            *(Path(entry).resolve() for entry in os.environ.get("SUITE_PATH", "").split(os.pathsep) if entry),
        )
        if root.is_dir()
    )
)
"""Where the three folders are looked for: the installed package, the checkout, then each folder on SUITE_PATH."""

ADDED: tuple[Path, ...] = ()
"""Those of them that a run looks in beside the others."""

FATAL: dict[str, str] = {}
"""How modules end the process that imports them, where that is known; a worker is told by the process that began it."""

# Made here and not found by the import system, so that an `__init__.py` in one root hides no other root.
for _folder in FOLDERS:
    _package = ModuleType(f"{__name__}.{_folder}")
    sys.modules[_package.__name__] = _package
    globals()[_folder] = _package


def search(roots: Sequence[Path]) -> None:
    """Let drop-ins be looked for in these roots, in this order, and in no others."""
    global ROOTS
    ROOTS = tuple(roots)
    for folder in FOLDERS:
        sys.modules[f"{__name__}.{folder}"].__path__ = [str(root / folder) for root in ROOTS if (root / folder).is_dir()]


@contextlib.contextmanager
def beside(root: Path) -> Iterator[None]:
    """While this lasts, drop-ins are looked for in one more root."""
    global ADDED
    roots, added = ROOTS, ADDED
    search((*roots, root))
    ADDED = (*added, root)
    try:
        yield
    finally:
        search(roots)
        ADDED = added


search(ROOTS)
