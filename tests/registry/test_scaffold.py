"""Checks that what `suite new` writes works and passes its checks as it stands."""

from __future__ import annotations

from pathlib import Path

import pytest

from suite import SuiteError, scaffold

from .running import suite

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("made")
    for kind in scaffold.KINDS:
        told = suite("new", kind, f"my_{kind}", cwd=folder).stdout
        assert f"suite check my_{kind} --path ." in told
    return folder


@pytest.mark.parametrize("kind", scaffold.KINDS)
def test_each_kind_passes_its_checks(kind: str, made: Path) -> None:
    suite("check", f"my_{kind}", "--path", ".", cwd=made)


def test_they_stand_in_a_report(made: Path) -> None:
    plan = made / "mine.toml"
    plan.write_text(
        'variants = ["lstm", "my_variant"]\ntasks = [{ name = "my_task", lengths = [5] }]\n'
        "[matching]\nhidden_size = 6\n[training]\nsteps = 10\nvalidate_every = 5\nevaluation_samples = 32\n"
        '[evaluations]\ncorruptions = ["my_corruption"]\n'
    )
    suite("run", plan, "--path", ".", cwd=made)
    page = (made / "runs" / "mine" / "report" / "index.html").read_text()
    for word in ("my_variant", "my_task", "My section", "Trials that solved their task."):
        assert word in page
    assert "my_corruption" in (made / "runs" / "mine" / "report" / "results.csv").read_text()


def test_a_file_is_never_overwritten(tmp_path: Path) -> None:
    path = scaffold.write("variant", "mine", tmp_path)
    path.write_text("precious")
    with pytest.raises(SuiteError, match="is there already"):
        scaffold.write("variant", "mine", tmp_path)
    assert path.read_text() == "precious"


@pytest.mark.parametrize("name", ["../x", "a,b", "<b>", "Mine", "", "1st", "x" * 41])
def test_a_name_that_cannot_be_one(name: str, tmp_path: Path) -> None:
    with pytest.raises(SuiteError, match="must be lower-case letters"):
        scaffold.write("task", name, tmp_path)
    assert not list(tmp_path.iterdir())


def test_in_a_checkout_no_path_is_needed(tmp_path: Path) -> None:
    told = suite("new", "variant", "mine", "--in", tmp_path, cwd=tmp_path, SUITE_PATH=str(tmp_path)).stdout
    assert "--path" not in told
