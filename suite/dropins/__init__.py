"""Makes the drop-in folders importable as ``suite.dropins.plugins.gru`` and so on, wherever they lie."""

from __future__ import annotations

import os
import sys
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

# Made here and not found by the import system, so that an `__init__.py` in one root hides no other root.
for _folder in FOLDERS:
    _package = ModuleType(f"{__name__}.{_folder}")
    _package.__path__ = [str(root / _folder) for root in ROOTS if (root / _folder).is_dir()]
    sys.modules[_package.__name__] = _package
    globals()[_folder] = _package
