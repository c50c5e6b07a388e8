"""Sets what is printed: in lines that are not too wide, and with colours for the words that say how something ended."""

from __future__ import annotations

import re
import textwrap

import typer

COLUMNS = 100
"""What is written in lines is no wider."""

COLOURS = {
    "green": ("ok", "▲", "better"),
    "yellow": ("pending", "stale", "skipped", "≈", "undecided", "note"),
    "red": ("FAILED", "failed", "crashed", "oom", "timeout", "diverged", "▼", "worse"),
}
"""The words that have a colour, where one is shown."""


def painted(text: str) -> str:
    """The text with the words in colour that say how something ended."""
    for colour, words in COLOURS.items():
        pattern = "|".join(rf"(?<![\w-]){re.escape(word)}(?![\w-])" for word in words)
        text = re.sub(pattern, lambda match, colour=colour: typer.style(match[0], fg=colour), text)  # type: ignore[misc]
    return text


def wrapped(head: str, text: str) -> list[str]:
    """A text behind a head, in lines that are not too wide, those after the first under its beginning."""
    return textwrap.wrap(
        text, COLUMNS, initial_indent=head, subsequent_indent=" " * len(head), break_long_words=False, break_on_hyphens=False
    ) or [head.rstrip()]
