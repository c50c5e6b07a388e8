"""Stops a build of the package that would ship drop-ins which are not committed, unless it is told that they are meant."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

FOLDERS = ("plugins", "tasks", "reports")

MEANT = "SUITE_BUILD_UNCOMMITTED"


def uncommitted(root: Path) -> list[str]:
    """The files of the drop-in folders that are new or edited since the last commit; none where there is no checkout."""
    if not (root / ".git").exists():
        return []
    try:
        told = subprocess.run(
            ["git", "status", "--porcelain", "-z", "--untracked-files=all", "--no-renames", "--", *FOLDERS],
            cwd=root,
            capture_output=True,
            text=True,
            check=True,
        )
    except (OSError, subprocess.CalledProcessError) as error:
        raise SystemExit(f"{root}: git cannot say what is committed: {error}; set {MEANT}=1 to build all the same") from None
    return [entry[3:] for entry in told.stdout.split("\0") if entry]


class CustomBuildHook(BuildHookInterface[Any]):
    """Runs before each build; what is installed in place (``pip install -e``) ships nothing."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:  # noqa: ARG002
        if version == "editable" or os.environ.get(MEANT):
            return
        if files := uncommitted(Path(self.root)):
            raise SystemExit(f"{', '.join(files)}: not committed; commit or remove what is not to be shipped, or set {MEANT}=1 to ship it")
