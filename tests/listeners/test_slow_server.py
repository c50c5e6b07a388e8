"""Checks on a tracking server that answers slowly, or never, that a run does not wait for it while it is at work."""

from __future__ import annotations

import contextlib
import http.server
import itertools
import threading
import time
from collections.abc import Callable, Iterator

import pytest

from suite.listeners import tracking
from suite.trial import Trial

from .pretended import Pretended, asked, learned

SLOW_SECONDS = 3.0
"""How long the server takes for an answer, which is that it has none."""

PATIENCE = tracking.INTERRUPTED_SECONDS
"""How long an interrupted run waits for the server, outside of tests."""

MOST_SECONDS = 2.0
"""How long a listener may keep the run from hearing its workers."""


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[threading.Event]:
    """A tracking server on this machine that takes long for each answer; the event says that it was asked."""
    asked_for = threading.Event()

    class Slow(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked_for.set()
            time.sleep(SLOW_SECONDS)
            with contextlib.suppress(OSError):  # who asked may have gone
                self.send_error(503)

        def log_message(self, *_: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Slow) as listening:
        listening.daemon_threads = True
        thread = threading.Thread(target=listening.serve_forever, daemon=True)
        thread.start()
        monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://127.0.0.1:{listening.server_port}")
        monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
        yield asked_for
        listening.shutdown()


def watched(plan: Pretended, trials: list[Trial], during: Callable[[Trial], None] = lambda _: None) -> list[float]:
    """Seconds between the ends of trials as a run tells of them, and then those that its end takes."""
    moments = []

    def note(trial: Trial) -> None:
        moments.append(time.monotonic())
        during(trial)

    try:
        plan.run(*((trial, learned(trial)) for trial in trials), during=note)
    finally:
        moments.append(time.monotonic())
    return [later - earlier for earlier, later in itertools.pairwise(moments)]


def test_no_trial_waits_for_a_slow_server_and_the_end_does(plan: Pretended, tiny: Trial, server: threading.Event) -> None:
    *between, last = watched(plan, [asked(tiny, seed=seed) for seed in range(4)])
    assert max(between) < MOST_SECONDS
    assert last > SLOW_SECONDS / 2
    assert server.is_set()
    [problem] = plan.problems
    assert problem.startswith("MLflow at http://127.0.0.1:")
    assert problem.endswith("the next run mirrors them")


def test_an_interrupted_run_waits_but_a_moment(
    plan: Pretended, tiny: Trial, server: threading.Event, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tracking, "INTERRUPTED_SECONDS", PATIENCE)
    interrupted: list[float] = []

    def interrupt(trial: Trial) -> None:
        if trial.seed == 1:
            assert server.wait(60.0)
            interrupted.append(time.monotonic())
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        watched(plan, [asked(tiny), asked(tiny, seed=1)], during=interrupt)
    assert time.monotonic() - interrupted[0] < PATIENCE + MOST_SECONDS / 2


def test_who_watches_is_told_what_the_end_waits_for(
    plan: Pretended, tiny: Trial, server: threading.Event, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tracking, "SILENT_SECONDS", 0.1)
    listener = tracking.start(progress=True)
    assert listener is not None
    trial = asked(tiny)
    listener.suite_plan_started(plan.invocation(((trial, learned(trial)),), ()))
    listener.suite_report_written(plan.store.report)
    with contextlib.suppress(Exception):
        listener.suite_plan_finished()
    assert server.is_set()
    assert capsys.readouterr().err.startswith("waiting for MLflow at http://127.0.0.1:")
