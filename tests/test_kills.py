"""Kills a small run a few times, a worker, the run and its group, and checks that it ends as if nobody had."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from .kills import Campaign, Step, carry_out, losses, undisturbed

SHORT = Campaign(
    seed=1,
    kills=6,
    kinds=("worker", "worker", "run", "worker", "worker", "group"),
    steps=1000,
    lengths=(11,),
    engine="derived",
    longest_wait=0.4,
    mirrors=False,
)


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="workers are found in /proc")
def test_a_run_that_is_killed_again_and_again_ends_with_the_same_bits(tmp_path: Path) -> None:
    plain, ended = undisturbed(SHORT, tmp_path / "undisturbed"), carry_out(SHORT, tmp_path / "killed")
    assert list(ended.faults(plain)) == []
    assert len(plain.learned) == 8
    assert dict(ended.killed) == {"worker": 4, "run": 1, "group": 1}
    assert max(steps for steps, _ in ended.losses) < SHORT.steps / 2, ended.text(plain)  # nobody began anew


def test_what_a_kill_cost_is_counted_from_the_step_it_went_back_to() -> None:
    """Killed after step 3 and again after step 4, of which steps 3 and 4 were lost."""
    steps = [(0.0, 1, 7), (1.0, 2, 7), (2.0, 3, 7), (9.0, 3, 8), (10.0, 4, 8), (20.0, 4, 9), (21.0, 5, 9)]
    assert list(losses({"key": tuple(Step(*each) for each in steps)})) == [(1, 1.0), (1, 1.0)]
    assert list(losses({"key": (Step(0.0, 1, 7), Step(5.0, 1, 8), Step(6.0, 2, 8))})) == [(1, 0.0)]
