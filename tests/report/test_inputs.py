"""Checks that a report counts as unchanged while all that it is made of is the same, and no longer."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from suite import SuiteError
from suite.check.imagined import fill
from suite.plan import schema
from suite.registry.registry import Registry
from suite.registry.sources import harness_sources
from suite.report import inputs, page
from suite.spec import Broken
from suite.store.selection import Selection, select
from suite.store.store import Store

from .drawing import GRU, TIMES, age, with_sections, working


@pytest.fixture(autouse=True)
def _quick_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "fsync", lambda _file: None)


REGISTRY = with_sections()
"""The plugins with two sections alone, which have no figures and are quickly drawn."""


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Store:
    store = fill(tmp_path_factory.mktemp("runs"), tasks=["adding"], lengths=[10], times=TIMES)
    page.write(store, REGISTRY, None)
    return store


@pytest.fixture
def store(written: Store, tmp_path: Path) -> Store:
    """A copy of a store with its report, to be changed."""
    shutil.copytree(written.folder, tmp_path / "synthetic")
    return Store(tmp_path, "synthetic")


def test_it_is_unchanged_after_it_was_written_in_any_folder(store: Store) -> None:
    assert inputs.unchanged(store, REGISTRY, None)
    page.write(store, REGISTRY, None)
    assert inputs.unchanged(store, REGISTRY, None)


def test_it_is_not_unchanged_where_there_is_none(store: Store) -> None:
    shutil.rmtree(store.report)
    assert not inputs.unchanged(store, REGISTRY, None)


def edit(path: Path) -> None:
    path.write_bytes(path.read_bytes() + b"\n")


def first_of(kind: str) -> Callable[[Store], Path]:
    return lambda store: min((store.folder / kind).iterdir())


@pytest.mark.parametrize("change", [edit, Path.unlink], ids=["edited", "deleted"])
@pytest.mark.parametrize(
    "file",
    [
        *(first_of(kind) for kind in ("trials", "evaluations", "timings")),
        lambda store: store.report / "index.html",
        lambda store: store.report / "results.csv",
    ],
    ids=["trial", "evaluation", "timing", "page", "table"],
)
def test_a_file_that_changes_changes_it(store: Store, file: Callable[[Store], Path], change: Callable[[Path], None]) -> None:
    change(file(store))
    assert not inputs.unchanged(store, REGISTRY, None)


def test_a_ledger_that_is_gone_changes_it_and_one_that_was_edited_is_told(store: Store) -> None:
    edit(store.folder / "ledger.json")
    with pytest.raises(SuiteError, match=r"ledger\.json: cannot be read, since it is truncated or was edited"):
        inputs.unchanged(store, REGISTRY, None)
    (store.folder / "ledger.json").unlink()
    assert not inputs.unchanged(store, REGISTRY, None)


@pytest.mark.parametrize("change", [edit, Path.unlink], ids=["edited", "deleted"])
def test_a_figure_that_changes_changes_it(tmp_path: Path, change: Callable[[Path], None]) -> None:
    registry = replace(working(), sections={"learning_curves": working().sections["learning_curves"]})
    store = fill(tmp_path, tasks=["adding"], lengths=[10])
    page.write(store, registry, None)
    assert inputs.unchanged(store, registry, None)
    change(store.report / "figures" / "learning_curves.svg")
    assert not inputs.unchanged(store, registry, None)


@pytest.mark.parametrize("manifest", ["", "[]", "{}", '{"sha256": 3}', '{"sha256": []}', '{"inputs": "", "sha256": {}}', "\xff"])
def test_a_manifest_that_is_none_changes_it(store: Store, manifest: str) -> None:
    (store.report / inputs.MANIFEST).write_bytes(manifest.encode("latin-1"))
    assert not inputs.unchanged(store, REGISTRY, None)


def test_what_lies_in_the_store_and_is_not_named_by_the_ledger_does_not_count(store: Store) -> None:
    (store.folder / "trials" / "other.json").write_text("{}")
    assert inputs.unchanged(store, REGISTRY, None)


def test_a_source_that_changed_since_changes_it(store: Store) -> None:
    age(store, GRU)
    assert not inputs.unchanged(store, REGISTRY, None)


# What is selected


def selection(**narrowed: object) -> Selection:
    plan = schema.check({"name": "synthetic", "variants": ["lstm"], "tasks": [{"name": "adding", "lengths": [10]}], **narrowed}, "a test")
    return select(plan, schema.Request(plan.name), working(), "cpu")


def test_another_selection_changes_it(store: Store) -> None:
    narrow = selection()
    assert not inputs.unchanged(store, REGISTRY, narrow)
    page.write(store, REGISTRY, narrow)
    assert inputs.unchanged(store, REGISTRY, narrow)
    assert inputs.unchanged(store, REGISTRY, selection())
    assert not inputs.unchanged(store, REGISTRY, None)
    assert not inputs.unchanged(store, REGISTRY, selection(seeds=[0, 1]))
    assert not inputs.unchanged(store, REGISTRY, selection(question="Which one?"))
    assert not inputs.unchanged(store, REGISTRY, selection(evaluations={"corruptions": ["step_drop"]}))
    assert not inputs.unchanged(store, REGISTRY, replace(narrow, request=schema.Request("quick")))


# What draws


def other_digest(registry: Registry) -> Registry:
    answer = registry.sections["answer"]
    return replace(registry, sections={**registry.sections, "answer": replace(answer, digests={**answer.digests, "reports.answer": "0"})})


def fewer_sections(registry: Registry) -> Registry:
    return replace(registry, sections={"answer": registry.sections["answer"]})


def other_broken(registry: Registry) -> Registry:
    return replace(registry, broken=(Broken("plugins/new.py", "SyntaxError in line 3"),))


def other_unit(registry: Registry) -> Registry:
    measure = registry.measures["step_drop"]
    return replace(registry, measures={**registry.measures, "step_drop": replace(measure, noun=replace(measure.noun, unit="furlongs"))})


@pytest.mark.parametrize("change", [other_digest, fewer_sections, other_broken, other_unit])
def test_other_plugins_change_it(store: Store, change: Callable[[Registry], Registry]) -> None:
    assert not inputs.unchanged(store, change(REGISTRY), None)


def test_where_a_plugin_lies_and_those_that_were_not_trained_do_not_count(store: Store) -> None:
    """A stranger has the files of a plugin in another folder, and plugins of their own."""
    gru, rnn = REGISTRY.variants["gru"], REGISTRY.variants["rnn"]
    moved = replace(gru, source="/elsewhere/plugins/gru.py")
    edited = replace(rnn, digests=dict.fromkeys(rnn.digests, "0"))
    assert inputs.unchanged(store, replace(REGISTRY, variants={**REGISTRY.variants, "gru": moved, "rnn": edited, "new": rnn}), None)
    assert not inputs.unchanged(store, replace(REGISTRY, variants={**REGISTRY.variants, "gru": replace(gru, digests={"gru": "0"})}), None)


def test_the_suite_s_own_code_counts() -> None:
    own = {name for module in inputs.OWN for name in harness_sources(module)}
    rooms = (
        "report.page",
        "report.elements",
        "report.verdict",
        "report.figures",
        "report.stats",
        "store.frame",
        "measures.scores",
        "ops.engines",
    )
    assert {f"suite.{room}" for room in rooms} <= own


def test_templates_and_versions_of_drawing_libraries_count(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    assert [name for name, _ in inputs._templates()] == ["index.html", "script.js", "style.css"]
    monkeypatch.setattr(inputs, "version", lambda _package: "0")
    assert not inputs.unchanged(store, REGISTRY, None)


def test_where_a_broken_plugin_lies_does_not_count(store: Store) -> None:
    def broken(folder: str) -> Registry:
        plugin = Broken("plugins/new.py", f"ImportError: no (/{folder}/plugins/new.py)", f'File "/{folder}/plugins/new.py", line 3')
        return replace(REGISTRY, broken=(plugin,))

    assert inputs.fingerprint(store, broken("home/me"), None) == inputs.fingerprint(store, broken("srv"), None)


def test_the_manifest_tells_the_files_and_what_they_were_made_from(store: Store) -> None:
    recorded = json.loads((store.report / inputs.MANIFEST).read_text())
    assert recorded["inputs"] == inputs.fingerprint(store, REGISTRY, None)
    figure = ["figures/answer_front.csv", "figures/answer_front.svg"]
    assert sorted(recorded["sha256"]) == ["answer.json", "answer.md", *figure, "index.html", "results.csv"]
    assert inputs.written(store) == inputs.Written(store.report, tuple(recorded["stale"]))
