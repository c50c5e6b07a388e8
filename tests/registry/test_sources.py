"""Checks which imports count for a module's behaviour."""

from __future__ import annotations

import ast
from textwrap import dedent

import pytest

from suite.registry import sources


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("import a, b.c", {"a", "b.c"}),
        ("from .x import y", {"home.x", "home.x.y"}),
        ("from . import y", {"home", "home.y"}),
        ("from ..up import z", {"up", "up.z"}),
        ("def f():\n    if True:\n        import a\n    else:\n        import b", {"a", "b"}),
        ("try:\n    import a\nexcept ImportError:\n    import b\nelse:\n    import c\nfinally:\n    import d", {"a", "b", "c", "d"}),
        ("match 1:\n    case 1:\n        import a", {"a"}),
        ("class A:\n    with open(''):\n        import a", {"a"}),
        ("if TYPE_CHECKING:\n    import a\nelse:\n    import b", {"b"}),
        ("import typing\nif typing.TYPE_CHECKING:\n    import a", {"typing"}),
    ],
)
def test_every_import_that_runs_is_seen(text: str, wanted: set[str]) -> None:
    package = "home" if ".." not in text else "home.inner"
    resolved = {name.removeprefix("home.") if ".." in text else name for name in sources._imports(ast.parse(dedent(text)).body, package)}
    assert resolved == wanted


def test_training_rests_on_what_it_imports_and_on_nothing_above_it() -> None:
    modules = {name.removeprefix("suite.") for name in sources.harness_sources("training.trainer")}
    assert {"training.trainer", "training.model", "training.data", "ops.scan", "ops.vendor", "ops.engines", "spec", "trial"} <= modules
    assert not {name.partition(".")[0] for name in modules} & {
        "report",
        "store",
        "execution",
        "listeners",
        "plan",
        "registry",
        "check",
        "api",
    }
