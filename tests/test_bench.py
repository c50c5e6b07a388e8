"""Checks that the measurements of `make bench` measure: with small sizes, where their figures mean nothing."""

from __future__ import annotations

import pytest

from suite.ops.engines import DERIVED

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
