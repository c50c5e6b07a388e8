"""Checks that a report is built again to the same bytes, and that one flipped byte is named wherever it lies."""

from __future__ import annotations

import json
import os
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from suite import SuiteError
from suite.check.imagined import MACHINE, fill
from suite.plan import schema
from suite.proof import verify as verifying
from suite.proof.verify import first_difference, report_of, verify
from suite.registry.registry import Registry
from suite.report import inputs, page
from suite.spec import Grade, Plugin
from suite.store.ledger import Entered, entered
from suite.store.selection import select
from suite.store.store import Store
from suite.trial import Grading

from ..report.drawing import TIMES, with_sections
from ..test_keeping import said

REGISTRY = with_sections()
"""The plugins with two sections alone, of which one has a figure."""


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "fsync", lambda _file: None)
    monkeypatch.setattr(verifying, "discover", lambda: REGISTRY)


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """A store with a record of each kind, and its report."""
    store = fill(tmp_path_factory.mktemp("runs"), tasks=["adding"], lengths=[10], times=TIMES)
    ledger = store.ledger()
    assert ledger is not None
    grading = Grading(Plugin("gru"), 5, "cpu", {}, {})
    store.put_grade(grading, Grade(True, True))
    plan = schema.check(dict(ledger.plan), "a test")
    store.keep(replace(ledger, grades=entered(ledger, Entered(plan, schema.Request(), (), (), (grading,), MACHINE)).grades))
    page.write(store, REGISTRY, None)
    return store


@pytest.fixture
def store(drawn: Store, tmp_path: Path) -> Store:
    """A copy of it, to be changed."""
    shutil.copytree(drawn.folder, tmp_path / "synthetic")
    return Store(tmp_path, "synthetic")


def flip(file: Path, place: int = -20) -> None:
    content = bytearray(file.read_bytes())
    content[place] ^= 1
    file.write_bytes(content)


def test_a_report_that_is_whole_comes_out_the_same_and_nothing_is_written(store: Store) -> None:
    def times() -> dict[str, int]:
        return {str(file): file.stat().st_mtime_ns for file in store.folder.rglob("*")}

    before = times()
    verified = verify(store.report)
    assert times() == before
    assert (verified.faults, verified.changed, verified.rebuilt) == ((), (), True)
    assert verified.files == sum(file.is_file() for file in store.report.rglob("*"))
    assert verified.records > 10


def test_a_part_of_a_plan_is_selected_again(store: Store) -> None:
    ledger = store.ledger()
    assert ledger is not None
    plan = schema.check({**ledger.plan, "seeds": [0]}, "a test")
    page.write(store, REGISTRY, select(plan, schema.Request("synthetic", seeds=1), REGISTRY, "cpu"))
    assert verify(store.report).faults == ()


def test_a_flipped_byte_is_named_in_each_file_of_the_report(store: Store) -> None:
    files = [store.report / name for name in ("index.html", "figures/answer_front.svg", "answer.json", "answer.md", "results.csv")]
    for file in files:
        flip(file)
    assert [fault.partition(" (")[0] for fault in verify(store.report).faults] == [
        f"{file.relative_to(store.report)}: byte {file.stat().st_size - 20}" for file in files
    ]


@pytest.mark.parametrize("place", [0, 30, -300])
def test_a_flipped_byte_of_the_manifest_is_named(store: Store, place: int) -> None:
    flip(store.report / "manifest.json", place)
    faults = verify(store.report).faults
    assert faults
    assert all(fault.startswith("manifest.json: ") for fault in faults)


@pytest.mark.parametrize("kind", ["trials", "evaluations", "timings", "grades"])
@pytest.mark.parametrize("place", [5, 30, 60, 200, -20])
def test_a_flipped_byte_of_the_store_is_named(store: Store, kind: str, place: int) -> None:
    file = min((store.folder / kind).iterdir())
    flip(file, place)
    verified = verify(store.report)
    assert [fault.partition(": ")[0] for fault in verified.faults] == [str(file)]
    assert not verified.rebuilt


def test_a_flipped_byte_of_the_ledger_is_named(store: Store) -> None:
    flip(store.folder / "ledger.json")
    with pytest.raises(SuiteError, match=r"ledger\.json: cannot be read, since it is truncated or was edited"):
        verify(store.report)


def test_every_byte_of_a_record_is_under_its_seal(store: Store) -> None:
    key = store.keys("grades")[0]
    whole = store.file("grades", key).read_bytes()
    for place in range(len(whole)):
        store.file("grades", key).write_bytes(whole)
        flip(store.file("grades", key), place)
        assert store.read("grades", key) is None, place


def test_files_that_are_gone_and_files_too_many_are_named(store: Store) -> None:
    (store.report / "answer.md").unlink()
    (store.report / "notes.txt").write_text("mine")
    assert [fault.partition(":")[0] for fault in verify(store.report).faults] == ["answer.md", "notes.txt"]


def test_records_that_were_replaced_are_told_though_they_are_whole(store: Store) -> None:
    other = fill(store.folder.parent / "other", lambda *_: 0.5, tasks=["adding"], lengths=[10], times=TIMES)
    key = store.keys("evaluations")[0]
    store.file("evaluations", key).write_bytes(other.file("evaluations", key).read_bytes())
    faults = verify(store.report).faults
    assert faults[0].startswith("evaluations: the store has others than those that the report was made of")
    assert any(fault.startswith("index.html: byte ") for fault in faults)


def test_another_version_of_what_draws_is_said(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    def elsewhere(registry: Registry) -> Registry:
        section = registry.sections["answer"]
        digests = dict.fromkeys(section.digests, "another")
        return replace(registry, sections={**registry.sections, "answer": replace(section, digests=digests)})

    monkeypatch.setattr(inputs, "version", lambda package: "0.1" if package == "matplotlib" else "1")
    page.write(store, elsewhere(REGISTRY), None)
    monkeypatch.undo()
    monkeypatch.setattr(verifying, "discover", lambda: REGISTRY)
    verified = verify(store.report)
    assert "suite.dropins.reports.answer in another version" in verified.changed
    assert any(words.startswith("matplotlib 0.1 there, ") for words in verified.changed)
    assert [fault.partition(":")[0] for fault in verified.faults] == ["manifest.json"]


def test_a_report_of_an_earlier_version_is_held_against_its_own_digests(store: Store) -> None:
    file = store.report / "manifest.json"
    manifest = json.loads(file.read_text())
    del manifest["made_of"]
    file.write_text(json.dumps(manifest))
    flip(store.report / "results.csv")
    verified = verify(store.report)
    assert not verified.rebuilt
    assert [fault.partition(":")[0] for fault in verified.faults] == ["manifest.json", "results.csv"]
    assert "of an earlier version of the suite" in verified.faults[0]


def test_a_report_is_named_in_several_ways(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(store.folder.parent)
    for name in ("synthetic/report", "synthetic/report/index.html", "synthetic", str(store.report)):
        assert report_of(name, Path("absent")) == store.report
    assert report_of("synthetic", Path(".")) == store.report
    with pytest.raises(SuiteError, match="nothing: there is no report; name its folder"):
        report_of("nothing", Path("runs"))
    shutil.copytree(store.report, store.folder.parent / "alone" / "report")
    with pytest.raises(SuiteError, match=r"lies beside no ledger\.json"):
        verify(store.folder.parent / "alone" / "report")


def test_the_command_ends_with_1_where_something_differs(store: Store) -> None:
    flip(store.report / "index.html")
    assert "index.html: byte " in said("verify", store.report, code=1)


@pytest.mark.parametrize(
    ("one", "other", "words"),
    [
        (b"a\nbc", b"a\nbd", "byte 3 (line 2) is 0x63 (…'c'…), and 0x64 (…'d'…) when built again"),
        (b"abc", b"ab", "has 3 bytes and 2 when built again; the first 2 are the same"),
    ],
)
def test_the_first_difference_is_where_two_contents_part(one: bytes, other: bytes, words: str) -> None:
    assert first_difference(one, other) == words
