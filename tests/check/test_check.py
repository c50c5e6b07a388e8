"""Checks how a target is found, how findings are shown, and that checks leave no trace."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from suite import SuiteError, Variant, check
from suite.registry import guard, scaffold
from suite.registry.finder import discover

from ..contract import SUBJECTS
from ..running import environment, suite

LEAKY = """
from typing import Literal
import torch
from torch import nn
from suite import Variant, hookimpl, ops

class Leaky(nn.Module):
    def __init__(self, input_size, hidden_size, *, leak: float = 0.5, gate: Literal["tanh", "relu"] = "tanh", bias: bool = True):
        super().__init__()
        self.hidden_size, self.leak, self.gate = hidden_size, leak, getattr(torch, gate)
        self.weights = nn.Linear(hidden_size + input_size, hidden_size, bias=bias)

    def step(self, x_t, h):
        h = (1 - self.leak) * h + self.leak * self.gate(self.weights(torch.cat([h, x_t], dim=1)))
        return h, h

    def forward(self, x):
        return ops.scan(self.step, x, x.new_zeros(len(x), self.hidden_size))

@hookimpl
def suite_variants():
    yield Variant("NAME", Leaky)
"""


def labels(target: str) -> list[str]:
    return [f"{subject.kind}:{subject.label}" for subject in check.resolve(target).subjects]


# What is checked


def test_a_name_stands_for_its_plugin_with_each_word_of_its_options() -> None:
    assert labels("gru") == ["variant:gru"]
    assert labels("step_drop") == ["corruption:step_drop"]
    assert labels("speed") == ["section:speed"]
    assert labels("noisy") == ["task:noisy", "task:noisy(form=b)"]
    assert len(labels("attention")) == 6


def test_options_may_be_chosen() -> None:
    assert labels("noisy(form=b, signal_steps=[2, 3])") == ["task:noisy(form=b, signal_steps=2)", "task:noisy(form=b, signal_steps=3)"]
    with pytest.raises(SuiteError, match="unknown option 'from'; did you mean 'form'"):
        check.resolve("noisy(from=b)")


def test_all_is_everything() -> None:
    registry = discover()
    names = {*registry.variants, *registry.tasks, *registry.corruptions, *registry.sections}
    assert {subject.noun.name for subject in check.resolve("all").subjects} == names


def test_a_file_among_the_drop_ins_is_what_it_provides() -> None:
    root = Path(__file__).resolve().parents[2]
    assert labels(str(root / "tasks" / "copying.py")) == ["task:copy"]


@pytest.mark.parametrize("folder", ["plugins", "anywhere"])
def test_a_file_outside_every_root_is_a_drop_in_too(tmp_path: Path, folder: str) -> None:
    (tmp_path / folder).mkdir()
    name = f"stray_{folder}"
    (tmp_path / folder / f"_part_of_{name}.py").write_text(LEAKY.replace("NAME", name))
    path = tmp_path / folder / f"{name}.py"
    path.write_text(f"from ._part_of_{name} import suite_variants as suite_variants\n")
    assert labels(str(path)) == [f"variant:{name}{options}" for options in ("", "(bias=false)", "(gate=relu)", "(bias=false, gate=relu)")]
    assert name not in discover().variants


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ("import nothing_of_this_name", "not installed"),
        ("def f(:", "SyntaxError in line 1"),
        ("", "provides nothing"),
        (LEAKY.replace("NAME", "gru"), "already provided by plugins/gru.py"),
    ],
)
def test_a_broken_file_is_a_failure_with_its_reason(tmp_path: Path, source: str, reason: str) -> None:
    path = tmp_path / f"broken_{abs(hash(source))}.py"
    path.write_text(source)
    target = check.resolve(str(path))
    assert not target.subjects
    assert [finding.status for finding in target.findings] == ["failed"]
    assert reason in target.findings[0].reason


def test_a_file_with_the_name_of_a_drop_in_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "lstm.py"
    path.write_text(LEAKY.replace("NAME", "another"))
    assert "has the name of plugins/lstm.py" in check.resolve(str(path)).findings[0].reason


@pytest.mark.parametrize("name", ["lstm", "LSTM", "Lstm"])
def test_the_case_of_a_name_does_not_matter(name: str) -> None:
    assert labels(name) == ["variant:lstm"]


def test_a_broken_file_is_known_by_the_name_of_its_plugin(tmp_path: Path) -> None:
    (tmp_path / "plugins").mkdir()
    (tmp_path / "plugins" / "my_net_2.py").write_text("import nothing_of_this_name\n")
    printed = suite("check", "My-Net.2", "--path", ".", cwd=tmp_path, code=1).stdout
    assert "imports 'nothing_of_this_name', which is not installed" in printed


def test_a_name_may_end_as_a_file_does(tmp_path: Path) -> None:
    (tmp_path / "plugins").mkdir()
    (tmp_path / "plugins" / "net.py").write_text(
        LEAKY.replace("NAME", "Net.py").replace(", bias: bool = True", "").replace("bias=bias", "")
    )
    printed = suite("check", "net.py", "--path", ".", cwd=tmp_path).stdout
    assert printed.startswith("variant Net.py\n")


MEASURE = """
from suite import Measure, hookimpl

@hookimpl
def suite_measures():
    yield Measure("NAME", "a part", lambda *_: None)
"""
LISTENER = """
from suite import Listener, hookimpl

@hookimpl
def suite_listeners():
    yield Listener("NAME", lambda: None)
"""
BELL = """
from suite import hookimpl

@hookimpl
def suite_plan_finished(invocation):
    pass
"""


@pytest.mark.parametrize(
    ("name", "source", "what"),
    [
        ("only_measures", MEASURE, "provides the measure 'only_measures'"),
        ("only_a_listener", LISTENER, "provides the listener 'only_a_listener'"),
        ("only_hooks", BELL, "listens to runs"),
    ],
)
def test_a_kind_without_checks_is_said_to_have_none(tmp_path: Path, name: str, source: str, what: str) -> None:
    path = tmp_path / f"{name}.py"
    path.write_text(source.replace("NAME", name))
    target = check.resolve(str(path))
    assert not target.subjects
    [finding] = target.findings
    assert (finding.status, finding.reason) == ("skipped", f"{what}; there are no checks of measures, listeners and executors yet")
    assert finding.reason in " ".join(suite("check", path, cwd=tmp_path).stdout.split())


def test_a_measure_by_name_is_said_to_have_no_checks() -> None:
    [finding] = check.resolve("length").findings
    assert finding.reason.startswith("provides the measure 'length'")


def test_what_is_not_there_is_named() -> None:
    with pytest.raises(SuiteError, match="did you mean 'lstm'"):
        check.resolve("lstmm")
    with pytest.raises(SuiteError, match="no such file"):
        check.resolve("nowhere.py")
    with pytest.raises(SuiteError, match="no plugin in the entry-point group 'suite'"):
        check.resolve("pluggy")


@pytest.mark.parametrize("kind", scaffold.KINDS)
def test_a_scaffold_passes_as_it_stands(tmp_path: Path, kind: str) -> None:
    path = scaffold.write(kind, f"fresh_{kind}", tmp_path)
    [subject] = check.resolve(str(path)).subjects
    assert subject.kind == kind
    assert [finding for finding in check.examine(subject) if finding.status == "failed"] == []


# What is said


class Raises(nn.Module):
    def __init__(self, input_size: int, hidden_size: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(hidden_size, input_size))

    def forward(self, x: torch.Tensor) -> torch.Tensor:  # noqa: ARG002
        raise RuntimeError("too warm")


def test_an_exception_is_a_failure_with_its_line_and_the_rest_waits() -> None:
    subject = check.Subject("variant", Variant("v", Raises), {}, Path(__file__))
    first, *rest = check.examine(subject)
    assert (first.check, first.status, first.reason) == ("shapes", "failed", "RuntimeError: too warm")
    assert first.where.startswith("tests/check/test_check.py:") or first.where.startswith(__file__)
    assert {finding.status for finding in rest} == {"skipped"}
    assert all("'shapes'" in finding.reason for finding in rest)


PROMISES = {promise.body: promise for subject in SUBJECTS for promise in check.checks_for(subject, long=True)}.values()


@pytest.mark.parametrize("promise", PROMISES, ids=lambda promise: promise.name)
def test_every_check_says_what_it_means_and_what_to_do(promise: check.Check) -> None:
    for sentence in (promise.means, promise.remedy):
        assert sentence.endswith(".")
        assert "\n" not in sentence


def test_checks_leave_no_trace() -> None:
    torch.set_num_threads(1)
    before = guard.shared()
    for name in ("gru", "noisy", "gaussian_noise"):
        list(check.examine(check.resolve(name).subjects[0]))
    assert [key for key, (value, _) in guard.shared().items() if value != before[key][0]] == []


def test_the_command(tmp_path: Path) -> None:
    done = suite("check", "gaussian_noise", cwd=tmp_path)
    assert done.stdout.splitlines()[0] == "corruption gaussian_noise"
    assert done.stdout.splitlines()[-1] == "gaussian_noise: 7 ok"
    (tmp_path / "late.py").write_text(LEAKY.replace("NAME", "late").replace("return ops.scan(", "return x.sum((1, 2), True) * ops.scan("))
    done = suite("check", "late.py", cwd=tmp_path, code=1)
    assert "FAILED   shapes" not in done.stdout
    assert "FAILED   causality" in done.stdout
    assert "→ Let y at step t read x up to t alone" in done.stdout
    assert "grade" not in done.stdout
    done = suite("check", "gruu", cwd=tmp_path, code=2)
    assert done.stderr == "error: unknown plugin, file or package 'gruu'; did you mean 'gru'?\n"


def test_the_command_speaks_json(tmp_path: Path) -> None:
    record: dict[str, Any] = json.loads(suite("check", "rnn", "--json", cwd=tmp_path).stdout)
    [plugin] = record["plugins"]
    assert record["failed"] == 0
    assert plugin["plugin"] == "rnn"
    assert plugin["grade"]["run_to_run"] is True
    assert {"check", "status", "reason", "means", "remedy"} <= set(plugin["findings"][0])


# The pytest plugin


def run_pytest(folder: Path, *arguments: str, code: int = 0) -> str:
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-W", "error", *arguments]
    done = subprocess.run(command, cwd=folder, env=environment(), capture_output=True, text=True, timeout=300)
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout + done.stderr


@pytest.mark.slow
def test_pytest_runs_each_check_as_a_test(tmp_path: Path) -> None:
    (tmp_path / "test_own.py").write_text("def test_own():\n    pass\n")
    output = run_pytest(tmp_path, "--suite-check", "gru", "--suite-check", "noisy(form=b)", "-v")
    assert "suite-check::variant:gru:causality PASSED" in output
    assert "suite-check::task:noisy(form=b):baseline PASSED" in output
    assert "test_own.py::test_own PASSED" in output
    chosen = run_pytest(tmp_path, "--suite-check", "gru", "-k", "causality", "-v")
    assert "1 passed" in chosen


def test_pytest_shows_a_failure_as_a_finding(tmp_path: Path) -> None:
    (tmp_path / "late.py").write_text(LEAKY.replace("NAME", "late").replace("return ops.scan(", "return x.sum((1, 2), True) * ops.scan("))
    (tmp_path / "broken.py").write_text("import nothing_of_this_name\n")
    output = run_pytest(tmp_path, "--suite-check", "late.py", "--suite-check", "broken.py", "-k", "late:causality or broken", code=1)
    assert "→ Let y at step t read x up to t alone" in output
    assert "imports 'nothing_of_this_name', which is not installed" in output
    assert "Traceback" not in output
    assert "2 failed" in output


def test_pytest_refuses_an_unknown_name(tmp_path: Path) -> None:
    assert "did you mean 'gru'?" in run_pytest(tmp_path, "--suite-check", "gruu", code=4)


def test_pytest_without_the_option_pays_for_nothing(tmp_path: Path) -> None:
    (tmp_path / "test_own.py").write_text(
        "import sys\ndef test_own():\n    assert 'suite.check.pytest_plugin' in sys.modules\n    assert not {'torch', 'numpy', 'pydantic'} & set(sys.modules)\n"
    )
    assert "1 passed" in run_pytest(tmp_path)
