"""Waits with all libraries imported, and becomes `python -m suite` in a copy of itself whenever a test asks for a command."""

from __future__ import annotations

import gc
import importlib
import json
import os
import random
import runpy
import sys
import time
import warnings
from typing import Any

LIBRARIES = ("torch", "numpy", "scipy.stats", "pandas", "pydantic", "typer", "rich.console", "pluggy", "jinja2", "filelock")
"""What commands import and what takes long; of the suite itself nothing, which reads its surroundings when it is imported."""


def main() -> None:
    """Answer each order, a line of JSON, with the number of the copy's process, and how that ended."""
    for library in LIBRARIES:
        importlib.import_module(library)
    gc.freeze()
    while line := sys.stdin.readline():
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # of the threads of NumPy's library, which copes with copies
            copy = os.fork()
        if not copy:
            become(**json.loads(line))
            return
        say(copy)
        say(os.waitstatus_to_exitcode(os.waitpid(copy, 0)[1]))


def say(number: int) -> None:
    sys.stdout.write(f"{number}\n")
    sys.stdout.flush()


def become(words: list[str], cwd: str, environment: dict[str, str], output: str, errors: str) -> None:
    """Be the command, as a process that had begun with it would."""
    random.seed()
    sys.modules["numpy"].random.seed()
    os.chdir(cwd)
    os.environ.clear()
    os.environ.update(environment)
    time.tzset()
    for number, path, flags in ((0, os.devnull, os.O_RDONLY), (1, output, os.O_WRONLY), (2, errors, os.O_WRONLY)):
        opened = os.open(path, flags)
        os.dup2(opened, number)
        os.close(opened)
    streams: list[Any] = [os.fdopen(number, mode, closefd=False) for number, mode in ((0, "r"), (1, "w"), (2, "w"))]
    sys.stdin, sys.stdout, sys.stderr = streams
    sys.stderr.reconfigure(line_buffering=True, errors="backslashreplace")
    sys.path[0] = cwd
    sys.argv = ["suite", *words]
    runpy.run_module("suite", run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
