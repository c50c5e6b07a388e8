"""Checks that calls are placed where there is room, and that a device which falls over costs no call: with devices that are planned, or pretended."""

from __future__ import annotations

import itertools
import os
import pickle
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from pathlib import Path
from textwrap import dedent

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from suite import SuiteError, machine
from suite.execution import serve
from suite.execution.choosing import chosen, manned
from suite.execution.events import Event
from suite.execution.executor import POLL_SECONDS, Bounds, Died, Gone, Pool, answer
from suite.execution.local import LocalPool, _Call, default_workers
from suite.execution.placement import BLAMED, Device, Placement, device_fault, devices
from suite.execution.populations import SHARE
from suite.execution.warden import KILLED, UNWATCHED, Ended
from suite.plan import schema
from suite.registry.finder import discover

from ..running import suite, tiny_plan
from .test_executor import Processes

GIB = 1 << 30
SMALL, LARGE = Device("cuda:0", 2 * GIB), Device("cuda:1", 4 * GIB)
PLACE = "PRETENDED_DEVICE"


def pretended(*names: str, broken: Sequence[str] = ()) -> tuple[Device, ...]:
    """Devices that are this machine's processor; a broken one is a GPU that no process sees."""
    return tuple(Device(name, 4 * GIB, {PLACE: name, "CUDA_VISIBLE_DEVICES": ""}, "cuda" if name in broken else "cpu") for name in names)


class TestPlaced(Processes):
    """A pool that places its calls keeps the contract as any other does."""

    @pytest.fixture(scope="class")
    @classmethod
    def executor(cls) -> Iterator[Pool]:
        with LocalPool(2, devices=pretended("a", "b")) as executor:
            yield executor


def test_the_device_with_the_least_to_do_is_chosen_then_the_one_with_the_most_room() -> None:
    placement = Placement((SMALL, LARGE), places=2)
    for wanted in (LARGE, SMALL, LARGE, SMALL):
        device = placement.choice(1)
        assert device == wanted
        placement = placement.begun(device, 1)
    assert placement.choice(0) is None
    assert placement.ended(SMALL, 1).choice(0) == SMALL


def test_a_call_waits_for_room_unless_a_device_is_idle() -> None:
    room = int(SHARE * SMALL.memory)
    placement = Placement((SMALL,), places=4).begun(SMALL, room - 10)
    assert placement.choice(10) == SMALL
    assert placement.choice(11) is None
    assert placement.ended(SMALL, room - 10).choice(100 * room) == SMALL


@given(st.lists(st.integers(0, 4 * GIB), max_size=40), st.integers(1, 4), st.randoms(use_true_random=False))
def test_every_call_is_placed_in_the_end_and_no_device_is_overfull(sizes: list[int], places: int, draw: object) -> None:
    placement, waiting = Placement((SMALL, LARGE), places), list(sizes)
    atwork: list[tuple[Device, int]] = []
    while waiting or atwork:
        if waiting and (device := placement.choice(waiting[0])) is not None:
            placement = placement.begun(device, waiting[0])
            atwork.append((device, waiting.pop(0)))
            for each in placement.devices:
                taken = [needed for name, needed in placement.atwork if name == each.name]
                assert len(taken) <= places
                assert len(taken) <= 1 or sum(taken) <= SHARE * each.memory
        else:
            device, needed = atwork.pop(draw.randrange(len(atwork)))  # type: ignore[attr-defined]
            placement = placement.ended(device, needed)
    assert placement.atwork == ()


def test_a_call_goes_where_it_has_not_failed_yet_and_anywhere_where_it_has_failed_everywhere() -> None:
    placement = Placement((SMALL, LARGE))
    assert placement.choice(0, {"cuda:1"}) == SMALL
    assert placement.begun(SMALL, 0).choice(0, {"cuda:1"}) is None  # it waits for the other one
    assert placement.choice(0, {"cuda:0", "cuda:1"}) == LARGE


def test_a_device_is_lost_when_it_fell_over_or_failed_too_often_what_others_did() -> None:
    placement = Placement((SMALL, LARGE))
    assert placement.without(SMALL, "gone").usable == (LARGE,)
    for _ in range(BLAMED):
        assert placement.usable == (SMALL, LARGE)
        placement = placement.blaming({"cuda:0"})
    assert placement.usable == (LARGE,)
    assert "that another GPU then did" in placement.lost["cuda:0"]


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        (
            "AcceleratorError: CUDA error: unspecified launch failure\nCompile with …",
            "AcceleratorError: CUDA error: unspecified launch failure",
        ),
        ("RuntimeError: No CUDA GPUs are available", "RuntimeError: No CUDA GPUs are available"),
        ("some\n  what(): CUDA error: device-side assert triggered", "what(): CUDA error: device-side assert triggered"),
        ("RuntimeError: CUDA error: out of memory", ""),
        ("RuntimeError: CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate`", ""),
        ("ValueError: shapes differ", ""),
    ],
)
def test_what_a_device_may_be_at_fault_for_is_known_by_its_words(text: str, fault: str) -> None:
    assert device_fault(text) == fault


def _place(broken: str = "") -> str:
    """The device of this process, where that is not the broken one."""
    time.sleep(0.02)
    if os.environ[PLACE] == broken:
        serve.retire("CUDA error: pretended")
        return "failed"
    return os.environ[PLACE]


def _crash(broken: str) -> str:
    if os.environ[PLACE] == broken:
        os.write(2, b"CUDA error: pretended\n")
        os.abort()
    return os.environ[PLACE]


def heard(executor: Pool) -> list[Event]:
    return [event for event in executor.events() if event.note]


def test_calls_are_spread_over_devices() -> None:
    with LocalPool(4, devices=pretended("a", "b")) as executor:
        calls = [executor.submit(_place) for _ in range(12)]
        assert {answer(executor, call) for call in calls} == {"a", "b"}


def test_a_call_that_needs_a_whole_device_has_it_alone() -> None:
    whole = Bounds(on_device=int(SHARE * 4 * GIB))
    with LocalPool(4, devices=pretended("a")) as executor:
        calls = [executor.submit(_moments, bounds=whole) for _ in range(4)]
        spans = sorted(answer(executor, call) for call in calls)
    assert all(end <= begin for (_, end), (begin, _) in itertools.pairwise(spans))


def _moments() -> tuple[float, float]:
    begin = time.monotonic()
    time.sleep(0.1)
    return begin, time.monotonic()


@pytest.mark.parametrize("call", [_place, _crash])
def test_a_device_that_has_fallen_over_is_taken_out_with_a_word_and_its_work_goes_elsewhere(call: Callable[[str], str]) -> None:
    with LocalPool(2, devices=pretended("a", "b", broken=["b"])) as executor:
        calls = [executor.submit(call, "b") for _ in range(8)]
        while not all(each.done() for each in calls):
            executor.wait([each for each in calls if not each.done()], POLL_SECONDS)
        assert {each.result() for each in calls} == {"a"}
        [event] = heard(executor)
    assert event.about == "device b"
    assert event.note == "is used no longer: CUDA error: pretended; its work goes to the others"


@pytest.mark.parametrize(
    ("ended", "fallen"),
    [
        (Ended(answer=pickle.dumps((False, RuntimeError("CUDA error: unspecified launch failure")))), True),
        (Ended(answer=pickle.dumps((False, ValueError()))), True),
        (Ended(answer=pickle.dumps((False, RuntimeError("CUDA out of memory. Tried to allocate 20 MiB")))), False),
        (Ended(status="timeout", reason="was not done after 60 s, its time limit"), True),
        (Ended(status="crashed", reason="its process was killed by SIGSEGV"), True),
        (Ended(status="crashed", reason=f"{KILLED}; memory may have run out: try fewer --workers"), False),
        (Ended(status="crashed", reason=UNWATCHED), False),
        (Ended(status="oom", reason="the system killed its process"), False),
    ],
    ids=lambda value: value.reason or "raised" if isinstance(value, Ended) else str(value),
)
def test_a_try_that_found_no_memory_or_was_ended_from_outside_takes_no_device_out(ended: Ended, fallen: bool) -> None:
    executor = LocalPool(1, devices=pretended("a"))
    call = _Call(Future(), Bounds(), b"")
    executor._judge(call, executor._placement.devices[0], Ended(status="crashed", reason="its process ended with code 1"), ended)
    assert bool(executor._placement.lost) == fallen
    assert (executor._gone is not None) == fallen
    assert call.future.done() != fallen  # else it waits for another device
    assert fallen or isinstance(call.future.exception(), Died)


def test_a_device_that_is_lost_is_told_of_to_whoever_waits_for_one_answer() -> None:
    told: list[str] = []
    with LocalPool(1, devices=pretended("b", "a", broken=["b"])) as executor:
        assert answer(executor, executor.submit(_place, "b"), lambda about, _note: told.append(about)) == "a"
    assert told == ["device b"]


def test_a_device_that_fails_again_and_again_what_another_does_is_taken_out() -> None:
    with LocalPool(1, devices=pretended("b", "a")) as executor:
        calls = [executor.submit(_place, "b") for _ in range(BLAMED + 2)]
        for call in calls[:-1]:
            executor.wait([call], 60.0)
        assert [event.about for event in heard(executor)] == ["device b"]
        assert {call.result(60.0) for call in calls} == {"a"}


def _fail_everywhere() -> str:
    serve.retire("CUDA error: device-side assert triggered")
    return f"failed on {os.environ[PLACE]}"


def test_a_call_that_fails_on_every_device_has_its_answer_and_takes_none_out() -> None:
    with LocalPool(1, devices=pretended("a", "b")) as executor:
        for _ in range(2 * BLAMED):
            assert answer(executor, executor.submit(_fail_everywhere)) == "failed on b"
        assert heard(executor) == []
        assert answer(executor, executor.submit(_place)) == "a"


def test_the_run_ends_when_the_last_device_is_gone() -> None:
    with LocalPool(2, devices=pretended("a", "b", broken=["a", "b"])) as executor:
        calls = [executor.submit(_fail_everywhere) for _ in range(4)]
        calls.append(executor.submit(_place))
        for call in calls:
            with pytest.raises(
                Gone, match=r"no device is left to compute on \(.*a: CUDA error: device-side assert triggered.*what is finished is kept"
            ):
                answer(executor, call)
        with pytest.raises(Gone):
            answer(executor, executor.submit(_place))


@pytest.fixture
def gpus(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The models of the GPUs that torch says there are."""
    models = ["H100", "H100", "A100"]
    monkeypatch.setattr(torch.cuda, "is_available", lambda: bool(models))
    monkeypatch.setattr(torch.cuda, "device_count", lambda: len(models))
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda index: models[index])
    monkeypatch.setattr(machine, "memory", lambda _device: 80 * GIB)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    return models


def test_gpus_are_named_by_their_places_among_those_that_are_visible(gpus: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    assert machine.gpu_indices("cuda:1, cuda:0") == (1, 0)
    assert [device.environment for device in devices("cuda", "cuda:1,cuda:0")] == [
        {"CUDA_VISIBLE_DEVICES": "1"},
        {"CUDA_VISIBLE_DEVICES": "0"},
    ]
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "5,GPU-8a2c,7")
    assert [device.environment for device in devices("cuda", "cuda:1,cuda:0")] == [
        {"CUDA_VISIBLE_DEVICES": "GPU-8a2c"},
        {"CUDA_VISIBLE_DEVICES": "5"},
    ]
    assert devices("cuda", "") == (Device("cuda", 80 * GIB),)
    assert devices("cpu", "") == ()
    del gpus[2]
    assert machine.gpu_indices("all") == (0, 1)


@pytest.mark.parametrize(
    ("named", "message"),
    [
        ("cuda:0,cuda:2", r"cuda:0 is H100 and cuda:2 is A100, which compute other bits; name GPUs of one model"),
        ("all", "cuda:2 is A100"),
        ("cuda:0,cuda:3", r"there is no cuda:3; this process may see cuda:0 to cuda:2 \(CUDA_VISIBLE_DEVICES"),
        ("cuda:1,cuda:1", "names a GPU twice"),
        ("cuda", "'cuda' names no GPU; write cuda:0,cuda:1, or all"),
        ("0,1", "'0' names no GPU"),
    ],
)
def test_gpus_that_cannot_be_used_together_are_refused(gpus: list[str], named: str, message: str) -> None:
    assert gpus
    with pytest.raises(SuiteError, match=message):
        machine.resolve_device("auto", named)


def test_gpus_and_a_processor_exclude_each_other(gpus: list[str]) -> None:
    assert machine.resolve_device("auto", "cuda:0") == machine.resolve_device("cuda", "cuda:1") == "cuda"
    with pytest.raises(SuiteError, match="--device cpu: --devices cuda:0 names GPUs"):
        machine.resolve_device("cpu", "cuda:0")
    gpus.clear()
    with pytest.raises(SuiteError, match="--devices all: torch finds no CUDA device here"):
        machine.resolve_device("auto", "all")


def test_devices_are_an_option_of_the_executor(gpus: list[str]) -> None:
    assert gpus
    plan = schema.check({"variants": ["lstm"], "tasks": ["adding"]}, "here")
    registry = discover()
    local = chosen(schema.limited(plan, devices="cuda:0,cuda:1").executor, registry)
    assert (local.gpus, local.devices) == ("cuda:0,cuda:1", 2)
    assert local.count(None, "cuda") == default_workers("cuda", 2)
    assert default_workers("cuda", 2) % 2 == 0
    with pytest.raises(SuiteError, match="--workers 0 trains in this process, on one device, and --devices names cuda:0,cuda:1"):
        manned(local, 0, registry)
    with pytest.raises(SuiteError, match="executor 'inline': unknown option 'devices'"):
        chosen(schema.limited(plan, "inline", devices="cuda:0").executor, registry)


PRETENDING = """
    import os

    from torch import nn

    from suite import Executor, Variant, hookimpl
    from suite.execution.local import LocalPool
    from suite.execution.placement import Device

    class Fragile(nn.Module):
        def __init__(self, input_size, hidden_size):
            super().__init__()
            self.gru = nn.GRU(input_size, hidden_size, batch_first=True)

        def forward(self, x):  # (B, T, D) -> (B, T, H)
            if os.environ.get("PRETENDED") in os.environ["PRETENDED_BROKEN"].split(","):
                raise RuntimeError("CUDA error: the launch timed out and was terminated")
            return self.gru(x)[0]

    def start(workers, device):
        broken = os.environ["PRETENDED_BROKEN"].split(",")
        named = [(name, "cuda" if name in broken else "cpu") for name in "ab"]
        devices = [Device(name, 1 << 40, {"PRETENDED": name, "CUDA_VISIBLE_DEVICES": ""}, kind) for name, kind in named]
        return LocalPool(workers, devices=devices)

    @hookimpl
    def suite_executors():
        yield Executor("pretending", start, lambda device: 2)

    @hookimpl
    def suite_variants():
        yield Variant("fragile", Fragile)
"""


def test_a_run_goes_on_without_a_device_that_falls_over_and_ends_when_none_is_left(tmp_path: Path) -> None:
    (tmp_path / "plugins").mkdir()
    (tmp_path / "plugins" / "fragile.py").write_text(dedent(PRETENDING))
    plan = tiny_plan(tmp_path, **{'["lstm", "gru"]': '["lstm", "fragile"]'})
    words = ("run", plan, "--path", ".", "--device", "cpu", "--executor", "pretending")
    done = suite(*words, cwd=tmp_path, code=2, PRETENDED_BROKEN="a,b")
    assert "error: no device is left to compute on (" in done.stderr
    assert "CUDA error: the launch timed out and was terminated" in done.stderr
    kept = len(list((tmp_path / "runs/tiny/trials").glob("*.json")))
    assert kept < 8
    suite(*words, cwd=tmp_path, PRETENDED_BROKEN="b")
    assert len(list((tmp_path / "runs/tiny/trials").glob("*.json"))) == 8
    done = suite(*words, "--variants", "fragile", "--runs", "both", cwd=tmp_path, PRETENDED_BROKEN="b")  # so both have work at once
    assert "warning: device b: is used no longer: RuntimeError: CUDA error: the launch timed out" in done.stderr
    assert len(list((tmp_path / "both/tiny/trials").glob("*.json"))) == 4
