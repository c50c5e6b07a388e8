"""Makes the journal of a run that nobody ran, from given paces, with a clock that nothing moves but the simulation."""

from __future__ import annotations

import heapq
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import count, product

from .replay import Line

RATES = (0.003, 0.01)


@dataclass(frozen=True)
class Machine:
    """How long everything takes, in seconds.

    step: of training for each member and step of the sequence, by variant; fixed: the steps of a sequence that the rest of it takes as long as
    compiling: before a variant's first population trains; testing: a population's evaluations, for each member and step of the sequence
    shape: the timings of a shape; report: the report
    """

    step: Mapping[str, float]
    fixed: float = 10.0
    start: float = 4.0
    compiling: float = 5.0
    testing: float = 0.005
    shape: float = 2.0
    report: float = 7.0


def journal(
    machine: Machine, lengths: tuple[int, ...], seeds: int, steps: int, validate_every: int, workers: int, shapes: int
) -> list[Line]:
    """The lines of a run: each variant at each length as one population of so many seeds and two rates, the longest first."""
    groups = [
        [
            {
                "key": f"{variant} {length} {seed} {rate}",
                "variant": variant,
                "task": "adding",
                "length": length,
                "seed": seed,
                "learning_rate": rate,
            }
            for rate, seed in product(RATES, range(seeds))
        ]
        for length, variant in product(sorted(lengths, reverse=True), machine.step)
    ]
    keys = [[trial["key"] for trial in group] for group in groups]
    lines = [
        {"time": 0.0, "what": "plan_started"},
        {"time": 0.1, "what": "scheduled", "workers": workers, "populations": keys, "timings": 0},
    ]
    free, number, compiled = [(machine.start, worker) for worker in range(workers)], count(), set()
    ends = []
    for group in groups:
        begin, worker = heapq.heappop(free)
        heavy = group[0]["variant"] not in compiled
        compiled.add(group[0]["variant"])
        told = list(_population(machine, group, begin, machine.compiling if heavy else 0.2, steps, validate_every))
        lines += told
        ends.append(told[-1]["time"])
        heapq.heappush(free, (told[-1]["time"], worker))
    lines += _rest(machine, max(ends), shapes)
    return sorted(lines, key=lambda line: (line["time"], next(number)))


def _population(machine: Machine, group: list[Line], begin: float, before: float, steps: int, validate_every: int) -> list[Line]:
    members, length = len(group), group[0]["length"]
    step = machine.step[group[0]["variant"]] * members * (machine.fixed + length)
    lines = [{"time": begin, "what": "trial_started", **trial, "steps": steps} for trial in group]
    for at in range(validate_every, steps + 1, validate_every):
        lines += [{"time": begin + before + at * step, "what": "validated", **trial, "step": at} for trial in group]
    end = begin + before + steps * step + machine.testing * members * (machine.fixed + length)
    ended = {"what": "trial_finished", "status": "ok", "members": members, "train_seconds": steps * step / members}
    return [*lines, *({"time": end, **ended, **trial} for trial in group)]


def _rest(machine: Machine, now: float, shapes: int) -> list[Line]:
    lines: list[Line] = []
    if shapes:
        lines.append({"time": now, "what": "timing_started", "count": shapes * len(machine.step)})
    for shape in range(shapes):
        now += machine.shape + (machine.start if shape == 0 else 0.0)
        for variant in machine.step:
            place = {"key": f"{shape} {variant}", "variant": variant, "engine": "derived", "shape": f"T={20 * (shape + 1)}, B=32, H=24"}
            lines.append({"time": now, "what": "timed", **place})
    return [*lines, {"time": now + machine.report, "what": "report_written"}]
