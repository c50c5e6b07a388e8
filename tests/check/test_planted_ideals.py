"""Checks the checks of what a task says of itself: faults in ideal predictors and in declared damage are caught, and nothing else is."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from suite import Task, check
from suite.registry.finder import discover

from .sound import failed, failures

REGISTRY = discover()
ADDING, COPY, NOISY = (REGISTRY.tasks[name].noun for name in ("adding", "copy", "noisy"))
CALLS = itertools.count()


def sum_of(x: Any) -> Any:
    return (x[:, :, 0] * x[:, :, 1]).sum(axis=1, keepdims=True)


def writing(x: Any, _batch: Any, **_: Any) -> Any:
    answer = sum_of(x)
    x[:, 0, 0] = 0.5
    return answer


def divides_by_what_it_sees(x: Any, _batch: Any, **_: Any) -> Any:
    """Right on whole inputs, and NaN where a step reads as zeros."""
    with np.errstate(invalid="ignore"):
        return x[..., :1].sum(axis=2)[:, 1:2] / x[..., 0][:, 1:2] * sum_of(x)


def misaligned(x: Any, batch: Any) -> Any:
    """The symbols one step too early."""
    assert COPY.ideal is not None
    return np.roll(COPY.ideal(x, batch), -1, axis=1)


FAULTY: dict[str, tuple[Task, Callable[..., Any]]] = {
    "another shape": (ADDING, lambda x, _batch, **_: sum_of(x)[:, 0]),
    "one answer for a step each": (COPY, lambda x, _batch: np.zeros((len(x), COPY.output_size))),
    "a logit of minus infinity": (NOISY, lambda _x, batch, **_: np.where(np.eye(2)[batch.y] == 1, 0.0, -np.inf)),
    "infinite only under damage": (ADDING, divides_by_what_it_sees),
    "no better than not looking": (NOISY, lambda x, _batch, **_: np.zeros((len(x), 2))),
    "the wrong sign": (NOISY, lambda x, _batch, **_: np.stack([x[:, 0, 0], -x[:, 0, 0]], axis=1)),
    "a step too early": (COPY, misaligned),
    "another answer each time": (ADDING, lambda x, _batch, **_: sum_of(x) + 1e-3 * next(CALLS)),
    "writes into its input": (ADDING, writing),
}


@pytest.mark.filterwarnings("ignore:.*encountered in:RuntimeWarning")  # the planted faults' own
@pytest.mark.parametrize(("task", "ideal"), FAULTY.values(), ids=FAULTY)
def test_a_faulty_ideal_predictor_is_caught(task: Task, ideal: Callable[..., Any]) -> None:
    assert failures("task", replace(task, ideal=ideal)) == {"ideal"}


def test_an_ideal_predictor_that_does_not_take_the_options_is_caught() -> None:
    assert NOISY.ideal is not None
    known = NOISY.ideal
    assert failures("task", replace(NOISY, ideal=lambda x, batch: known(x, batch))) == {"options"}


def test_a_task_need_not_state_its_ideal_predictor() -> None:
    assert failures("task", replace(ADDING, ideal=None)) == set()


def test_harmless_damage_that_is_no_corruption_is_caught_with_the_nearest_name() -> None:
    (named,) = check.resolve("adding(markers=halves)").subjects
    wrong = replace(named, noun=replace(ADDING, harmless=("step_drop", "gausian_noise")))
    (finding,) = [finding for finding in check.examine(wrong) if finding.status == "failed"]
    assert finding.check == "harmless"
    assert finding.reason == "harmless names 'gausian_noise', which is no corruption; did you mean 'gaussian_noise'?"


@pytest.mark.parametrize("harmless", [(), ("gaussian_noise",), ("gaussian_noise", "step_drop")])
def test_harmless_damage_that_exists_is_no_fault(harmless: tuple[str, ...]) -> None:
    (named,) = check.resolve("adding(markers=halves)").subjects
    assert not [finding for finding in check.examine(replace(named, noun=replace(ADDING, harmless=harmless))) if finding.status == "failed"]


def test_where_no_corruption_is_known_no_name_is_wrong() -> None:
    assert failed("task", replace(ADDING, harmless=("of another package",))) == []


def test_a_file_from_anywhere_knows_its_own_corruptions(tmp_path: Any) -> None:
    file = tmp_path / "mine.py"
    file.write_text(
        "from dataclasses import replace\n"
        "from suite import Corruption, hookimpl\n"
        "from suite.dropins.tasks import adding, step_drop\n"
        "@hookimpl\n"
        "def suite_tasks():\n"
        "    yield replace(next(iter(adding.suite_tasks())), name='mine', harmless=('my_drop',))\n"
        "@hookimpl\n"
        "def suite_corruptions():\n"
        "    yield replace(next(iter(step_drop.suite_corruptions())), name='my_drop')\n"
    )
    tasks = [subject for subject in check.resolve(str(file)).subjects if subject.kind == "task"]
    assert tasks
    findings = [finding for subject in tasks for finding in check.examine(subject) if finding.check == "harmless"]
    assert {finding.status for finding in findings} == {"ok"}
