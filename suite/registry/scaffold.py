"""Writes a new drop-in: a small, documented file that works and passes its checks as it stands."""

from __future__ import annotations

import keyword
import re
import sys
from pathlib import Path

from .. import dropins
from ..errors import SuiteError
from ..spec import NAME

VARIANT = '''"""NAME: say in a sentence what is new about it.

Author, year, arXiv:…

    z_t = σ(W_z [h_{t−1}, x_t] + b_z)           update gate
    n_t = tanh(W_n [h_{t−1}, x_t] + b_n)        candidate
    h_t = (1 − z_t) ∘ h_{t−1} + z_t ∘ n_t       hidden
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor, nn

from suite import Variant, hookimpl, ops


class CLASS(nn.Module):
    def __init__(self, input_size: int, hidden_size: int) -> None:  # options are keywords after a *
        super().__init__()
        self.hidden_size = hidden_size
        self.gates = nn.Linear(hidden_size + input_size, 2 * hidden_size)  # [W_z; W_n], one product

    def step(self, x_t: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:  # (B, D), (B, H) -> output (B, H), state (B, H)
        z, n = self.gates(torch.cat([h, x_t], dim=1)).chunk(2, dim=1)
        z = torch.sigmoid(z)
        h = (1 - z) * h + z * torch.tanh(n)
        return h, h

    def forward(self, x: Tensor) -> Tensor:  # (B, T, D) -> (B, T, H)
        return ops.scan(self.step, x, x.new_zeros(len(x), self.hidden_size))


@hookimpl
def suite_variants() -> Iterator[Variant]:
    yield Variant("NAME", CLASS, causal=True, paper="")
'''

TASK = '''"""NAME: say in a sentence what must be remembered.

    input   a bit in the first step, then noise         (B, T, 1)
    target  the bit, at the end                         2 classes

A predictor that does not look at the input gives both classes the same chance: a cross-entropy of ln 2.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from suite import Batch, Goal, Task, hookimpl


def draw(rng: np.random.Generator, batch_size: int, length: int) -> Batch:  # options are keywords after a *
    y = rng.integers(0, 2, size=batch_size)
    x = 0.5 * rng.standard_normal((batch_size, length, 1))
    x[:, 0, 0] = 2 * y - 1
    protected = np.broadcast_to(np.arange(length) == 0, (batch_size, length))  # what a corruption may not touch
    return Batch(x, y, protected=protected)


def accuracy(output: NDArray[Any], batch: Batch) -> float:
    return float(np.mean(output.argmax(axis=1) == batch.y))


@hookimpl
def suite_tasks() -> Iterator[Task]:
    yield Task(
        "NAME",
        draw,
        input_size=1,
        output_size=2,
        loss="cross_entropy",
        baseline=lambda _length: math.log(2),
        solved=lambda _length: Goal("accuracy", at_least=0.99),
        metrics={"accuracy": accuracy},
        lengths=(20, 50),
    )
'''

CORRUPTION = '''"""NAME: say in a sentence what it does to the input; the severity is …"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from suite import Corruption, hookimpl


def apply(rng: np.random.Generator, x: NDArray[Any], protected: NDArray[Any], severity: float) -> NDArray[Any]:
    """Set single elements to zero, each with the probability that is the severity; all are (B, T, D)."""
    lost = rng.random(x.shape) < severity
    return np.where(lost & ~protected, 0.0, x)


@hookimpl
def suite_corruptions() -> Iterator[Corruption]:
    yield Corruption("NAME", apply, severities=(0.05, 0.1, 0.2, 0.4, 0.6), unit="probability of loss")
'''

SECTION = '''"""NAME: say in a sentence what the section answers."""

from __future__ import annotations

from collections.abc import Iterator

from suite import Element, Prose, Results, Section, Table, hookimpl, verdict


def draw(results: Results) -> Iterator[Element]:
    """How many trials of each variant solved their task; suite.store.frame.COLUMNS describes the columns of results.frame."""
    trials = verdict.trials(results)
    if trials.empty:
        yield Prose("No trial has been run.")
        return
    counts = trials.groupby("variant", sort=False)["solved"].agg(["sum", "count"]).reset_index()
    yield Table(counts.set_axis(["variant", "solved", "trials"], axis=1), caption="Trials that solved their task.")


@hookimpl
def suite_sections() -> Iterator[Section]:
    yield Section("NAME", title="TITLE", draw=draw, order=55)
'''

KINDS = {"variant": ("plugins", VARIANT), "task": ("tasks", TASK), "corruption": ("tasks", CORRUPTION), "section": ("reports", SECTION)}
"""The folder and the text of each kind of drop-in."""

TAKEN_CLASSES = {"Iterator", "Tensor", "Variant"}
"""What a new variant's file imports, so that its class needs another name."""


def write(kind: str, name: str, root: Path) -> Path:
    """Write a new drop-in into its folder under `root` and return its path; ``My-Net.2`` goes into ``my_net_2.py``.

    Raises SuiteError for a name that cannot be one, and for a file that is there already.
    """
    if not NAME.fullmatch(name):
        raise SuiteError(f"the name '{name}' must be letters, digits, '_', '-' and '.', at most 40, a letter first")
    folder, text = KINDS[kind]
    parts = re.findall(r"[A-Za-z0-9]+", name)
    module = "_".join(parts).lower()
    if module in sys.stdlib_module_names or keyword.iskeyword(module):
        raise SuiteError(f"{module}.py: Python has a module or keyword of this name; choose another name than '{name}'")
    path = root / folder / f"{module}.py"
    for searched in (root, *dropins.ROOTS):
        if (other := searched / folder / path.name).exists():
            raise SuiteError(f"{other}: is there already; choose another name than '{name}'")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("x", encoding="utf-8") as file:
            file.write(_filled(text, name, parts))
    except OSError as error:
        raise SuiteError(f"{path}: cannot be written: {error.strerror}") from None
    return path


def _filled(text: str, name: str, parts: list[str]) -> str:
    """The text of a new drop-in with its name, the class's name and the title in their places."""
    capitalised = "".join(part[0].upper() + part[1:] for part in parts)
    title = " ".join(parts)
    values = {
        "NAME": name,
        "CLASS": f"{capitalised}Network" if capitalised in TAKEN_CLASSES else capitalised,
        "TITLE": title[0].upper() + title[1:],
    }
    return re.sub("|".join(values), lambda match: values[match[0]], text)
