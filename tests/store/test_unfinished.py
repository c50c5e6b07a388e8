"""Checks that of a training that is not done two files are kept, that damage is recognised, and that what is done is removed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from suite.store import unfinished


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "unfinished"


def kept(folder: Path) -> list[tuple[int, bytes | None]]:
    return [(file.header.step, file.content()) for file in unfinished.trainings(folder)]


def test_the_last_two_are_kept_and_the_last_comes_first(folder: Path) -> None:
    for step in (5, 10, 100):
        unfinished.keep(folder, ["a", "b"], step, f"at {step}\n".encode())
    assert kept(folder) == [(100, b"at 100\n"), (10, b"at 10\n")]
    unfinished.keep(folder, ["b", "a", "c"], 7, b"another company")
    assert kept(folder) == [(100, b"at 100\n"), (10, b"at 10\n"), (7, b"another company")]
    assert unfinished.steps(folder) == {"a": 100, "b": 100, "c": 7}


def test_what_came_after_the_step_was_damaged_and_is_removed(folder: Path) -> None:
    for step in (5, 10, 7):
        unfinished.keep(folder, ["a"], step, b"")
    assert [step for step, _ in kept(folder)] == [7, 5]


@pytest.mark.parametrize("change", [lambda text: text[:-1], lambda text: text + b"x", lambda text: text[:-4] + b"XXXX"])
def test_a_damaged_content_is_recognised(folder: Path, change: object) -> None:
    unfinished.keep(folder, ["a"], 5, b"content")
    [file] = unfinished.trainings(folder)
    file.path.write_bytes(change(file.path.read_bytes()))  # type: ignore[operator]
    assert kept(folder) == [(5, None)]
    file.path.unlink()
    assert file.content() is None


@pytest.mark.parametrize("line", [b"", b"{", b"[]", b'{"form": 1}', b"\xff" * 100, b"x" * 1_000_000])
def test_a_file_that_says_nothing_is_not_found_and_goes(folder: Path, line: bytes) -> None:
    folder.mkdir()
    (folder / f"odd{unfinished.SUFFIX}").write_bytes(line)
    assert kept(folder) == []
    unfinished.tidy(folder, lambda _key: False)
    assert list(folder.iterdir()) == []


def test_another_form_is_not_used(folder: Path) -> None:
    unfinished.keep(folder, ["a"], 5, b"content")
    [file] = unfinished.trainings(folder)
    line, _, content = file.path.read_bytes().partition(b"\n")
    file.path.write_bytes(json.dumps({**json.loads(line), "form": unfinished.FORM + 1}).encode() + b"\n" + content)
    assert kept(folder) == []


def test_a_file_goes_when_all_its_trials_are_done(folder: Path) -> None:
    unfinished.keep(folder, ["a", "b"], 5, b"")
    unfinished.keep(folder, ["c"], 5, b"")
    unfinished.tidy(folder, lambda key: key in "ac")
    assert [file.header.keys for file in unfinished.trainings(folder)] == [("a", "b")]
    unfinished.clear(folder)
    unfinished.tidy(folder, lambda _key: True)
    unfinished.clear(folder)
    assert not folder.exists()
    unfinished.tidy(folder, lambda _key: True)


def test_what_a_killed_writer_left_is_never_found_and_goes(folder: Path) -> None:
    unfinished.keep(folder, ["a"], 5, b"whole")
    [file] = unfinished.trainings(folder)
    file.path.with_name(f".{file.path.name}.4711").write_bytes(b"a part")
    assert kept(folder) == [(5, b"whole")]
    unfinished.clear(folder)
    assert list(folder.iterdir()) == [file.path]


def test_a_folder_that_was_removed_is_not_made_again(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        unfinished.keep(tmp_path / "gone" / "unfinished", ["a"], 5, b"")
    assert not (tmp_path / "gone").exists()
    assert kept(tmp_path / "gone") == []
