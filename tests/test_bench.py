"""Checks that the measurements of `make bench` measure: with small sizes, where their figures mean nothing."""

from __future__ import annotations

import pytest

from suite.ops.engines import DERIVED, VENDOR
from suite.registry.finder import discover

from . import bench


def test_a_population_is_timed_beside_a_layer_of_torch_and_the_plain_loop(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    every = bench.recurrences()
    monkeypatch.setattr(bench, "recurrences", lambda: {name: every[name] for name in ("gru", "peephole")})
    bench.populations(hidden_sizes=(4,), engine=DERIVED, rounds=3)
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines[-2:]] == ["gru", "peephole"]
    for line in lines[-2:]:
        member, _, loop = line.split()[1:4]
        assert float(member) > 0
        assert float(loop) > 0


def test_the_bare_loop_takes_the_trials_that_the_suite_trains() -> None:
    first, *others = bench.chosen("lstm", VENDOR.name, steps=2, validate_every=1, batch_size=4, evaluation_samples=8)
    assert len(others) == 7
    assert (first.length, first.training.steps, first.training.learning_rate) == (50, 2, 0.01)
    assert bench.bare(first, discover().variant("lstm").noun, discover().task("adding").noun) == 1
