"""Kills a run again and again, lets it finish, and compares it with one that nobody disturbed: `make validate`.

In turn a worker, the run itself, and its whole process group are killed at random moments, all by SIGKILL.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

INTERVAL = 0.3
"""Seconds between two checkpoints."""

LONGEST_LOSS = 5.0
"""A kill may cost the interval and a step; on a busy machine, and where writing is slow, more, but never so much."""

COUNTED = """
import os, sys, time
from torch import nn
from suite import Variant, hookimpl, ops
from suite.training import trainer

LAST = []


def count():
    # Log the step of the training that this forward belongs to, with the keys of its trials.
    frame = sys._getframe(1)
    while frame is not None and frame.f_code is not trainer.learn.__code__:
        frame = frame.f_back
    if frame is not None and frame.f_locals["task"].name == "adding":
        moment = frame.f_locals["step"], [trial.key for trial in frame.f_locals["trials"]]
        if moment not in LAST:
            LAST[:] = [moment]
            with open(os.environ["KILLS_LOG"], "a") as log:
                log.write(f"{time.monotonic()} {moment[0]} {os.getpid()} {','.join(moment[1])}\\n")
            time.sleep(0.003)  # so that on no machine the run is over before it is killed


class Scanned(nn.Module):
    def __init__(self, input_size, hidden_size):
        super().__init__()
        self.of_input, self.of_state = nn.Linear(input_size, hidden_size), nn.Linear(hidden_size, hidden_size)
        self.hidden_size = hidden_size

    def step(self, x_t, h):
        h = (self.of_input(x_t) + self.of_state(h)).tanh()
        return h, h

    def forward(self, x):
        if self.training:
            count()
        return ops.scan(self.step, x, x.new_zeros(len(x), self.hidden_size))


class Dropping(nn.Module):
    def __init__(self, input_size, hidden_size):
        super().__init__()
        self.gru = nn.GRU(input_size, hidden_size, batch_first=True)

    def forward(self, x):
        if self.training:
            count()
        return nn.functional.dropout(self.gru(x)[0], 0.2, self.training)


@hookimpl
def suite_variants():
    yield Variant("scanned", Scanned)
    yield Variant("dropping", Dropping)
"""

PLAN = """
name = "kills"
variants = ["scanned", "dropping"]
tasks = [{{ name = "adding", lengths = {lengths} }}]
seeds = [0, 1]
[matching]
rule = "hidden_size"
hidden_size = 8
[training]
learning_rates = [0.01, 0.003]
batch_size = 8
steps = {steps}
validate_every = 100
evaluation_samples = 64
engine = "{engine}"
[evaluations]
samples = 128
lengths = [2]
corruptions = ["gaussian_noise"]
"""


@dataclass(frozen=True)
class Campaign:
    """So many kills, by kinds in turn, of a plan with trainings of so many steps, at moments that the seed decides; `mirrors` tells MLflow."""

    seed: int
    kills: int = 30
    kinds: tuple[str, ...] = ("worker", "run", "group")
    steps: int = 3000
    lengths: tuple[int, ...] = (11, 13)
    engine: str = "derived"
    longest_wait: float = 1.5
    mirrors: bool = True


CAMPAIGNS = (Campaign(1), Campaign(2), Campaign(3), Campaign(4, engine="compiled"))


@dataclass(frozen=True)
class Step:
    """A training step that was begun: when, which one, and in which process."""

    moment: float
    number: int
    process: int


@dataclass(frozen=True)
class Results:
    """What lies in a store, and what was trained for it.

    learned: how each trial ended and what it learned; answers: the evaluations' files; trained: the steps in their order, by trial
    mirrored: how many runs in MLflow each trial has
    """

    learned: Mapping[str, str]
    answers: Mapping[str, bytes]
    trained: Mapping[str, tuple[Step, ...]]
    mirrored: Mapping[str, int]


@dataclass(frozen=True)
class Ended:
    """What came of a campaign: the kills by kind, how often the run was begun, and the steps and seconds that each kill cost a trial."""

    campaign: Campaign
    killed: Mapping[str, int]
    begun: int
    results: Results
    losses: tuple[tuple[int, float], ...]

    def faults(self, undisturbed: Results) -> Iterator[str]:
        """What is not as it would be without the kills."""
        if self.results.learned != undisturbed.learned:
            yield "what was learned differs"
        if self.results.answers != undisturbed.answers:
            yield "evaluations differ"
        if self.campaign.mirrors and self.results.mirrored != dict.fromkeys(undisturbed.learned, 1):
            yield f"MLflow has {dict(self.results.mirrored)}"
        whole = set(range(1, self.campaign.steps + 1))
        for key, steps in self.results.trained.items():
            if {step.number for step in steps} != whole:
                yield f"{key} was not trained in each step"

    @property
    def longest(self) -> float:
        """The seconds that a trial was thrown back by, at most."""
        return max((seconds for _, seconds in self.losses), default=0.0)

    def text(self, undisturbed: Results) -> str:
        trained = sum(map(len, self.results.trained.values()))
        needed = self.campaign.steps * len(self.results.trained)
        same = sum(self.results.learned.get(key) == value for key, value in undisturbed.learned.items())
        alike = sum(self.results.answers.get(name) == value for name, value in undisturbed.answers.items())
        once = sum(count == 1 for count in self.results.mirrored.values())
        most = max((steps for steps, _ in self.losses), default=0)
        lines = [
            f"seed {self.campaign.seed}: killed {', '.join(f'{count} × {kind}' for kind, count in self.killed.items())}, begun {self.begun} times",
            f"  same bits: {same} of {len(undisturbed.learned)} trials, {alike} of {len(undisturbed.answers)} evaluations",
            f"  steps trained: {trained:,} for {needed:,}, so {(trained - needed) / needed:.1%} of them again",
            f"  a trial went back {len(self.losses)} times, {most} steps and {self.longest:.2f} s at most, with a checkpoint every {INTERVAL:g} s",
        ]
        if self.campaign.mirrors:
            lines.append(
                f"  in MLflow exactly once: {once} of {len(undisturbed.learned)} trials, {sum(self.results.mirrored.values())} runs"
            )
        return "\n".join([*lines, *(f"  FAULT: {fault}" for fault in self.faults(undisturbed))])


class Place:
    """A folder with the plan, its drop-ins, and one store."""

    def __init__(self, folder: Path, campaign: Campaign) -> None:
        self.folder, self._campaign = folder, campaign
        (folder / "more" / "plugins").mkdir(parents=True)
        (folder / "more" / "plugins" / "counted.py").write_text(COUNTED)
        text = PLAN.format(lengths=list(campaign.lengths), steps=campaign.steps, engine=campaign.engine)
        (folder / "kills.toml").write_text(text)
        self.log = folder / "log"
        self.log.touch()

    def begin(self) -> subprocess.Popen[bytes]:
        words = ["--workers", "2", "--checkpoint", str(INTERVAL), "--retries", "100", "--device", "cpu"]
        words += ["--listen", f"track={str(self._campaign.mirrors).lower()}"]
        kept = {name: value for name, value in os.environ.items() if name != "MLFLOW_TRACKING_URI"}
        surroundings = {**kept, "SUITE_PATH": str(self.folder / "more"), "KILLS_LOG": str(self.log)}
        with (self.folder / "output").open("ab") as output:
            command = [sys.executable, "-m", "suite", "run", "kills.toml", *words]
            return subprocess.Popen(
                command, cwd=self.folder, env=surroundings, stdout=output, stderr=subprocess.STDOUT, start_new_session=True
            )

    def results(self) -> Results:
        store = self.folder / "runs" / "kills"
        trained = defaultdict(list)
        for line in self.log.read_text().splitlines():
            moment, number, process, keys = line.split()
            for key in keys.split(","):
                trained[key].append(Step(float(moment), int(number), int(process)))
        trials = {path.stem: json.loads(path.read_text()) for path in (store / "trials").glob("*.json")}
        return Results(
            learned={key: json.dumps([trial["status"], trial["learning"]]) for key, trial in trials.items()},
            answers={path.name: path.read_bytes() for path in (store / "evaluations").glob("*.json")},
            trained={key: tuple(steps) for key, steps in trained.items()},
            mirrored=_mirrored(self.folder / "runs" / "mlflow.db"),
        )


def _mirrored(file: Path) -> Mapping[str, int]:
    """How many runs of MLflow show each trial."""
    if not file.is_file():
        return {}
    with contextlib.closing(sqlite3.connect(f"{file.as_uri()}?mode=ro", uri=True)) as connection:
        query = "SELECT value FROM tags JOIN runs USING (run_uuid) WHERE key = 'suite.trial_key' AND lifecycle_stage = 'active'"
        return Counter(key for (key,) in connection.execute(query))


def losses(trained: Mapping[str, tuple[Step, ...]]) -> Iterator[tuple[int, float]]:
    """The steps, and the seconds, that trials were thrown back by."""
    for steps in trained.values():
        before, began = steps[0], steps[0].moment
        reached = {0: began, before.number: began}
        for step in steps[1:]:
            if step.number <= before.number:
                yield before.number - step.number + 1, before.moment - max(began, reached[step.number - 1])
            if step.process != before.process:
                began = step.moment
            reached[step.number], before = step.moment, step


def undisturbed(campaign: Campaign, folder: Path) -> Results:
    """What the plan comes to when nobody kills it.

    Raises RuntimeError where it does not end well.
    """
    place = Place(folder, campaign)
    _finish(place.begin(), folder)
    return place.results()


def carry_out(campaign: Campaign, folder: Path) -> Ended:
    """Kill so often, then let the run finish.

    Raises RuntimeError where the run ends by itself before all kills are done, or does not end well.
    """
    place, rng = Place(folder, campaign), random.Random(campaign.seed)
    process, begun, killed = place.begin(), 1, Counter[str]()
    for number in range(campaign.kills):
        kind = campaign.kinds[number % len(campaign.kinds)]
        if number % 5 or kind == "worker":  # else at any moment, while it starts as well
            _wait_for_a_step(process, place, folder)
        time.sleep(rng.uniform(0, campaign.longest_wait))
        if not kill(process, kind, rng):
            raise RuntimeError(f"{folder}: the run was over after {number} kills; give it more steps")
        killed[kind] += 1
        if kind != "worker":
            process, begun = place.begin(), begun + 1
    _finish(process, folder)
    results = place.results()
    return Ended(campaign, killed, begun, results, tuple(losses(results.trained)))


def _wait_for_a_step(process: subprocess.Popen[bytes], place: Place, folder: Path) -> None:
    size = place.log.stat().st_size
    while place.log.stat().st_size == size:
        if process.poll() is not None:
            raise RuntimeError(f"{folder}: the run ended early; see {folder / 'output'}")
        time.sleep(0.01)


def kill(process: subprocess.Popen[bytes], kind: str, rng: random.Random) -> bool:
    """Kill a worker, the run, or its group, and wait until all that it had begun is gone; whether there was something to kill."""
    from suite.execution import processes

    while not (workers := [pid for pid in processes.descendants(process.pid) if _is_worker(pid)]) and kind == "worker":
        if process.poll() is not None:
            return False
        time.sleep(0.01)
    if process.poll() is not None:
        return False
    below = processes.descendants(process.pid)
    if kind == "worker":
        os.kill(rng.choice(workers), signal.SIGKILL)
        return True
    if kind == "run":
        process.kill()
    else:
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    while any(map(processes.alive, below)):
        time.sleep(0.01)
    return True


def _is_worker(pid: int) -> bool:
    """Whether a process leads a session and was begun by one that does too: a worker under its warden."""
    with contextlib.suppress(OSError):
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return os.getsid(pid) == pid and os.getsid(int(fields[1])) == int(fields[1])
    return False


def _finish(process: subprocess.Popen[bytes], folder: Path) -> None:
    if process.wait():
        raise RuntimeError(f"{folder}: the run ended with {process.returncode}:\n{(folder / 'output').read_text()[-2000:]}")


def main() -> int:
    chosen = {int(seed) for seed in sys.argv[1:]} or {campaign.seed for campaign in CAMPAIGNS}
    plain: dict[str, Results] = {}
    faulty = 0
    with tempfile.TemporaryDirectory(prefix="suite-kills-") as folder:
        for campaign in (campaign for campaign in CAMPAIGNS if campaign.seed in chosen):
            engine = campaign.engine
            if engine not in plain:
                plain[engine] = undisturbed(campaign, Path(folder) / engine)
            start = time.monotonic()
            ended = carry_out(campaign, Path(folder) / str(campaign.seed))
            print(f"{engine}, {ended.text(plain[engine])}\n  ({time.monotonic() - start:.0f} s)", flush=True)
            faulty += any(True for _ in ended.faults(plain[engine])) or ended.longest > LONGEST_LOSS
    return int(faulty > 0)


if __name__ == "__main__":
    sys.exit(main())
