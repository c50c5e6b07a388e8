"""Measures planning, `suite status`, a run with nothing to do, reports, and the scheduling of calls, by how many trials there are, which nobody trains."""

from __future__ import annotations

import math
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections import deque
from collections.abc import Sequence
from concurrent.futures import Future
from itertools import islice
from pathlib import Path

import numpy as np

from suite import Point, api, settled
from suite.check import imagined
from suite.execution.executor import POLL_SECONDS, answer
from suite.execution.local import LocalPool
from suite.execution.run import WATCHED
from suite.ops.engines import REFERENCE
from suite.plan import schema
from suite.report import inputs, telling
from suite.spec import Grade
from suite.store.ledger import entered
from suite.trial import Learning, Outcome, Trial, Validation

COUNTS = (100, 1000, 10_000)
ROUNDS = 3
FORGOTTEN = "the same, not remembered"
"""A run that must look for itself, as after an edit that changes no result."""

VARIANTS = ("rnn", "lstm", "gru", "attention", "layernorm", "residual", "refined", "bilstm")

PLAN = """
name = "many"
variants = ["lstm"]
tasks = [{{ name = "adding", lengths = [4] }}]
seeds = {seeds}
[matching]
hidden_size = 4
[training]
learning_rates = [0.01]
steps = 40
validate_every = 10
[evaluations]
lengths = [2]
corruptions = ["gaussian_noise"]
"""


def outcome_of(trial: Trial) -> Outcome:
    """What such a trial could have come to: four validations, and an answer at each point of each evaluation."""
    loss = 0.1 + trial.seed * 1e-6
    curve = tuple(Validation(step, {"loss": loss, "train_loss": loss, "within": 0.5}) for step in (10, 20, 30, 40))
    points = {asked.key: tuple(Point(at, 4, {"loss": loss, "within": 0.5}, 1 / 6, False) for at in asked.at) for asked in trial.evaluations}
    learning = Learning("loss < 0.01", 1 / 6, curve, 40)
    return Outcome(trial.key, "ok", learning=learning, evaluations=points, train_seconds=0.5, compile_seconds=0.0, members=2)


def fill(folder: Path, count: int) -> Path:
    """A plan of so many trials, and a store as if it had run, with a report that is only said to be up to date; the plan's file."""
    plan = folder / "many.toml"
    plan.write_text(PLAN.format(seeds=list(range(count))))
    work = api.prepare(schema.load(str(plan)), folder / "runs", "cpu", schema.Request(str(plan)))
    for trial in work.trials:
        work.store.put(trial, outcome_of(trial), work.machine)
    for grading in work.gradings:
        work.store.put_grade(grading, Grade(True, True))
    work.store.keep(entered(None, api._entered(work)))
    work.store.report.mkdir()
    (work.store.report / "index.html").write_text("not drawn")
    made_of = inputs.gathered(work.store, work.registry, work.selection)
    (work.store.report / inputs.MANIFEST).write_bytes(inputs.manifest({"index.html": b"not drawn"}, made_of, (), {}, ()))
    (work.store.report / telling.ANSWER).write_text("[]")
    work = api.prepare(schema.load(str(plan)), folder / "runs", "cpu", schema.Request(str(plan)))
    settled.remember(work, (), "nothing to compare")
    return plan


def clocked(words: Sequence[str | Path]) -> tuple[float, float, float]:
    """Seconds that a command takes, by the wall and of its processor's time in user mode, and its peak memory in KiB."""
    begun = time.perf_counter()
    process = subprocess.Popen([sys.executable, "-m", "suite", *map(str, words)], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    assert process.stderr is not None
    errors = process.stderr.read()
    _, ended, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(ended)
    assert process.returncode == 0, errors.decode()
    return time.perf_counter() - begun, used.ru_utime, used.ru_maxrss


def store() -> None:
    """Planning, `suite status` and a run with nothing to do, by how many trials are finished: seconds, and the exponent of growth."""
    memory = Path("/dev/shm")  # so that what is measured is the suite, and not how long a disk takes to be sure of a file
    seconds: dict[str, list[tuple[float, float]]] = {}
    for count in COUNTS:
        with tempfile.TemporaryDirectory(dir=memory if memory.is_dir() else None) as place:
            begun = time.perf_counter()
            plan, runs = fill(Path(place), count), Path(place) / "runs"
            print(f"\n{count} finished trials, {2 * count} evaluations; written in {time.perf_counter() - begun:.1f} s")
            commands: dict[str, list[str | Path]] = {
                "planning alone": ["status", plan, "--device", "cpu", "--runs", Path(place) / "empty"],
                "status": ["status", plan, "--device", "cpu", "--runs", runs],
                "a run with nothing to do": ["run", plan, "--device", "cpu", "--runs", runs, "--listen", "track=false"],
                FORGOTTEN: ["run", plan, "--device", "cpu", "--runs", runs, "--listen", "track=false"],
            }
            for name, words in commands.items():
                clocks = []
                for _ in range(ROUNDS):
                    if name == FORGOTTEN:  # each time, since a run that had to look remembers
                        (runs / "many" / settled.FILE).unlink()
                    clocks.append(clocked(words))
                rounds = np.median(clocks, axis=0)
                seconds.setdefault(name, []).append((float(rounds[0]), float(rounds[1])))
                print(f"  {name:26} {rounds[0]:6.2f} s, of which user CPU {rounds[1]:6.2f}", flush=True)
    print("\n  exponent of the count, user CPU, from the last two")
    for name, measured in seconds.items():
        print(f"  {name:26} {math.log(measured[-1][1] / measured[-2][1]) / math.log(COUNTS[-1] / COUNTS[-2]):.2f}", flush=True)


def reports() -> None:
    """The report of eight variants, drawn anew, by how many trials it has: seconds, memory, and the exponent of growth."""
    times = {(name, REFERENCE.name): 1.0 + place / 10 for place, name in enumerate(VARIANTS)}
    seconds = []
    for seeds in (1, 8, 80):
        with tempfile.TemporaryDirectory() as place:
            runs, plan = Path(place), Path(place) / "synthetic.toml"
            imagined.fill(
                runs,
                variants=VARIANTS,
                lengths=(40, 80),
                seeds=seeds,
                rates=(0.003, 0.01, 0.03, 0.1),
                times=times,
                gradients=lambda lag: (0.97**lag, 0.8**lag),
            )
            plan.write_text(PLAN.format(seeds=[0]).replace("many", "synthetic"))
            wall, user, memory = clocked(["report", plan, "--all", "--runs", runs])
        seconds.append(user)
        print(f"\n{128 * seeds} trials: {wall:6.2f} s, of which user CPU {user:6.2f}; peak {memory / 1024:.0f} MiB", flush=True)
    print(f"  exponent, user CPU, from the last two {math.log(seconds[-1] / seconds[-2]) / math.log(10):.2f}", flush=True)


def scheduling() -> None:
    """Calls that do nothing, handed over and waited for as a run does it, by how many there are: seconds, and the exponent of growth."""
    seconds = []
    for count in COUNTS:
        with LocalPool(2) as pool:
            answer(pool, pool.submit(pow, 2, 2))
            begun, used = time.perf_counter(), resource.getrusage(resource.RUSAGE_SELF).ru_utime
            ended: deque[Future[int]] = deque()
            waiting = {pool.submit(pow, 2, number % 8): None for number in range(count)}
            for future in waiting:
                future.add_done_callback(ended.append)
            while waiting:
                pool.wait(list(islice(waiting, WATCHED)), POLL_SECONDS)
                pool.events()
                for _ in range(len(ended)):
                    waiting.pop(ended.popleft())
            seconds.append(resource.getrusage(resource.RUSAGE_SELF).ru_utime - used)
            print(
                f"\n{count} calls: {time.perf_counter() - begun:6.2f} s, of which user CPU of the run's process {seconds[-1]:6.2f}",
                flush=True,
            )
    print(
        f"  exponent, user CPU, from the last two {math.log(seconds[-1] / seconds[-2]) / math.log(COUNTS[-1] / COUNTS[-2]):.2f}", flush=True
    )
