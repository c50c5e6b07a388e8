"""Checks that calls are done elsewhere, in their order, and that none is waited for longer than it should be."""

from __future__ import annotations

import threading

from suite.listeners.aside import Aside


def test_calls_are_done_in_order_in_another_thread_and_one_that_raises_stops_none() -> None:
    aside, heard = Aside("test"), []

    def fail() -> None:
        raise SystemExit("no such luck")

    assert aside.wait(0.0)  # there is nothing to wait for
    aside.do(lambda: heard.append(threading.current_thread().name))
    aside.do(fail)
    aside.do(lambda: heard.append("after"))
    assert aside.wait(60.0)
    assert heard == ["test", "after"]
    assert [raised.reason for raised in aside.raised] == ["SystemExit: no such luck"]


def test_who_has_waited_long_enough_may_leave_and_what_had_not_begun_is_not_done() -> None:
    aside, gate, begun, heard = Aside("test"), threading.Event(), threading.Event(), []

    def slow() -> None:
        begun.set()
        gate.wait(60.0)

    aside.do(slow)
    aside.do(lambda: heard.append("never"))
    assert begun.wait(60.0)
    assert not aside.wait(0.01)
    aside.end()
    gate.set()
    assert aside._thread is not None
    aside._thread.join(60.0)
    assert not aside._thread.is_alive()
    assert heard == []
