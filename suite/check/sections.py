"""Checks report sections: they can be drawn whatever the results are, and give the same bytes each time."""

from __future__ import annotations

import copy
import functools
import re
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

from ..ops.engines import REFERENCE, VENDOR
from ..registry.finder import discover
from ..registry.registry import Provided
from ..report import figures, page
from ..spec import Results, Section
from ..store import frame
from . import imagined
from .contract import Failed, Subject, check, require

TIMES = {("lstm", REFERENCE.name): 2.0, ("gru", REFERENCE.name): 1.0, ("bilstm", REFERENCE.name): 0.5, ("lstm", VENDOR.name): 1.0}
ENDINGS = (0.95, imagined.FAILED, 0.5, None, imagined.MISSING)
"""Every way in which a trial can end, as ``imagined.fill`` takes it."""

SETTINGS: dict[str, dict[str, Any]] = {
    "empty": {"skill": lambda *_: imagined.MISSING},
    "one trial": {"variants": ["gru"], "tasks": ["adding"], "lengths": [10], "seeds": 1},
    "all failed": {"skill": lambda *_: imagined.FAILED},
    "mixed": {
        "skill": lambda variant, task, length, seed: ENDINGS[(len(variant) + len(task) + length + seed) % len(ENDINGS)],
        "seeds": 3,
        "rates": [0.01, 0.1],
        "times": TIMES,
    },
    "many": {
        "variants": ["lstm", "bilstm", *(("attention", {"depth": depth}) for depth in range(10))],
        "lengths": [10, 1000],
        "seeds": 3,
        "times": TIMES,
    },
}


@functools.cache
def imagine(kind: str) -> Results:
    """Results as a report hands them to sections."""
    with tempfile.TemporaryDirectory(prefix="suite-check-") as folder:
        store = imagined.fill(Path(folder), **SETTINGS[kind])
        return page.presentable(frame.read(store), discover())


def fresh(kind: str) -> Results:
    """Results that a section may spoil without harm to others."""
    results = imagine(kind)
    return replace(results, frame=results.frame.copy(), trials=results.trials.copy(), provenance=copy.deepcopy(results.provenance))


def draw(subject: Subject[Section], kind: str, results: Results | None = None) -> page.Drawn:
    """The section as the report draws it.

    Raises Failed where it raised, or yielded what is no element.
    """
    with figures.theme():
        drawn = page.draw(Provided(subject.noun, str(subject.path or ""), subject.path, {}), results or fresh(kind))
    if drawn.error:
        lines = [
            line
            for file, line in re.findall(r'File "(.+?)", line (\d+)', drawn.traceback)
            if subject.path and Path(file).name == subject.path.name
        ]
        place = f" in line {lines[-1]} of {subject.path.name}" if lines and subject.path else ""
        raise Failed(f"with {kind} results: {drawn.error}{place}")
    return drawn


@check("Ask whether a table has rows before taking its first or its greatest; yield a Prose that says nothing is there.")
def empty(subject: Subject[Section]) -> None:
    """It can be drawn when a plan has run no trial yet."""
    draw(subject, "empty")


@check("Expect no second seed, variant or task: an interval over one seed has no width, and the baseline may not be there.")
def one_trial(subject: Subject[Section]) -> None:
    """It can be drawn with a single trial."""
    draw(subject, "one trial")


@check("Expect values that are missing: a failed trial has a row without a score, and an axis may have no row at all.")
def all_failed(subject: Subject[Section]) -> None:
    """It can be drawn when every trial failed."""
    draw(subject, "all failed")


@check("Lay figures out by how much there is to show; see figures.lines and figures.dots.")
def many(subject: Subject[Section]) -> None:
    """It can be drawn with twelve variants at four tasks and lengths."""
    draw(subject, "many")


@check("Draw from the results alone, in a fixed order: no time, no set order, no random number without a seed.")
def determinism(subject: Subject[Section]) -> None:
    """Drawn twice from trials that ended in every way, it gives the same bytes."""
    first, second = draw(subject, "mixed"), draw(subject, "mixed")
    require(str(first.elements) == str(second.elements) and first.figures == second.figures, "two drawings differ")


@check("Work on copies of results.frame and results.trials (assign, copy): other sections read the same ones.")
def input(subject: Subject[Section]) -> None:  # noqa: A001
    """The results are as they were after it has drawn."""
    results = fresh("mixed")
    draw(subject, "mixed", results)
    for name in ("frame", "trials"):
        before, after = getattr(imagine("mixed"), name), getattr(results, name)
        require(after.equals(before) and list(after.columns) == list(before.columns), f"results.{name} is changed")
