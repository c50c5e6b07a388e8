"""Runs plans through the command line in empty folders, and reads what comes out as a user would."""

from __future__ import annotations

import hashlib
import html
import json
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
import torch

from suite.store.frame import COLUMNS

from .running import environment, suite, tiny_plan


@pytest.fixture(scope="module")
def smoke(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which `suite run smoke` has been run once."""
    folder = tmp_path_factory.mktemp("smoke")
    done = suite("run", "smoke", "--device", "cpu", cwd=folder, track=True)
    assert "report written" in done.stdout
    assert str(folder / "runs" / "smoke" / "report" / "index.html") in done.stdout
    assert "suite dashboard" in done.stdout
    return folder


def trials(folder: Path, plan: str = "smoke") -> dict[str, dict[str, str]]:
    rows = json.loads(suite("status", plan, "--json", "--device", "cpu", cwd=folder).stdout)
    return {row["cell"]: row for row in rows}


def test_report_is_complete(smoke: Path) -> None:
    folder = smoke / "runs" / "smoke" / "report"
    page = (folder / "index.html").read_text()
    frame = pd.read_csv(folder / "results.csv")
    assert list(frame.columns)[: len(COLUMNS)] == list(COLUMNS)
    assert frame.columns[-1] == "clean"
    assert set(frame["axis"]) == {"long_range", "robustness", "speed", "learning"}
    assert set(frame["variant"]) == {"rnn", "lstm", "gru", "attention", "layernorm", "residual", "bilstm"}
    for variant in frame["variant"].unique():
        assert variant in page
    files = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()} - {"manifest.json"}
    listed = json.loads((folder / "manifest.json").read_text())["sha256"]
    assert set(listed) == files
    for name in files:
        assert listed[name] == hashlib.sha256((folder / name).read_bytes()).hexdigest()


def test_second_run_trains_nothing_and_mlflow_has_each_trial_once(smoke: Path) -> None:
    def times() -> dict[Path, int]:
        return {path: path.stat().st_mtime_ns for path in (smoke / "runs").rglob("*") if path.is_file()}

    before = times()
    done = suite("run", "smoke", "--device", "cpu", cwd=smoke, track=True)
    assert "21 finished before, 0 to do" in done.stdout
    assert "nothing has changed: " in done.stdout
    assert times() == before

    script = """
import json, sys
from mlflow import MlflowClient
client = MlflowClient("sqlite:///" + sys.argv[1])
[experiment] = [e for e in client.search_experiments() if e.name == "smoke"]
runs = client.search_runs([experiment.experiment_id])
print(json.dumps([[r.info.run_id, r.info.status, r.data.tags, r.data.params, r.data.metrics] for r in runs]))
print(json.dumps({r.info.run_id: sorted(a.path for a in client.list_artifacts(r.info.run_id)) for r in runs}))
"""
    command = [sys.executable, "-c", script, str(smoke / "runs" / "mlflow.db")]
    out = subprocess.run(command, env=environment(MLFLOW_DISABLE_TELEMETRY="true"), capture_output=True, text=True, check=True).stdout
    runs, artifacts = (json.loads(line) for line in out.splitlines()[-2:])
    children = [run for run in runs if "suite.trial_key" in run[2]]
    assert sorted(run[2]["suite.trial_key"] for run in children) == sorted(row["key"] for row in trials(smoke).values())
    variants = {run[0] for run in runs if run[2]["suite.kind"] == "variant"}
    assert len(variants) == 7
    [parent] = {run[0] for run in runs} - {run[0] for run in children} - variants
    assert all(run[1] == "FINISHED" for run in runs)
    assert "report" in artifacts[parent]
    for run_id, _, tags, params, metrics in children:
        assert tags["mlflow.parentRunId"] in variants
        assert {"variant", "task", "length", "seed", "learning_rate"} <= set(params)
        assert {"validation/loss", "test/loss", "test/skill", "long_range/skill", "robustness/gaussian_noise/skill"} <= set(metrics)
        assert len(metrics) < 40
        assert artifacts[run_id] == [f"{tags['suite.trial_key']}.json", "source"]


@pytest.mark.slow
def test_learning_is_the_same_to_the_bit_in_another_folder(smoke: Path, tmp_path: Path) -> None:
    suite("run", "smoke", "--device", "cpu", "--workers", "1", "--tasks", "adding,noisy(form=b)", cwd=tmp_path)
    first, second = trials(smoke), trials(tmp_path)
    compared = [cell for cell in second if second[cell]["status"] == "ok"]
    assert len(compared) == 14
    for cell in compared:
        assert first[cell]["key"] == second[cell]["key"]
        assert first[cell]["learning_digest"] == second[cell]["learning_digest"]


def test_report_is_the_same_from_another_directory_and_time_zone(smoke: Path, tmp_path: Path) -> None:
    folder = smoke / "runs" / "smoke" / "report"

    def digests() -> dict[str, str]:
        return {
            str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.rglob("*") if path.is_file()
        }

    first = digests()
    shutil.rmtree(folder)
    suite("report", "smoke", "--runs", smoke / "runs", cwd=tmp_path, TZ="Asia/Tokyo", LC_ALL="C", PYTHONHASHSEED="7")
    assert digests() == first


def test_a_trained_model_comes_back(smoke: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from suite import SuiteError, load
    from suite.registry.finder import discover
    from suite.training import data

    monkeypatch.chdir(smoke)
    row = next(row for cell, row in trials(smoke).items() if cell.startswith("gru | adding"))
    model = load(row["key"][:12])
    record = json.loads((smoke / "runs" / "smoke" / "trials" / f"{row['key']}.json").read_text())
    task, training = discover().tasks["adding"].noun, record["trial"]["training"]
    losses = []
    with torch.no_grad():
        for batch in data.stream(
            task, {}, record["trial"]["length"], "validation", record["trial"]["eval_seed"], training["evaluation_samples"]
        ):
            losses.append(float(data.loss(task, model(data.inputs(data.features(task, batch), torch.float32, "cpu")), batch)))
    best = next(point for point in record["learning"]["curve"] if point["step"] == record["learning"]["best_step"])
    assert sum(losses) / len(losses) == pytest.approx(best["scores"]["loss"], rel=1e-5)
    with pytest.raises(SuiteError, match="no trials have a key"):
        load("0" * 20)


def test_editing_a_variant_trains_it_again_and_nothing_else(tmp_path: Path) -> None:
    (tmp_path / "more" / "plugins").mkdir(parents=True)
    plugin = tmp_path / "more" / "plugins" / "mine.py"
    source = """
from torch import nn
from suite import Variant, hookimpl

class Mine(nn.Linear):
    pass

@hookimpl
def suite_variants():
    yield Variant("mine", Mine)
"""
    plugin.write_text(source)
    plan = tiny_plan(tmp_path, **{'"gru"': '"mine"'})
    where = {"cwd": tmp_path, "SUITE_PATH": str(tmp_path / "more")}
    suite("run", plan, **where)  # type: ignore[arg-type]
    plugin.write_text(source + "# an edit\n")
    rows = json.loads(suite("status", plan, "--json", **where).stdout)  # type: ignore[arg-type]
    assert {row["cell"].split()[0]: (row["status"], row["reason"]) for row in rows} == {
        "lstm": ("ok", ""),
        "mine": ("stale", "changed: suite.dropins.plugins.mine"),
    }
    done = suite("run", plan, **where)  # type: ignore[arg-type]
    assert "8 trials, 4 finished before, 4 to do" in done.stdout


@pytest.mark.slow
def test_a_part_of_a_plan_is_reported_alone_and_the_whole_on_request(tmp_path: Path) -> None:
    plan = tiny_plan(tmp_path)

    def reported() -> tuple[set[str], set[int]]:
        frame = pd.read_csv(tmp_path / "runs" / "tiny" / "report" / "results.csv")
        return set(frame["variant"]), set(frame["seed"])

    suite("run", plan, cwd=tmp_path)
    assert reported() == ({"lstm", "gru"}, {0, 1})
    done = suite("run", plan, "--variants", "rnn", "--tasks", "adding", "--seeds", "1", cwd=tmp_path)
    assert "1 trials, 0 finished before, 1 to do" in done.stdout
    assert reported() == ({"rnn"}, {0})
    page = (tmp_path / "runs" / "tiny" / "report" / "index.html").read_text()
    assert f"suite run {plan} --variants rnn --tasks adding --seeds 1 --device cpu" in page
    suite("report", plan, "--all", cwd=tmp_path)
    assert reported() == ({"lstm", "gru", "rnn"}, {0, 1})
    suite("report", plan, "--variants", "gru", cwd=tmp_path)
    assert reported() == ({"gru"}, {0, 1})
    suite("report", plan, cwd=tmp_path)
    assert reported() == ({"lstm", "gru"}, {0, 1})


@pytest.mark.slow
def test_the_command_in_a_report_makes_it_again(tmp_path: Path) -> None:
    """With the folder of the plugin and that of the results, which a shell that has forgotten both needs."""
    (tmp_path / "more" / "plugins").mkdir(parents=True)
    (tmp_path / "more" / "plugins" / "mine.py").write_text(
        "from torch import nn\nfrom suite import Variant, hookimpl\n\n\n@hookimpl\ndef suite_variants():\n    yield Variant('mine', nn.Linear)\n"
    )
    tiny_plan(tmp_path)
    narrowed = ("--variants", "mine", "--tasks", "adding", "--seeds", "1")
    suite("run", "tiny.toml", *narrowed, "--path", "more", "--runs", "kept", "--device", "cpu", cwd=tmp_path)
    report = tmp_path / "kept" / "tiny" / "report"
    page, rows = (report / "index.html").read_text(), (report / "results.csv").read_bytes()
    [command] = re.findall(r"Made again by</figcaption>\s*<pre[^>]*><code>suite (.*?)</code>", page)
    shutil.rmtree(tmp_path / "kept")
    suite(*shlex.split(html.unescape(command)), cwd=tmp_path)
    assert (report / "results.csv").read_bytes() == rows
    assert (report / "index.html").read_text() == page


def test_an_edited_plugin_leaves_its_older_results_out_and_names_them(tmp_path: Path) -> None:
    (tmp_path / "more" / "plugins").mkdir(parents=True)
    plugin = tmp_path / "more" / "plugins" / "mine.py"
    plugin.write_text(
        "from torch import nn\nfrom suite import Variant, hookimpl\n\n\n@hookimpl\ndef suite_variants():\n    yield Variant('mine', nn.Linear)\n"
    )
    plan = tiny_plan(tmp_path, **{'"gru"': '"mine"'})
    suite("run", plan, "--path", tmp_path / "more", cwd=tmp_path)
    plugin.write_text(plugin.read_text() + "# an edit\n")
    suite("run", plan, "--variants", "mine", "--tasks", "adding", "--path", tmp_path / "more", cwd=tmp_path)
    told = suite("report", plan, "--path", tmp_path / "more", cwd=tmp_path).stderr
    assert (
        "left out of the report, since the code behind them has changed: mine | noisy | 6 | 0 | 0.01 (suite.dropins.plugins.mine); " in told
    )
    frame = pd.read_csv(tmp_path / "runs" / "tiny" / "report" / "results.csv")
    assert set(zip(frame["variant"], frame["task"], strict=True)) == {("lstm", "adding"), ("lstm", "noisy"), ("mine", "adding")}
    assert (
        "2 results are left out, since suite.dropins.plugins.mine changed"
        in (tmp_path / "runs" / "tiny" / "report" / "index.html").read_text()
    )


def test_two_plan_files_of_one_name_are_kept_apart(tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    one, other = tiny_plan(tmp_path), tiny_plan(tmp_path / "other")
    suite("run", one, "--tasks", "adding", "--seeds", "1", cwd=tmp_path)
    for words in (("run", other), ("status", other), ("report", other)):
        assert f"holds the runs of {one}; give this plan another name" in suite(*words, cwd=tmp_path, code=2).stderr


def test_a_model_whose_code_has_changed_is_not_loaded_unasked(tmp_path: Path) -> None:
    (tmp_path / "more" / "plugins").mkdir(parents=True)
    plugin = tmp_path / "more" / "plugins" / "mine.py"
    plugin.write_text(
        "from torch import nn\nfrom suite import Variant, hookimpl\n\n\n@hookimpl\ndef suite_variants():\n    yield Variant('mine', nn.Linear)\n"
    )
    where = str(tmp_path / "more")
    suite("run", tiny_plan(tmp_path), "--variants", "mine", "--tasks", "adding", "--seeds", "1", cwd=tmp_path, SUITE_PATH=where)
    plugin.write_text(plugin.read_text() + "# an edit\n")
    script = """
import suite
key = next(__import__("pathlib").Path("runs/tiny/trials").glob("*.json")).stem
try:
    suite.load(key)
except suite.SuiteError as error:
    print(error)
print(type(suite.load(key, stale=True)).__name__)
"""
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=tmp_path, env=environment(SUITE_PATH=where), capture_output=True, text=True, check=True
    )
    assert "suite.dropins.plugins.mine changed since it was trained" in done.stdout
    assert done.stdout.strip().endswith("Model")


def test_a_loaded_model_refuses_an_input_of_another_width(smoke: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from suite import load

    monkeypatch.chdir(smoke)
    row = next(row for cell, row in trials(smoke).items() if cell.startswith("lstm | adding"))
    with pytest.raises(ValueError, match=r"x has 20 features a step, and weight_x of shape .* takes 3"):
        load(row["key"])(torch.zeros(3, 5, 20))


@pytest.mark.parametrize(
    "command", [["run", "smoke", "--device", "cpu"], ["report", "smoke"], ["answer", "smoke"]], ids=lambda words: words[0]
)
def test_nothing_to_do_imports_no_compiler_no_plots_and_no_mlflow(smoke: Path, command: list[str]) -> None:
    script = f"""
import sys
sys.argv[1:] = {command}
from suite.cli import main
try:
    main()
finally:
    heavy = {{"torch._dynamo", "torch._inductor", "matplotlib", "seaborn", "pandas", "mlflow", "jinja2", "multiprocessing.forkserver"}}
    heavy |= {{"torch", "numpy"}} if "run" in sys.argv else set()  # it is remembered that there was nothing left to do
    print("imported:", *sorted(heavy & set(sys.modules)))
"""
    suite("run", "smoke", "--device", "cpu", cwd=smoke)  # what other tests have asked for may be in the report's place
    before = {path: path.stat().st_mtime_ns for path in (smoke / "runs").rglob("*") if path.is_file()}
    done = subprocess.run([sys.executable, "-c", script], cwd=smoke, env=environment(), capture_output=True, text=True)
    assert done.stdout.strip().splitlines()[-1] == "imported:", done.stderr
    assert ("nothing has changed: " in done.stdout) == (command[0] == "run")
    assert {path: path.stat().st_mtime_ns for path in (smoke / "runs").rglob("*") if path.is_file()} == before


def test_a_new_evaluation_trains_nothing(tmp_path: Path) -> None:
    suite("run", tiny_plan(tmp_path), cwd=tmp_path)
    checkpoints = tmp_path / "runs" / "tiny" / "checkpoints"
    before = {path.name: path.stat().st_mtime_ns for path in checkpoints.iterdir()}
    done = suite("run", tiny_plan(tmp_path, **{'"gaussian_noise"': '"gaussian_noise", "step_drop"'}), cwd=tmp_path)
    assert "4 to do" in done.stdout  # those of adding: dropped distractors are no damage to noisy sequences
    assert {path.name: path.stat().st_mtime_ns for path in checkpoints.iterdir()} == before
    frame = pd.read_csv(tmp_path / "runs" / "tiny" / "report" / "results.csv")
    assert set(frame.loc[frame["axis"] == "robustness", "condition"]) == {"gaussian_noise", "step_drop"}


def test_from_python_without_a_main_guard(tmp_path: Path) -> None:
    plan = tiny_plan(tmp_path)
    script = tmp_path / "script.py"
    script.write_text(
        f"import suite\nframe = suite.run({str(plan)!r}, seeds=1, device='cpu', track=False).frame\nprint(len(frame), list(frame))\n"
    )
    done = subprocess.run([sys.executable, script], cwd=tmp_path, env=environment(), capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert str(list(COLUMNS)) in done.stdout
    assert done.stdout.count("[") == 1  # the script ran once


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["run", "smokee"], "unknown plan 'smokee'; did you mean 'smoke'?"),
        (["run", "smoke", "--variants", "lstn"], "unknown variant 'lstn'; did you mean 'lstm'?"),
        (["run", "smoke", "--tasks", "addding"], "unknown task 'addding'; did you mean 'adding'?"),
        (["run", "smoke", "--variants", "residual(dept=3)"], "variant 'residual': unknown option 'dept'; did you mean 'depth'?"),
        (["run", "smoke", "--variants", "residual(depth=deep)"], "option depth: 'deep' is str, not int"),
        (["run", "smoke", "--tasks", "noisy(form=c)"], "option form: 'c' is not one of a, b"),
        (["run", "smoke", "--variants", "lstm("], "'lstm(' is not of the form"),
        (["run", "smoke", "--device", "tpu"], "--device tpu: use auto, cpu or cuda"),
        (["run", "absent.toml"], "absent.toml: No such file"),
        (["report", "smoke", "--runs", "nowhere"], "nothing has been run here"),
        (["dashboard", "--runs", "nowhere"], "nothing has been tracked yet"),
        (["lint", "smokee"], "unknown plan 'smokee'; did you mean 'smoke'?"),
        (["lint", "smoke", "--variants", "lstn"], "unknown variant 'lstn'; did you mean 'lstm'?"),
        (["list", "variant"], "cannot list 'variant'; did you mean 'variants'?"),
        (["run", "smoke", "--listen", "trak=false"], "no listener has the option 'trak'; did you mean 'track'?"),
        (["run", "smoke", "--listen", "track=5"], "listener 'tracking': option track: 5 is int, not bool"),
        (["run", "smoke", "--listen", "track"], "--listen track: it takes NAME=VALUE"),
        (["run", "smoke", "--path", "nowhere"], "--path nowhere: no such folder"),
        (["report", "smoke", "--all", "--seeds", "1"], "--all shows everything, so it does not go with --seeds"),
    ],
)
def test_a_users_mistake_is_told_in_one_line(words: list[str], message: str, tmp_path: Path) -> None:
    done = suite(*words, cwd=tmp_path, code=2, track=True)
    assert message in done.stderr
    assert len(done.stderr.strip().splitlines()) <= 2
    assert not (tmp_path / "runs").exists()


def test_a_missing_entry_of_suite_path_is_said_beside_what_is_therefore_not_there(tmp_path: Path) -> None:
    for command in ("run", "status", "report", "answer"):
        done = suite(command, "smoke", "--variants", "mine", cwd=tmp_path, code=2, SUITE_PATH="nowhere")
        assert done.stderr.startswith("warning: SUITE_PATH names nowhere, which is no folder")
        assert "error: unknown variant 'mine'" in done.stderr


def test_a_plan_is_linted_before_anything_runs(tmp_path: Path) -> None:
    plan = tiny_plan(tmp_path)
    lines = suite("lint", plan, "--device", "cpu", cwd=tmp_path).stdout.splitlines()
    assert "warn  learning rate: untuned: 0.01 for all suits some better than others; name three" in lines
    assert lines[-1].startswith("tiny: ")
    record = json.loads(suite("lint", plan, "--device", "cpu", "--variants", "lstm,rnn", "--json", "--strict", cwd=tmp_path, code=1).stdout)
    assert [row["variant"] for row in record["fairness"]] == ["lstm", "rnn"]
    assert {row["mark"] for row in record["remarks"]} == {"ok", "note", "warn"}
    sound = {
        "seeds = [0, 1]": "seeds = [0, 1, 2, 3]",
        "rates = [0.01]": 'rates = [0.01, 0.1]\ninitial_memory = "chrono"',
        "lengths = [2]": "samples = 4096",
        "hidden_size = 6": "hidden_size = 32",
    }
    done = suite("lint", tiny_plan(tmp_path, **sound), "--device", "cpu", "--strict", "--time", cwd=tmp_path)
    assert "warn  power" not in done.stdout
    assert "note  time: about " in done.stdout
    assert not (tmp_path / "runs").exists()


def test_lists_and_doctor(tmp_path: Path) -> None:
    found = json.loads(suite("list", "--json", cwd=tmp_path).stdout)
    assert {"variants", "tasks", "corruptions", "measures", "listeners", "sections", "claims", "executors", "plans"} == set(found)
    assert [row["name"] for row in found["plans"]] == ["depth", "full", "quick", "smoke", "standard"]
    assert "device model" in suite("doctor", cwd=tmp_path).stdout
    dry = suite("run", "smoke", "--dry-run", "--device", "cpu", "--variants", "lstm,gru", "--tasks", "adding", cwd=tmp_path).stdout
    assert "2 trials, 2 to do" in dry
    assert "about" in dry
    assert not (tmp_path / "runs").exists()
