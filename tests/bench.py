"""Measures the suite's own costs as ratios, interleaved, medians of rounds: `make bench`."""

from __future__ import annotations

import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable

import torch
from torch import Tensor, nn

from suite import Batch, machine
from suite.measures.timing import Stopwatch
from suite.ops.engines import REFERENCE, VENDOR, engines_of
from suite.registry.finder import discover
from suite.training import data, model
from suite.training.trainer import prepare

ROUNDS = 15


def interleaved(calls: dict[str, Callable[[], object]], device: str = "cpu") -> dict[str, float]:
    """Median seconds of each call over rounds that take each once."""
    watches = {name: Stopwatch(lambda call=call: call() and None, device) for name, call in calls.items()}  # type: ignore[misc]
    rounds = [{name: watch.seconds() for name, watch in watches.items()} for _ in range(ROUNDS)]
    return {name: statistics.median(one[name] for one in rounds) for name in calls}


def backward(forward: Callable[[Tensor], Tensor], x: Tensor) -> Callable[[], object]:
    return lambda: forward(x).mean().backward()  # type: ignore[no-untyped-call]


def engines(device: str) -> None:
    """Forward and backward of each variant by engine, over torch's own layer where it has one, else over the reference LSTM."""
    batch, steps, size, hidden = 32, 200, 8, 64
    x = torch.from_numpy(data.generator("bench").standard_normal((batch, steps, size))).float().to(device)
    layers = {"rnn": nn.RNN, "gru": nn.GRU, "lstm": nn.LSTM}
    native = {name: layer(size, hidden, batch_first=True).to(device) for name, layer in layers.items()}
    calls = {f"torch {name}": backward(lambda x, layer=layer: layer(x)[0], x) for name, layer in native.items()}  # type: ignore[misc]
    for name, provided in discover().variants.items():
        core = model.build_core(provided.noun, {}, size, hidden, seed=0).to(device)
        for engine in engines_of(provided.noun):
            run = lambda x, variant=provided.noun, core=core, engine=engine: engine.run(variant, core, x)  # noqa: E731
            calls[f"{engine.name} {name}"] = backward(run, x)
    seconds = interleaved(calls, device)
    print(f"\nforward+backward on {device}, B={batch}, T={steps}, D={size}, H={hidden}")
    for name, value in seconds.items():
        over = f"torch {name.split()[1]}" if f"torch {name.split()[1]}" in seconds else f"{REFERENCE.name} lstm"
        print(f"  {name:22} {1000 * value:8.2f} ms  {value / seconds[over]:6.2f} × {over}")


def overheads() -> None:
    """What the harness adds to a training step, and how long the commands take to answer."""
    registry = discover()
    task = registry.tasks["adding"].noun
    net = model.build(registry.variants["lstm"].noun, {}, task, 32, VENDOR.name, seed=0)

    def drawn() -> Batch:
        return data.draw(task, {}, 50, "train", 0, 1, 32)

    batch = drawn()
    x = data.inputs(data.features(task, batch), torch.float32, "cpu")
    seconds = interleaved({"drawing a batch": drawn, "forward and backward": lambda: data.loss(task, net(x), batch).backward()})  # type: ignore[no-untyped-call]
    share = seconds["drawing a batch"] / seconds["forward and backward"]
    print(f"\ndrawing a batch of adding at T=50 costs {100 * share:.0f} % of the fastest training step (lstm, vendor)")
    for words in (["--help"], ["list"]):
        clock = []
        for _ in range(5):
            start = time.perf_counter()
            subprocess.run([sys.executable, "-m", "suite", *words], check=True, capture_output=True)
            clock.append(time.perf_counter() - start)
        print(f"suite {' '.join(words)}: {statistics.median(clock):.2f} s")


def main() -> None:
    print(f"{machine.cpu_model()}, {platform.system()}, torch {machine.version('torch')}, 1 thread")
    prepare("cpu")
    engines("cpu")
    if torch.cuda.is_available():
        print(f"\n{torch.cuda.get_device_name()}, CUDA {torch.version.cuda}")
        prepare("cuda")
        engines("cuda")
    overheads()


if __name__ == "__main__":
    main()
