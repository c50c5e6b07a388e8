"""Plays a journal of a run to what forecasts the time left, at the moments of the journal's own clock."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from suite.listeners.course import Hearing, Layout, Pace, pace_of
from suite.listeners.forecast import seconds_left
from suite.spec import Plugin
from suite.trial import Evaluation, Outcome, Rule, Shape, Timing, Training, Trial

Line = dict[str, Any]


@dataclass(frozen=True)
class Asked:
    """What a journal does not say of its plan.

    engines: by variant and length, else by variant; points: how many points its evaluations have, by axis
    shapes: what is timed, in the order of the timing, with the engines of each variant; rule: of the timing
    """

    engines: dict[str, str]
    factors: tuple[float, ...]
    severities: int
    test_samples: int
    batch_size: int
    hidden_size: int
    validate_every: int
    rule: Rule
    compiling: frozenset[str] = frozenset()


def trial_of(line: Line, asked: Asked, steps: int) -> Trial:
    """The trial that a line is about."""
    training = Training("adam", line["learning_rate"], asked.batch_size, steps, asked.validate_every, 256, 1.0, "budget", "float32")
    place = f"{line['variant']} {line['length']}"
    trial = Trial(
        variant=Plugin(line["variant"]),
        task=Plugin(line["task"]),
        length=line["length"],
        seed=line["seed"],
        eval_seed=0,
        hidden_size=asked.hidden_size,
        parameters=1000,
        budget=1000,
        causal=True,
        engine=asked.engines.get(place, asked.engines.get(line["variant"], "derived")),
        device="cpu",
        training=training,
        sources={},
        surroundings={},
        test_samples=asked.test_samples,
    )
    measures = [("long_range", asked.factors), ("robustness", tuple(map(float, range(asked.severities))))]
    evaluations = tuple(Evaluation(axis, axis, at, line["key"], {}, asked.test_samples) for axis, at in measures if at)
    return replace(trial, evaluations=evaluations)


def shape_of(text: str) -> Shape:
    """The shape that a line about a timing names."""
    fields = dict(part.strip().split("=") for part in text.removeprefix("streaming, ").split(","))
    streaming = text.startswith("streaming")
    return Shape(int(fields.get("T", 1)), int(fields.get("B", 1)), int(fields["H"]), streaming)


def timing_of(line: Line, asked: Asked) -> Timing:
    """The timing that a line is about."""
    shape = shape_of(line["shape"])
    return Timing(Plugin(line["variant"]), line["engine"], shape, 8, shape.width, 1000, asked.rule, "float32", "cpu", True, {}, {})


def lines_of(path: Path) -> list[Line]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def forecasts(
    lines: Sequence[Line], asked: Asked, moments: Sequence[float], known: Sequence[Pace] = ()
) -> Iterator[tuple[float, float | None]]:
    """For each moment, given in seconds from the first line on, the seconds that were left in truth, and those that were forecast."""
    start, end = lines[0]["time"], next(line["time"] for line in lines if line["what"] == "report_written")
    hearing = Hearing(start)
    hearing.known(known)
    trials, timings = _nouns(lines, asked)
    waiting = iter(sorted(moments))
    moment = next(waiting, None)
    for line in lines:
        while moment is not None and start + moment < line["time"]:
            now = start + moment
            if now < end:
                yield end - now, seconds_left(hearing.layout, hearing.course, now)
            moment = next(waiting, None)
        hear(hearing, line, trials, timings, asked.compiling)


def paces(lines: Sequence[Line], asked: Asked) -> list[Pace]:
    """The paces that a whole journal tells of, as the store keeps them."""
    hearing = Hearing(lines[0]["time"])
    trials, timings = _nouns(lines, asked)
    for line in lines:
        hear(hearing, line, trials, timings, asked.compiling)
    assert hearing.layout is not None
    heard = [pace_of(group, each, True) for group, each in zip(hearing.layout.populations, hearing.course.populations, strict=True)]
    return [Pace(pace.trial, pace.members, pace.step) for pace in heard]


def _nouns(lines: Sequence[Line], asked: Asked) -> tuple[dict[str, Trial], dict[str, Timing]]:
    """The trials and timings of a journal, by key."""
    begun = {line["key"]: line for line in lines if line["what"] == "trial_started"}
    trials = {key: trial_of(line, asked, line["steps"]) for key, line in begun.items()}
    return trials, {line["key"]: timing_of(line, asked) for line in lines if line["what"] == "timed"}


def hear(hearing: Hearing, line: Line, trials: dict[str, Trial], timings: dict[str, Timing], compiling: frozenset[str]) -> None:
    """Tell of what one line says."""
    now, key = line["time"], line.get("key", "")
    match line["what"]:
        case "scheduled":
            groups = tuple(tuple(trials[key] for key in population) for population in line["populations"])
            hearing.scheduled(Layout(groups, line["workers"], frozenset(), tuple(timings.values()), compiling), now)
        case "trial_started":
            hearing.started(trials[key].key, now)
        case "validated":
            hearing.validated(trials[key].key, line["step"], now)
        case "trial_finished":
            outcome = Outcome(key, line["status"], train_seconds=line["train_seconds"], members=line["members"])
            hearing.finished(trials[key].key, outcome, now)
        case "timing_started":
            hearing.timing_started(now)
        case "timed":
            hearing.timed(timings[key], now)
