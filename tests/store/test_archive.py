"""Checks that an archive holds a store whole, is the same for the same store, and that nothing but a store comes out of one."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from suite import SuiteError
from suite.store.archive import MANIFEST, pack, unpack
from suite.store.store import Store
from suite.trial import Trial

from .two import contents, define, filled, trial


@pytest.fixture
def store(tmp_path: Path, tiny: Trial) -> Store:
    return filled(tmp_path / "runs", trial(tiny, 0), trial(tiny, 1))


@pytest.fixture
def archive(tmp_path: Path, store: Store) -> Path:
    pack(store, tmp_path / "mine.zip", "question = 'which?'\n")
    return tmp_path / "mine.zip"


def rewritten(archive: Path, change: Callable[[dict[str, bytes], dict[str, Any]], None]) -> Path:
    """The archive with its files, by name, and its manifest changed."""
    with zipfile.ZipFile(archive) as before:
        files = {name: before.read(name) for name in before.namelist()}
    manifest = json.loads(files.pop(MANIFEST))
    change(files, manifest)
    with zipfile.ZipFile(archive, "w") as after:
        after.writestr(MANIFEST, json.dumps(manifest))
        for name, content in files.items():
            after.writestr(name, content)
    return archive


def test_a_store_comes_back_from_its_archive(tmp_path: Path, store: Store, archive: Path) -> None:
    merged = unpack(archive, tmp_path / "elsewhere")
    assert merged.taken == {"trials": 2, "evaluations": 2, "checkpoints": 2, "plan files": 1}
    brought = contents(Store(tmp_path / "elsewhere", "mine"))
    assert brought.pop("mine.toml") == b"question = 'which?'\n"
    del brought["ledger.json"]  # which no longer says where the plan's file lay
    assert brought.items() <= contents(store).items()
    assert len(brought) == 6
    again = unpack(archive, tmp_path / "elsewhere")
    assert (again.taken, again.kept, again.contradictions) == ({}, 4, ())
    assert [path.name for path in (tmp_path / "elsewhere").iterdir()] == ["mine"]


def test_plugins_defined_in_python_come_along(tmp_path: Path, store: Store) -> None:
    place = define(store, "x = 1\n")
    pack(store, tmp_path / "defined.zip", "")
    assert unpack(tmp_path / "defined.zip", tmp_path / "elsewhere").taken["plugins defined in Python"] == 1
    assert contents(Store(tmp_path / "elsewhere", "mine"))[place] == b"x = 1\n"


def test_the_same_store_gives_the_same_archive(tmp_path: Path, store: Store, archive: Path) -> None:
    pack(store, tmp_path / "again.zip", "question = 'which?'\n")
    assert (tmp_path / "again.zip").read_bytes() == archive.read_bytes()


def test_an_archive_takes_no_other_files_place_and_leaves_out_what_is_spoiled(
    tmp_path: Path, store: Store, archive: Path, tiny: Trial
) -> None:
    with pytest.raises(SuiteError, match="is there already"):
        pack(store, archive, "")
    store.file("trials", trial(tiny).key).write_text("{")
    count = pack(store, tmp_path / "less.zip", "")
    assert count == 1 + 1 + 2 + 2  # a ledger, the trial that is whole, evaluations, weights
    assert len(store.spoiled) == 1
    with pytest.raises(SuiteError, match="holds no results to export"):
        pack(Store(tmp_path, "absent"), tmp_path / "none.zip", "")


def test_the_store_is_held_and_each_file_is_read_once(tmp_path: Path, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    with store.writing(), pytest.raises(SuiteError, match="another run is at work here"):
        pack(Store(tmp_path / "runs", "mine"), tmp_path / "held.zip", "")
    read: list[Path] = []
    whole = Path.read_bytes

    def once(path: Path) -> bytes:
        """Read a file, which somebody edits right after."""
        content = whole(path)
        if path.parent.name in {"trials", "evaluations", "checkpoints"}:
            read.append(path)
            path.write_bytes(content + b" ")
        return content

    monkeypatch.setattr(Path, "read_bytes", once)
    pack(store, tmp_path / "edited.zip", "")
    monkeypatch.undo()
    assert sorted(read) == sorted({*read})
    assert len(read) == 6
    assert unpack(tmp_path / "edited.zip", tmp_path / "elsewhere").taken == {"trials": 2, "evaluations": 2, "checkpoints": 2}


def test_a_capsule_holds_a_store_among_other_files_and_gives_it_back(tmp_path: Path, store: Store) -> None:
    pack(store, tmp_path / "capsule.zip", "", lambda: {"README.md": b"read me", "runs/mine/report/index.html": b"a page"})
    with zipfile.ZipFile(tmp_path / "capsule.zip") as capsule:
        assert {"README.md", "runs/mine/ledger.json", "runs/mine/report/index.html"} < set(capsule.namelist())
    assert unpack(tmp_path / "capsule.zip", tmp_path / "elsewhere").taken == {"trials": 2, "evaluations": 2, "checkpoints": 2}
    assert not (tmp_path / "elsewhere" / "mine" / "report").exists()
    assert not (tmp_path / "elsewhere" / "README.md").exists()

    def escape(files: dict[str, bytes], manifest: dict[str, Any]) -> None:
        files["runs/mine/../../outside"] = b""
        manifest["files"]["runs/mine/../../outside"] = "0"

    with pytest.raises(SuiteError, match="which is no file of a store"):
        unpack(rewritten(tmp_path / "capsule.zip", escape), tmp_path / "third")


def alter(files: dict[str, bytes], _: dict[str, Any]) -> None:
    name = next(name for name in files if name.startswith("trials/"))
    files[name] = files[name].replace(b"0.25", b"0.24")


def outside(files: dict[str, bytes], manifest: dict[str, Any]) -> None:
    name = next(iter(manifest["files"]))
    for holder in (files, manifest["files"]):
        holder["../outside.json"] = holder.pop(name)


def absolute(files: dict[str, bytes], manifest: dict[str, Any]) -> None:
    files["/tmp/outside.json"], manifest["files"]["/tmp/outside.json"] = b"", "0"


def unlisted(files: dict[str, bytes], _: dict[str, Any]) -> None:
    files["trials/0123.json"] = b"{}"


def lacking(files: dict[str, bytes], _: dict[str, Any]) -> None:
    del files["ledger.json"]


def other_plan(_: dict[str, bytes], manifest: dict[str, Any]) -> None:
    manifest["plan"] = "../../outside"


def newer(_: dict[str, bytes], manifest: dict[str, Any]) -> None:
    manifest["form"] = 3


def none(_: dict[str, bytes], manifest: dict[str, Any]) -> None:
    manifest.clear()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (alter, r"trials/\w+\.json is not what its digest says"),
        (outside, r"names '\.\./outside\.json', which is no file of a store"),
        (absolute, "names '/tmp/outside.json', which is no file of a store"),
        (unlisted, "do not agree on trials/0123.json"),
        (lacking, "do not agree on ledger.json"),
        (other_plan, r"names the plan '\.\./\.\./outside'"),
        (newer, "is of form 3, which version .* of the suite wrote, and this one reads forms up to 2; upgrade"),
        (none, "has no manifest.json that can be read"),
    ],
)
def test_an_archive_that_is_not_what_it_should_be_brings_nothing(
    tmp_path: Path, archive: Path, change: Callable[[dict[str, bytes], dict[str, Any]], None], message: str
) -> None:
    with pytest.raises(SuiteError, match=message) as caught:
        unpack(rewritten(archive, change), tmp_path / "elsewhere")
    assert str(archive) in str(caught.value)
    assert not list((tmp_path / "elsewhere").glob("**/*"))
    assert not (tmp_path / "outside.json").exists()


@pytest.mark.parametrize("keep", [0, 100, 0.7, 0.99])
def test_a_truncated_archive_is_named(tmp_path: Path, archive: Path, keep: float) -> None:
    content = archive.read_bytes()
    archive.write_bytes(content[: int(keep if keep > 1 else keep * len(content))])
    with pytest.raises(SuiteError, match=f"{archive}: "):
        unpack(archive, tmp_path / "elsewhere")
    assert not list((tmp_path / "elsewhere").glob("**/*"))
