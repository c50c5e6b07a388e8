"""Checks that timings are interleaved, complete, and lose no row but that of the variant that fails."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from suite import Variant
from suite.measures import timing
from suite.registry.finder import discover
from suite.spec import Plugin
from suite.trial import Rule, Shape, Timing


@pytest.fixture(autouse=True)
def _one_call_is_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(timing, "LEAST_SECONDS", 0)


class Logged(nn.Module):
    """Writes its name down whenever it runs."""

    def __init__(self, note: Callable[[str], None], input_size: int, hidden_size: int) -> None:
        super().__init__()
        self.note = note
        self.layer = nn.Linear(input_size, hidden_size)

    def forward(self, x: Tensor) -> Tensor:  # (B, T, D) -> (B, T, H)
        self.note("backward" if torch.is_grad_enabled() else "forward")
        return self.layer(x)  # type: ignore[no-any-return]


def asked(variant: str, length: int = 4, repeats: int = 3, engine: str = "reference", dtype: str = "float32") -> Timing:
    rule = Rule(repeats, repeats, 1.0, 1.0)
    return Timing(Plugin(variant), engine, Shape(length, 2, 5), 3, 5, 0, rule, dtype, "cpu", True, {}, {})


def logged(name: str, log: list[tuple[str, str]]) -> Variant:
    return Variant(name, lambda input_size, hidden_size: Logged(lambda kind: log.append((name, kind)), input_size, hidden_size))


def test_every_timing_has_one_entry_a_round() -> None:
    variants = {name: provided.noun for name, provided in discover().variants.items()}
    timings = [asked(name, length) for name in variants for length in (3, 6)]
    rounds = timing.measure(timings, variants)
    assert rounds.failed == {}
    assert set(rounds.seconds) == {asked.key for asked in timings}
    for by_what in rounds.seconds.values():
        assert {what: len(values) for what, values in by_what.items()} == {"forward": 3, "forward+backward": 3}
        assert all(value > 0 for values in by_what.values() for value in values)


def test_variants_are_interleaved_round_by_round() -> None:
    log: list[tuple[str, str]] = []
    timing.measure([asked("a"), asked("b")], {"a": logged("a", log), "b": logged("b", log)})
    one_round = [("a", "forward"), ("a", "backward"), ("b", "forward"), ("b", "backward")]
    rounds = [log[-12:-8], log[-8:-4], log[-4:]]
    assert all(sorted(entries) == sorted(one_round) for entries in rounds)
    assert len({tuple(entries) for entries in rounds}) > 1  # each in an order of its own
    looked_at = [("a", "forward"), ("b", "forward")]  # for whether they are one kernel
    counted = 2 * [("a", "backward"), ("b", "backward")]  # for their arithmetic, and for their memory
    assert Counter(log[:-12]) == Counter(one_round * timing.WARM_UP + looked_at + counted)


def test_the_baseline_has_a_clone_and_what_is_one_kernel_is_told() -> None:
    variants = {name: discover().variant(name).noun for name in ("lstm", "gru")}
    timings = [asked("lstm", engine="vendor"), asked("lstm"), asked("gru", engine="vendor")]
    rounds = timing.measure(timings, variants)
    assert {key: set(by_what) for key, by_what in rounds.clones.items()} == {
        one.key: {"forward", "forward+backward"} for one in timings[:2]
    }
    assert [rounds.fused[one.key] for one in timings] == [True, False, False]


def test_lengths_are_timed_apart_and_each_is_warm() -> None:
    lengths: list[int] = []

    class Length(nn.Linear):
        def forward(self, x: Tensor) -> Tensor:
            lengths.append(x.shape[1])
            return super().forward(x)

    timing.measure([asked("a", 8), asked("a", 4)], {"a": Variant("a", Length)})
    calls = 2 * (timing.WARM_UP + 3) + 3  # one to see whether it is one kernel, two to see what else it takes
    assert lengths == [4] * calls + [8] * calls


def test_a_call_repeats_until_it_lasts(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter(range(1_000_000))
    monkeypatch.setattr("time.perf_counter", lambda: next(clock) / 1000)  # a millisecond a look
    monkeypatch.setattr(timing, "LEAST_SECONDS", 0.0049)
    calls: list[None] = []
    watch = timing.Stopwatch(lambda: calls.append(None), "cpu")
    assert len(calls) == timing.WARM_UP
    assert watch.seconds() == pytest.approx(0.001 / 5)
    assert len(calls) == timing.WARM_UP + 5


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_the_model_has_the_shape_and_dtype_asked(dtype: str) -> None:
    seen: set[Any] = set()

    class Shape(nn.Linear):
        def forward(self, x: Tensor) -> Tensor:
            seen.add((tuple(x.shape), x.dtype, self.out_features, self.weight.dtype))
            return super().forward(x)

    timing.measure([asked("a", dtype=dtype)], {"a": Variant("a", Shape)})
    kind = getattr(torch, dtype)
    assert seen == {((2, 4, 3), kind, 5, kind)}


def test_gradients_do_not_pile_up() -> None:
    grads: list[Any] = []

    class Grad(nn.Linear):
        def forward(self, x: Tensor) -> Tensor:
            grads.append(self.weight.grad)
            return super().forward(x)

    timing.measure([asked("a")], {"a": Variant("a", Grad)})
    assert grads[-1] is None


class Bad(nn.Linear):
    """Fails when it has run so many times, forward or backward."""

    def __init__(self, calls: int, error: type[BaseException], input_size: int, hidden_size: int) -> None:
        super().__init__(input_size, hidden_size)
        self.calls, self.error = calls, error

    def forward(self, x: Tensor) -> Tensor:
        self.calls -= 1
        if self.calls < 0:
            raise self.error("no such luck")
        return super().forward(x)


@pytest.mark.parametrize("calls", [0, timing.WARM_UP, 2 * timing.WARM_UP + 1], ids=["forward", "backward", "later"])
@pytest.mark.parametrize("error", [RuntimeError, MemoryError, SystemExit])
def test_a_variant_that_fails_loses_its_row_only(calls: int, error: type[BaseException]) -> None:
    log: list[tuple[str, str]] = []
    bad = Variant("bad", lambda input_size, hidden_size: Bad(calls, error, input_size, hidden_size))
    rounds = timing.measure([asked("a"), asked("bad"), asked("b")], {"a": logged("a", log), "b": logged("b", log), "bad": bad})
    assert rounds.failed == {asked("bad").key: f"{error.__name__}: no such luck"}
    assert set(rounds.seconds) == {asked("a").key, asked("b").key}
    assert {len(values) for by_what in rounds.seconds.values() for values in by_what.values()} == {3}


def test_an_interrupt_is_heard() -> None:
    bad = Variant("bad", lambda input_size, hidden_size: Bad(0, KeyboardInterrupt, input_size, hidden_size))
    with pytest.raises(KeyboardInterrupt):
        timing.measure([asked("bad")], {"bad": bad})


def test_rounds_go_on_until_every_ratio_is_known_well_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    """By a clock that is wild for so many looks and then steady, with a model that does nothing."""
    base, other = (replace(asked(name), rule=Rule(6, 40, 0.05, 1e9)) for name in ("lstm", "gru"))
    variants = {name: Variant(name, nn.Linear) for name in ("lstm", "gru")}
    for wild, rounds in ((False, 6), (True, 40)):
        noise = iter(np.random.default_rng(0).uniform(1, 3, size=10_000))
        monkeypatch.setattr(timing.Stopwatch, "seconds", lambda _, noise=noise, wild=wild: next(noise) if wild else 1.0)
        taken = timing.measure([base, other], variants)
        assert {len(values) for by_what in taken.seconds.values() for values in by_what.values()} == {rounds}


def test_rounds_end_when_their_time_is_up(monkeypatch: pytest.MonkeyPatch) -> None:
    base = replace(asked("lstm"), rule=Rule(3, 40, 1e-9, 1e-9))
    noise = iter(np.random.default_rng(0).uniform(1, 3, size=10_000))
    monkeypatch.setattr(timing.Stopwatch, "seconds", lambda _: next(noise))
    taken = timing.measure([base], {"lstm": Variant("lstm", nn.Linear)})
    assert {len(values) for values in taken.seconds[base.key].values()} == {3}


def test_the_next_step_of_a_stream_is_timed_by_itself() -> None:
    stream = replace(asked("lstm"), shape=Shape(1, 1, 5, streaming=True))
    taken = timing.measure([stream], {"lstm": discover().variant("lstm").noun})
    assert taken.failed == {}
    assert set(taken.seconds[stream.key]) == {"step"}


class Turned(nn.Module):
    """A recurrence of complex numbers, which have no meaning left once their imaginary parts are gone."""

    def __init__(self, input_size: int, hidden_size: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(1j * torch.ones(hidden_size, input_size, dtype=torch.complex64))

    def forward(self, x: Tensor) -> Tensor:  # (B, T, D) -> (B, T, H)
        y = x.to(self.weight.dtype) @ self.weight.T
        if not torch.equal(self.weight.imag, torch.ones_like(self.weight.imag)):
            raise RuntimeError("the imaginary parts are gone")
        return y.imag


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_complex_weights_are_timed_as_they_are(dtype: str) -> None:
    rounds = timing.measure([asked("turned", dtype=dtype)], {"turned": Variant("turned", Turned)})
    assert rounds.failed == {}
