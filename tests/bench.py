"""Measures the suite's own costs as ratios, interleaved, medians of rounds: `make bench`, or with the names of some measurements."""

from __future__ import annotations

import math
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

import suite
from suite import Variant, machine, ops
from suite.measures.scores import median_interval, time_ratio
from suite.measures.timing import Stopwatch
from suite.ops.engines import COMPILED, REFERENCE, VENDOR, Engine, timed_engines
from suite.plan import schema, trials
from suite.plan.narrowing import narrow
from suite.registry.finder import discover
from suite.spec import Task
from suite.training import data, model, trainer
from suite.training.members import Stacked
from suite.trial import Trial

from .stores import reports, scheduling, store

ROUNDS = 7
MANY_ROUNDS = 31
"""Where a few hundredths are the question."""

MEMBERS = 15

Rounds = list[dict[str, float]]


class Peephole(nn.Module):
    """LSTM whose gates see the cell (Gers & Schmidhuber, 2000): a step that the repository has no plugin of."""

    def __init__(self, input_size: int, hidden_size: int) -> None:
        super().__init__()
        self.hidden_size = hidden_size
        self.gates = nn.Linear(input_size + hidden_size, 4 * hidden_size)
        self.peep = nn.Parameter(torch.zeros(3, hidden_size))
        ops.initialise(self, hidden_size)

    def step(self, x_t: Tensor, state: tuple[Tensor, Tensor]) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        h, c = state  # (B, H), (B, H)
        i, f, g, o = self.gates(torch.cat([x_t, h], dim=1)).chunk(4, dim=1)
        c = torch.sigmoid(f + self.peep[0] * c) * c + torch.sigmoid(i + self.peep[1] * c) * torch.tanh(g)
        h = torch.sigmoid(o + self.peep[2] * c) * torch.tanh(c)
        return h, (h, c)

    def forward(self, x: Tensor) -> Tensor:  # (B, T, D) -> (B, T, H)
        zeros = x.new_zeros(len(x), self.hidden_size)
        return ops.scan(self.step, x, (zeros, zeros))


class Coupled(nn.Module):
    """A coupled gate with a squared ReLU candidate and a normalised state, as in no paper: a stranger's step."""

    def __init__(self, input_size: int, hidden_size: int) -> None:
        super().__init__()
        self.hidden_size = hidden_size
        self.of_x = nn.Linear(input_size, 2 * hidden_size)
        self.of_h = nn.Linear(hidden_size, 2 * hidden_size, bias=False)
        self.norm = nn.LayerNorm(hidden_size)
        ops.initialise(self, hidden_size)

    def step(self, x_t: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:  # (B, D), (B, H) -> (B, H), (B, H)
        gate, candidate = (self.of_x(x_t) + self.of_h(self.norm(h))).chunk(2, dim=1)
        gate = torch.sigmoid(gate)
        h = gate * h + (1 - gate) * torch.relu(candidate) ** 2
        return h, h

    def forward(self, x: Tensor) -> Tensor:  # (B, T, D) -> (B, T, H)
        return ops.scan(self.step, x, x.new_zeros(len(x), self.hidden_size))


def recurrences() -> dict[str, Variant]:
    """The recurrences that are measured: the suite's, attention's own (an LSTM inside), and two that it has no plugin of."""
    known = {name: discover().variant(name).noun for name in ("layernorm", "gru", "lstm", "attention")}
    return {**known, "peephole": Variant("peephole", Peephole), "coupled": Variant("coupled", Coupled)}


def void(call: Callable[[], object]) -> None:
    """A call whose answer nobody wants."""
    call()


def interleaved(calls: Mapping[str, Callable[[], object]], device: str = "cpu", rounds: int = ROUNDS) -> Rounds:
    """Seconds of each call in each round, which takes every call once."""
    watches = {name: Stopwatch(lambda call=call: void(call), device) for name, call in calls.items()}  # type: ignore[misc]
    return [{name: watch.seconds() for name, watch in watches.items()} for _ in range(rounds)]


def ratio(rounds: Rounds, over: Callable[[dict[str, float]], float]) -> str:
    """A ratio within rounds: its median and interval."""
    middle, low, high = median_interval([over(seconds) for seconds in rounds])
    return f"{middle:6.2f} ({low:.2f}–{high:.2f})"


def backward(forward: Callable[[Tensor], Tensor], x: Tensor) -> Callable[[], object]:
    return lambda: forward(x).mean().backward()  # type: ignore[no-untyped-call]


class Bare(nn.Module):
    """A core on an engine as a model without readout, so that what is measured is the recurrence."""

    def __init__(self, variant: Variant, core: nn.Module, engine: Engine, input_size: int) -> None:
        super().__init__()
        self.core, self.input_size = core, input_size
        self._variant, self._engine = variant, engine

    def forward(self, x: Tensor) -> Tensor:
        return self._engine.run(self._variant, self.core, x)


def populations(hidden_sizes: Sequence[int] = (32, 64, 128), engine: Engine = COMPILED, rounds: int = ROUNDS) -> None:
    """A population of 15 on the compiled engine: time a member over nn.LSTM alone and over the plain loop."""
    batch, steps, size = 32, 50, 3
    for hidden in hidden_sizes:
        native = nn.LSTM(size, hidden, batch_first=True)
        x = torch.randn(batch, steps, size)
        print(f"\nforward and backward, {MEMBERS} members, CPU, T={steps}, B={batch}, D={size}, H={hidden}")
        print("  recurrence    a member ÷ nn.LSTM alone    plain loop ÷ a member     seconds to compile")
        for name, variant in recurrences().items():
            cores = [model.build_core(variant, {}, size, hidden, seed) for seed in range(MEMBERS)]
            members = Stacked([Bare(variant, core, engine, size) for core in cores])  # type: ignore[misc]
            every = torch.stack([x] * MEMBERS)
            before = ops.engines.compile_seconds()

            def population(members: Stacked = members, every: Tensor = every) -> Tensor:
                return members.learn(every, lambda output, _: output.flatten(1).mean(dim=1))

            population()
            compiling = ops.engines.compile_seconds() - before
            taken = interleaved(
                {
                    "population": population,
                    "torch": backward(lambda x, native=native: native(x)[0], x),  # type: ignore[misc]
                    "loop": backward(lambda x, core=cores[0]: core(x), x),  # type: ignore[misc]
                },
                rounds=rounds,
            )
            member = ratio(taken, lambda seconds: seconds["population"] / MEMBERS / seconds["torch"])
            loop = ratio(taken, lambda seconds: seconds["loop"] * MEMBERS / seconds["population"])
            print(f"  {name:12} {member:24}   {loop:24} {compiling:6.1f}", flush=True)


def single() -> None:
    """One model: each engine over the plain loop."""
    batch, steps, size, hidden = 32, 200, 8, 64
    x = torch.randn(batch, steps, size)
    native = nn.LSTM(size, hidden, batch_first=True)
    print(f"\nforward and backward, one model, CPU, T={steps}, B={batch}, D={size}, H={hidden}: time ÷ the plain loop's; ÷ nn.LSTM's")
    for name, variant in recurrences().items():
        core = model.build_core(variant, {}, size, hidden, seed=0)
        calls = {
            engine.name: backward(lambda x, variant=variant, core=core, engine=engine: engine.run(variant, core, x), x)  # type: ignore[misc]
            for engine in timed_engines(variant, {}, compiling=True, device="cpu")
        }
        rounds = interleaved({**calls, "torch": backward(lambda x: native(x)[0], x)})
        for engine in calls:
            over_loop = ratio(rounds, lambda seconds, engine=engine: seconds[engine] / seconds[REFERENCE.name])  # type: ignore[misc]
            over_torch = ratio(rounds, lambda seconds, engine=engine: seconds[engine] / seconds["torch"])  # type: ignore[misc]
            print(f"  {name:12} {engine:10} {over_loop:24} {over_torch:24}", flush=True)


def growth() -> None:
    """How a training step's time grows with T: the exponent of a power law from 100 to 3,200 steps."""
    print("\ngrowth of forward and backward with T, 100 to 3,200, B=8, H=32: exponent of T")
    lengths = (100, 400, 1600, 3200)
    for name, variant in recurrences().items():
        if name == "attention":
            continue
        for engine in timed_engines(variant, {}, compiling=True, device="cpu"):
            core = model.build_core(variant, {}, 3, 32, seed=0)
            calls = {
                str(length): backward(
                    lambda x, variant=variant, core=core, engine=engine: engine.run(variant, core, x),  # type: ignore[misc]
                    torch.randn(8, length, 3),
                )
                for length in lengths
            }
            rounds = interleaved(calls, rounds=5)
            slopes = [np.polyfit(np.log(lengths), np.log([seconds[str(length)] for length in lengths]), 1)[0] for seconds in rounds]
            middle, low, high = median_interval(slopes)
            print(f"  {name:12} {engine.name:10} {middle:.2f} ({low:.2f}–{high:.2f})", flush=True)


def chosen(variant: str, engine: str = "", **training: Any) -> list[Trial]:
    """Trials of eight seeds, as `quick` would have them with one learning rate, for a variant on adding at T = 50, changed as asked."""
    planned = trials.trials(eight(variant, **training), discover(), "cpu")
    return [replace(trial, engine=engine or trial.engine) for trial in planned]


def eight(variant: str, **training: Any) -> schema.Plan:
    """The plan of those trials, which asks for nothing beside them."""
    plan = narrow(schema.load("quick"), schema.Request("quick", variant, "adding"), discover())
    changed = {"learning_rates": (0.01,), **training}
    return plan.model_copy(
        update={
            "tasks": (plan.tasks[0].model_copy(update={"lengths": (50,), "steps": None}),),
            "seeds": tuple(range(8)),
            "training": plan.training.model_copy(update=changed),
            "timing": plan.timing.model_copy(update={"lengths": ()}),
            "evaluations": plan.evaluations.model_copy(update={"lengths": (), "corruptions": ()}),
        }
    )


def harness() -> None:
    """A trial's training by the suite over a bare loop of the same steps and validations on the same engine."""
    print("\na trial's training ÷ a bare PyTorch loop of the same steps and validations (adding, T=50)")
    for name, engine in (("lstm", VENDOR.name), ("layernorm", REFERENCE.name)):
        (trial, *_) = chosen(name, engine, steps=75, validate_every=25)
        variant, task = discover().variant(name).noun, discover().task("adding").noun

        def learn(trial: Trial = trial, variant: Variant = variant, task: Task = task) -> object:
            return trainer.learn([trial], task, trainer.gather(trainer.build([trial], variant, task), trial.engine), lambda *_: None)

        calls = {"suite": learn, "bare": lambda trial=trial, variant=variant, task=task: bare(trial, variant, task)}
        rounds = interleaved(calls, rounds=MANY_ROUNDS)
        print(f"  {name:12} {engine:10} {ratio(rounds, lambda seconds: seconds['suite'] / seconds['bare'])}", flush=True)


def bare(trial: Trial, variant: Variant, task: Task) -> int:
    """The same training as a script would write it."""
    training = trial.training
    net = model.build(variant, {}, task, trial.hidden_size, trial.engine, trainer.initial_seed(trial))
    optimizer = torch.optim.Adam(net.parameters(), lr=training.learning_rate)
    batches = list(data.stream(task, trial.task.options, trial.length, "validation", trial.eval_seed, training.evaluation_samples))
    for step in range(1, training.steps + 1):
        batch = data.draw(task, trial.task.options, trial.length, "train", trial.seed, step, training.batch_size)
        loss = ((net(with_ones(batch.x)).squeeze(1) - torch.from_numpy(batch.y).float()) ** 2).mean()
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(net.parameters(), training.clip)
        optimizer.step()
        if step % training.validate_every == 0:
            net.eval()
            with torch.no_grad():
                for held in batches:
                    output = net(with_ones(held.x))
                    ((output.squeeze(1) - torch.from_numpy(held.y).float()) ** 2).mean().item()
                    for metric in task.metrics.values():
                        metric(output.numpy(), held)
            net.train()
    return 1


def with_ones(x: Any) -> Tensor:  # (B, T, D) -> (B, T, D + 1), as every model of the suite gets its input
    return torch.cat([torch.from_numpy(x).float(), torch.ones(*x.shape[:2], 1)], dim=2)


def plans() -> None:
    """What a run costs beside its training: a thousand tiny trials, and eight equal ones on two cores."""
    tiny: dict[str, Any] = {
        "variants": ["lstm"],
        "tasks": [{"name": "adding", "lengths": [4]}],
        "matching": {"hidden_size": 4},
        "evaluations": {"lengths": []},
    }
    for tracked in (True, False):
        training = {"steps": 1, "validate_every": 1, "evaluation_samples": 8, "batch_size": 2}
        plan = schema.check({**tiny, "name": "tiny", "seeds": list(range(1000)), "training": training}, "bench")
        with tempfile.TemporaryDirectory() as folder:
            start = time.perf_counter()
            suite.run(plan, runs=folder, workers=2, track=tracked, device="cpu")
            each = (time.perf_counter() - start) / 1000
        print(
            f"\na run of 1,000 tiny trials, two workers, {'with' if tracked else 'without'} MLflow: {1000 * each:.1f} ms a trial, report and all"
        )
    print("a plan of 8 equal trials (lstm, adding, T=50, 1,500 steps) on two cores ÷ two bare scripts side by side:", end=" ")
    ratios = []
    for _ in range(3):
        beside = _bare_scripts()
        plan = eight("lstm", steps=1500)
        with tempfile.TemporaryDirectory() as folder:
            start = time.perf_counter()
            suite.run(plan, runs=folder, workers=2, track=False, device="cpu")
            ratios.append((time.perf_counter() - start) / beside)
    print(" ".join(f"{value:.2f}" for value in ratios), flush=True)


def _bare_scripts() -> float:
    """Seconds that two processes take for four bare trainings each."""
    start = time.perf_counter()
    scripts = [subprocess.Popen([sys.executable, "-m", "tests.bench", "script", str(first)]) for first in (0, 4)]
    for script in scripts:
        script.wait()
    return time.perf_counter() - start


def script(first: str) -> None:
    """Four bare trainings, one after another."""
    (trial, *_) = chosen("lstm", steps=1500)
    for seed in range(int(first), int(first) + 4):
        bare(replace(trial, seed=seed), discover().variant("lstm").noun, discover().task("adding").noun)


def clones() -> None:
    """How often an exact copy of lstm is called slower or faster than it on each engine: of 40 invocations, by the interval of their ratio."""
    from suite.measures import timing

    lstm = discover().variant("lstm").noun
    plan = schema.load("quick").model_copy(update={"variants": schema.load("quick").variants[1:2]})
    every = [each for each in trials.timings(plan, discover(), "cpu") if each.shape.length == 50 and not each.shape.streaming]
    print(f"\nan exact copy of lstm, T=50, {every[0].rule.repeats} rounds or more, 40 invocations: how often the interval excludes 1")
    for asked in every:
        twin = replace(asked, variant=replace(asked.variant, name="twin"))
        excluded = dict.fromkeys(("forward", "forward+backward"), 0)
        for _ in range(40):
            rounds = timing.measure([asked, twin], {"lstm": lstm, "twin": replace(lstm, name="twin")})
            for what in excluded:
                base = rounds.seconds[asked.key][what]
                _, low, high = time_ratio(rounds.seconds[twin.key][what], base, rounds.clones[asked.key][what])
                excluded[what] += not low <= 1 <= high
        print(f"{asked.engine}: {excluded}", flush=True)


def commands() -> None:
    """How long the commands take to answer."""
    for words in (["--help"], ["list"], ["run", "full", "--dry-run"]):
        clock = []
        for _ in range(3):
            start = time.perf_counter()
            subprocess.run([sys.executable, "-m", "suite", *words], check=True, capture_output=True)
            clock.append(time.perf_counter() - start)
        print(f"suite {' '.join(words)}: {statistics.median(clock):.2f} s")


MEASUREMENTS = {each.__name__: each for each in (populations, single, growth, harness, clones, commands, plans, store, reports, scheduling)}


def main() -> None:
    if sys.argv[1:2] == ["script"]:
        trainer.prepare("cpu")
        return script(sys.argv[2])
    if unknown := set(sys.argv[1:]) - set(MEASUREMENTS):
        sys.exit(f"no measurement {', '.join(sorted(unknown))}; there is {', '.join(MEASUREMENTS)}")
    print(
        f"{machine.cpu_model()}, {os.cpu_count()} cores, torch {machine.version('torch')}, 1 thread, load {math.ceil(os.getloadavg()[0])}"
    )
    trainer.prepare("cpu")
    for name in sys.argv[1:] or MEASUREMENTS:
        MEASUREMENTS[name]()
    return None


if __name__ == "__main__":
    # allocator and arithmetic must be set before the process starts
    if any(os.environ.get(name) != value for name, value in machine.ENVIRONMENT.items()):
        os.execve(sys.executable, [sys.executable, "-m", "tests.bench", *sys.argv[1:]], {**os.environ, **machine.ENVIRONMENT})
    main()
