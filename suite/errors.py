"""Defines the errors that users see, keeps what a plugin raises, and finds the word that was meant."""

from __future__ import annotations

import contextlib
import difflib
import traceback
from collections.abc import Iterable, Iterator


class SuiteError(Exception):
    """A mistake its author can mend; the message names the file or field and the fix."""


class Unavailable(SuiteError):
    """Raised by a plugin that has nothing to offer on this machine; it is then left out without complaint."""


class Raised:
    """What the code inside ``contained`` raised: false where it raised nothing."""

    def __init__(self) -> None:
        self.error: BaseException | None = None
        self.traceback = ""

    def __bool__(self) -> bool:
        return self.error is not None

    @property
    def reason(self) -> str:
        """The message of a SuiteError as it stands; for any other exception its type and message, in one line."""
        if isinstance(self.error, SuiteError):
            return writable(str(self.error))
        return writable(" ".join(f"{type(self.error).__name__}: {self.error}".split())) if self.error is not None else ""


@contextlib.contextmanager
def contained() -> Iterator[Raised]:
    """Run a plugin's code, and keep whatever it raises (SystemExit too) instead of passing it on.

    Only an interrupt passes through: it is the user's and not the plugin's.
    """
    raised = Raised()
    try:
        yield raised
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        raised.error, raised.traceback = error, writable(traceback.format_exc())


def writable(text: str) -> str:
    """The text with escapes for what no file can hold, such as half of a surrogate pair; a plugin may say anything."""
    return text.encode(errors="backslashreplace").decode()


def nearest(word: str, words: Iterable[str]) -> str:
    """``; did you mean 'x'?`` where a known word is near, else the known words."""
    known = sorted(words)
    by_case = {name.casefold(): name for name in known}
    close = difflib.get_close_matches(word.casefold(), by_case, n=1, cutoff=0.6)
    return f"; did you mean '{by_case[close[0]]}'?" if close else f"; there is {', '.join(known)}" if known else ""
