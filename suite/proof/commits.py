"""Runs a plan under the code of a commit, in a worktree that is gone afterwards; its store stays in the runs folder, by commit."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from ..errors import SuiteError
from ..plan import schema
from ..store.store import Store

FOLDER = ".commits"
"""Where stores of commits lie in a runs folder; no plan can have this name."""

SHORT = 12
"""So many letters of a commit's hash are shown."""

NAMED = 5
"""So many files with changes are named."""

PATHS = ("PYTHONPATH", "SUITE_PATH")
"""Variables that hold folders of code, whose state at the commit is meant where they lie in the checkout."""

ELSEWHERE = ("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_COMMON_DIR", "GIT_OBJECT_DIRECTORY", "GIT_PREFIX")
"""Variables that lead git to another repository than the folder's, as they stand where a hook of git runs."""

ENDING_SECONDS = 30.0
"""So long a run that was interrupted has to end."""

ENDS = (0, 1)
"""How a run ends that was carried out: with 1 where a trial did not end well, which the comparison names."""


@dataclass(frozen=True)
class Commit:
    """A commit, as it was named, by its hash, and the folder of the checkout that it belongs to."""

    name: str
    hash: str
    checkout: Path

    def __str__(self) -> str:
        return f"{self.name} ({self.hash[:SHORT]})"


def is_commit(name: str) -> bool:
    """Whether the working directory lies in a checkout that has a commit of this name."""
    try:
        commit_of(name)
    except SuiteError:
        return False
    return True


def commit_of(name: str) -> Commit:
    """The commit of this name in the checkout that the working directory lies in.

    Raises SuiteError where there is no checkout, or no such commit in it.
    """
    checkout = _checkout(name)
    try:
        return Commit(name, _git(checkout, "rev-parse", "--verify", "--quiet", f"{name}^{{commit}}"), checkout)
    except subprocess.CalledProcessError:
        shallow = _git(checkout, "rev-parse", "--is-shallow-repository") == "true"
        cure = "it is a shallow clone, which `git fetch --unshallow` completes" if shallow else "`git log` lists those that it has"
        raise SuiteError(f"{name}: is no folder, archive or plan that was run, and no commit of {checkout}; {cure}") from None


def uncommitted() -> str:
    """Which changes in the checkout belong to no commit, new files of Python included, in a sentence; empty where there are none."""
    checkout = _checkout("HEAD")
    lines = _git(checkout, "status", "--porcelain", "--untracked-files=all").splitlines()
    paths = [line[3:] for line in lines if not line.startswith("??") or line.rstrip('"').endswith(".py")]
    if not paths:
        return ""
    more = f" and {len(paths) - NAMED} more" if len(paths) > NAMED else ""
    return f"{checkout}: {', '.join(paths[:NAMED])}{more} changed since the last commit, which no commit that is compared has"


def ran(commit: Commit, plan: str, runs: Path) -> Store:
    """The store of a plan under the code of a commit, after doing what it lacks.

    A plan that is a file is taken as it stands, whatever the commit; a packaged one is the commit's own.

    Raises SuiteError where the commit has no such plan, has nothing that a run would use, or its run breaks off.
    """
    name = schema.load(plan).name
    asked = plan if plan in schema.packaged() else str(Path(plan).resolve())
    store = Store(runs / FOLDER / commit.hash, name)
    with _worktree(commit) as tree:
        own = (tree / "suite" / "__init__.py").is_file()
        if not (own or _moved(os.environ.get("SUITE_PATH", ""), commit.checkout, tree)[1]):
            raise SuiteError(
                f"{commit}: holds no suite, and no --path lies in {commit.checkout}, so that a run would use nothing of the commit"
            )
        words = ["run", asked, "--runs", str(store.folder.parent), "--listen", "track=false"]
        code, reason = _run(words, tree, _environment(commit.checkout, tree, own))
    if code not in ENDS or store.ledger() is None:
        raise SuiteError(f"{commit}: the run of {plan} ended with {code}{f': {reason}' if reason else ''}")
    return store


def _checkout(name: str) -> Path:
    """The folder of the checkout that the working directory lies in.

    Raises SuiteError where it lies in none.
    """
    try:
        return Path(_git(Path.cwd(), "rev-parse", "--show-toplevel"))
    except subprocess.CalledProcessError:
        raise SuiteError(
            f"{name}: is no folder, archive or plan that was run, and {Path.cwd()} is no git checkout, in which it could be a commit"
        ) from None


def _git(folder: Path, *words: str) -> str:
    """What git answers of the repository of a folder.

    Raises SuiteError where there is no git, and CalledProcessError where it refuses.
    """
    try:
        done = subprocess.run(["git", "-C", str(folder), *words], capture_output=True, text=True, check=True, env=_surroundings())
    except FileNotFoundError:
        raise SuiteError("git is not installed here, so that no commit can be compared") from None
    return done.stdout.removesuffix("\n")


def _surroundings() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if name not in ELSEWHERE}


@contextlib.contextmanager
def _worktree(commit: Commit) -> Iterator[Path]:
    """The files of the commit in a folder of their own, while this lasts; no hook of the repository is run.

    Raises SuiteError where they cannot be written.
    """
    with tempfile.TemporaryDirectory(prefix="suite-") as folder:
        tree = Path(folder).resolve() / commit.checkout.name
        try:
            _git(commit.checkout, "-c", f"core.hooksPath={os.devnull}", "worktree", "add", "--quiet", "--detach", str(tree), commit.hash)
            yield tree
        except subprocess.CalledProcessError as error:
            raise SuiteError(f"{commit}: cannot be checked out: {' '.join(error.stderr.split())}") from None
        finally:
            if tree.exists():
                try:
                    _git(commit.checkout, "worktree", "remove", "--force", "--force", str(tree))
                except subprocess.CalledProcessError as error:
                    why = " ".join(error.stderr.split())
                    warnings.warn(f"{tree}: could not be removed ({why}); `git worktree prune` forgets it", stacklevel=2)


def _environment(checkout: Path, tree: Path, own: bool) -> dict[str, str]:
    """The environment of a run under the code of a commit.

    own: whether the commit has a suite, which then is the one that runs
    """
    moved = {name: _moved(os.environ.get(name, ""), checkout, tree)[0] for name in PATHS}
    if own:
        moved["PYTHONPATH"] = os.pathsep.join(filter(None, [str(tree), moved["PYTHONPATH"]]))
    return {**_surroundings(), **{name: value for name, value in moved.items() if value}}


def _moved(folders: str, checkout: Path, tree: Path) -> tuple[str, bool]:
    """Folders as a variable lists them, those in the checkout as they are in the commit, and whether there are any of these."""
    resolved = [Path(entry).resolve() for entry in folders.split(os.pathsep) if entry]
    moved = [tree / folder.relative_to(checkout) if folder.is_relative_to(checkout) else folder for folder in resolved]
    return os.pathsep.join(map(str, moved)), moved != resolved


def _run(words: list[str], tree: Path, environment: Mapping[str, str]) -> tuple[int, str]:
    """Run the command in a worktree and show on stderr what it says; how it ended, and its last word where that is an error.

    It has a session of its own, so that an interruption reaches it once, by way of this process, which waits until it has ended.
    """
    command = [sys.executable, "-m", "suite", *words]
    reason = ""
    with subprocess.Popen(
        command, cwd=tree, env=environment, stdin=subprocess.DEVNULL, stdout=2, stderr=subprocess.PIPE, text=True, start_new_session=True
    ) as process:
        assert process.stderr is not None
        try:
            for line in process.stderr:
                sys.stderr.write(line)
                reason = line.removeprefix("error: ").strip() if line.startswith("error: ") else reason
        except BaseException:
            _end(process)
            raise
    return process.returncode, reason


def _end(process: subprocess.Popen[str]) -> None:
    """Interrupt a run and wait until it has ended, which lets it keep its trainings; one that does not is killed."""
    process.terminate()
    try:
        process.communicate(timeout=ENDING_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()
