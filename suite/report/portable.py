"""Takes out of texts what differs between machines and runs, so that a report has the same bytes everywhere."""

from __future__ import annotations

import re
from pathlib import Path

from ..spec import Broken

FOLDERS = re.compile(r"""(?<=File ")/[^"\n]*/(?=[^/"\n]+/[^/"\n]+")|(?<=\()/[^()\n]*/(?=[^/()\n]+/[^/()\n]+\.\w+\))""")
"""The leading folders of a file's path, in a traceback or between brackets as in the message of an ImportError."""

ADDRESS = re.compile(r"\b0x[0-9a-f]{6,}\b")


def portable(text: str) -> str:
    """The text with paths cut to their last two parts, and without memory addresses."""
    return ADDRESS.sub("0x…", FOLDERS.sub("", text))


def portable_place(source: str) -> str:
    """Where a plugin is from, a file that lies in no root of drop-ins by its last two parts."""
    return "/".join(Path(source).parts[-2:]) if Path(source).is_absolute() else source


def portable_plugin(broken: Broken) -> Broken:
    """The broken plugin with texts that are portable."""
    return Broken(portable(broken.source), portable(broken.reason), portable(broken.traceback))
