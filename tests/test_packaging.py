"""Builds the suite and the example package, installs them outside any checkout, and uses them there."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import sysconfig
import tarfile
from pathlib import Path

import pytest

import committed
from suite.registry.finder import discover

from .running import UNTRACKED, environment

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = """
[build-system]
requires = ["hatchling"]
build-backend = "hatchling.build"
[project]
name = "mine"
version = "1"
[tool.hatch.build.hooks.custom]
path = "committed.py"
[tool.hatch.build.targets.wheel]
packages = ["plugins"]
"""
EXAMPLE = ROOT / "examples" / "suite-plugin-example"


def call(*words: str | Path, cwd: Path, code: int = 0, **changes: str) -> str:
    done = subprocess.run([*map(str, words)], cwd=cwd, env=environment(**changes), capture_output=True, text=True, timeout=300)
    assert done.returncode == code, f"{words}\n{done.stdout}\n{done.stderr}"
    return done.stdout


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the wheels of both, the suite's made from its source distribution."""
    folder = tmp_path_factory.mktemp("dist")
    call(sys.executable, "-m", "hatchling", "build", "-t", "sdist", "-d", folder, cwd=ROOT, SUITE_BUILD_UNCOMMITTED="1")
    [archive] = folder.glob("*.tar.gz")
    with tarfile.open(archive) as file:
        file.extractall(folder, filter="data")
    call(sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", folder, cwd=folder / archive.name.removesuffix(".tar.gz"))
    call(sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", folder, cwd=EXAMPLE)
    return folder


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A checkout of a package with one plugin, all of it committed."""
    (tmp_path / "plugins").mkdir()
    (tmp_path / "plugins" / "mine.py").write_text("")
    for words in (["init", "-q"], ["add", "."], ["-c", "user.name=a", "-c", "user.email=b", "commit", "-q", "-m", "all"]):
        call("git", *words, cwd=tmp_path)
    return tmp_path


def test_what_is_not_committed_is_not_shipped_unless_it_is_meant(checkout: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(committed.MEANT, raising=False)

    def build(version: str = "standard") -> None:
        committed.CustomBuildHook(str(checkout), {}, None, None, "", "wheel").initialize(version, {})  # type: ignore[arg-type]

    build()
    (checkout / "plugins" / "ünd other.py").write_text("")
    (checkout / "plugins" / "mine.py").write_text("edited = True")
    (checkout / "notes.txt").write_text("")
    with pytest.raises(SystemExit, match=r"^plugins/mine.py, plugins/ünd other.py: not committed; commit or remove"):
        build()
    build("editable")
    monkeypatch.setenv(committed.MEANT, "1")
    build()


def test_what_is_no_checkout_ships_all_that_it_has(tmp_path: Path) -> None:
    assert committed.uncommitted(tmp_path) == []


def test_a_build_of_a_checkout_stops_by_name(checkout: Path) -> None:
    shutil.copy(ROOT / "committed.py", checkout)
    (checkout / "pyproject.toml").write_text(PACKAGE)
    (checkout / "plugins" / "new.py").write_text("")
    done = subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel"],
        cwd=checkout,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode != 0
    assert "plugins/new.py: not committed" in done.stderr


@pytest.fixture(scope="module")
def installed(built: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The programs of an environment with both wheels; what they depend on is borrowed from this one, the checkout is not."""
    folder = tmp_path_factory.mktemp("environment")
    call(sys.executable, "-m", "venv", "--without-pip", folder, cwd=folder)
    [site] = folder.glob("lib/python*/site-packages")
    (site / "borrowed.pth").write_text(sysconfig.get_paths()["purelib"] + "\n")
    pip(folder, "install", "--no-deps", "--no-index", *sorted(map(str, built.glob("*.whl"))))
    return folder / "bin"


def pip(folder: Path, *words: str) -> None:
    call(sys.executable, "-m", "pip", "--python", folder / "bin" / "python", "-q", *words, cwd=folder)


def names(installed: Path, cwd: Path) -> dict[str, set[str]]:
    found = json.loads(call(installed / "suite", "list", "--json", cwd=cwd))
    return {kind: {row["name"] for row in rows} for kind, rows in found.items()}


def test_the_installed_suite_is_whole_and_finds_the_example(installed: Path, tmp_path: Path) -> None:
    where = call(installed / "python", "-c", "import suite; print(suite.__file__)", cwd=tmp_path)
    assert str(ROOT) not in where
    found = names(installed, tmp_path)
    here = discover()
    for kind in ("variants", "tasks", "corruptions", "sections"):
        assert found[kind] >= set(getattr(here, kind)) > set()
    assert "mgu" in found["variants"]
    assert "first_sign" in found["tasks"]
    assert "parameters" in found["sections"]
    done = call(
        installed / "suite",
        "run",
        "smoke",
        "--variants",
        "lstm,mgu",
        "--tasks",
        "first_sign,adding",
        "--device",
        "cpu",
        *UNTRACKED,
        cwd=tmp_path,
    )
    assert "report written" in done
    page = (tmp_path / "runs" / "smoke" / "report" / "index.html").read_text()
    assert "Trainable parameters, readout included." in page
    record = next(
        json.loads(path.read_text())
        for path in (tmp_path / "runs" / "smoke" / "trials").glob("*.json")
        if json.loads(path.read_text())["trial"]["variant"]["name"] == "mgu"
    )
    assert record["trial"]["sources"]["distribution suite-plugin-example"] == "1.0"


@pytest.mark.slow
def test_the_examples_own_tests_pass(installed: Path, tmp_path: Path) -> None:
    call(
        installed / "python",
        "-m",
        "pytest",
        "-q",
        "-c",
        EXAMPLE / "pyproject.toml",
        "-p",
        "no:cacheprovider",
        EXAMPLE / "tests",
        cwd=tmp_path,
    )


def test_the_package_is_checked_by_its_name(installed: Path, tmp_path: Path) -> None:
    told = call(installed / "suite", "check", "suite-plugin-example", cwd=tmp_path)
    for name in ("variant mgu", "task first_sign", "section parameters"):
        assert name in told


def test_uninstalled_it_vanishes(installed: Path, tmp_path: Path) -> None:
    pip(installed.parent, "uninstall", "-y", "suite-plugin-example")
    found = names(installed, tmp_path)
    assert "mgu" not in found["variants"]
    assert "first_sign" not in found["tasks"]
    assert "parameters" not in found["sections"]
