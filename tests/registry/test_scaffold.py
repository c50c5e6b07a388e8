"""Checks that what `suite new` writes works and passes its checks as it stands."""

from __future__ import annotations

import ast
import shlex
from pathlib import Path

import pytest

from suite import SuiteError
from suite.registry import scaffold

from ..running import suite


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("made")
    for kind in scaffold.KINDS:
        printed = suite("new", kind, f"my_{kind}", cwd=folder).stdout
        assert f"suite check my_{kind} --path ." in printed
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
    for text in ("my_variant", "my_task", "My section", "Trials that solved their task."):
        assert text in page
    assert "my_corruption" in (made / "runs" / "mine" / "report" / "results.csv").read_text()


def test_a_file_is_never_overwritten(tmp_path: Path) -> None:
    path = scaffold.write("variant", "mine", tmp_path)
    path.write_text("precious")
    for name in ("mine", "Mine", "MINE"):
        with pytest.raises(SuiteError, match="is there already"):
            scaffold.write("variant", name, tmp_path)
    assert path.read_text() == "precious"


@pytest.mark.parametrize("name", ["../x", "a,b", "<b>", "", "1st", "x" * 41, "a b"])
def test_a_name_that_cannot_be_one(name: str, tmp_path: Path) -> None:
    with pytest.raises(SuiteError, match="must be letters, digits"):
        scaffold.write("task", name, tmp_path)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["random", "Copy", "class"])
def test_a_file_is_not_called_like_a_module_of_python(name: str, tmp_path: Path) -> None:
    with pytest.raises(SuiteError, match="choose another name"):
        scaffold.write("task", name, tmp_path)
    assert not list(tmp_path.iterdir())


def test_a_file_is_not_called_like_one_in_another_root(tmp_path: Path) -> None:
    with pytest.raises(SuiteError, match=r"plugins/lstm\.py: is there already"):
        scaffold.write("variant", "LSTM", tmp_path)


@pytest.mark.parametrize(
    ("name", "file", "class_name"),
    [
        ("My-Net.2", "my_net_2.py", "MyNet2"),
        ("myNet", "mynet.py", "MyNet"),
        ("CLASS-NAME", "class_name.py", "CLASSNAME"),
        ("tensor", "tensor.py", "TensorNetwork"),
    ],
)
def test_a_name_becomes_a_file_and_a_class(name: str, file: str, class_name: str, tmp_path: Path) -> None:
    path = scaffold.write("variant", name, tmp_path)
    text = path.read_text()
    assert path == tmp_path / "plugins" / file
    assert [node.name for node in ast.parse(text).body if isinstance(node, ast.ClassDef)] == [class_name]
    assert f'Variant("{name}", {class_name},' in text


def test_the_command_says_what_comes_next_and_it_works(tmp_path: Path) -> None:
    first, second = suite("new", "variant", "My-Net.2", cwd=tmp_path).stdout.splitlines()
    assert first == "plugins/my_net_2.py"
    command = second.removeprefix("edit it, then: ").partition(";")[0]
    assert command == "suite check My-Net.2 --path ."
    printed = suite(*shlex.split(command.lower())[1:], cwd=tmp_path).stdout  # whatever the case of the letters
    assert printed.startswith("variant My-Net.2\n")


def test_in_a_checkout_no_path_is_needed(tmp_path: Path) -> None:
    printed = suite("new", "variant", "mine", "--in", tmp_path, cwd=tmp_path, SUITE_PATH=str(tmp_path)).stdout
    assert "--path" not in printed
