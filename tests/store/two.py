"""Makes stores of one plan, as two machines would have them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from suite import Point
from suite.check.imagined import MACHINE
from suite.plan import schema
from suite.spec import Plugin
from suite.store.ledger import Entered, entered
from suite.store.store import Store
from suite.trial import Evaluation, Grading, Learning, Outcome, Rule, Shape, Timed, Timing, Trial, Validation

PLAN = schema.check(
    {
        "name": "mine",
        "variants": ["lstm", "gru"],
        "tasks": [{"name": "adding", "lengths": [6]}],
        "seeds": [0, 1, 2, 3],
        "evaluations": {"lengths": []},
    },
    "mine",
)

CODE = {"suite.dropins.plugins.gru": "1"}


def trial(tiny: Trial, seed: int = 0, sources: dict[str, str] | None = None, **changes: Any) -> Trial:
    """A trial that is asked for its length, trained by a version of the code."""
    made = replace(tiny, seed=seed, sources=sources or CODE, **changes)
    return replace(made, evaluations=(Evaluation("length", "long_range", (1.0,), made.key, {"asks": "1"}),))


def learned(of: Trial, loss: float = 0.25, **fields: Any) -> Outcome:
    learning = Learning("loss < 1", 0.5, (Validation(5, {"loss": loss}),), 5, 5)
    points = {asked.key: (Point(1.0, 6, {"loss": loss}, 0.5, True),) for asked in of.evaluations}
    whole: dict[str, Any] = {"status": "ok", "learning": learning, "evaluations": points, "train_seconds": 1.0}
    return Outcome(of.key, **{**whole, **fields})


def failed(of: Trial) -> Outcome:
    return Outcome(of.key, "failed", reason="no such luck")


def timing(cpu: str) -> Timing:
    """What is timed on a processor, which its key depends on."""
    rule = Rule(3, 9, 0.1, 1.0)
    return Timing(Plugin("lstm"), "reference", Shape(4, 2, 5), 3, 5, 9, rule, "float32", "cpu", True, {"a": "0"}, {"cpu": cpu})


def clocked(seconds: float) -> Timed:
    return Timed({"forward": (seconds,)}, {"forward": (seconds,)})


GRADING = Grading(Plugin("lstm"), 5, "cpu", {}, {})


def keep(store: Store, trials: Sequence[Trial], timings: Sequence[Timing] = (), plan: schema.Plan = PLAN) -> None:
    """Enter trials in the ledger, as the run of a plan does before it begins."""
    new = Entered(plan, schema.Request("mine.toml"), tuple(trials), tuple(timings), (), MACHINE)
    store.keep(entered(store.ledger(), new))


def filled(runs: Path, *trials: Trial) -> Store:
    """A store in which these trials are done."""
    store = Store(runs, PLAN.name)
    for each in trials:
        store.put(each, learned(each), MACHINE)
        store.checkpoint(each.key).parent.mkdir(parents=True, exist_ok=True)
        store.checkpoint(each.key).write_bytes(each.key.encode())
    keep(store, trials)
    return store


def contents(store: Store) -> dict[str, bytes]:
    """Every file of a store, the lock apart."""
    files = (file for file in store.folder.rglob("*") if file.is_file() and file.name != ".lock")
    return {str(file.relative_to(store.folder)): file.read_bytes() for file in files}


def define(store: Store, text: str = "") -> str:
    """Let the plugin that trials rest on be one that was defined in Python; the file's place in the store."""
    file = store.defined / "plugins" / "gru.py"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)
    return file.relative_to(store.folder).as_posix()
