"""Checks that a variant which ends or hangs the process that plans it is named and has its rows, and ends or hangs no run."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from suite import SuiteError
from suite.execution import rehearsal
from suite.execution.local import LocalPool
from suite.plan import schema
from suite.plan.narrowing import narrow
from suite.plan.schema import Request
from suite.registry.extract import found_beside
from suite.registry.finder import discover
from suite.spec import Plugin

from ..running import suite, tiny_plan

DEADLY = """
import ctypes
import os

import torch
from torch import nn

from suite import Variant, hookimpl

WAYS = {"calm": lambda: None, "exits": lambda: os._exit(3), "falls": lambda: ctypes.string_at(0), "aborts": os.abort}


def go(way):
    while way == "loops":
        pass
    WAYS[way]()


class Calm(nn.Module):
    def __init__(self, input_size, hidden_size):
        super().__init__()
        self.linear = nn.Linear(input_size, hidden_size)

    def forward(self, x):
        return self.linear(x)


class Built(Calm):
    def __init__(self, input_size, hidden_size, *, way="calm"):
        go(way)
        super().__init__(input_size, hidden_size)


class Called(Calm):
    def __init__(self, input_size, hidden_size, *, way="calm"):
        super().__init__(input_size, hidden_size)
        self.way = way

    def forward(self, x):
        go(self.way)
        return super().forward(x)


class Trained(Called):  # does harm to what it is trained in alone, with more samples than planning has
    def forward(self, x):
        return super().forward(x) if len(x) > 2 and torch.is_grad_enabled() else self.linear(x)


@hookimpl
def suite_variants():
    yield Variant("built", Built)
    yield Variant("called", Called)
    yield Variant("trained", Trained)
"""

TASK = """
import os

import numpy as np

from suite import Batch, Goal, Task, hookimpl


def draw(length, rng, samples):
    os.abort()


@hookimpl
def suite_tasks():
    yield Task("fatal", draw, 1, 1, "mse", lambda _length: 1.0, lambda _length: Goal("loss", below=0.1))
"""

HOW = {
    "exits": ("crashed", "its process ended with code 3"),
    "falls": ("crashed", "its process was killed by SIGSEGV"),
    "aborts": ("crashed", "its process was killed by SIGABRT"),
    "loops": ("timeout", "it had not ended after 10 s"),
}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A folder of plugins that do harm where they are asked to."""
    for folder, name, text in (("plugins", "deadly", DEADLY), ("tasks", "fatal", TASK)):
        (tmp_path / "more" / folder).mkdir(parents=True)
        (tmp_path / "more" / folder / f"{name}.py").write_text(text)
    return tmp_path / "more"


def rows(runs: Path) -> dict[str, set[tuple[str, str, bool]]]:
    """How the trials of each variant ended, why, and whether the stack shows where, as the store has them."""
    found: dict[str, set[tuple[str, str, bool]]] = {}
    for file in (runs / "tiny" / "trials").glob("*.json"):
        content = json.loads(file.read_text())
        way = content["trial"]["variant"]["options"].get("way", "calm")
        found.setdefault(f"{content['trial']['variant']['name']}(way={way})", set()).add(
            (content["status"], content["reason"], "deadly.py" in content["traceback"])
        )
    return found


@pytest.mark.parametrize(
    "ways", [pytest.param(("exits", "falls", "aborts"), id="ends"), pytest.param(("loops",), id="hangs", marks=pytest.mark.slow)]
)
def test_a_variant_that_ends_or_hangs_its_process_when_planned_is_named_and_has_its_rows(
    root: Path, tmp_path: Path, ways: tuple[str, ...]
) -> None:
    plan = tiny_plan(tmp_path)
    names = ["built", *(f"{name}(way={way})" for name in ("built", "called") for way in ways)]
    words = ("run", plan, "--variants", f"lstm,{','.join(names)}", "--tasks", "adding", "--seeds", "1", "--timeout", "5")
    dry = suite(*words, "--dry-run", cwd=tmp_path, SUITE_PATH=str(root))
    done = suite(*words, cwd=tmp_path, SUITE_PATH=str(root), code=1)
    ended = rows(tmp_path / "runs")
    for name in names[1:]:
        status, how = HOW[name.partition("=")[2].rstrip(")")]
        sentence = f"when it was planned, {how}; mend its build or forward, or leave the variant out"
        for said in (dry.stderr, done.stderr):
            assert f"warning: variant '{name}' ({root / 'plugins' / 'deadly.py'}): {sentence}" in said
        assert ended[name] == {(status, sentence, "exits" not in name)}  # which leaves no stack
        assert f"{name} on adding, T=6, seed 0, rate 0.01: {status}: {sentence}" in done.stdout
    assert ended["built(way=calm)"] == ended["lstm(way=calm)"] == {("ok", "", False)}
    assert (tmp_path / "runs" / "tiny" / "report" / "index.html").is_file()


def test_an_estimate_survives_a_variant_that_ends_its_process_in_training(root: Path, tmp_path: Path) -> None:
    words = (tiny_plan(tmp_path), "--variants", "lstm,trained(way=exits)", "--tasks", "adding")
    dry = suite("run", *words, "--dry-run", cwd=tmp_path, SUITE_PATH=str(root))
    assert "? trained(way=exits) could not be timed: its process ended with code 3" in dry.stdout
    row = next(line for line in dry.stdout.splitlines() if line.startswith("adding") and "trained" in line)
    assert row.endswith("?")
    timed = suite("lint", *words, "--time", cwd=tmp_path, SUITE_PATH=str(root))
    assert "note  time: about" in timed.stdout
    assert "? trained(way=exits) could not be timed: its process ended with code 3" in timed.stdout


def test_a_lint_says_which_variant_ends_its_process(root: Path, tmp_path: Path) -> None:
    done = suite("lint", tiny_plan(tmp_path), "--variants", "lstm,called(way=exits)", cwd=tmp_path, SUITE_PATH=str(root))
    assert (
        f"warn  planning: variant 'called(way=exits)' ({root / 'plugins' / 'deadly.py'}): when it was planned, its process" in done.stdout
    )


def test_a_task_that_ends_its_process_is_named(root: Path, tmp_path: Path) -> None:
    plan = tiny_plan(tmp_path)
    done = suite("run", plan, "--tasks", "fatal", cwd=tmp_path, SUITE_PATH=str(root), code=2)
    where = f"task 'fatal' ({root / 'tasks' / 'fatal.py'})"
    assert (
        f"error: {where}: when a sample was drawn, its process was killed by SIGABRT; mend its draw, or leave the task out" in done.stderr
    )


def test_a_baseline_that_ends_its_process_ends_the_command(root: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(rehearsal, "BASELINE", Plugin("built", {"way": "exits"}))
    with (
        found_beside(root),
        pytest.raises(SuiteError, match=r"variant 'built\(way=exits\)' .*, to which all others are matched: when it was"),
    ):
        rehearsal.survivors(narrowed(tmp_path, "built(way=exits)"), discover(), "cpu")


def narrowed(folder: Path, variants: str) -> schema.Plan:
    return narrow(schema.load(str(tiny_plan(folder))), Request("tiny", variants, "adding", 1), discover())


def test_what_came_through_is_remembered_until_the_plan_asks_for_something_else(
    root: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    begun: list[int] = []

    class Counted(LocalPool):
        def __enter__(self) -> Counted:
            begun.append(1)
            super().__enter__()
            return self

    monkeypatch.setattr(rehearsal, "LocalPool", Counted)
    with found_beside(root):
        plan, registry = narrowed(tmp_path, "lstm,gru"), discover()
        assert rehearsal.survivors(plan, registry, "cpu") is registry
        assert rehearsal.survivors(plan, registry, "cpu") is registry
        assert rehearsal.survivors(plan.model_copy(update={"name": "other", "seeds": (3, 4)}), registry, "cpu") is registry
        assert len(begun) == 1
        larger = plan.matching.model_copy(update={"hidden_size": 7})
        assert rehearsal.survivors(plan.model_copy(update={"matching": larger}), registry, "cpu") is registry
        assert len(begun) == 2


def test_a_deadly_variant_is_tried_again_each_time_and_its_other_options_are_as_they_were(
    root: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    with found_beside(root):
        plan, registry = narrowed(tmp_path, "lstm,built,built(way=aborts)"), discover()
        for _ in range(2):
            left = rehearsal.survivors(plan, registry, "cpu")
            assert list(left.deadly) == ["built(way=aborts)"]
            assert len(left.variant("built").noun.build(2, 3).state_dict()["linear.bias"]) == 3
            with pytest.raises(SuiteError, match="SIGABRT"):
                left.variant("built").noun.build(2, 3, way="aborts")
        assert registry.deadly == {}
