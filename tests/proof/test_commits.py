"""Checks that commits are compared by runs under their own code, which the user's checkout never notices."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from suite import SuiteError
from suite.check.imagined import even, fill
from suite.proof import commits, sides
from suite.store.store import Store

from ..running import suite
from ..test_keeping import said

PLAN = """
name = "tiny"
variants = ["lstm", "mine"]
tasks = [{ name = "adding", lengths = [4] }]
seeds = [0, 1]
[matching]
hidden_size = 4
[training]
learning_rates = [0.01]
steps = 10
validate_every = 10
evaluation_samples = 32
[evaluations]
lengths = []
corruptions = []
[timing]
lengths = []
"""

MINE = """
import torch
from suite import Variant, hookimpl


class Mine(torch.nn.Module):
    def __init__(self, input_size, hidden_size):
        super().__init__()
        self.inner = torch.nn.RNN(input_size, hidden_size, batch_first=True, nonlinearity="tanh")

    def forward(self, x):  # (B, T, D) -> (B, T, H)
        return self.inner(x)[0]


@hookimpl
def suite_variants():
    yield Variant("mine", Mine)
"""

STUB = """
import pathlib, shutil, sys

words = sys.argv[1:]
here = pathlib.Path(__file__).parents[1]
store = pathlib.Path(words[words.index("--runs") + 1]) / "synthetic"
if not store.exists():
    shutil.copytree(here / "synthetic", store)
{ending}
"""
"""A suite that copies a store in place of a run."""


def git(folder: Path, *words: str) -> str:
    options = ["-c", "user.name=a", "-c", "user.email=a@b", "-c", "commit.gpgsign=false", "-c", "init.defaultBranch=main"]
    known = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    done = subprocess.run(["git", "-C", str(folder), *options, *words], capture_output=True, text=True, check=True, env=known)
    return done.stdout.strip()


def commit(folder: Path, message: str = "x") -> str:
    git(folder, "add", "--all")
    git(folder, "commit", "--quiet", "--allow-empty", "--message", message)
    return git(folder, "rev-parse", "HEAD")


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A repository with one commit, which is the working directory."""
    folder = tmp_path / "work"
    folder.mkdir()
    git(folder, "init", "--quiet")
    (folder / ".gitignore").write_text("runs/\n")
    commit(folder)
    monkeypatch.chdir(folder)
    return folder


def stub(folder: Path, ending: str = "") -> str:
    """Commit a suite that has an imagined store in place of its runs."""
    (folder / "suite").mkdir(exist_ok=True)
    (folder / "suite" / "__init__.py").touch()
    (folder / "suite" / "__main__.py").write_text(STUB.format(ending=ending))
    if not (folder / "synthetic").exists():
        fill(folder, even, variants=["lstm", "gru"], tasks=["adding"], lengths=[10])
        (folder / "synthetic.toml").write_text(PLAN.replace("tiny", "synthetic"))
    return commit(folder)


def state(checkout: Path) -> tuple[str, ...]:
    """All that a comparison must leave as it is: files, index, branches, worktrees."""
    return tuple(git(checkout, *words) for words in (("status", "--porcelain"), ("for-each-ref",), ("worktree", "list"), ("stash", "list")))


def test_two_commits_are_compared_and_trained_once(checkout: Path) -> None:
    (checkout / "plugins").mkdir()
    (checkout / "plugins" / "mine.py").write_text(MINE)
    first = commit(checkout)
    (checkout / "plugins" / "mine.py").write_text(MINE.replace("tanh", "relu"))
    second = commit(checkout)
    (checkout / "tiny.toml").write_text(PLAN)  # in no commit: a plan that is a file is taken as it stands
    before = state(checkout)
    words = ("compare", "HEAD~1", "HEAD", "--plan", "tiny.toml", "--path", ".", "--out", str(checkout.parent / "comparison"))
    done = suite(*words, cwd=checkout)
    assert f"HEAD~1 ({first[:12]})" in done.stdout
    assert "4 to do" in done.stderr
    assert "suite.dropins.plugins.mine (" in done.stdout
    assert "suite.dropins.plugins.lstm (" not in done.stdout
    assert state(checkout) == before
    trials = [set(Store(checkout / "runs" / commits.FOLDER / each, "tiny").keys("trials")) for each in (first, second)]
    assert len(trials[0] & trials[1]) == 2
    assert len(trials[0] | trials[1]) == 6
    again = suite(*words, cwd=checkout)
    assert again.stdout == done.stdout
    assert "4 to do" not in again.stderr


def test_the_suite_that_runs_is_the_commit_s_own(checkout: Path) -> None:
    revision = stub(checkout)
    with sides.opened("HEAD", checkout / "runs", "synthetic.toml") as side:
        assert side.name == f"HEAD ({revision[:12]})"
        assert side.store.folder == checkout / "runs" / commits.FOLDER / revision / "synthetic"
        assert len(side.results.trials) == 4


def test_a_commit_is_compared_with_a_store(checkout: Path) -> None:
    stub(checkout)
    assert "Nothing changed" in said("compare", "HEAD", "./synthetic", "--plan", "synthetic.toml")


def test_trials_that_did_not_end_well_are_compared_all_the_same(checkout: Path) -> None:
    stub(checkout, "sys.exit(1)")
    with sides.opened("HEAD", checkout / "runs", "synthetic.toml") as side:
        assert len(side.results.trials) == 4


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("HEAD", "nowhere", "--plan", "smoke"), "nowhere: is no folder, archive or plan that was run, and no commit of .*; `git log`"),
        (("HEAD", "HEAD"), "HEAD: is a commit; say with --plan what is to be run under its code"),
        (("HEAD", "HEAD", "--plan", "nothing.toml"), "nothing.toml"),
        (("HEAD", "HEAD", "--plan", "smoke"), r"HEAD \(\w{12}\): holds no suite, and no --path lies in"),
        (("smoke", "quick", "--plan", "smoke"), "--plan smoke: is run under commits, and neither smoke nor quick is one"),
        (("smoke", "HEAD", "--plan", "smoke"), "smoke: is a commit, and a folder, file or plan, too; name the commit as smoke\\^0"),
    ],
)
def test_what_cannot_be_compared_is_said(checkout: Path, words: tuple[str, ...], message: str) -> None:
    if words[0] == "smoke" and "HEAD" in words:
        git(checkout, "branch", "smoke")
    before = state(checkout)
    with pytest.raises(SuiteError, match=message):
        said("compare", *words)
    assert state(checkout) == before


def test_a_commit_that_lacks_the_plan_says_so(checkout: Path) -> None:
    stub(checkout, "print('error: there is no plan', words[1], file=sys.stderr); sys.exit(2)")
    before = state(checkout)
    with pytest.raises(SuiteError, match=r"HEAD \(\w{12}\): the run of smoke ended with 2: there is no plan smoke"):
        said("compare", "HEAD", "HEAD", "--plan", "smoke")
    assert state(checkout) == before


def test_an_interruption_leaves_no_worktree(checkout: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stub(checkout)
    before = state(checkout)

    def interrupted(words: list[str], tree: Path, environment: Mapping[str, str]) -> tuple[int, str]:
        assert words[:1] == ["run"]
        assert (tree / "suite" / "__main__.py").is_file()
        assert environment["PYTHONPATH"].split(os.pathsep)[0] == str(tree)
        raise KeyboardInterrupt

    monkeypatch.setattr(commits, "_run", interrupted)
    with pytest.raises(KeyboardInterrupt):
        commits.ran(commits.commit_of("HEAD"), "synthetic.toml", checkout / "runs")
    assert state(checkout) == before


def test_outside_a_checkout_it_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SuiteError, match=r"HEAD: is no folder, archive or plan that was run, and .* is no git checkout"):
        said("compare", "HEAD", "HEAD", "--plan", "smoke")


def test_changes_that_no_commit_has_are_named(checkout: Path) -> None:
    assert commits.uncommitted() == ""
    (checkout / ".gitignore").write_text("")
    (checkout / "new.py").touch()
    (checkout / "notes.txt").touch()
    assert commits.uncommitted() == (f"{checkout}: .gitignore, new.py changed since the last commit, which no commit that is compared has")


def test_what_git_says_in_a_hook_leads_to_no_other_repository(checkout: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GIT_DIR", "/nowhere")
    monkeypatch.setenv("GIT_INDEX_FILE", "/nowhere/index")
    assert commits.commit_of("HEAD").checkout == checkout


SLOW_TO_END = """
import pathlib, signal, sys, time


def end(*_):
    print("so much that nobody reads\\n" * 10_000, file=sys.stderr)
    time.sleep(1)
    pathlib.Path("ended").touch()
    sys.exit(130)


signal.signal(signal.SIGTERM, end)
print("begun", file=sys.stderr, flush=True)
time.sleep(60)
"""


def test_an_interruption_waits_until_the_run_has_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Interrupting:
        def write(self, _text: str) -> None:
            raise KeyboardInterrupt

    (tmp_path / "suite").mkdir()
    (tmp_path / "suite" / "__init__.py").touch()
    (tmp_path / "suite" / "__main__.py").write_text(SLOW_TO_END)
    with monkeypatch.context() as patched:
        patched.setattr(sys, "stderr", Interrupting())
        with pytest.raises(KeyboardInterrupt):
            commits._run([], tmp_path, {**os.environ, "PYTHONPATH": str(tmp_path)})
    assert (tmp_path / "ended").exists()
