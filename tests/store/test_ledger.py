"""Checks which key stands for a cell after a run, what is left out as stale, and that two plans of one name stay apart."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from suite import Point, SuiteError
from suite.check.imagined import MACHINE, fill
from suite.plan import schema
from suite.plan.narrowing import narrow
from suite.plan.schema import Request
from suite.registry.finder import discover
from suite.spec import Machine, Plugin, Results
from suite.store import frame
from suite.store.ledger import Entered, Ledger, check_origin, entered
from suite.store.selection import Selection, select
from suite.store.store import Store
from suite.trial import Evaluation, Learning, Outcome, Timed, Trial, Validation

PLAN = schema.check(
    {
        "name": "mine",
        "variants": ["lstm", "gru"],
        "tasks": [{"name": "adding", "lengths": [6]}],
        "seeds": [0, 1],
        "evaluations": {"lengths": []},
    },
    "mine",
)


def entry(*trials: Trial, plan: schema.Plan = PLAN, machine: Machine = MACHINE, request: Request | None = None) -> Entered:
    return Entered(plan, request or Request("mine.toml"), trials, (), (), machine)


def test_a_run_of_a_part_keeps_the_rest(tiny: Trial) -> None:
    first, second = tiny, replace(tiny, seed=1)
    ledger = entered(entered(None, entry(first, second)), entry(replace(first, sources={"gru": "new"})))
    assert set(ledger.cells) == {first.cell, second.cell}
    assert ledger.cells[first.cell].key == replace(first, sources={"gru": "new"}).key
    assert ledger.cells[second.cell].key == second.key


@pytest.mark.parametrize(
    "changes",
    [
        {"training": {"batch_size": 7}},
        {"eval_seed": 3},
        {"matching": {"hidden_size": 5}},
        {"training": {"learning_rates": [0.5]}},
        {"evaluations": {"samples": 99}},
    ],
    ids=str,
)
def test_another_protocol_begins_anew(tiny: Trial, changes: dict[str, Any]) -> None:
    other = schema.check({**PLAN.model_dump(), **changes}, "mine")
    ledger = entered(entered(None, entry(tiny)), entry(replace(tiny, seed=1), plan=other))
    assert set(ledger.cells) == {replace(tiny, seed=1).cell}
    on_gpu = entered(entered(None, entry(tiny)), entry(replace(tiny, seed=1), machine=replace(MACHINE, device="cuda")))
    assert set(on_gpu.cells) == {replace(tiny, seed=1).cell}


def test_another_question_does_not(tiny: Trial) -> None:
    other = schema.check({**PLAN.model_dump(), "evaluations": {"lengths": [3.0], "corruptions": ["step_drop"]}}, "mine")
    second = replace(tiny, seed=1)
    assert set(entered(entered(None, entry(tiny)), entry(second, plan=other)).cells) == {tiny.cell, second.cell}


def test_other_steps_of_a_task_leave_that_task_alone(tiny: Trial) -> None:
    noisy = replace(tiny, task=Plugin("noisy"))
    longer = replace(tiny, seed=1, training=replace(tiny.training, steps=99))
    ledger = entered(entered(None, entry(tiny, noisy)), entry(longer))
    assert set(ledger.cells) == {noisy.cell, longer.cell}


def test_requests_are_kept_once_each(tiny: Trial) -> None:
    requests = [Request("mine.toml"), Request("mine.toml", variants="gru"), Request("mine.toml")]
    ledger: Ledger | None = None
    for request in requests:
        ledger = entered(ledger, entry(tiny, request=request))
    assert ledger is not None
    assert ledger.requests == (Request("mine.toml"), Request("mine.toml", variants="gru"))


def test_two_files_of_one_name_do_not_share_a_folder(tmp_path: Path, tiny: Trial) -> None:
    one, other = tmp_path / "one" / "mine.toml", tmp_path / "other" / "mine.toml"
    for file in (one, other):
        file.parent.mkdir()
        file.write_text("")
    ledger = entered(None, entry(tiny, request=Request(str(one))))
    check_origin(ledger, Request(str(one)), tmp_path)
    check_origin(ledger, Request(""), tmp_path)  # made in Python
    with pytest.raises(SuiteError, match=r"holds the runs of .*one/mine.toml; give this plan another name"):
        check_origin(ledger, Request(str(other)), tmp_path)
    one.unlink()  # moved elsewhere, perhaps to the other's place
    check_origin(ledger, Request(str(other)), tmp_path)


def test_a_file_does_not_share_the_folder_of_a_packaged_plan(tmp_path: Path, tiny: Trial) -> None:
    ledger = entered(None, entry(tiny, request=Request("smoke")))
    check_origin(ledger, Request("smoke"), tmp_path)
    with pytest.raises(SuiteError, match="holds the runs of the packaged plan smoke"):
        check_origin(ledger, Request(str(tmp_path / "smoke.toml")), tmp_path)


def test_a_ledger_comes_back_as_it_was(tmp_path: Path) -> None:
    store = fill(tmp_path)
    ledger = store.ledger()
    assert ledger is not None
    before = (store.folder / "ledger.json").stat().st_mtime_ns
    store.keep(ledger)
    assert (store.folder / "ledger.json").stat().st_mtime_ns == before
    assert store.ledger() == ledger


# What a report is of


VERSIONS = {"suite.dropins.plugins.gru": "1", "suite.dropins.tasks.adding": "1"}
NOISE = {"suite.dropins.tasks.gaussian_noise": "1"}


def versioned(tiny: Trial, variant: str, seed: int, sources: Mapping[str, str] = VERSIONS, noise: Mapping[str, str] = NOISE) -> Trial:
    own = {name: value for name, value in sources.items() if name.endswith((variant, "adding"))}
    training = replace(tiny.training, learning_rate=0.001)
    trial = replace(tiny, variant=Plugin(variant), seed=seed, length=6, sources=own, training=training)
    evaluations = (
        Evaluation("length", "long_range", (1.0,), trial.key, {}),
        Evaluation("gaussian_noise", "robustness", (20.0, 10.0, 0.0, -10.0, -20.0), trial.key, noise),
    )
    return replace(trial, evaluations=evaluations)


def run(store: Store, *trials: Trial, plan: schema.Plan = PLAN, request: Request | None = None) -> None:
    for trial in trials:
        learning = Learning("loss < 1", 0.5, (Validation(5, {"loss": 0.1}),), 5, 5)
        points = {evaluation.key: (Point(at, 6, {"loss": 0.1}, 0.5, True),) for evaluation in trial.evaluations for at in evaluation.at}
        store.put(trial, Outcome(trial.key, "ok", learning=learning, evaluations=points), MACHINE)
    store.keep(entered(store.ledger(), entry(*trials, plan=plan, request=request)))


def selected(plan: schema.Plan = PLAN, **lists: Any) -> Selection:
    request = Request("mine.toml", **lists)
    return select(narrow(plan, request, discover()), request, discover(), "cpu")


def seeds(results: Results) -> dict[str, list[int]]:
    return {str(variant): sorted(map(int, rows["seed"])) for variant, rows in results.trials.groupby("variant")}


@pytest.fixture
def store(tmp_path: Path, tiny: Trial) -> Store:
    store = Store(tmp_path, "mine")
    run(store, *(versioned(tiny, variant, seed) for variant in ("lstm", "gru") for seed in (0, 1)))
    return store


PLAN_WITH_NOISE = schema.check({**PLAN.model_dump(), "evaluations": {"lengths": [], "corruptions": ["gaussian_noise"]}}, "mine")


def test_two_versions_of_a_plugin_are_never_averaged(store: Store, tiny: Trial) -> None:
    """gru is edited, and only its seed 0 is run again: seed 1 is left out and named."""
    run(store, versioned(tiny, "gru", 0, {**VERSIONS, "suite.dropins.plugins.gru": "2"}))
    results = frame.read(store, selected())
    assert seeds(results) == {"gru": [0], "lstm": [0, 1]}
    assert [(stale.what, stale.changed) for stale in results.provenance.stale] == [
        ("gru | adding | 6 | 1 | 0.001", ("suite.dropins.plugins.gru",))
    ]
    assert results.provenance.missing == ()


def test_two_versions_of_a_corruption_are_never_averaged(store: Store, tiny: Trial) -> None:
    run(store, versioned(tiny, "gru", 0, noise={"suite.dropins.tasks.gaussian_noise": "2"}))
    results = frame.read(store, selected(PLAN_WITH_NOISE))
    damaged = results.frame[results.frame["axis"] == "robustness"]
    assert set(zip(damaged["variant"], damaged["seed"], strict=True)) == {("gru", 0)}
    assert seeds(results) == {"gru": [0, 1], "lstm": [0, 1]}  # what was learned is as it was
    assert {stale.what for stale in results.provenance.stale} == {
        f"{variant} | adding | 6 | {seed} | 0.001, gaussian_noise" for variant, seed in (("lstm", 0), ("lstm", 1), ("gru", 1))
    }


def test_a_narrowed_run_reports_what_was_asked_for_and_the_whole_on_request(store: Store) -> None:
    assert seeds(frame.read(store, selected(variants="gru", seeds=1))) == {"gru": [0]}
    assert seeds(frame.read(store, selected())) == {"gru": [0, 1], "lstm": [0, 1]}
    assert seeds(frame.read(store)) == {"gru": [0, 1], "lstm": [0, 1]}


def test_rows_of_what_an_edited_plan_no_longer_has_are_gone(store: Store) -> None:
    edited = schema.check({**PLAN.model_dump(), "variants": ["gru"], "seeds": [1]}, "mine")
    assert seeds(frame.read(store, selected(edited))) == {"gru": [1]}
    shorter = schema.check({**PLAN.model_dump(), "tasks": [{"name": "adding", "lengths": [7]}]}, "mine")
    results = frame.read(store, selected(shorter))
    assert results.trials.empty
    assert len(results.provenance.missing) == 4
    assert set(frame.read(store, selected()).frame["axis"]) == {"long_range", "learning"}  # the plan asks for no corruption any more
    assert "robustness" in set(frame.read(store, selected(PLAN_WITH_NOISE)).frame["axis"])


def test_the_command_makes_each_narrowed_run_again(store: Store, tiny: Trial) -> None:
    command = "suite run mine.toml --variants 'lstm,attention(score=additive)' --tasks 'noisy(form=b)' --seeds 2 --device cpu"
    lists: dict[str, Any] = {"variants": "lstm,attention(score=additive)", "tasks": "noisy(form=b)", "seeds": 2}
    assert frame.read(store, selected(**lists)).provenance.command == command
    run(store, versioned(tiny, "gru", 0), request=Request("mine.toml", variants="gru"))
    whole = "suite run mine.toml --device cpu; suite run mine.toml --variants gru --device cpu"
    assert frame.read(store).provenance.command == whole
    assert frame.read(store, replace(selected(), request=Request())).provenance.command == ""


def test_the_command_says_where_each_part_was_run(store: Store, tiny: Trial) -> None:
    """Whoever writes the report, from wherever; what was never run so is searched for in all folders that a part was."""
    request = Request("mine.toml", variants="gru")
    run(store, versioned(tiny, "gru", 0), request=replace(request, path=("more", "with space"), runs="old"))
    run(store, versioned(tiny, "gru", 0), request=replace(request, path=("more", "with space"), runs="kept"))
    place = "--path more --path 'with space' --runs kept --device cpu"
    assert frame.read(store, selected(variants="gru")).provenance.command == f"suite run mine.toml --variants gru {place}"
    assert frame.read(store, selected()).provenance.command == "suite run mine.toml --device cpu"
    assert frame.read(store, selected(seeds=1)).provenance.command == f"suite run mine.toml --seeds 1 {place}"


def test_the_same_part_from_another_place_is_nothing_new(store: Store, tiny: Trial) -> None:
    ledger = store.ledger()
    assert ledger is not None
    trials = [versioned(tiny, variant, seed) for variant in ("lstm", "gru") for seed in (0, 1)]
    elsewhere = Request("mine.toml", path=("more",), runs="../runs")
    assert entered(ledger, entry(*trials, request=elsewhere)) == ledger


def test_fields_that_were_edited_since_are_named(store: Store) -> None:
    edited = schema.check({**PLAN.model_dump(), "eval_seed": 5, "training": {"clip": 2.0, "steps": 99}}, "mine")
    assert frame.read(store, selected(edited)).provenance.edited == ("eval_seed", "training.steps", "training.clip", "steps of adding")
    assert frame.read(store, selected()).provenance.edited == ("steps of adding",)  # the trials here have 20


def test_points_that_the_plan_has_added_since_are_missing(store: Store) -> None:
    longer = schema.check({**PLAN.model_dump(), "evaluations": {"lengths": [2.0]}}, "mine")
    results = frame.read(store, selected(longer))
    assert results.provenance.missing == tuple(
        f"{variant} | adding | 6 | {seed} | 0.001, length" for variant in ("lstm", "gru") for seed in (0, 1)
    )


def test_times_of_two_machines_are_not_compared(tmp_path: Path) -> None:
    store = fill(tmp_path, times={("lstm", "reference"): 2.0, ("gru", "reference"): 1.0})
    ledger = store.ledger()
    assert ledger is not None
    timings = [stored.timing for key in ledger.timings.values() if (stored := store.timing(key)) is not None]
    elsewhere = [replace(timing, surroundings={"cpu": "another"}) for timing in timings if timing.variant == Plugin("gru")]
    kept = [replace(timing, surroundings={"cpu": "this one"}) for timing in timings if timing.variant != Plugin("gru")]
    plan = schema.check(ledger.plan, "synthetic")  # type: ignore[arg-type]
    for part in (kept, elsewhere):
        for timing in part:
            store.put_timing(timing, Timed({"forward": (1.0,)}, {"forward": (1.0,)}))
        store.keep(entered(store.ledger(), Entered(plan, Request("synthetic"), (), tuple(part), (), MACHINE)))
    results = frame.read(store)
    speed = results.frame[results.frame["axis"] == "speed"]
    assert set(speed["variant"]) == {"gru"}
    assert {stale.changed for stale in results.provenance.stale} == {("timed on cpu",)}


def test_a_plan_made_in_python_leaves_the_folder_to_its_file(tiny: Trial) -> None:
    ledger = entered(entered(None, entry(tiny)), entry(tiny, request=Request("")))
    assert ledger.origin.endswith("mine.toml")
