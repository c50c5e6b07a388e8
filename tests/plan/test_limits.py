"""Checks that what memory cannot hold is refused before anything runs, and nothing else is."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from torch import Tensor, nn

from suite import Batch, SuiteError, Task, Variant
from suite.ops.engines import REFERENCE

from .planned import REGISTRY, trials, with_task, with_variant


@pytest.mark.parametrize("rule", ["parameters", "hidden_size"])
def test_a_model_beyond_memory_is_refused_before_anything_is_built(rule: str) -> None:
    with pytest.raises(SuiteError, match=r"`lstm` of hidden size 60000 has .* needs at least .* GiB and there are .* GiB here; lower"):
        trials(matching={"rule": rule, "hidden_size": 60000})


def test_a_sequence_beyond_memory_is_refused() -> None:
    with pytest.raises(
        SuiteError, match=r"task 'adding', length 1000000: a t.* needs at least .* GiB and there are .* GiB here; shorten it"
    ):
        trials(tasks=[{"name": "adding", "lengths": [1_000_000]}], matching={"hidden_size": 64}, training={"batch_size": 64})


def test_what_a_step_keeps_is_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    """A step of an LSTM keeps its gates and states: some ten values of the hidden size for each sample and step, of four bytes each."""
    from suite.plan import limits

    (trial, *_) = trials(variants=["lstm"], tasks=[{"name": "adding", "lengths": [100]}], matching={"hidden_size": 64})
    kept = limits.step_bytes(replace(trial, engine=REFERENCE.name), REGISTRY)
    state = trial.training.batch_size * 100 * 64 * 4
    assert 6 * state < kept < 25 * state
    monkeypatch.setattr(limits, "memory", lambda _device: kept // 2)
    monkeypatch.setattr(limits, "SMALL", 0.0)
    with pytest.raises(SuiteError, match="length 100: a training step of `lstm` needs at least"):
        limits.check_sequences([replace(trial, engine=REFERENCE.name)], REGISTRY)


def test_a_test_batch_is_as_large_as_its_own_stream_lets_it_be(monkeypatch: pytest.MonkeyPatch) -> None:
    """Few samples are validated on and many tested: a batch of 100 sequences of length 400 and 64 values of four bytes takes 9.8 MiB."""
    from suite.plan import limits

    tasks, training = [{"name": "adding", "lengths": [100]}], {"batch_size": 1, "evaluation_samples": 8}
    planned = trials(
        variants=["lstm"], tasks=tasks, matching={"hidden_size": 64}, training=training, evaluations={"samples": 100, "lengths": [4]}
    )
    monkeypatch.setattr(limits, "memory", lambda _device: 9 * 2**20)
    with pytest.raises(SuiteError, match="a test batch of 100 sequences of 4 times the length needs at least"):
        limits.check_sequences(planned, REGISTRY)
    monkeypatch.setattr(limits, "memory", lambda _device: 10 * 2**20)
    limits.check_sequences(planned, REGISTRY)


def test_a_task_whose_draw_raises_anything_is_told_in_one_line() -> None:
    def draw(_rng: Any, _batch_size: int, _length: int) -> Batch:
        raise KeyError("no\nsuch luck")

    task = Task("mine", draw, 1, 1, "mse", lambda _length: 1.0, lambda _length: None, lengths=(3,))  # type: ignore[arg-type, return-value]
    with pytest.raises(SuiteError) as caught:
        trials(with_task(task), tasks=["mine"])
    assert str(caught.value) == "task 'mine' (here), length 3: draw raised KeyError: 'no\\nsuch luck'; try: suite check mine"


def test_a_variant_that_raises_is_no_reason_to_refuse_a_long_plan(monkeypatch: pytest.MonkeyPatch) -> None:
    from suite.plan import limits

    class Raises(nn.Linear):
        def forward(self, x: Tensor) -> Tensor:
            if x.shape[1] > 3:
                raise RuntimeError("no such luck")
            return super().forward(x)

    monkeypatch.setattr(limits, "SMALL", 0.0)
    assert len(trials(with_variant(Variant("sad", Raises)), variants=["sad"])) == 4
