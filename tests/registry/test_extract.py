"""Checks what is written down of a variant that was defined in Python, and that it means the same there."""

from __future__ import annotations

import functools
import math
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch import stack as stacked
from torch.nn import functional as F  # noqa: N812

from suite import SuiteError, Variant, dropins, ops
from suite.registry import extract
from suite.registry.finder import discover

GAIN = 0.5
SHIFTS = [0.25, -math.pi, {"a": (1, None)}]
TENSOR = torch.zeros(3)


def squash(x: Tensor) -> Tensor:
    return F.hardtanh(x) * GAIN


def doubled(kind: type[nn.Module]) -> type[nn.Module]:
    return kind


class Base(nn.Module):
    def __init__(self, input_size: int, hidden_size: int, *, gain: float = 2.0) -> None:
        super().__init__()
        self.hidden_size, self.gain = hidden_size, gain
        self.cell = nn.Linear(input_size + hidden_size, hidden_size)


Root = Base


@doubled
class Mine(Root):
    def step(self, x_t: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
        h = squash(self.cell(torch.cat([x_t, h], dim=1))) + float(os.path.sep == "/") * SHIFTS[0]  # type: ignore[operator]
        return h, Later.same(h)

    def forward(self, x: Tensor) -> Tensor:  # (B, T, D) -> (B, T, H)
        return ops.scan(self.step, x, x.new_zeros(len(x), self.hidden_size))


class Later(Mine):
    """What another class names before it stands, and derives from it."""

    @staticmethod
    def same(h: Tensor) -> Tensor:
        return h


def last(y: Tensor) -> Tensor:
    return stacked([y[:, -1]])[0]


class Stateful(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x + TENSOR


class Silent(Base):
    gain = 2.0


class Tabled(nn.Linear):
    TABLE = torch.tensor([1.0, 2.0])

    def gain(self) -> float:
        return float(self.TABLE.sum())


def made() -> type[nn.Module]:
    class Inner(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x

    return Inner


@pytest.fixture
def root(tmp_path: Path) -> Iterator[Path]:
    yield tmp_path / "defined"
    assert tmp_path / "defined" not in dropins.ROOTS


def test_the_file_builds_the_same_model(root: Path) -> None:
    mine = Variant("Mine-1", Mine, paper="none", summary=last)
    x = torch.randn(2, 4, 3)
    with extract.importable([mine], root):
        provided = discover().variant("mine-1")
        assert provided.noun.build is not Mine
        assert (provided.noun.paper, provided.source) == ("none", str(root / "plugins" / "mine_1.py"))
        torch.manual_seed(0)
        own = provided.noun.build(3, 5, gain=3.0)(x)
        digests = dict(provided.digests)
    torch.manual_seed(0)
    assert torch.equal(own, Mine(3, 5, gain=3.0)(x))
    assert "suite.dropins.plugins.mine_1" in digests
    assert "mine-1" not in {name.casefold() for name in discover().variants}
    assert "suite.dropins.plugins.mine_1" not in sys.modules


def test_the_text_is_the_same_each_time_and_follows_the_source() -> None:
    mine = Variant("mine", Mine)
    assert extract.source_of(mine) == extract.source_of(mine)
    assert "GAIN = 0.5" in extract.source_of(mine)
    assert extract.source_of(mine).index("class Mine") < extract.source_of(mine).index("class Later")


def test_a_variant_of_a_package_is_imported_from_it() -> None:
    assert "\nfrom torch.nn.modules.linear import Linear\n" in extract.source_of(Variant("linear", nn.Linear))


@pytest.mark.parametrize(
    ("variant", "words"),
    [
        (lambda: Variant("mine", lambda d, h: nn.Linear(d, h)), "its build is a lambda"),
        (lambda: Variant("mine", functools.partial(Mine, gain=1.0)), "its build is a partial"),
        (lambda: Variant("mine", made()), "'made.<locals>.Inner' is defined inside another"),
        (lambda: Variant("mine", Stateful), "it uses 'TENSOR', a Tensor; make that a number"),
        (lambda: Variant("mine", _without_source()), "the source of 'Typed' is not known"),
        (lambda: Variant("mine", Silent), "the source of 'Silent' is found by its functions, and it has none of its own; give it one"),
        (lambda: Variant("my variant", Mine), "the name 'my variant' of a variant must be letters"),
        (lambda: Variant("gru", Mine), "provides one of that name; give yours another"),
    ],
)
def test_what_cannot_be_written_is_refused_with_the_cure(root: Path, variant: Callable[[], Variant], words: str) -> None:
    with pytest.raises(SuiteError, match=words.replace("(", "\\(")), extract.importable([variant()], root):
        pass


def _without_source() -> type[Any]:
    scope: dict[str, Any] = {"__name__": "__main__", "nn": nn}
    exec("class Typed(nn.Module):\n    def forward(self, x):\n        return x", scope)
    kind: type[Any] = scope["Typed"]
    return kind


def test_two_variants_of_one_name_are_refused(root: Path) -> None:
    with pytest.raises(SuiteError, match="two have one name"), extract.importable([Variant("a-b", Mine), Variant("a_b", Mine)], root):
        pass


def test_a_module_of_the_same_name_from_elsewhere_is_not_taken_for_it(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, f"{dropins.__name__}.plugins.mine", ModuleType("mine"))
    with extract.importable([Variant("mine", Mine)], root):
        assert discover().variant("mine").noun.build.__name__ == "Mine"


def test_a_class_may_hold_a_tensor(root: Path) -> None:
    with extract.importable([Variant("mine", Tabled)], root):
        assert discover().variant("mine").noun.build(2, 3).gain() == 3.0  # type: ignore[operator]


@pytest.mark.parametrize("compiled", [True, False])
def test_a_variant_that_was_defined_anew_is_imported_anew(compiled: bool, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "dont_write_bytecode", not compiled)
    scripts = ["import torch\nGAIN = 1\nclass Mine(torch.nn.Linear):\n    def gain(self):\n        return GAIN\n" for _ in range(2)]
    scripts[1] = scripts[1].replace("GAIN = 1", "GAIN = 2")
    gains = []
    for place, text in enumerate(scripts):
        file = root.parent / f"cell{place}.py"
        file.write_text(text)
        scope: dict[str, Any] = {"__name__": "__main__"}
        exec(compile(text, str(file), "exec"), scope)
        with extract.importable([Variant("mine", scope["Mine"])], root):
            gains.append(discover().variant("mine").noun.build(2, 3).gain())  # type: ignore[operator]
    assert gains == [1, 2]


SCRIPT = """
from torch import nn
import suite

class Mine(nn.Module):
    def __init__(self, input_size, hidden_size):
        super().__init__()
        self.rnn = nn.RNN(input_size, hidden_size, batch_first=True)

    def forward(self, x):
        return self.rnn(x)[0]

if __name__ == "__main__":
    done = suite.run("tiny.toml", variants=["lstm", suite.Variant("mine", Mine)], tasks="adding", seeds=[2], device="cpu", track=False)
    print(*done.trials[["variant", "seed", "status"]].itertuples(index=False, name=None))
    mine = done.trials.set_index("variant").loc["mine"]
    point = suite.load(mine["key"]).evaluate()
    stored = done.frame.query("variant == 'mine' and condition == 'length' and at == 1 and metric == 'loss'")["value"]
    print(point.scores["loss"] == stored.item())
"""


@pytest.mark.slow
def test_a_script_runs_its_own_variant_and_the_reports_command_does_too(tmp_path: Path) -> None:
    from ..running import environment, suite, tiny_plan

    tiny_plan(tmp_path)
    (tmp_path / "script.py").write_text(SCRIPT)
    done = subprocess.run([sys.executable, "script.py"], cwd=tmp_path, env=environment(), capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == ["('lstm', 2, 'ok') ('mine', 2, 'ok')", "True"]
    page = (tmp_path / "runs" / "tiny" / "report" / "index.html").read_text()
    command = "suite run tiny.toml --variants lstm,mine --tasks adding --seeds &#39;[2]&#39; --path runs/tiny/defined --device cpu"
    assert command in page
    again = ["tiny.toml", "--variants", "lstm,mine", "--tasks", "adding", "--seeds", "[2]", "--path", "runs/tiny/defined"]
    assert "0 to do" in suite("run", *again, "--device", "cpu", cwd=tmp_path).stdout
