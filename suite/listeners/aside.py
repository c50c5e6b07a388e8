"""Does calls one after another in a thread of its own, so that who asks for them does not wait."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable

from ..errors import Raised, contained


class Aside:
    """A thread that does calls in the order in which they were asked for; what one raises is kept, and the next is done all the same.

    The thread begins with the first call. It does not keep the process alive: a call that never ends does not either.
    """

    def __init__(self, name: str) -> None:
        self.raised: list[Raised] = []
        self._name = name
        self._calls: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None
        self._given_up = False

    def do(self, call: Callable[[], None]) -> None:
        """Let a call be done when all earlier ones are."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._work, name=self._name, daemon=True)
            self._thread.start()
        self._calls.put(call)

    def wait(self, seconds: float | None = None) -> bool:
        """Wait until everything is done, for so long at most; returns whether it is."""
        if self._thread is None:
            return True
        done = threading.Event()
        self._calls.put(done.set)
        return done.wait(seconds)

    def end(self) -> None:
        """Begin no further call; the one that goes on is not waited for."""
        self._given_up = True
        self._calls.put(None)

    def _work(self) -> None:
        while (call := self._calls.get()) is not None and not self._given_up:
            with contained() as raised:
                call()
            if raised:
                self.raised.append(raised)
