"""Checks that work is done once, that a death loses no row, and that what is told fits its pipe."""

from __future__ import annotations

import select
from collections.abc import Callable, Collection, Mapping, Sequence
from concurrent.futures import Future
from pathlib import Path
from typing import Any, Literal

import pytest

from suite.execution import run as running
from suite.execution.events import Event, event_of
from suite.execution.executor import UNBOUNDED, Bounds, Died
from suite.execution.run import BEYOND, Late, timed_together
from suite.measures.timing import Rounds
from suite.ops.engines import REFERENCE, VENDOR
from suite.plan.schema import Limits
from suite.spec import Plugin
from suite.trial import Rule, Shape, Timed, Timing, Trial, Validation


def timing(variant: str, engine: str) -> Timing:
    return Timing(Plugin(variant), engine, Shape(4, 2, 5), 3, 5, 0, Rule(3, 3, 1.0, 1.0), "float32", "cpu", True, {}, {})


class Clock:
    """An executor whose process dies whenever one of the deadly timings is among those of a call."""

    channel = Path("nowhere")

    def __init__(
        self, *deadly: Timing, failing: Mapping[str, str] | None = None, status: Literal["crashed", "oom", "timeout"] = "crashed"
    ) -> None:
        self.deadly, self.failing, self.status = {one.key for one in deadly}, dict(failing or {}), status
        self.bounds: list[Bounds] = []
        self.calls: list[list[str]] = []

    def __enter__(self) -> Clock:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def events(self) -> Sequence[Event]:
        return []

    def wait(self, futures: Collection[Future[Any]], seconds: float) -> None:  # noqa: ARG002
        assert all(future.done() for future in futures)

    def submit(self, call: Callable[..., Any], *arguments: Any, bounds: Bounds = UNBOUNDED) -> Future[Any]:  # noqa: ARG002
        self.bounds.append(bounds)
        group: Sequence[Timing] = arguments[0]
        self.calls.append([f"{one.variant.name} {one.engine}" for one in group])
        future: Future[Any] = Future()
        if {one.key for one in group} & self.deadly:
            future.set_exception(Died("its process was killed", self.status))
        else:
            seconds = {one.key: {"forward": (float(len(one.variant.name)),)} for one in group if one.key not in self.failing}
            future.set_result(Rounds(seconds, {key: why for key, why in self.failing.items() if key in {one.key for one in group}}))
        return future


GROUP = [
    timing(name, engine.name) for name, engine in (("lstm", VENDOR), ("lstm", REFERENCE), ("gru", REFERENCE), ("layernorm", REFERENCE))
]
WHOLE = {one.key: Timed({"forward": (float(len(one.variant.name)),)}, {"forward": (4.0,)}) for one in GROUP}


def test_a_group_is_timed_with_the_baseline_of_its_engine() -> None:
    assert {one.key: timed for one, timed in timed_together(Clock(), GROUP, Late())} == WHOLE


@pytest.mark.parametrize("deadly", GROUP, ids=lambda one: one.cell)
def test_a_death_loses_its_own_timing_and_skips_none(deadly: Timing) -> None:
    """Also where only the baseline has an engine, and so stands beside nobody."""
    timed = {one.key: result for one, result in timed_together(Clock(deadly), GROUP, Late())}
    assert set(timed) == set(WHOLE)
    touched = {one.key for one in GROUP if one.key == deadly.key or (deadly.variant == Plugin("lstm") and one.engine == deadly.engine)}
    for key, result in timed.items():
        assert result == (Timed(failed="its process was killed") if key in touched else WHOLE[key])


def test_one_that_raises_loses_its_own_timing_and_a_baseline_those_beside_it() -> None:
    gru = GROUP[2]
    timed = {one.key: result for one, result in timed_together(Clock(failing={gru.key: "no such luck"}), GROUP, Late())}
    assert timed == {**WHOLE, gru.key: Timed(failed="no such luck")}
    baseline = GROUP[1]
    timed = {one.key: result for one, result in timed_together(Clock(failing={baseline.key: "no such luck"}), GROUP, Late())}
    assert timed[gru.key] == Timed(failed="the baseline it is compared with failed: no such luck")
    assert timed[GROUP[0].key] == WHOLE[GROUP[0].key]


def test_a_variant_that_hung_in_training_is_timed_apart_and_waited_for_once_on_each_engine() -> None:
    """The others have their times without waiting for it, and so has it on an engine where it does not hang."""
    hanging, fine = timing("gru", REFERENCE.name), timing("gru", VENDOR.name)
    group = [*(one for one in GROUP if one.variant.name != "gru"), hanging, fine]
    clock, late = Clock(hanging, status="timeout"), Late(frozenset(["gru"]))
    for failed in ("its process was killed", BEYOND):
        timed = {one.key: result for one, result in timed_together(clock, group, late)}
        assert timed.pop(hanging.key) == Timed(failed=failed)
        assert timed.pop(fine.key).seconds
        assert timed == {one.key: WHOLE[one.key] for one in GROUP if one.variant.name != "gru"}
    healthy = ["lstm vendor", "lstm reference", "layernorm reference"]
    assert clock.calls == [
        healthy,
        ["lstm reference", "gru reference"],
        ["lstm vendor", "gru vendor"],
        healthy,
        ["lstm vendor", "gru vendor"],
    ]


def test_a_variant_that_only_hangs_when_timed_is_waited_for_once_on_each_engine() -> None:
    gru = GROUP[2]
    fine = timing("gru", VENDOR.name)
    clock, late = Clock(gru, status="timeout"), Late()
    first = {one.key: result for one, result in timed_together(clock, [*GROUP, fine], late)}
    calls = len(clock.calls)
    second = {one.key: result for one, result in timed_together(clock, [*GROUP, fine], late)}
    assert first == {**WHOLE, gru.key: Timed(failed="its process was killed"), fine.key: second[fine.key]}
    assert second == {**first, gru.key: Timed(failed=BEYOND)}
    assert second[fine.key].seconds
    assert len(clock.calls) == calls + 1


@pytest.mark.parametrize("engine", [REFERENCE, VENDOR], ids=lambda engine: engine.name)
def test_a_baseline_that_hangs_is_not_what_the_others_are_blamed_for(engine: Any) -> None:
    """At the shape where it is found out, and at the next."""
    baseline = timing("lstm", engine.name)
    clock, late = Clock(baseline, status="timeout"), Late()
    for failed in ("its process was killed", BEYOND):
        timed = {one.key: result for one, result in timed_together(clock, GROUP, late)}
        assert late.beyond == {("lstm", engine.name)}
        for one in GROUP:
            beside = one.engine == engine.name and one.variant.name != "lstm"
            expected = Timed(failed=f"the baseline it is compared with failed: {BEYOND}") if beside else WHOLE[one.key]
            assert timed[one.key] == (Timed(failed=failed) if one.key == baseline.key else expected)


def test_a_baseline_whose_training_went_beyond_its_time_is_timed_all_the_same() -> None:
    assert {one.key: timed for one, timed in timed_together(Clock(), GROUP, Late(frozenset(["lstm"])))} == WHOLE


def test_timings_may_take_the_time_of_each_and_what_their_rule_allows() -> None:
    clock = Clock(GROUP[2])
    list(timed_together(clock, GROUP, Late(), Limits(timeout=10.0, memory=2.0)))
    assert clock.bounds[0] == Bounds(4 * 10.0 + 1.0, 2 << 30)
    assert clock.bounds[1:] == [Bounds(count * 10.0 + 1.0, 2 << 30) for count in (1, 1, 2, 2)]


@pytest.mark.parametrize("count", [0, 5, 500])
def test_an_event_fits_the_pipe_and_says_what_was_cut(count: int) -> None:
    scores = {"loss": 0.5, **{f"metric_{number}": float(number) for number in range(count)}}
    event = Event("k", Validation(3, scores))
    line = event.line()
    assert len(line) <= select.PIPE_BUF
    assert line.endswith(b"\n")
    assert line.count(b"\n") == 1
    heard = event_of(line)
    assert heard.validation is not None
    assert (heard.key, heard.validation.step, heard.validation.scores["loss"]) == ("k", 3, 0.5)
    assert len(heard.validation.scores) + heard.cut == count + 1
    assert (heard.cut > 0) == (count == 500)
    assert (heard == event) == (count < 500)


def test_an_event_without_scores_is_a_trial_taken_up() -> None:
    assert event_of(Event("k").line()) == Event("k")


@pytest.mark.parametrize("count", [5, 500])
def test_what_was_cut_of_an_event_is_said(tiny: Trial, count: int) -> None:
    """A listener hears fewer scores than the store has, and the user that it does."""
    heard: list[Validation] = []
    notes: list[tuple[str, str]] = []

    class Hearing:
        def tell(self, _name: str, *, trial: Trial, validation: Validation) -> None:
            assert trial is tiny
            heard.append(validation)

        def note(self, place: str, sentence: str) -> None:
            notes.append((place, sentence))

    scores = {"loss": 0.5, **{f"metric_{number}": float(number) for number in range(count)}}
    running._tell(Hearing(), tiny, event_of(Event(tiny.key, Validation(3, scores)).line()))  # type: ignore[arg-type]
    (validation,) = heard
    kept = len(validation.scores)
    sentence = f"it has so many metrics that listeners hear of {kept} of them; the store has all"
    assert notes == ([(tiny.task.label, sentence)] if count == 500 else [])
    assert (kept < count + 1) == (count == 500)
