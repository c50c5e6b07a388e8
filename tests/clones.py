"""Runs a small plan again and again with copies of lstm in it, and counts how often its answer calls one better or worse: `make validate`.

`twin` is lstm under another name, which learns the same to the bit; `sibling` draws other first weights, and is equal only on average.
"""

from __future__ import annotations

import os
import sys
import tempfile
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

INVOCATIONS = 20

COPIES = """
from dataclasses import replace
import torch
from suite import hookimpl
from suite.dropins.plugins import lstm

def build(input_size, hidden_size):
    torch.rand(1)  # so that the first weights are others
    return lstm.LSTM(input_size, hidden_size)

@hookimpl
def suite_variants():
    (original,) = lstm.suite_variants()
    yield replace(original, name="twin")
    yield replace(original, name="sibling", build=build)
"""

PLAN = {
    "name": "clones",
    "variants": ["lstm", "twin", "sibling"],
    "tasks": [{"name": "noisy", "lengths": [5, 8]}, {"name": "adding", "lengths": [4, 6]}],
    "matching": {"hidden_size": 8},
    "training": {"learning_rates": [0.01, 0.03, 0.1], "steps": 150, "validate_every": 25, "evaluation_samples": 256},
    "evaluations": {"samples": 512, "lengths": [2], "corruptions": ["gaussian_noise"]},
    "timing": {"lengths": [50], "hidden_size": 32, "streaming": False},
}


@dataclass(frozen=True)
class Called:
    """How often an axis of a copy was called anything else than undecided."""

    variant: str
    axis: str
    rows: int
    wrong: int


def measure(invocations: int, seeds: int = 5) -> list[Called]:
    """Run the plan so often, each time in a new folder and with seeds of its own, and count what its answers say of the copies."""
    from suite.api import execute, prepare
    from suite.plan import schema
    from suite.report import telling

    rows: Counter[tuple[str, str]] = Counter()
    wrong: Counter[tuple[str, str]] = Counter()
    for invocation in range(invocations):
        own = list(range(invocation * seeds, (invocation + 1) * seeds))
        plan = schema.check({**PLAN, "seeds": own, "eval_seed": 1000 + invocation}, "clones")
        with tempfile.TemporaryDirectory(prefix="suite-clones-") as folder:
            done = execute(prepare(plan, Path(folder), "cpu"), None, {"track": False, "progress": False})
            for row in telling.read(done.report):
                place = row["variant"], f"{row['axis']} {row['engine']}".strip()
                rows[place] += 1
                wrong[place] += row["verdict"] in {"better", "worse"}
    return [Called(*place, count, wrong[place]) for place, count in rows.items()]


def main() -> int:
    with tempfile.TemporaryDirectory(prefix="suite-copies-") as folder:
        (Path(folder) / "plugins").mkdir()
        (Path(folder) / "plugins" / "copies.py").write_text(COPIES)
        os.environ["SUITE_PATH"] = folder  # read when the suite is imported, here and in its workers
        called = measure(INVOCATIONS)
    for each in called:
        print(f"{each.variant:8} {each.axis:28} called better or worse in {each.wrong} of {each.rows} invocations")
    return int(any(each.variant == "twin" and each.wrong for each in called) or sum(each.wrong for each in called) > INVOCATIONS // 5)


if __name__ == "__main__":
    sys.exit(main())
