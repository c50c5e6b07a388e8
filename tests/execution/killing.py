"""Trains a small plan under an executor of which something is killed in the middle, and says what was begun again and what was learned."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path

from suite import api, hookimpl
from suite.execution.run import Work
from suite.plan import schema
from suite.store import unfinished
from suite.trial import Trial

from ..running import tiny_plan

TRIALS = 4


class Killing:
    """Kills something as soon as so many trainings were kept and none is done; counts where they began."""

    def __init__(self, kept: Path, kill: Callable[[], None], enough: int = TRIALS) -> None:
        self._kept, self._kill, self._enough = kept, kill, enough
        self.killed = False
        self.begun: dict[str, list[int]] = {}
        self.finished: Counter[str] = Counter()

    @hookimpl
    def suite_trial_started(self, trial: Trial, step: int) -> None:
        self.begun.setdefault(trial.key, []).append(step)

    @hookimpl
    def suite_validated(self) -> None:
        if not self.killed and not self.finished and len(unfinished.steps(self._kept)) >= self._enough:
            self.killed = True
            self._kill()

    @hookimpl
    def suite_trial_finished(self, trial: Trial) -> None:
        self.finished[trial.key] += 1


def prepared(folder: Path, runs: str, executor: str, **changes: str) -> Work:
    """The work of a plan of one variant, one task and four seeds, unless changes of its text say otherwise."""
    longer = {"steps = 20": "steps = 800", "validate_every = 10": "validate_every = 20", "seeds = [0, 1]": "seeds = [0, 1, 2, 3]"}
    longer |= {'["lstm", "gru"]': '["gru"]', ', { name = "noisy", lengths = [6] }': ""}
    plan = schema.limited(schema.load(str(tiny_plan(folder, **{**longer, **changes}))), executor, checkpoint=0.2)
    return api.prepare(plan, folder / runs, "cpu")


def learned(work: Work) -> dict[str, object]:
    return {key: (outcome.learning, outcome.evaluations) for key, outcome in sorted(work.outcomes.items())}
