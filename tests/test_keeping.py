"""Checks the words that keep a store in order, from the command line on."""

from __future__ import annotations

import json
import re
import shlex
from dataclasses import replace
from pathlib import Path

import pytest
from typer.testing import CliRunner

from suite import Point, SuiteError, Table, api, cli
from suite.execution.run import Work
from suite.plan import schema
from suite.registry.finder import discover
from suite.registry.sources import harness_sources
from suite.spec import Grade
from suite.store import frame
from suite.store.ledger import entered
from suite.store.store import Store
from suite.trial import Learning, Outcome, Trial, Validation

from .running import tiny_plan

SMALL = {'"lstm", "gru"': '"lstm"', ', { name = "noisy", lengths = [6] }': ""}
CPU = ("--device", "cpu")


def said(*words: str | Path, code: int = 0) -> str:
    """What a word prints, on either stream; a mistake of the user's, for which the command ends with 2, is raised here."""
    done = CliRunner().invoke(cli.app, [str(word) for word in words], standalone_mode=False)
    if isinstance(done.exception, SuiteError):
        raise done.exception
    assert done.exception is None, done.exc_info
    assert (done.exit_code or done.return_value or 0) == code, done.output
    return done.output


def work(runs: str = "runs") -> Work:
    return api.prepare(schema.load("tiny.toml"), Path(runs), "cpu", schema.Request("tiny.toml"))


def learned(trial: Trial) -> Outcome:
    learning = Learning("loss < 1", 0.5, (Validation(10, {"loss": 0.1}),), 10, 10)
    points = {asked.key: tuple(Point(at, 6, {"loss": 0.1}, 0.5, True) for at in asked.at) for asked in trial.evaluations}
    return Outcome(trial.key, "ok", learning=learning, evaluations=points, train_seconds=1.0)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working directory, with a plan of two trials and a store as if it had run."""
    monkeypatch.chdir(tmp_path)
    tiny_plan(tmp_path, **SMALL)
    ready = work()
    for trial in ready.trials:
        ready.store.put(trial, learned(trial), ready.machine)
    for grading in ready.gradings:
        ready.store.put_grade(grading, Grade(True, True))
    ready.store.keep(entered(None, api._entered(ready)))
    return tmp_path


def states() -> dict[str, tuple[str, str]]:
    rows = json.loads(said("status", "tiny.toml", *CPU, "--json"))
    return {row["key"]: (row["status"], row["reason"]) for row in rows}


def test_export_import_and_merge_bring_a_plan_elsewhere(folder: Path) -> None:
    assert "tiny.zip: " in said("export", "tiny.toml", "tiny.zip")
    assert "tiny: 2 trials, 4 evaluations, 1 grades, 1 plan files; 0 records were there already" in said(
        "import", "tiny.zip", "--runs", "other"
    )
    assert (folder / "other" / "tiny" / "tiny.toml").read_bytes() == (folder / "tiny.toml").read_bytes()
    assert work("other").pending == ()
    assert "nothing new; 7 records" in said("import", "tiny.zip", "--runs", "other")
    assert "tiny: 1 plan files; 7 records" in said("merge", "other")
    assert "tiny: nothing new; 7 records" in said("merge", "other/tiny")


@pytest.mark.usefixtures("folder")
def test_a_merge_that_contradicts_ends_with_1() -> None:
    said("merge", "runs", "--runs", "other")
    ready = work("other")
    [first, _] = ready.trials
    outcome = learned(first)
    assert outcome.learning is not None
    ready.store.put(first, replace(outcome, learning=replace(outcome.learning, best_step=5)), ready.machine)
    assert "contradict each other (lstm | adding | 6 | 0 | 0.01); both are left as they are" in said("merge", "other", code=1)


def test_clean_says_what_goes_and_asks_first(folder: Path) -> None:
    for words in ((), ("--all", "--failed")):
        with pytest.raises(SuiteError, match="say what is to go"):
            said("clean", "tiny.toml", *words)
    with pytest.raises(SuiteError, match="this is no terminal; say --yes"):
        said("clean", "tiny.toml", "--all")
    assert "there is nothing to remove" in said("clean", "tiny.toml", "--stale", "--failed", "--orphaned", *CPU)
    (folder / "tiny.toml").write_text((folder / "tiny.toml").read_text().replace("seeds = [0, 1]", "seeds = [0]"))
    told = said("clean", "tiny.toml", "--orphaned", "--yes", *CPU)
    assert "2 evaluations (" in told
    assert "1 trials (" in told
    assert "removed 3 files" in told
    assert len(Store(folder / "runs", "tiny").keys("trials")) == 1
    said("clean", "tiny.toml", "--all", "--yes")
    assert not (folder / "runs" / "tiny").exists()
    with pytest.raises(SuiteError, match="nothing has been run here"):
        said("clean", "tiny.toml", "--all")


def test_an_answer_of_no_removes_nothing(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from suite import keeping

    monkeypatch.setattr(keeping, "_agreed", lambda: False)
    assert "nothing was removed" in said("clean", "tiny.toml", "--all")
    assert (folder / "runs" / "tiny" / "ledger.json").is_file()


@pytest.mark.usefixtures("folder")
def test_accepted_results_count_as_done_and_the_report_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    def edit(version: str) -> None:
        monkeypatch.setattr("suite.plan.trials.harness_sources", lambda module: {**harness_sources(module), "suite.ops.scan": version})

    edit("edited")
    assert {status for status, _ in states().values()} == {"stale"}
    with pytest.raises(SuiteError, match="name the keys"):
        said("accept", "tiny.toml", "--why", "a comment", *CPU)
    [first, second] = states()
    assert f"{first}  lstm | adding | 6 | 0 | 0.01 stands as " in said("accept", "tiny.toml", first[:8], "--why", "a comment", *CPU)
    assert states()[first] == ("ok", "accepted though suite.ops.scan changed: a comment")
    assert states()[second][0] == "stale"
    said("accept", "tiny.toml", "--stale", "--why", "a comment", *CPU)
    assert work().pending == ()
    results = frame.read(work().store)
    section = discover().sections["provenance"].noun
    shown = [element.frame for element in section.draw(results) if isinstance(element, Table) and "by hand" in element.caption]
    assert [list(table.iloc[0]) for table in shown] == [["lstm | adding | 6 | 0 | 0.01", "a comment (changed: suite.ops.scan)"]]
    edit("edited again")
    assert {status for status, _ in states().values()} == {"stale"}
    assert len(work().pending) == 2


def test_the_examples_of_the_documentation_work(folder: Path) -> None:
    page = (Path(__file__).resolve().parents[1] / "docs" / "store.md").read_text()
    commands = [line for block in re.findall(r"^```sh\n(.*?)^```$", page, re.MULTILINE | re.DOTALL) for line in block.splitlines()]
    assert len(commands) >= 6
    for command in commands:
        words = shlex.split(command.replace("my.toml", "tiny.toml"))
        if words[1] != "report":  # drawing it is tested elsewhere
            said(*words[1:])
    assert (folder / "elsewhere" / "tiny" / "ledger.json").is_file()


def test_a_file_that_is_spoiled_is_warned_of(folder: Path) -> None:
    [key, other] = states()
    file = Store(folder / "runs", "tiny").file("trials", key)
    file.write_text(file.read_text()[:-20])
    told = said("status", "tiny.toml", *CPU, "--keys")
    assert f"warning: {file}: cannot be read, since it is truncated or was edited" in told
    assert f"{key}  pending" in told
    assert f"{other}  ok" in told
