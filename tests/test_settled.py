"""Checks that a run with nothing to do is answered from memory only while all that it rests on is the same."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from suite import Point, api, dropins, hookimpl, settled, status
from suite.execution.run import Work
from suite.listeners import database
from suite.plan import schema
from suite.registry.finder import discover
from suite.report import inputs
from suite.report.manifest import MANIFEST
from suite.report.telling import ANSWER, NOTHING
from suite.spec import Grade, Value
from suite.store.ledger import entered
from suite.store.store import Store
from suite.trial import Learning, Outcome, Trial, Validation

from .running import tiny_plan

UNTRACKED: dict[str, Value] = {"progress": True, "track": False}


def learned(trial: Trial) -> Outcome:
    learning = Learning("loss < 1", 0.5, (Validation(10, {"loss": 0.1}),), 10, 10)
    points = {asked.key: tuple(Point(at, 6, {"loss": 0.1}, 0.5, True) for at in asked.at) for asked in trial.evaluations}
    return Outcome(trial.key, "ok", learning=learning, evaluations=points, train_seconds=1.0)


def work() -> Work:
    return api.prepare(schema.load("tiny.toml"), Path("runs"), "cpu", schema.Request("tiny.toml"))


def recalled(
    options: dict[str, Value] | None = None, device: str = "cpu", request: schema.Request | None = None
) -> tuple[Store, settled.Settled] | None:
    plan = schema.load("tiny.toml")
    return settled.recall(plan, request or schema.Request("tiny.toml"), Path("runs"), device, UNTRACKED if options is None else options)


@pytest.fixture(autouse=True)
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Store:
    """The store of a run that left nothing to do and is remembered, beside a folder of plugins of the user's; it is the working directory."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "more" / "plugins").mkdir(parents=True)
    (tmp_path / "more" / "plugins" / "_other.py").write_text("ONE = 1\n")
    monkeypatch.setattr(dropins, "ROOTS", (*dropins.ROOTS, tmp_path / "more"))
    tiny_plan(tmp_path, **{'"lstm", "gru"': '"lstm"', ', { name = "noisy", lengths = [6] }': ""})
    ready = work()
    for trial in ready.trials:
        ready.store.put(trial, learned(trial), ready.machine)
    for grading in ready.gradings:
        ready.store.put_grade(grading, Grade(True, True))
    ready.store.keep(entered(None, api._entered(ready)))
    ready.store.report.mkdir()
    (ready.store.report / "index.html").write_text("drawn")
    (ready.store.report / MANIFEST).write_bytes(inputs.manifest({"index.html": b"drawn"}, inputs.Inputs(None, {}), (), {}, ()))
    settled.remember(work(), ("gru",), "lstm leads nobody")
    return ready.store


def test_what_was_remembered_comes_back(store: Store) -> None:
    remembered = recalled()
    assert remembered is not None
    assert remembered[0].report == store.report
    known = remembered[1]
    assert (known.trials, known.ends, known.stale, known.answer, known.device) == (2, {}, ("gru",), "lstm leads nobody", "cpu")


def edit_plan(_: Store) -> None:
    Path("tiny.toml").write_text(Path("tiny.toml").read_text().replace("steps = 20", "steps = 30"))


def edit_plugin(_: Store) -> None:
    Path("more/plugins/_other.py").write_text("ONE = 2\n")


def new_plugin(_: Store) -> None:
    Path("more/plugins/_helper.py").write_text("")


def edit_trial(store: Store) -> None:
    file = store.file("trials", store.keys("trials")[0])
    file.write_text(file.read_text().replace("0.1", "0.2"))


def lose_evaluation(store: Store) -> None:
    store.file("evaluations", store.keys("evaluations")[0]).unlink()


def lose_grade(store: Store) -> None:
    store.file("grades", store.keys("grades")[0]).unlink()


def edit_page(store: Store) -> None:
    (store.report / "index.html").write_text("edited")


def other_report(store: Store) -> None:
    (store.report / MANIFEST).write_bytes(inputs.manifest({"index.html": b"drawn"}, inputs.Inputs(None, {"edited": "1"}), (), {}, ()))


def lose_ledger(store: Store) -> None:
    (store.folder / "ledger.json").unlink()


def spoil_memory(store: Store) -> None:
    file = store.folder / settled.FILE
    file.write_text(file.read_text().replace("leads", "follows"))


def newer_memory(store: Store) -> None:
    file = store.folder / settled.FILE
    file.write_text(file.read_text().replace('"form": 1', '"form": 2'))


def other_variable(_: Store) -> None:
    os.environ["SUITE_OTHER"] = "1"


@pytest.mark.parametrize(
    "change",
    [edit_plan, edit_plugin, new_plugin, edit_trial, lose_evaluation, lose_grade, edit_page, other_report, lose_ledger, spoil_memory,
     newer_memory, other_variable],
)  # fmt: skip
def test_whatever_changes_the_run_looks_for_itself(store: Store, change: Callable[[Store], None], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SUITE_OTHER", raising=False)
    assert recalled() is not None
    change(store)
    assert recalled() is None


def test_the_state_of_each_trial_is_told_alike(store: Store) -> None:
    request = schema.Request("tiny.toml")
    rows = status.remembered(schema.load("tiny.toml"), request, Path("runs"), "cpu")
    assert rows == status.status(work())
    assert [row.status for row in rows or ()] == ["ok", "ok"]
    edit_page(store)
    assert status.remembered(schema.load("tiny.toml"), request, Path("runs"), "cpu") is None


def test_what_is_asked_for_otherwise_is_not_answered(monkeypatch: pytest.MonkeyPatch) -> None:
    assert recalled(request=schema.Request("tiny.toml", seeds=1)) is None
    assert recalled(device="cuda") is None
    assert recalled({**UNTRACKED, "events": "file"}) is None
    assert recalled({**UNTRACKED, "track": "no"}) is None
    assert recalled(device="auto") is not None
    monkeypatch.setattr(settled, "_installed", lambda: iter(["torch-9.9.dist-info"]))
    assert recalled() is None


def test_mlflow_must_show_every_trial(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    assert recalled({}) is None  # there is no database
    contents = {trial.key: database.content_of(learned(trial)) for trial in work().trials}
    monkeypatch.setattr(database, "shows", lambda *asked: asked[1:] == ("tiny", contents, database.folder_of(Path("runs"))))
    assert recalled({}) is not None
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    assert recalled({}) is None


def test_a_run_that_left_something_to_do_is_not_remembered(store: Store) -> None:
    lose_evaluation(store)
    (store.folder / settled.FILE).unlink()
    settled.remember(work(), (), "")
    assert not (store.folder / settled.FILE).exists()


def test_where_a_plugin_hears_runs_or_lies_elsewhere_nothing_is_foreseen() -> None:
    class Hears:
        @hookimpl
        def suite_plan_started(self) -> None:
            pass

    registry = discover()
    assert settled.foreseeable(registry, "cpu") == (not registry.broken and not registry.notes)
    assert not settled.foreseeable(registry, "cuda")
    assert not settled.foreseeable(replace(registry, notes=("a note",)), "cpu")
    lstm = replace(registry.variants["lstm"], path=Path("/elsewhere/lstm.py"))
    assert not settled.foreseeable(replace(registry, variants={**registry.variants, "lstm": lstm}), "cpu")
    hooks = SimpleNamespace(
        hook=SimpleNamespace(**{name: SimpleNamespace(get_hookimpls=lambda: [Hears]) for name in vars(registry.hooks.hook)})
    )
    assert not settled.foreseeable(replace(registry, hooks=hooks), "cpu")  # type: ignore[arg-type]
    Path("more/plugins/linked").symlink_to(Path.cwd(), target_is_directory=True)
    assert not settled.foreseeable(registry, "cpu")


def test_the_memory_is_of_this_folder_alone(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """A copy elsewhere is answered too, but not what MLflow shows of it, which is of the folder it was written from."""
    shutil.copytree("runs", "copy")
    plan = schema.load("tiny.toml")
    monkeypatch.setattr(database, "shows", lambda *_: True)
    assert settled.recall(plan, schema.Request("tiny.toml"), Path("copy"), "cpu", UNTRACKED) is not None
    assert settled.recall(plan, schema.Request("tiny.toml"), Path("copy"), "cpu", {}) is None
    assert json.loads((store.folder / settled.FILE).read_text())["form"] == 1


def test_nothing_is_remembered_of_a_run_that_was_edited_under(store: Store) -> None:
    (store.folder / settled.FILE).unlink()
    settled.remember(replace(work(), surroundings="the digest of other code"), (), "")
    assert not (store.folder / settled.FILE).exists()


def test_where_a_device_might_be_chosen_instead_a_run_looks_for_itself(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(settled, "_devices", lambda: ["nvidia0"])
    settled.remember(work(), ("gru",), "")
    assert (store.folder / settled.FILE).exists()
    assert recalled(device="cpu") is not None
    assert recalled(device="auto") is None


def test_a_run_that_had_looked_for_itself_is_remembered_with_what_it_saw(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    edit_plugin(store)
    assert recalled() is None
    (store.report / ANSWER).write_text("[]")
    monkeypatch.setattr(api, "_nothing_to_do", lambda _: True)
    assert not api.execute(work(), None, {"track": False, "progress": False}).written
    remembered = recalled()
    assert remembered is not None
    assert remembered[1].answer == NOTHING


def test_what_a_process_has_imported_of_torch_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in settled.SET_BY_TORCH:
        monkeypatch.delenv(name, raising=False)
    before = settled.surroundings_digest()
    for name in settled.SET_BY_TORCH:
        monkeypatch.setenv(name, "somewhere")
    assert settled.surroundings_digest() == before
    imported = "import os, sys; before = set(os.environ); import torch._inductor.codecache; print(*set(os.environ) - before)"
    set_by_torch = subprocess.run([sys.executable, "-c", imported], capture_output=True, text=True, check=True).stdout.split()
    assert {name for name in set_by_torch if name.startswith(settled.DECIDING)} <= set(settled.SET_BY_TORCH)


def test_a_plugin_that_is_edited_while_nothing_is_done_is_not_remembered(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    new_plugin(store)
    (store.report / ANSWER).write_text("[]")
    monkeypatch.setattr(api, "_nothing_to_do", lambda _: True)
    prepared = work()
    edit_plugin(store)
    api.execute(prepared, None, {"track": False, "progress": False})
    assert recalled() is None
