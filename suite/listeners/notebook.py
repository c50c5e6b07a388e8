"""Shows a run's progress in a notebook, as one output that changes in place."""

from __future__ import annotations

import io
import sys
from collections.abc import Callable
from html import escape
from typing import Any

REFRESH_SECONDS = 0.5
"""The output changes at most so often."""

WIDTH = 110
"""Of the output, in characters."""


def in_notebook() -> bool:
    """Whether a kernel runs this, and not a terminal."""
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython is not None else None
    return getattr(shell, "kernel", None) is not None


class Output:
    """One output of a cell; `render` makes what rich shows on a terminal."""

    def __init__(self, render: Callable[[], Any], clock: Callable[[], float]) -> None:
        self._render, self._clock = render, clock
        self._handle: Any = None
        self._shown = 0.0

    def start(self) -> None:
        from IPython.display import display

        self._shown = self._clock()
        self._handle = display(self._content(), raw=True, display_id=True)

    def heard(self) -> None:
        """Show how things are now, where that was not done just before."""
        if self._handle is not None and self._clock() - self._shown >= REFRESH_SECONDS:
            self._shown = self._clock()
            self._handle.update(self._content(), raw=True)

    def stop(self) -> None:
        """Leave nothing of it."""
        if self._handle is not None:
            self._handle.update({"text/plain": "", "text/html": ""}, raw=True)
            self._handle = None

    def _content(self) -> dict[str, str]:
        from rich.console import Console

        stream = io.StringIO()
        Console(file=stream, width=WIDTH, force_terminal=False, force_jupyter=False).print(self._render())
        text = "\n".join(line.rstrip() for line in stream.getvalue().splitlines())
        return {"text/plain": text, "text/html": f"<pre>{escape(text)}</pre>"}
