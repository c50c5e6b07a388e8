"""Checks the words that show what is there: how they read, that they fit and have colours, and that watching writes nothing."""

from __future__ import annotations

import os
import platform
import tomllib
from dataclasses import replace
from pathlib import Path

import click
import pytest
import typer
from typer.testing import CliRunner

from suite import SuiteError, cli, completion, lines, options, status, watch
from suite.plan import schema
from suite.plan.outline import outline
from suite.status import TrialStatus
from suite.store.files import dump, write
from suite.store.store import HOLDER, Holder
from suite.trial import Outcome

from . import test_keeping
from .test_keeping import CPU, said, work

folder = test_keeping.folder


def row(variant: str, task: str, length: int, state: str = "ok", reason: str = "") -> TrialStatus:
    return TrialStatus("0" * 20, variant, task, length, 0, 0.01, state, reason)


ROWS = [
    *(row("lstm", "adding", 6) for _ in range(3)),
    *(row("gru", "adding", 6, state) for state in ("ok", "diverged", "pending")),
    *(row("gru", "noisy(form=b)", 9, "stale", "changed: gru") for _ in range(2)),
    row("gru", "noisy(form=b)", 9, "failed", "no such luck"),
]


def test_a_grid_counts_what_is_done_by_variant_and_task() -> None:
    assert status.grid(ROWS) == [
        ["", "adding 6", "noisy(form=b) 9"],
        ["lstm", "3/3", "–"],
        ["gru", "2/3, 1 diverged", "0/3, 2 stale, 1 failed"],
    ]
    assert status.reasons(ROWS) == ["2 stale: changed: gru", "1 failed: no such luck"]
    assert status.counts(ROWS) == "4 ok, 1 diverged, 1 pending, 2 stale, 1 failed"


def test_of_many_reasons_the_first_are_told() -> None:
    rows = [row("gru", "adding", 6, "failed", f"reason {number}") for number in range(status.SHOWN + 3)]
    assert len(status.reasons(rows)) == status.SHOWN + 1
    assert status.reasons(rows)[-1] == "and 3 more reasons; --keys tells each trial's"


@pytest.mark.usefixtures("folder")
def test_a_status_is_a_grid_and_with_keys_a_list() -> None:
    assert said("status", "tiny.toml", *CPU).splitlines() == ["      adding 6", "lstm  2/2", "2 ok"]
    listed = said("status", "tiny.toml", *CPU, "--keys").splitlines()
    assert [line.split()[:2] for line in listed[:-1]] == [[trial.key, "ok"] for trial in work().trials]


def test_a_table_that_is_too_wide_has_its_columns_as_lines(capsys: pytest.CaptureFixture[str]) -> None:
    options.say_table([["", *(f"task {number}" for number in range(20))], ["lstm", *["1/1"] * 20]])
    printed = capsys.readouterr().out.splitlines()
    assert len(printed) == 21
    assert printed[1] == "task 0   1/1"


def test_words_have_colours_on_a_terminal_unless_it_wants_none(monkeypatch: pytest.MonkeyPatch) -> None:
    text = lines.painted("▲ better, 3 ok-ish, 2 ok")
    assert text == f"{typer.style('▲', fg='green')} {typer.style('better', fg='green')}, 3 ok-ish, 2 {typer.style('ok', fg='green')}"

    def printed() -> str:
        return CliRunner().invoke(typer_app(lambda: options.say(text)), [], color=True).output.strip()

    monkeypatch.delenv("NO_COLOR", raising=False)
    assert printed() == text
    monkeypatch.setenv("NO_COLOR", "1")
    assert printed() == click.unstyle(text)


def typer_app(command: object) -> typer.Typer:
    app = typer.Typer()
    app.command()(command)  # type: ignore[type-var]
    return app


def test_what_is_told_of_checks_and_plugins_fits() -> None:
    told = [*said("check", "gaussian_noise").splitlines(), *said("list").splitlines()]
    assert max(map(len, told)) <= lines.COLUMNS
    at = next(place for place, line in enumerate(told) if line.startswith("  gru "))
    assert told[at].split(maxsplit=1)[1] == "Gated recurrent unit: an LSTM with two gates merged and no separate cell state."


def test_a_text_stands_behind_its_head_or_below_it() -> None:
    text = "word " * 30
    assert lines.wrapped("  name  ", text)[1].startswith("        word word")
    assert lines.wrapped("head" * 20, text)[:2] == ["head" * 20, " " * 30 + ("word " * 14).rstrip()]
    assert lines.wrapped("  name  ", "") == ["  name"]


def outlined(text: str, **lists: object) -> str:
    plan = schema.check({"name": "mine", **tomllib.loads(text)}, "mine")
    return outline(plan, schema.Request("mine", **lists))  # type: ignore[arg-type]


PLAN = """
variants = ["lstm", { name = "attention", options = { score = ["dot", "general"] } }]
tasks = [{ name = "adding", lengths = [6, 9] }, { name = "noisy", lengths = [9], options = { form = ["a", "b"] } }]
seeds = [0, 1]
"""


@pytest.mark.parametrize(
    ("lists", "said"),
    [
        ({}, "plan mine: 3 variants, 4 task lengths, 1 learning rate, 2 seeds: 24 trials"),
        ({"variants": "gru,gru", "seeds": (5,)}, "plan mine: 1 variant, 4 task lengths, 1 learning rate, 1 seed: 4 trials"),
        ({"tasks": "Noisy", "seeds": 3}, "plan mine: 3 variants, 2 task lengths, 1 learning rate, 3 seeds: 18 trials"),
        ({"tasks": "copy"}, "plan mine: 3 variants, 1 learning rate, 2 seeds"),  # which lengths it has its plugin says
    ],
    ids=str,
)
def test_a_plan_is_outlined_before_any_plugin_is_imported(lists: dict[str, object], said: str) -> None:
    assert outlined(PLAN, **lists) == said


def test_the_outline_counts_as_planning_does() -> None:
    assert outline(schema.load("smoke"), schema.Request("smoke")).endswith(": 21 trials")


def test_names_of_plans_variants_and_tasks_are_completed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "my.toml").touch()
    (tmp_path / "smoke.txt").touch()
    (tmp_path / "more").mkdir()
    assert completion.plans("sm") == ["smoke"]
    assert completion.plans("m") == ["more/", "my.toml"]
    assert completion.plans(f"{tmp_path}/my") == [f"{tmp_path}/my.toml"]
    assert completion.plans("[m") == completion.plans("../[") == []
    assert completion.variants("lstm,g") == ["lstm,gru"]
    assert "lstm,lstm" not in completion.variants("lstm,")
    assert completion.tasks("no") == ["noisy"]
    assert {"all", "gru", "adding", "gaussian_noise"} <= set(completion.plugins(""))


def test_the_shell_is_told_how_to_complete() -> None:
    environment = {"_SUITE_COMPLETE": "complete_bash", "COMP_WORDS": "suite run smo", "COMP_CWORD": "2"}
    assert CliRunner().invoke(cli.app, [], env=environment, prog_name="suite").output.split() == ["smoke"]


# Watching


@pytest.fixture
def held(folder: Path) -> Path:
    """The store of a run that this process is at, which has one of two trials left to do."""
    store = folder / "runs" / "tiny"
    left = work().trials[1].key
    store.joinpath("trials", f"{left}.json").rename(folder / "kept")
    write(store / HOLDER, dump(Holder(os.getpid(), platform.node(), "2026-01-31 12:00")))
    return store


def test_a_run_is_watched_until_it_ends_and_nothing_is_written(held: Path) -> None:
    views: list[watch.View] = []
    (trial, left) = work().trials

    def sleep(_: float) -> None:
        if len(views) == 2:
            (held.parents[1] / "kept").rename(held / "trials" / f"{left.key}.json")
            (held / HOLDER).unlink()

    before = set(held.rglob("*"))
    last = watch.follow(Path("runs"), "tiny", views.append, sleep)
    assert set(held.rglob("*")) == before - {held / HOLDER} | {held / "trials" / f"{left.key}.json"}
    assert views[0].ended == {trial.cell: "ok"}
    assert list(views[0].lines()) == [
        f"process {os.getpid()} on {platform.node()}, since 2026-01-31 12:00",
        "trials: 1 of 2 done",
        "  ██████████·········· 1/2 lstm",
    ]
    assert list(last.lines())[:2] == ["nobody is at work", "trials: 2 of 2 done"]
    assert (len(views), last.holder) == (3, None)


def test_a_trial_that_is_tried_again_is_looked_at_again(held: Path) -> None:
    trial, left = work().trials
    store, looking = work().store, watch.Looking(work().store)
    store.put(left, Outcome(left.key, "failed", "no luck"), work().machine)
    assert looking.view().ended == {trial.cell: "ok", left.cell: "failed"}
    (held.parents[1] / "kept").rename(held / "trials" / f"{left.key}.json")
    assert looking.view().ended == {trial.cell: "ok", left.cell: "ok"}


def test_a_holder_that_is_gone_holds_nothing(held: Path) -> None:
    write(held / HOLDER, dump(replace(Holder(0, platform.node(), ""), process=2**22 + 1)))
    assert watch.Looking(work().store).view().holder is None
    assert "the run has ended" in said("watch", "tiny.toml")


def test_there_is_nothing_to_watch_where_nothing_was_run(tmp_path: Path) -> None:
    with pytest.raises(SuiteError, match="nothing has been run here"):
        watch.follow(tmp_path, "smoke", list[watch.View]().append)
