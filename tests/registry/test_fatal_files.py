"""Checks on the command line what becomes of files that harm the process that imports them, each beside a healthy one."""

from __future__ import annotations

import pickle
import subprocess
import sys
from pathlib import Path
from textwrap import dedent

import pytest

from suite.execution import carrying, delivery
from suite.execution.executor import UNBOUNDED

from ..running import suite

HEALTHY = """
from suite import Variant, hookimpl
from torch import nn

@hookimpl
def suite_variants():
    yield Variant("innocent", lambda size, hidden: nn.Linear(size, hidden))
"""

LATE = """
import os
from suite import hookimpl

@hookimpl
def suite_measures(corruptions):
    os._exit(0)
    yield
"""

HARMFUL = {
    "closes": ("import os\nos.close(1)\n", "closes the standard streams when imported"),
    "interrupts": ("raise KeyboardInterrupt\n", "raises what interrupts a command when imported"),
    "late": (LATE, "ends its process with exit code 0 when imported"),
    "ends": ("import os\nos._exit(3)\n", "ends its process with exit code 3 when imported"),
}


def folder(root: Path, **files: str) -> Path:
    (root / "plugins").mkdir(parents=True)
    for name, text in files.items():
        (root / "plugins" / f"{name}.py").write_text(dedent(text))
    return root


def test_each_is_named_and_the_healthy_one_is_there(tmp_path: Path) -> None:
    texts = {f"a_{name}": text for name, (text, _) in HARMFUL.items()}
    root = folder(tmp_path / "root", **texts, healthy=HEALTHY)
    for _ in range(2):  # the second time the healthy one is known
        listed = suite("list", "variants", "--path", root, cwd=tmp_path, XDG_CACHE_HOME=str(tmp_path / "cache"))
        assert listed.stdout.count("innocent") == 1
        for name, (_, reason) in HARMFUL.items():
            assert f"{root}/plugins/a_{name}.py: {reason}" in listed.stderr
        assert listed.stderr.count("when imported") == len(HARMFUL)


def test_one_that_wraps_a_stream_anew_is_as_good_as_any(tmp_path: Path) -> None:
    wraps = "import io, sys\nsys.stdout = io.TextIOWrapper(sys.stdout.buffer, encoding='utf-8')\nprint('wrapped')\n"
    root = folder(tmp_path / "root", a_wraps=wraps + HEALTHY.replace("innocent", "wrapping"), prints="print('unharmed')\n" + HEALTHY)
    listed = suite("list", "variants", "--path", root, cwd=tmp_path)
    assert [listed.stdout.count(name) for name in ("innocent", "wrapping")] == [1, 1]
    assert listed.stderr.split() == ["wrapped", "unharmed"]


@pytest.mark.parametrize(
    "harm", ["signal.signal(signal.SIGCHLD, signal.SIG_IGN)", "torch.ones(2_000_000).exp()"], ids=["children", "threads"]
)
def test_a_file_elsewhere_is_tried_before_others_can_harm_it(harm: str, tmp_path: Path) -> None:
    text = f"import signal\nimport torch\n\n{harm}\n" + HEALTHY
    root = folder(tmp_path / "root", first=text.replace("innocent", "first"))
    other = folder(tmp_path / "other", mine=text)
    checked = suite("check", other / "plugins" / "mine.py", "--path", root, cwd=tmp_path, OMP_NUM_THREADS="2", code=1)  # it learns nothing
    assert "when imported" not in checked.stdout


def test_a_file_whose_name_no_module_can_have(tmp_path: Path) -> None:
    root = folder(tmp_path / "root", **{"mine.v2": HEALTHY})
    checked = suite("check", root / "plugins" / "mine.v2.py", cwd=tmp_path, code=1)
    assert "no module can have such a name" in " ".join(checked.stdout.split())


def test_one_that_forks_does_not_double_the_command(tmp_path: Path) -> None:
    forks = "import os, time\nif os.fork() == 0:\n    time.sleep(0.3)\n"
    root = folder(tmp_path / "root", a_forks=forks + HEALTHY.replace("innocent", "twofold"), healthy=HEALTHY)
    listed = suite("list", "variants", "--path", root, cwd=tmp_path)
    assert [listed.stdout.count(name) for name in ("innocent", "twofold")] == [1, 1]


def test_a_file_elsewhere_is_not_blamed_for_the_one_whose_name_it_has(tmp_path: Path) -> None:
    root = folder(tmp_path / "root", mine="import os\nos._exit(3)\n")
    other = folder(tmp_path / "other", mine=HEALTHY)
    checked = suite("check", other / "plugins" / "mine.py", "--path", root, cwd=tmp_path, code=1)
    assert "has the name of" in " ".join(checked.stdout.split())


WHERE = {
    "import": "import os\nif os.environ.get('PRETENDED_BROKEN'):\n    os._exit(5)\n" + HEALTHY,
    "late hook": HEALTHY
    + LATE.replace("os._exit(0)", "os.environ.get('PRETENDED_BROKEN') and os._exit(5)").replace("yield", "yield from ()"),
}
"""Files that end their process only where a variable says so, which no mark knows of."""


@pytest.mark.parametrize("text", WHERE.values(), ids=WHERE)
def test_a_mark_that_misleads_costs_one_command(text: str, tmp_path: Path) -> None:
    root, cache = folder(tmp_path / "root", mine=text), str(tmp_path / "cache")
    suite("list", "variants", "--path", root, cwd=tmp_path, XDG_CACHE_HOME=cache)
    suite("list", "variants", "--path", root, cwd=tmp_path, code=5, XDG_CACHE_HOME=cache, PRETENDED_BROKEN="1")
    listed = suite("list", "variants", "--path", root, cwd=tmp_path, XDG_CACHE_HOME=cache, PRETENDED_BROKEN="1")
    assert "mine.py: ends its process with exit code 5 when imported" in listed.stderr


def test_who_ignores_how_processes_end_is_told_all_the_same(tmp_path: Path) -> None:
    root = folder(tmp_path / "root", mine=HARMFUL["ends"][0])
    command = [sys.executable, "-m", "suite", "list", "variants", "--path", str(root)]
    code = f"import os, signal; signal.signal(signal.SIGCHLD, signal.SIG_IGN); os.execv({command[0]!r}, {command!r})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "mine.py: ends its process with exit code 3 when imported" in done.stderr


def known() -> int:
    """How many files a worker has been told of."""
    from suite import dropins

    return len(dropins.FATAL)


def test_other_machines_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("suite.dropins.FATAL", {"suite.dropins.plugins.mine": "ends its process by SIGSEGV when imported"})
    parcel = carrying.pack(known, (), UNBOUNDED, "cpu", carrying.alike("cpu"))
    monkeypatch.setattr("suite.dropins.FATAL", {})  # as on a machine that the call comes to
    ended = delivery.deliver(parcel, lambda _: None)
    assert ended is not None
    assert ended.answer == pickle.dumps(1)


def test_the_line_that_a_file_does_not_get_past(tmp_path: Path) -> None:
    """Of one that hangs in a function, beside one that raises in a folder with a strange name."""
    hangs = "def deep():\n    while True:\n        pass\n\n\ndef shallow():\n    deep()\n\n\nshallow()\n"
    root = folder(tmp_path / "N[1]", hangs=hangs, raises="\n\nraise ValueError\n")
    code = """
    import sys
    from suite.check.target import resolve
    from suite.registry import forked
    from suite import dropins
    from pathlib import Path

    forked.GUARDED, forked.SECONDS = True, 2
    with dropins.beside(Path(sys.argv[1])):
        print([finding.where for name in ("hangs", "raises") for finding in resolve(name).findings])
    """
    done = subprocess.run([sys.executable, "-c", dedent(code), str(root)], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == str([f"{root}/plugins/hangs.py:2", f"{root}/plugins/raises.py:3"])
