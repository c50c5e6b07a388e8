"""Checks what Python calls: edits under a run, runs that meet, mistakes in keywords, and checkpoints that are damaged."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from torch.nn import LSTM

from suite import SuiteError, api, run
from suite.plan import schema

from .running import environment, suite, tiny_plan

EDITED = """
import sys, pathlib
from suite import api, hookimpl
from suite.plan import schema

plugin, damage = pathlib.Path("more/plugins/mine.py"), pathlib.Path("more/tasks/mine.py")


class Editor:
    @hookimpl
    def suite_plan_started(self):
        if sys.argv[1] == "corruption":
            damage.write_text(damage.read_text() + "# an edit")

    @hookimpl
    def suite_timing_started(self):
        if sys.argv[1] == "timing":
            plugin.write_text(plugin.read_text() + "# an edit")


work = api.prepare(schema.load("tiny.toml"), pathlib.Path("runs"), "cpu", schema.Request("tiny.toml"))
done = api.execute(work, 1, {"track": False}, [Editor()])
print(sorted({outcome.reason for outcome in done.work.outcomes.values()}))
print(sorted({stored.timed.failed for timing in work.timings if (stored := work.store.timing(timing.key))}))
"""

PLUGIN = "from torch import nn\nfrom suite import Variant, hookimpl\n\n\n@hookimpl\ndef suite_variants():\n    yield Variant('mine', nn.Linear)\n"
DAMAGE = (
    "from suite import Corruption, hookimpl\n\n\n@hookimpl\ndef suite_corruptions():\n"
    "    yield Corruption('mine', lambda rng, x, protected, severity: x + severity, (1, 2, 3, 4, 5))\n"
)


@pytest.mark.slow
@pytest.mark.parametrize(("what", "words"), [("corruption", "suite.dropins.tasks.mine"), ("timing", "suite.dropins.plugins.mine")])
def test_a_plugin_edited_while_a_run_is_at_work_is_not_stored_under_the_old_key(tmp_path: Path, what: str, words: str) -> None:
    for name, text in (("plugins", PLUGIN), ("tasks", DAMAGE)):
        (tmp_path / "more" / name).mkdir(parents=True)
        (tmp_path / "more" / name / "mine.py").write_text(text)
    changes = {
        '"gru"': '"mine"',
        "gaussian_noise": "mine",
        "seeds = [0, 1]": "seeds = [0]",
        "[evaluations]": "[timing]\nlengths = [4]\nrepeats = 2\n[evaluations]",
    }
    tiny_plan(tmp_path, **changes)
    (tmp_path / "script.py").write_text(EDITED)
    surroundings = environment(SUITE_PATH=str(tmp_path / "more"))
    done = subprocess.run([sys.executable, "script.py", what], cwd=tmp_path, env=surroundings, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    trials, timings = done.stdout.strip().splitlines()
    assert f"{words} changed after the run began" in (trials if what == "corruption" else timings)


def test_a_run_that_waited_for_another_does_nothing_again(tmp_path: Path) -> None:
    plan = schema.load(str(tiny_plan(tmp_path)))
    request = schema.Request("tiny.toml", "lstm", "adding", 1)
    first, second = (api.prepare(plan, tmp_path / "runs", "cpu", request) for _ in range(2))
    api.execute(first, 1, {"track": False})
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "runs" / "tiny").rglob("*.pt")}
    api.execute(second, 1, {"track": False})
    assert {path: path.stat().st_mtime_ns for path in before} == before


def test_a_damaged_checkpoint_is_made_again(tmp_path: Path) -> None:
    where = {"device": "cpu", "runs": tmp_path / "runs", "track": False, "variants": "lstm", "tasks": "adding", "seeds": 1}
    run(str(tiny_plan(tmp_path)), **where)  # type: ignore[arg-type]
    [checkpoint] = (tmp_path / "runs" / "tiny" / "checkpoints").glob("*.pt")
    whole = checkpoint.read_bytes()
    checkpoint.write_bytes(whole[: len(whole) // 2])
    frame = run(str(tiny_plan(tmp_path, **{"lengths = [2]": "lengths = [2, 3]"})), **where).frame  # type: ignore[arg-type]
    assert set(frame["status"]) == {"ok"}
    assert 3.0 in set(frame.loc[frame["condition"] == "length", "at"])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"variant": "lstm"}, "run takes no 'variant'; did you mean 'variants'?"),
        ({"seeds": "three"}, "seeds is 'three'; it takes how many there are to be"),
        ({"seeds": [0, 0.5]}, "seeds is [0, 0.5]; it takes how many there are to be, such as 3, or which, such as [0, 2, 5]"),
        ({"seeds": [3, 3]}, "plan smoke: plan: seeds names a value twice"),
        ({"variants": ["lstm", LSTM]}, "variants names the class LSTM; it takes names, and Variant objects such as Variant('mine', Mine)"),
        ({"seeds": 0}, "seeds is 0; it takes at least 1"),
        ({"trak": False}, "no listener has the option 'trak'; did you mean 'track'?"),
        ({"variants": ["lstm", "grru"]}, "unknown variant 'grru'; did you mean 'gru'?"),
    ],
    ids=str,
)
def test_a_mistake_in_a_keyword_is_told(tmp_path: Path, options: dict[str, object], message: str) -> None:
    with pytest.raises(SuiteError) as caught:
        run("smoke", device="cpu", runs=tmp_path, **options)  # type: ignore[arg-type]
    assert str(caught.value).startswith(message)


DEFINED = """
import torch
import suite


class Mine(torch.nn.Module):
    def __init__(self, input_size, hidden_size):
        super().__init__()
        self.inner = torch.nn.RNN(input_size, hidden_size, batch_first=True)

    def forward(self, x):
        return self.inner(x)[0]


if __name__ == "__main__":
    common = {"tasks": "adding", "seeds": 1, "track": False}
    suite.run("tiny.toml", variants=[suite.Variant("mine", Mine), "lstm"], **common)
    done = suite.run("tiny.toml", variants="lstm", whole=True, **common)
    print(sorted(set(done.trials["variant"])))
"""


def test_a_whole_report_has_what_is_returned_and_is_verified_with_what_was_defined(tmp_path: Path) -> None:
    tiny_plan(tmp_path)
    (tmp_path / "script.py").write_text(DEFINED)
    done = subprocess.run([sys.executable, "script.py"], cwd=tmp_path, env=environment(), capture_output=True, text=True, timeout=300)
    assert done.stdout.splitlines()[-1:] == ["['lstm', 'mine']"], done.stderr
    assert "mine," in (tmp_path / "runs" / "tiny" / "report" / "results.csv").read_text()
    defined = tmp_path / "runs" / "tiny" / "defined"
    suite("report", "tiny.toml", "--variants", "mine", "--path", defined, cwd=tmp_path)
    refused = suite("verify", "tiny", cwd=tmp_path, code=2)
    assert "unknown variant 'mine'" in refused.stderr
    assert f"say --path {defined}" in refused.stderr
    suite("verify", "tiny", "--path", defined, cwd=tmp_path)
