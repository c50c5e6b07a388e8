"""What a worker tells of a trial while it goes on, as a line that a pipe takes in one piece."""

from __future__ import annotations

import json
import select
from collections.abc import Mapping
from dataclasses import dataclass

from ..trial import Validation

NOTE_LENGTH = 300
"""So much of a note fits the pipe beside the rest, whatever it is written in."""


@dataclass(frozen=True)
class Event:
    """Something that happened to a trial.

    key: the trial's; validation: its scores at one step, None where it was only taken up
    cut: how many scores were left out, since they did not fit the pipe
    begun: of one that is taken up, the step of its training that it goes on after
    note: a sentence for the user, and nothing else of the trial; about: what it is of
    """

    key: str
    validation: Validation | None = None
    cut: int = 0
    begun: int = 0
    note: str = ""
    about: str = "checkpoint"

    def line(self) -> bytes:
        """The event as a line of JSON, which no other process's line can break, so that no lock is needed.

        Scores that do not fit are left out, the last ones first.
        """
        scores = dict(self.validation.scores) if self.validation else {}
        line, cut = self._json(scores, self.cut), self.cut
        while len(line) > select.PIPE_BUF and scores:
            scores.popitem()
            cut += 1
            line = self._json(scores, cut)
        return line

    def _json(self, scores: Mapping[str, float], cut: int) -> bytes:
        step = self.validation.step if self.validation else None
        return (json.dumps([self.key, step, scores, cut, self.begun, self.note[:NOTE_LENGTH], self.about]) + "\n").encode()


def event_of(line: bytes) -> Event:
    """The event that a line tells of."""
    key, step, scores, cut, begun, note, about = json.loads(line)
    return Event(key, None if step is None else Validation(step, scores), cut, begun, note, about)
