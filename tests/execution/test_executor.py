"""Checks the executor's contract, which every executor keeps: answers, errors, deaths and events."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from suite.execution.events import Event
from suite.execution.executor import Died, Executor
from suite.execution.local import LocalExecutor
from suite.execution.worker import sender
from suite.trial import Validation

EXECUTORS: dict[str, Callable[[], Executor]] = {"local": lambda: LocalExecutor(2)}


@pytest.fixture(scope="module", params=EXECUTORS)
def executor(request: pytest.FixtureRequest) -> Iterator[Executor]:
    with EXECUTORS[request.param]() as executor:
        yield executor


def test_a_call_gives_its_answer_from_another_process(executor: Executor) -> None:
    assert executor.submit(pow, 2, 10).result(60) == 1024
    assert executor.submit(os.getpid).result(60) != os.getpid()


def test_what_a_call_raises_is_raised(executor: Executor) -> None:
    with pytest.raises(ZeroDivisionError):
        executor.submit(divmod, 1, 0).result(60)


def test_a_death_is_told_and_takes_no_other_along(executor: Executor) -> None:
    deaths = [executor.submit(os.abort), executor.submit(os._exit, 3)]
    others = [executor.submit(pow, 2, power) for power in range(8)]
    with pytest.raises(Died, match="its process was killed by SIGABRT"):
        deaths[0].result(60)
    with pytest.raises(Died, match="its process ended with code 3"):
        deaths[1].result(60)
    assert [other.result(60) for other in others] == [2**power for power in range(8)]


def test_a_kill_is_told_with_what_may_help(executor: Executor) -> None:
    with pytest.raises(Died, match=r"\(SIGKILL\); memory may have run out: try fewer --workers"):
        executor.submit(_kill_itself).result(60)


def _kill_itself() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def _tell(channel: Path, number: int) -> None:
    sender(channel)(Event(str(number), Validation(number, {"loss": 0.5})))


def test_events_arrive_whole(executor: Executor) -> None:
    calls = [executor.submit(_tell, executor.channel, number) for number in range(50)]
    for call in calls:
        call.result(60)
    heard: list[int] = []
    deadline = time.monotonic() + 10
    while len(heard) < 50 and time.monotonic() < deadline:
        heard += [event.validation.step for event in executor.events() if event.validation]
    assert sorted(heard) == list(range(50))
    assert list(executor.events()) == []


def test_the_callers_script_and_environment_are_as_before() -> None:
    main, before = sys.modules["__main__"], dict(os.environ)
    spec = main.__spec__
    with LocalExecutor(1) as executor:
        assert executor.submit(os.getenv, "OMP_NUM_THREADS").result(60) == "1"
    assert main.__spec__ is spec
    assert dict(os.environ) == before
    assert not executor.channel.exists()
