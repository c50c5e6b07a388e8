"""Checks that a plugin's import leaves what all share as it was, or is refused by name."""

from __future__ import annotations

import os
import random
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from suite import SuiteError
from suite.registry import guard

CHANGES: dict[str, Callable[[], object]] = {
    "the working directory": lambda: os.chdir("/"),
    "torch's default dtype": lambda: torch.set_default_dtype(torch.float64),
    "torch's grad mode": lambda: torch.set_grad_enabled(False),
    "torch's global random state": lambda: torch.manual_seed(1),
    "NumPy's global random state": lambda: np.random.seed(1),
    "random's global state": lambda: random.seed(1),
}


@pytest.mark.parametrize("what", CHANGES)
def test_a_change_is_refused_and_put_back(what: str) -> None:
    def state() -> tuple[object, ...]:
        numbers = (torch.get_rng_state().sum().item(), repr(np.random.get_state()), random.getstate())
        return (Path.cwd(), torch.get_default_dtype(), torch.is_grad_enabled(), *numbers)

    before = state()
    with pytest.raises(SuiteError, match=f"changes {what} when imported"), guard.watched():
        CHANGES[what]()
    assert state() == before


def test_what_is_printed_goes_to_standard_error(capsys: pytest.CaptureFixture[str]) -> None:
    with guard.watched():
        print("hello")  # noqa: T201
    out, err = capsys.readouterr()
    assert (out, err) == ("", "hello\n")


def test_a_slow_import_is_mentioned(monkeypatch: pytest.MonkeyPatch) -> None:
    seconds: list[float] = []
    with guard.timed(seconds.append):
        pass
    assert seconds == []
    monkeypatch.setattr(guard, "SLOW_SECONDS", 0.0)
    with guard.timed(seconds.append):
        pass
    assert len(seconds) == 1
