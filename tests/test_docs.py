"""Runs what the documentation shows, and keeps the reference of hooks true."""

from __future__ import annotations

import importlib.util
import inspect
import os
import re
import shlex
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from pydantic import BaseModel

import suite as suite_package
from suite.execution.choosing import chosen
from suite.plan import schema
from suite.plan.schema import check
from suite.plan.trials import variants_of
from suite.registry import hookspecs
from suite.registry.finder import discover
from suite.registry.registry import HOOKS
from suite.store.files import load
from suite.store.store import StoredTrial

from .reference import TABLES, api_page, meanings, plan_keys
from .rooms import ORDER, diagram
from .running import environment, suite

ROOT = Path(__file__).resolve().parents[1]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
BLOCK = re.compile(r"^```(\w+)(?: (\S+))?\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def blocks(page: Path) -> list[tuple[str, str, str]]:
    return BLOCK.findall(page.read_text())


def hooks_page() -> str:
    """The reference of hooks, from their specifications."""
    lines = [
        "# Hooks",
        "",
        "Every hook a plugin may implement, in the order of a run, from `suite/registry/hookspecs.py`. Mark the function with",
        "`@suite.hookimpl`, and take those of the arguments you need. The nouns are dataclasses of `suite/spec.py`, and what a run tells of",
        "are those of `suite/trial.py`; their docstrings give shapes and meaning.",
        "",
        "The hooks that yield nouns are called when plugins are found. The others tell of a run, in the parent process: what one raises is",
        "noted, shown at the end, and harms nobody. pluggy calls them, so that `tryfirst`, `trylast` and `wrapper` mean what they mean there.",
    ]
    for name, hook in vars(hookspecs).items():
        if name.startswith("suite_"):
            lines += ["", f"## `{name}{inspect.signature(hook)}`".replace("'", ""), "", inspect.getdoc(hook) or ""]
    return "\n".join(lines) + "\n"


def test_the_reference_of_hooks_is_true() -> None:
    page = ROOT / "docs" / "hooks.md"
    if os.environ.get("WRITE_DOCS"):
        page.write_text(hooks_page())
    assert page.read_text() == hooks_page(), "run WRITE_DOCS=1 pytest tests/test_docs.py"


def test_the_picture_of_the_rooms_is_true() -> None:
    page = ROOT / "docs" / "architecture.md"
    before, _, rest = page.read_text().partition("<!-- rooms -->\n")
    drawn, _, after = rest.partition("<!-- /rooms -->")
    if os.environ.get("WRITE_DOCS"):
        page.write_text(f"{before}<!-- rooms -->\n{diagram()}\n<!-- /rooms -->{after}")
        drawn = f"{diagram()}\n"
    assert drawn == f"{diagram()}\n", "run WRITE_DOCS=1 pytest tests/test_docs.py"


def written(page: Path, text: str) -> None:
    """Check that a generated page is what its sources say, or write it where that is asked for."""
    if os.environ.get("WRITE_DOCS"):
        page.write_text(text)
    assert page.read_text() == text, "run WRITE_DOCS=1 pytest tests/test_docs.py"


def test_the_site_draws_the_picture_of_the_rooms() -> None:
    spec = importlib.util.spec_from_file_location("flowchart", ROOT / "docs" / "_flowchart.py")
    assert spec is not None
    assert spec.loader is not None
    flowchart = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = flowchart  # where its dataclass looks for its own names
    spec.loader.exec_module(flowchart)
    page = flowchart.on_page_markdown((ROOT / "docs" / "architecture.md").read_text())
    assert "mermaid" not in page
    picture = page.partition("<svg")[2].partition("</svg>")[0]
    assert all(f">{name}" in picture for name in ORDER[1:])
    assert picture.count(" → ") == diagram().count(" --> ")
    with pytest.raises(ValueError, match="neither a node nor an arrow"):
        flowchart.drawing("a -.-> b\n")


def test_the_reference_of_plans_has_every_key() -> None:
    page = ROOT / "docs" / "plans.md"
    before, _, rest = page.read_text().partition("<!-- keys -->\n")
    written(page, f"{before}<!-- keys -->\n{chr(10).join(plan_keys())}\n\n<!-- /keys -->{rest.partition('<!-- /keys -->')[2]}")


@pytest.mark.parametrize("model", TABLES.values(), ids=lambda model: model.__name__)
def test_every_key_of_a_plan_has_a_meaning(model: type[BaseModel]) -> None:
    assert set(meanings(model)) == set(model.model_fields)
    inner = [field.annotation for field in model.model_fields.values() if isinstance(field.annotation, type)]
    assert {kind for kind in inner if issubclass(kind, BaseModel)} <= set(TABLES.values())


def test_the_plan_of_the_reference_is_one() -> None:
    [text] = [text for kind, _, text in blocks(ROOT / "docs" / "plans.md") if kind == "toml"]
    plan = check(tomllib.loads(text), "docs/plans.md")
    assert len(variants_of(plan, discover())) == 4


def test_the_reference_of_pythons_names_is_true() -> None:
    text = "\n".join(api_page()) + "\n"
    written(ROOT / "docs" / "api.md", text)
    assert all(f"\n## `suite.{name}`\n" in text for name in suite_package.__all__)
    assert "```text\n\n```" not in text, "a name without a word on it"


def test_every_room_is_described() -> None:
    text = (ROOT / "docs" / "architecture.md").read_text()
    for room in ORDER[1:]:
        assert f"| `{room}/" in text or f"`{room}.py`" in text or f"`{room}/`" in text, room


def test_the_tutorial_runs(tmp_path: Path) -> None:
    """Each file is written and each command run, in the page's order, in a folder that is a root of its own."""
    for kind, name, text in blocks(ROOT / "docs" / "plugins.md"):
        if kind == "python":
            (tmp_path / name).parent.mkdir(exist_ok=True)
            (tmp_path / name).write_text(text)
            if any(f"def {hook}()" in text for hook in HOOKS):
                suite("check", name, "--path", ".", cwd=tmp_path)
            assert suite("list", "--path", ".", cwd=tmp_path).stderr == ""
        for line in text.splitlines() if kind == "sh" else []:
            suite(*shlex.split(line)[1:], "--path", ".", cwd=tmp_path)
    suite("report", "smoke", "--all", "--path", ".", cwd=tmp_path)
    assert "mine" in (tmp_path / "runs" / "smoke" / "report" / "index.html").read_text()
    assert (tmp_path / "trials.txt").read_text().startswith("leaky | adding | 10 | 0 | 0.01: ok")


def commands(page: Path) -> list[list[str]]:
    """The `suite` commands of a page, in words."""
    lines = [line for kind, _, text in blocks(page) if kind == "sh" for line in text.splitlines()]
    return [shlex.split(line)[1:] for line in lines if line.startswith("suite ")]


EXECUTED = [words for words in commands(ROOT / "docs" / "scale.md") if "--executor" in words]


@pytest.mark.parametrize("words", EXECUTED, ids=" ".join)
def test_executors_that_are_shown_are_there_with_their_options(words: list[str]) -> None:
    plan = schema.limited(schema.load(words[1]), words[words.index("--executor") + 1])
    assert chosen(plan.executor, discover()).noun.name in {"ray", "slurm"}


@pytest.mark.slow
@pytest.mark.parametrize(("package", "number"), [("ray", 1), ("submitit", 2)])
def test_the_way_to_a_cluster_runs_on_this_machine(tmp_path: Path, package: str, number: int) -> None:
    pytest.importorskip(package, reason=f"the package {package} is not installed")
    here = [words for words in commands(ROOT / "docs" / "scale.md") if "smoke" in words]
    assert ["--executor" in words for words in here] == [False, True, True]
    for words in (here[0], here[number]):
        suite(*words, cwd=tmp_path)
    (tmp_path / "runs").rename(tmp_path / "before")
    done = suite(*here[number], cwd=tmp_path)
    assert "nothing has changed" not in done.stdout
    trials = [
        {path.name: load(path, StoredTrial, "") for path in (tmp_path / runs / "smoke/trials").iterdir()} for runs in ("before", "runs")
    ]
    first, second = ({name: trial.learning for name, trial in each.items() if trial} for each in trials)
    assert first
    assert first == second


PYTHON = [
    (page.name, text)
    for page in (ROOT / "README.md", ROOT / "docs" / "python.md")
    for kind, name, text in blocks(page)
    if kind == "python" and not name
]


@pytest.mark.parametrize("text", [text for _, text in PYTHON], ids=[name for name, _ in PYTHON])
def test_python_in_the_documentation_runs(text: str, tmp_path: Path) -> None:
    done = subprocess.run([sys.executable, "-c", text], cwd=tmp_path, env=environment(), capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr


WHOLE = [
    (name, text)
    for page in (ROOT / "README.md", ROOT / "docs" / "dropout.md")
    for kind, name, text in blocks(page)
    if kind == "python" and name
]
"""Variants that pages show whole, beside those of the tutorial."""


@pytest.mark.parametrize(("name", "text"), WHOLE, ids=[name for name, _ in WHOLE])
def test_the_variant_in_the_documentation_passes_its_checks(name: str, text: str, tmp_path: Path) -> None:
    (tmp_path / name).parent.mkdir()
    (tmp_path / name).write_text(text)
    suite("check", name, "--path", ".", cwd=tmp_path)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\((?!https?:)([^)#]+)\)", page.read_text()):
        assert (page.parent / target).exists(), target
