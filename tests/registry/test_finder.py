"""Checks that drop-ins are found wherever they lie, and that a broken one is named, explained and stops no other."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest

from suite import SuiteError
from suite.registry import registry, sources
from suite.registry.finder import discover

GOOD = """
from suite import Variant, hookimpl
from torch import nn
{imports}
@hookimpl
def suite_variants():
    yield Variant("{name}", nn.Linear)
"""


def good(name: str, imports: str = "") -> str:
    return GOOD.format(name=name, imports=imports)


ONE = {
    "plugins/good.py": good("good", "from ._helper import answer"),
    "plugins/_helper.py": "from . import _deeper\nanswer = 42\n",
    "plugins/_deeper.py": "depth = 1\n",
    "plugins/_unrelated.py": "nothing = 0\n",
    "plugins/lazy.py": good("lazy", "def build(): from ._late import answer; return answer\n"),
    "plugins/_late.py": "answer = 43\n",
    "plugins/syntax.py": "def broken(:\n",
    "plugins/missing.py": "import a_package_that_is_not_there\n",
    "plugins/exits.py": "import sys\nsys.exit(3)\n",
    "plugins/ends.py": "import os\nprint('my last words')\nos._exit(0)\n",
    "plugins/falls.py": good("falls").replace("    yield", "    import ctypes; ctypes.string_at(0)\n    yield"),
    "plugins/bare.py": good("bare").replace("@hookimpl\n", ""),
    "plugins/empty.py": "",
    "plugins/typo.py": good("typo").replace("suite_variants", "suite_varients"),
    "plugins/wrong_kind.py": good("wrong_kind").replace("yield Variant", "yield ").replace(", nn.Linear", ""),
    "plugins/no_value.py": good("no_value").replace("yield", "if False: yield"),
    "plugins/not_yielded.py": good("not_yielded").replace("yield", "return"),
    "plugins/bad_name.py": good("bad name"),
    "plugins/same_noun.py": good("GRU"),
    "plugins/gru.py": good("another"),
    "plugins/raises.py": good("half_way") + "    raise RuntimeError('no such luck')\n",
    "plugins/capitals.py": good("Res-Net.2"),
    "plugins/deaf.py": good("deaf") + "@hookimpl\ndef suite_trial_finished(trail): ...\n",
    "plugins/twice.py": good("twice"),
    "tasks/variant_among_tasks.py": good("variant_among_tasks"),
    "tasks/good.py": good("good_among_tasks"),
}

TWO = {
    "plugins/__init__.py": "raise RuntimeError('nobody imports this')\n",
    "plugins/twice.py": good("twice_too"),
    "plugins/other.py": good("other", "from .gru import GRU"),
}

SITE = {
    "thing/__init__.py": good("thing", "from . import equations"),
    "thing/equations.py": "",
    "thing-1.0.dist-info/METADATA": "Metadata-Version: 2.1\nName: thing\nVersion: 1.0\n",
    "thing-1.0.dist-info/entry_points.txt": "[suite]\nthing = thing\n",
    "thing-1.0.dist-info/RECORD": "",
    "sad-0.1.dist-info/METADATA": "Metadata-Version: 2.1\nName: sad\nVersion: 0.1\n",
    "sad-0.1.dist-info/entry_points.txt": "[suite]\nsad = sad\n",
}

SCRIPT = """
import json, pathlib, sys
from suite.dropins import plugins
from suite.registry import forked
from suite.registry.finder import discover
from suite.registry.sources import imported_sources

forked.GUARDED = True
registry = discover()
folder = pathlib.Path(sys.argv[1]) / "plugins"
name = "suite.dropins.plugins.good"

def sources(name):
    return imported_sources(name)

before = sources(name)
edited = {}
for file in ("_helper", "_deeper", "_unrelated"):
    path = folder / f"{file}.py"
    path.write_text(path.read_text() + "# a comment\\n")
    edited[file] = sources(name) != before
    before = sources(name)
(folder / "_late.py").write_text("answer = 44\\n")
lazy = registry.variant("lazy").digests
print(json.dumps({
    "broken": {pathlib.Path(one.source).name: [one.source, one.reason] for one in registry.broken},
    "variants": {key: [one.source, str(one.path), sorted(one.digests)] for key, one in registry.variants.items()},
    "listening": sorted(str(one.__name__) for one in registry.hooks.get_plugins()),
    "edited": edited,
    "lazy": sources("suite.dropins.plugins.lazy") != lazy,
}))
"""


def write(root: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        file = root / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(dedent(text), encoding="utf-8")


@pytest.fixture(scope="module")
def roots(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("roots")
    for name, files in (("one", ONE), ("two", TWO), ("site", SITE)):
        write(folder / name, files)
    return folder


@pytest.fixture(scope="module")
def found(roots: Path) -> Any:
    """What a fresh process finds with two roots on SUITE_PATH and two installed plugins, one of them broken."""
    places = [str(roots / "site"), *filter(None, [os.environ.get("PYTHONPATH")])]
    environment = {
        **os.environ,
        "SUITE_PATH": os.pathsep.join(map(str, (roots / "one", roots / "two"))),
        "PYTHONPATH": os.pathsep.join(places),
    }
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(roots / "one")], capture_output=True, text=True, check=False, env=environment, cwd=roots
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_nothing_that_comes_with_the_suite_is_broken() -> None:
    assert discover().broken == ()


@pytest.mark.parametrize(
    ("file", "words"),
    [
        ("syntax.py", ["SyntaxError in line 1"]),
        ("missing.py", ["imports 'a_package_that_is_not_there', which is not installed"]),
        ("exits.py", ["calls sys.exit(3) when imported"]),
        ("ends.py", ["ends its process with exit code 0 when imported"]),
        ("falls.py", ["ends its process by SIGSEGV when imported"]),
        ("bare.py", ["provides nothing", "suite_variants lacks @hookimpl"]),
        ("empty.py", ["provides nothing", "no @hookimpl function"]),
        ("typo.py", ["@hookimpl on 'suite_varients', which is no hook; did you mean 'suite_variants'?"]),
        ("wrong_kind.py", ["suite_variants yielded str; it must yield Variant"]),
        ("no_value.py", ["suite_variants yields no value"]),
        ("not_yielded.py", ["'Variant' object is not iterable"]),
        ("bad_name.py", ["'bad name'", "must be letters, digits"]),
        ("same_noun.py", ["'GRU' is already provided by plugins/gru.py", "rename one"]),
        ("gru.py", ["has the name of plugins/gru.py", "rename one"]),
        ("twice.py", ["has the name of", "one/plugins/twice.py", "rename one"]),
        ("raises.py", ["RuntimeError: no such luck"]),
        ("deaf.py", ["suite_trial_finished", "trail"]),
        ("sad 0.1", ["imports 'sad', which is not installed"]),
    ],
)
def test_a_broken_plugin_is_named_with_its_reason(found: Any, file: str, words: list[str]) -> None:
    source, reason = found["broken"][file]
    assert source.endswith(file)
    for word in words:
        assert word in reason


def test_no_other_is_called_broken(found: Any) -> None:
    assert len(found["broken"]) == 18


def test_all_others_are_found(found: Any) -> None:
    own = {"good", "lazy", "twice", "variant_among_tasks", "good_among_tasks", "other", "thing", "Res-Net.2"}
    assert set(found["variants"]) == set(discover().variants) | own


def test_the_suites_own_file_wins(found: Any, roots: Path) -> None:
    assert not found["variants"]["gru"][1].startswith(str(roots))
    assert found["variants"]["twice"][1] == str(roots / "one" / "plugins" / "twice.py")


def test_a_plugin_that_is_broken_in_part_hears_nothing(found: Any) -> None:
    names = [name.rpartition(".")[2] for name in found["listening"]]
    assert "good" in names
    assert not {"deaf", "raises", "typo", "same_noun"} & set(names)


def test_an_installed_plugin_is_named_by_its_distribution(found: Any) -> None:
    source, _, digests = found["variants"]["thing"]
    assert source == "thing 1.0"
    assert digests == ["distribution thing", "thing", "thing.equations"]


def test_digests_are_of_the_file_and_the_helpers_it_imports(found: Any) -> None:
    home = "suite.dropins.plugins"
    assert found["variants"]["good"][2] == [f"{home}._deeper", f"{home}._helper", f"{home}.good"]
    assert found["variants"]["other"][2] == [f"{home}.gru", f"{home}.other"]
    assert found["edited"] == {"_helper": True, "_deeper": True, "_unrelated": False}


def test_digests_are_of_helpers_imported_late_too(found: Any) -> None:
    assert found["lazy"]


def test_packaged_variants_count_the_lstm_they_stand_on() -> None:
    home = "suite.dropins.plugins"
    for name in ("attention", "bilstm", "residual"):
        assert set(discover().variants[name].digests) == {f"{home}.{name}", f"{home}.lstm"}
    assert set(discover().variants["gru"].digests) == {f"{home}.gru"}


def test_a_compiled_helper_is_digested_unread(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A plugin's package may hold what is not Python source."""
    from types import ModuleType

    write(tmp_path, {"fast.py": "import fast._kernel\n"})
    (tmp_path / "_kernel.so").write_bytes(b"\x7fELF\0\0")
    for name, file in (("fast", "fast.py"), ("fast._kernel", "_kernel.so")):
        module = ModuleType(name)
        module.__file__ = str(tmp_path / file)
        monkeypatch.setitem(sys.modules, name, module)
    assert sorted(sources.imported_sources("fast")) == ["fast", "fast._kernel"]


@pytest.mark.parametrize(
    ("role", "name", "message"),
    [
        ("variant", "lstmm", "unknown variant 'lstmm'; did you mean 'lstm'?"),
        ("task", "zzzz", "unknown task 'zzzz'; there is adding, copy, noisy"),
        ("corruption", "step", "unknown corruption 'step'"),
    ],
)
def test_an_unknown_name_is_answered_with_what_there_is(role: str, name: str, message: str) -> None:
    with pytest.raises(SuiteError) as caught:
        getattr(discover(), role)(name)
    assert str(caught.value).startswith(message)


def test_a_broken_name_is_answered_with_its_reason() -> None:
    from dataclasses import replace

    from suite.spec import Broken

    registry = replace(discover(), broken=(Broken("/else/plugins/mine.py", "SyntaxError in line 3: what"),))
    with pytest.raises(SuiteError, match=r"variant 'mine' cannot be used: /else/plugins/mine.py: SyntaxError in line 3"):
        registry.variant("mine")


def test_options_are_the_keyword_only_parameters() -> None:
    def build(input_size: int, hidden_size: int, *, depth: int = 2, score: str = "dot") -> None: ...

    found = registry.options_of(build)
    assert {name: (one.annotation, one.default) for name, one in found.items()} == {"depth": (int, 2), "score": (str, "dot")}


def test_a_name_is_found_whatever_its_case() -> None:
    assert discover().variant("LSTM") is discover().variant("lstm")
    assert discover().task("Adding").noun.name == "adding"


def test_a_missing_entry_of_suite_path_is_said(tmp_path: Path) -> None:
    script = "from suite.registry.finder import discover; print(*discover().notes)"
    environment = {**os.environ, "SUITE_PATH": os.pathsep.join([str(tmp_path), "/no/such/folder"])}
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, env=environment)
    assert done.stdout.strip() == "SUITE_PATH names /no/such/folder, which is no folder; nothing is looked for there"


def test_measures_are_handed_all_corruptions(tmp_path: Path) -> None:
    """A measure may rest on a corruption that another file provides; where it raises, nothing of its file stays."""
    write(
        tmp_path,
        {
            "tasks/mine.py": """
                from suite import Corruption, Measure, Point, hookimpl

                @hookimpl
                def suite_corruptions():
                    yield Corruption("shift", lambda rng, x, protected, severity: x, (1, 2, 3, 4, 5))

                @hookimpl
                def suite_measures(corruptions):
                    yield Measure("all_at_once", "robustness", lambda *_: None, points=tuple(range(len(corruptions))))
            """,
            "tasks/sad.py": """
                from suite import Corruption, hookimpl

                @hookimpl
                def suite_corruptions():
                    yield Corruption("sad", lambda rng, x, protected, severity: x, (1, 2, 3, 4, 5))

                @hookimpl
                def suite_measures(corruptions):
                    raise RuntimeError("no such luck")
                    yield
            """,
        },
    )
    script = """
        import json
        from suite.registry.finder import discover
        found = discover()
        points = found.measure("all_at_once").noun.points
        print(json.dumps([sorted(found.measures), sorted(found.corruptions), len(points), [b.reason for b in found.broken]]))
    """
    environment = {**os.environ, "SUITE_PATH": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", dedent(script)], capture_output=True, text=True, check=True, env=environment)
    measures, corruptions, count, broken = json.loads(done.stdout)
    assert {"length", "shift", "gaussian_noise", "all_at_once"} <= set(measures)
    assert not {"sad"} & {*corruptions, *measures}
    assert count == len(corruptions) + 1  # all those known when measures were asked for, the sad one among them
    assert broken == ["RuntimeError: no such luck"]


def test_the_suites_own_measures_and_listeners_cannot_be_replaced(tmp_path: Path) -> None:
    write(
        tmp_path,
        {
            "tasks/mine.py": """
                from suite import Measure, hookimpl

                @hookimpl
                def suite_measures():
                    yield Measure("Length", "mine", lambda *_: None)
            """,
            "plugins/hush.py": """
                from suite import Listener, hookimpl

                @hookimpl
                def suite_listeners():
                    yield Listener("Progress", lambda: None)
            """,
            "tasks/wrong.py": """
                from suite import Corruption, hookimpl

                @hookimpl
                def suite_corruptions():
                    yield Corruption("wrong", lambda *_: None, ("mild", "harsh"))
            """,
        },
    )
    script = "import json; from suite.registry.finder import discover; print(json.dumps([b.reason for b in discover().broken]))"
    environment = {**os.environ, "SUITE_PATH": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, env=environment)
    reasons = "\n".join(json.loads(done.stdout))
    assert "'Length' is already provided by suite/measures/length.py" in reasons
    assert "'Progress' is already provided by suite/listeners/progress.py" in reasons
    assert "'wrong' has the severities ('mild', 'harsh'); they must be finite numbers" in reasons
    assert reasons.count("\n") == 2
