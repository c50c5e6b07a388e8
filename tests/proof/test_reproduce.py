"""Checks that trials trained again agree to the bit, that what differs is named, and that a capsule holds all that a stranger needs."""

from __future__ import annotations

import base64
import hashlib
import io
import shutil
import subprocess
import sys
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest

from suite import Point, SuiteError, api, machine
from suite.execution.local import LocalPool, default_workers
from suite.plan import schema
from suite.proof import capsule as capsules
from suite.proof import reproduce as reproducing
from suite.proof.capsule import capsule
from suite.proof.reproduce import Reproduced, compared, differing, first_difference, reproduce, text, train
from suite.proof.wheel import wheel
from suite.report import page
from suite.report.stats import Interval
from suite.store.ledger import entered
from suite.store.store import Store
from suite.trial import Evaluation, Learning, Outcome, Trial, Validation

from ..execution.test_placement import pretended
from ..report.drawing import with_sections
from ..running import environment, tiny_plan
from ..test_keeping import said

SMALL = {'"lstm", "gru"': '"lstm"', ', { name = "noisy", lengths = [6] }': "", "steps = 20": "steps = 20\nengine = 'derived'"}


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """A plan of two trials that were trained, and its report; of one of them a number was changed since."""
    folder = tmp_path_factory.mktemp("there")
    plan = str(tiny_plan(folder, **SMALL))
    work = api.prepare(schema.load(plan), folder / "runs", "cpu", schema.Request(plan))
    outcomes = train(work, work.trials)
    for trial in work.trials:
        work.store.put(trial, outcomes[trial.key], work.machine)
    first = work.trials[0]
    learning = outcomes[first.key].learning
    assert learning is not None
    [*before, last] = learning.curve
    changed = replace(learning, curve=(*before, replace(last, scores={**last.scores, "loss": last.scores["loss"] + 0.25})))
    work.store.put(first, replace(outcomes[first.key], learning=changed), replace(work.machine, python="3.0"))
    work.store.keep(entered(None, api._entered(work)))
    page.write(work.store, work.registry, work.selection)
    return work.store


def test_a_trial_comes_out_the_same_and_one_that_was_changed_is_named(store: Store) -> None:
    changed, same = sorted(reproduce(store.report, [], 5), key=lambda each: each.level != "within the interval")
    assert (same.level, same.first, same.explained) == ("same bits", "", True)
    assert (changed.level, changed.trial.seed) == ("within the interval", 0)
    assert changed.first.startswith("step 20: loss is ")
    assert changed.first.endswith(", by 0.25")
    assert [words.partition(" ")[0] for words in changed.differing] == ["python"]
    assert "differing: python (3.0 there, " in text(changed)
    with pytest.raises(SuiteError, match="--trial 123: no trials of the report have a key that begins so"):
        list(reproduce(store.report, ["123"], 1))


def test_trials_are_trained_again_on_the_devices_that_are_named(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    plan = schema.check(dict(store.ledger().plan), "here")  # type: ignore[union-attr]
    work = api.prepare(plan, store.folder.parent / "again", "cpu", schema.Request())
    begun: list[tuple[int, str, str]] = []

    def pretending(workers: int, device: str, gpus: str) -> LocalPool:
        begun.append((workers, device, gpus))
        return LocalPool(workers, devices=pretended("a", "b"))

    monkeypatch.setattr(reproducing, "processes_here", pretending)
    monkeypatch.setattr(machine, "gpu_indices", lambda named: tuple(range(len(named.split(",")))))
    placed = replace(work, executor=replace(work.executor, options={"devices": "cuda:0,cuda:1"}))
    outcomes = train(placed, work.trials)
    assert begun == [(min(default_workers("cpu", 2), 2), "cpu", "cuda:0,cuda:1")]
    assert {outcome.status for outcome in outcomes.values()} == {"ok"}
    with pytest.raises(SuiteError, match="--device cpu: --devices cuda:0 names GPUs"):  # the report is of a processor
        list(reproduce(store.report, [], 5, "cuda:0"))


# Words


def outcome(trial: Trial, *losses: float, skill: float = 0.5, status: str = "ok") -> Outcome:
    curve = tuple(Validation(10 * place, {"loss": loss}) for place, loss in enumerate(losses, 1))
    points = {asked.key: (Point(1.0, 6, {"loss": 1 - skill}, 1.0, False),) for asked in trial.evaluations}
    return Outcome(trial.key, status, learning=Learning("loss < 1", 1.0, curve, 10), evaluations=points)  # type: ignore[arg-type]


@pytest.fixture
def asked(tiny: Trial) -> Trial:
    return replace(tiny, evaluations=(Evaluation("length", "long_range", (1.0,), tiny.key, {}),))


def test_the_first_number_that_differs_is_named_in_the_order_of_training(asked: Trial) -> None:
    there = outcome(asked, 0.5, 0.25)
    assert first_difference(asked, there, there) == ""
    assert first_difference(asked, there, outcome(asked, 0.5, 0.375)) == "step 20: loss is 0.25 there and 0.375 here, by 0.12"
    assert first_difference(asked, there, outcome(asked, 0.5)) == "step 20: loss is 0.25 there and None here"
    assert first_difference(asked, there, outcome(asked, 0.5, 0.25, skill=0.75)) == "length at 1: loss is 0.5 there and 0.25 here, by 0.25"
    assert "ended as ok there and as failed here" in first_difference(asked, there, outcome(asked, status="failed"))


@pytest.mark.parametrize(("here", "level"), [(0.5, "same bits"), (0.55, "within the interval"), (0.75, "apart"), (None, "not trained")])
def test_the_levels_of_agreement(asked: Trial, store: Store, here: float | None, level: str) -> None:
    before = store.trial(store.keys("trials")[0])
    assert before is not None
    there = outcome(asked, 0.5)
    again = outcome(asked, status="failed") if here is None else outcome(asked, 0.5, skill=here)
    result = compared(asked, before, there, again, Interval(0.5, 0.4, 0.6, 4), before.machine)
    assert result.level == level
    assert isinstance(result, Reproduced)


def test_what_differs_is_named_with_what_each_has(store: Store) -> None:
    before = store.trial(store.keys("trials")[1])
    assert before is not None
    now = replace(before.trial, sources={**before.trial.sources, "suite.ops.scan": "0"}, surroundings={"torch": "1.0"})
    machine = replace(before.machine, cpu="abacus")
    names = list(differing(before, now, machine))
    assert "suite.ops.scan (another version)" in names
    assert any(name.startswith("torch (2.") and name.endswith(" there, 1.0 here)") for name in names)
    assert f"cpu ({before.machine.cpu} there, abacus here)" in names


# A capsule


def test_the_wheel_is_one_that_pip_takes() -> None:
    name, content = wheel()
    assert (name, content) == wheel()
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        files = {entry: archive.read(entry) for entry in archive.namelist()}
    [record] = [entry for entry in files if entry.endswith(".dist-info/RECORD")]
    rows = dict(line.split(",")[:2] for line in files.pop(record).decode().splitlines())
    assert rows.pop(record) == ""
    assert rows == {
        entry: "sha256=" + base64.urlsafe_b64encode(hashlib.sha256(part).digest()).rstrip(b"=").decode() for entry, part in files.items()
    }
    assert {
        "suite/cli.py",
        "suite/proof/reference.json",
        "suite/dropins/plugins/lstm.py",
        "suite/dropins/reports/templates/index.html",
    } < set(files)
    assert not any("__pycache__" in entry for entry in files)


def test_a_stranger_verifies_a_capsule_with_nothing_but_what_is_in_it(store: Store, tmp_path: Path) -> None:
    told_of = said("export", str(store.folder.parents[1] / "tiny.toml"), tmp_path / "tiny.zip", "--report", "--runs", store.folder.parent)
    assert "tiny.zip: " in told_of
    with zipfile.ZipFile(tmp_path / "tiny.zip") as archive:
        archive.extractall(tmp_path / "unpacked")
    [built] = (tmp_path / "unpacked").glob("*.whl")
    with zipfile.ZipFile(built) as archive:
        archive.extractall(tmp_path / "installed")
    command = [sys.executable, "-m", "suite", "verify", "runs/tiny/report"]
    done = subprocess.run(
        command, cwd=tmp_path / "unpacked", env=environment(PYTHONPATH=str(tmp_path / "installed")), capture_output=True, text=True
    )
    assert "to the same bytes" in done.stdout, done.stdout + done.stderr
    readme, constraints = ((tmp_path / "unpacked" / name).read_text() for name in ("README.md", "constraints.txt"))
    assert "suite reproduce runs/tiny/report --sample 5" in readme
    assert f"./{built.name}" in readme
    assert "\ntorch==2." in constraints
    assert "+" not in constraints
    assert "recurrent-suite" not in constraints


def test_plugins_of_other_folders_are_packed_and_those_that_changed_are_told(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    assert not any(name.startswith(("plugins/", "tasks/")) for name in capsule(store).files)
    monkeypatch.setattr(capsules, "own_roots", tuple)
    packed = capsule(store)
    assert {"plugins/lstm.py", "tasks/adding.py", "reports/_sentences.py"} < set(packed.files)
    assert b"--path ." in packed.files["README.md"]
    assert packed.notes == ()
    ledger = store.ledger()
    assert ledger is not None
    _, notes = capsules._plugins(with_sections(), replace(ledger, sources={"suite.dropins.tasks.adding": "0", "suite.gone": "0"}))
    assert [note.partition(";")[0] for note in notes] == ["suite.dropins.tasks.adding is of another version now", "suite.gone is gone"]


def test_a_report_that_is_older_than_its_store_makes_no_capsule(store: Store, tmp_path: Path) -> None:
    copy = Store(tmp_path, "tiny")
    shutil.copytree(store.folder, copy.folder)
    file = copy.file("trials", copy.keys("trials")[0])
    file.write_bytes(file.read_bytes() + b"\n")
    with pytest.raises(SuiteError, match="is older than the store or the code that draws it; suite report tiny first"):
        capsule(copy)
    (copy.report / "index.html").unlink()
    with pytest.raises(SuiteError, match="is no whole report of this version of the suite; suite report tiny first"):
        capsule(copy)
