"""Checks that an executor is found, checked and chosen as other plugins are, and that it decides nothing of the results."""

from __future__ import annotations

from pathlib import Path
from textwrap import dedent

import pytest

from suite import SuiteError, run
from suite.execution.choosing import chosen, manned
from suite.execution.inline import InlinePool
from suite.execution.local import LocalPool, default_workers
from suite.plan import schema
from suite.plan.choices import Choice, parse_choice
from suite.plan.schema import Request
from suite.registry.finder import discover
from suite.settled import asked_digest

from ..running import suite, tiny_plan


def named(text: str) -> Choice:
    return Choice(**parse_choice(text))


def test_the_suites_own_executors_come_through_the_hook() -> None:
    executors = discover().executors
    assert {"inline", "local"} <= set(executors)
    assert executors["local"].source == "suite/execution/local.py"


def test_an_executor_starts_its_pool() -> None:
    registry = discover()
    local, inline = chosen(named("local"), registry), chosen(named("inline"), registry)
    assert isinstance(local.start(2, "cpu"), LocalPool)
    assert isinstance(inline.start(0, "cpu"), InlinePool)
    assert (local.count(None, "cpu"), local.count(3, "cpu"), inline.count(None, "cpu")) == (default_workers("cpu"), 3, 0)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("locale", "unknown executor 'locale'; did you mean 'local'"),
        ("local(cores=3)", "executor 'local': unknown option 'cores'; there is devices"),
        ("local(cores=[1,2])", "executor 'local': option cores takes one value, not a list"),
    ],
)
def test_a_mistake_is_told(text: str, message: str) -> None:
    with pytest.raises(SuiteError) as told:
        chosen(named(text), discover())
    assert message in str(told.value)


def test_no_workers_is_this_process() -> None:
    registry = discover()
    local, inline = chosen(named("local"), registry), chosen(named("inline"), registry)
    assert manned(local, 0, registry).inline
    assert manned(inline, None, registry).inline
    assert not manned(local, 2, registry).inline
    with pytest.raises(SuiteError, match="executor 'inline' does one call at a time; leave one of the two out"):
        manned(inline, 2, registry)


def test_a_plan_names_its_executor_and_an_option_replaces_it() -> None:
    tiny = {"variants": ["lstm"], "tasks": ["adding"]}
    plain, elsewhere = schema.check(tiny, "here"), schema.check({**tiny, "executor": "far(nodes=3)"}, "here")
    assert (plain.executor.name, elsewhere.executor) == ("local", Choice(name="far", options={"nodes": 3}))
    assert schema.limited(elsewhere, "inline").executor.name == "inline"
    assert schema.limited(elsewhere, timeout=3.0).executor.name == "far"
    with pytest.raises(SuiteError, match="executor: 'far away' is not of the form"):
        schema.limited(plain, "far away")


def test_an_executor_is_nothing_that_a_result_depends_on() -> None:
    """All the same, a run under another executor looks for itself whether that is there."""
    tiny = {"variants": ["lstm"], "tasks": ["adding"]}
    here, there = schema.check(tiny, "here"), schema.check({**tiny, "executor": "far"}, "here")
    assert here.asked == there.asked
    assert asked_digest(here, Request()) != asked_digest(there, Request())


FAR = """
    from suite import Executor, hookimpl
    from suite.execution.local import LocalPool

    class Far(LocalPool):
        def submit(self, call, *arguments, bounds):
            print("far:", self.note)
            return super().submit(call, *arguments, bounds=bounds)

    def start(workers, device, *, note: str = "nothing"):
        pool = Far(workers)
        pool.note = f"{note}, {workers} on {device}"
        return pool

    def workers(device, *, note: str = "nothing"):
        return 1

    @hookimpl
    def suite_executors():
        yield Executor("far", start, workers, "somewhere else")
"""


def test_a_drop_in_executor_trains_to_the_same_results(tmp_path: Path) -> None:
    (tmp_path / "plugins").mkdir()
    (tmp_path / "plugins" / "far.py").write_text(dedent(FAR))
    plan = tiny_plan(tmp_path, **{'["lstm", "gru"]': '["gru"]', ', { name = "noisy", lengths = [6] }': ""})
    words = ("run", plan, "--path", ".", "--device", "cpu")
    done = suite(*words, "--executor", "far(note=there)", cwd=tmp_path)
    assert "far: there, 1 on cpu" in done.stdout
    assert "nothing has changed" in suite(*words, cwd=tmp_path).stdout
    page = (tmp_path / "runs" / "tiny" / "report" / "index.html").read_text()
    assert "suite run " in page
    assert "--executor" not in page


def test_an_inline_run_from_the_plan_says_what_it_needs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    with pytest.raises(SuiteError, match="work in this process: set OMP_NUM_THREADS=1"):
        run(tiny_plan(tmp_path), executor="inline", device="cpu", runs=tmp_path / "runs", track=False)
