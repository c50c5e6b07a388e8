"""Checks that a report stands whatever the results are, loses only what is broken, and has the same bytes each time."""

from __future__ import annotations

import errno
import hashlib
import html
import json
import math
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pandas as pd
import pytest

from suite import Element, Plot, Results, SuiteError, Table, figures
from suite.check.imagined import fill
from suite.ops.engines import REFERENCE
from suite.registry.finder import discover
from suite.report import inputs, telling
from suite.report.answer import BEST
from suite.report.portable import portable
from suite.spec import Broken
from suite.store import frame
from suite.store.store import Store

from ..running import environment
from .drawing import GRU, TIMES, age, large, mixed, nothing_learned, one_trial, provided, section_of, text_of, with_sections, working, write

ROOT = Path(__file__).parents[2]
SECTIONS = sorted(discover().sections)

ORDER = [
    "claims", "speed", "robustness", "long_range", "learning_curves", "variants", "scoreboard", "solving", "cost", "failures", "fairness", "provenance",
]  # fmt: skip
"""Of the sections after the answer, from what is found to what it rests on."""

Make = Callable[[Path], Store]


def empty(runs: Path) -> Store:
    return fill(runs, tasks=["adding"], lengths=[10], skill=lambda *_: "missing")


def all_failed(runs: Path) -> Store:
    return fill(runs, lambda *_: "failed", times={})


def all_diverged(runs: Path) -> Store:
    return fill(runs, lambda *_: None)


def stale(runs: Path) -> Store:
    return age(fill(runs, times=TIMES), GRU)


def all_stale(runs: Path) -> Store:
    return age(one_trial(runs), GRU)


@pytest.fixture(autouse=True)
def _quick_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "fsync", lambda _file: None)  # the tests write thousands of small files, and need not survive a power failure


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Callable[[Make], Path]:
    """The report folder of an imagined store, drawn once."""
    folders: dict[Make, Path] = {}

    def draw(make: Make) -> Path:
        if make not in folders:
            folders[make] = write(make(tmp_path_factory.mktemp(make.__name__)))
        return folders[make]

    return draw


# Any results


@pytest.mark.parametrize(
    "make",
    [empty, one_trial, all_failed, all_diverged, nothing_learned, mixed, large, stale, all_stale],
    ids=lambda make: make.__name__,
)
def test_every_section_stands(make: Make, drawn: Callable[[Make], Path]) -> None:
    text = text_of(drawn(make))
    assert [name for name in SECTIONS if f'<section id="{name}">' in text] == SECTIONS
    assert "Traceback (most recent call last)" not in html.unescape(text)
    assert 'class="broken"' not in text
    assert not re.search(r"\bnan\b|\bNone\b|<NA>|\binf\b", re.sub(r"<svg.*?</svg>", "", text, flags=re.DOTALL))


def test_results_csv_has_the_frame(drawn: Callable[[Make], Path]) -> None:
    file = drawn(mixed) / "results.csv"
    table = pd.read_csv(file)
    assert table.columns.tolist() == [*frame.COLUMNS, "clean"]
    assert set(table.loc[table["clean"], "axis"]) == {"long_range"}
    assert b"\r" not in file.read_bytes()
    again = frame.read(Store(drawn(mixed).parents[1], "synthetic")).frame
    assert table["value"].tolist() == pytest.approx(again["value"].tolist(), rel=0, abs=0, nan_ok=True)


def test_the_answer_of_the_page_is_that_of_its_file(drawn: Callable[[Make], Path]) -> None:
    folder = drawn(mixed)
    table = text_of(folder).partition('id="table-answer"')[2].partition("</table>")[0]
    rows = [
        [html.unescape(re.sub(r"<[^>]+>", "", cell)).strip() for cell in re.findall(r"<t[hd][^>]*>(.*?)</t[hd]>", row)]
        for row in table.split("<tr>")[2:]
    ]
    columns = {"time, reference engine": REFERENCE.name, "time, best available": BEST, "robust": "robustness", "remembers": "long_range"}
    by_place = {(row.variant, row.engine or row.axis): telling.marked(row) for row in telling.restored(telling.read(folder)).rows}
    assert [row[0].removesuffix(f" {figures.MARK}") for row in rows] == ["gru", "bilstm"]
    for name, *cells, worth in rows:
        variant = name.removesuffix(f" {figures.MARK}")
        assert cells == [by_place[variant, place] for place in columns.values()]
        assert worth.partition(":")[0] in {"Worth it", "A trade", "No gain seen", "Undecided", "Not compared"}


def test_the_page_goes_from_the_answer_to_its_proofs(drawn: Callable[[Make], Path]) -> None:
    text = text_of(drawn(mixed))
    order = ["<h1>", 'id="table-answer"', "How far to trust it", *(f'<section id="{name}">' for name in ORDER)]
    places = [text.index(part) for part in order]
    assert places == sorted(places)
    assert set(ORDER) == set(SECTIONS) - {"answer"}
    folded = re.findall(r'<section id="([^"]+)">\s*<details', text)
    assert folded == ["scoreboard", "solving", "cost", "failures", "fairness", "provenance"]
    assert text.index('id="variant-gru"') > text.index('<section id="variants">')


def test_manifest_is_true(drawn: Callable[[Make], Path]) -> None:
    folder = drawn(mixed)
    digests = {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.rglob("*") if path.is_file()}
    del digests["manifest.json"]
    made_of = inputs.gathered(Store(folder.parents[1], "synthetic"), working(), None)
    manifest = json.loads((folder / "manifest.json").read_text())
    rests, sources = manifest.pop("rests"), manifest.pop("sources")
    assert manifest == {"inputs": made_of.fingerprint, "stale": [], "sha256": digests, "made_of": made_of.plain}
    keys = set(pd.read_csv(folder / "results.csv")["key"])
    assert {key for rows in rests.values() for own in rows.values() for key in own} <= keys
    assert set(rests) <= set(re.findall(r'id="([^"]*)"', text_of(folder)))
    assert {"table-answer", "figure-learning_curves"} <= set(rests)
    assert set(sources) >= {GRU}
    links = re.findall(r'href="figures[^"]*"', text_of(folder))
    assert {f'href="figures/{Path(name).name}"' for name in digests if name.endswith(".svg")} <= set(links)


def test_the_page_asks_for_nothing_else(drawn: Callable[[Make], Path]) -> None:
    text = text_of(drawn(mixed))
    assert not re.findall(r"<(?:script [^>]*|link|img|iframe|image)\b|@import|\bsrc=|url\((?!#)|\bfetch\(", text)
    ids = re.findall(r'\bid="([^"]*)"', text)
    assert len(set(ids)) == len(ids)
    assert {name.removeprefix("#") for name in re.findall(r'(?:href="|url\()(#[^")]*)', text)} <= set(ids)
    assert str(drawn(mixed).parents[2]) not in text


# What plugins may do


def test_what_plugins_say_is_escaped(tmp_path: Path) -> None:
    evil = "<script>alert('$x_1$')</script>"
    store = fill(
        tmp_path,
        lambda *cell: "failed" if cell[-1] else 0.95,
        variants=["lstm", ("gru", {"kind": evil})],
        broken=[Broken(f"plugins/{evil}.py", evil, f"first\n{evil}")],
        question=evil,
        reason=evil,
    )
    text = text_of(write(store))
    assert 'class="broken"' not in text
    assert text.count("<script") == 1, "the page's own"
    assert "<script>alert" not in text
    assert text.count("&lt;script&gt;") > 5


def test_a_section_that_raises_loses_only_its_own_place(tmp_path: Path) -> None:
    from matplotlib import pyplot

    def bad(_results: Results) -> Iterator[Element]:
        yield Plot("half", pyplot.figure(), "begun")
        raise RuntimeError(f"cannot <b>draw</b> {object()}")

    def worse(_results: Results) -> Iterator[Element]:
        raise SystemExit(3)
        yield

    def wrong(_results: Results) -> Iterator[Element]:
        yield "text"  # type: ignore[misc]

    def outside(_results: Results) -> Iterator[Element]:
        yield Plot("../up", pyplot.figure(), "")

    sections = [provided(name, draw) for name, draw in (("bad", bad), ("worse", worse), ("wrong", wrong), ("outside", outside))]
    folder = write(one_trial(tmp_path), with_sections(*sections))
    text = text_of(folder)
    assert text.count('<div class="broken"') == 4
    assert "Section ‘bad’ from reports/bad.py could not be drawn." in text
    assert "RuntimeError: cannot &lt;b&gt;draw&lt;/b&gt; &lt;object object at 0x…&gt;" in text
    assert "Traceback (most recent call last)" in text
    assert "SystemExit: 3" in text
    assert "draw yielded str; it must yield Prose, Plot, Table, Listing or Part" in text
    assert "names its file; use letters, digits, &#39;_&#39;, &#39;-&#39; and &#39;.&#39;" in text
    assert str(Path(__file__).parents[1]) not in text
    assert "Nothing failed" in text
    assert not list((folder / "figures").glob("*")) if (folder / "figures").exists() else True
    assert pyplot.get_fignums() == []


def plotting(*names: str) -> Callable[[Results], Iterator[Element]]:
    """Draws an empty figure of each name."""

    def draw(_results: Results) -> Iterator[Element]:
        from matplotlib.figure import Figure

        for name in names:
            yield Plot(name, Figure(), "")

    return draw


@pytest.mark.parametrize("second", ["same", "Same"])
def test_figures_of_one_name_are_refused_whatever_the_case(tmp_path: Path, second: str) -> None:
    text = text_of(write(one_trial(tmp_path), with_sections(provided("one", plotting("same")), provided("two", plotting(second)))))
    assert text.count('class="broken"') == 1
    assert f"figure &#39;{second}&#39; has the name of a figure in section &#39;one&#39;; rename one of the two" in text


def test_figures_of_one_section_have_names_of_their_own(tmp_path: Path) -> None:
    sections = provided("equal", plotting("same", "same")), provided("case", plotting("other", "Other"))
    text = html.unescape(text_of(write(one_trial(tmp_path), with_sections(*sections))))
    assert "ValueError: two figures are named 'same'" in text
    assert "ValueError: two figures are named 'other' and 'Other'" in text


def test_names_with_capitals_dots_and_hyphens_make_files_and_links(tmp_path: Path) -> None:
    folder = write(one_trial(tmp_path), with_sections(provided("My.section-1", plotting("A.b-c", "x_2"))))
    text = text_of(folder)
    assert 'class="broken"' not in text
    assert '<a href="#My.section-1">' in text
    assert '<section id="My.section-1">' in text
    assert sorted(path.name for path in (folder / "figures").iterdir()) == ["A.b-c.svg", "x_2.svg"]
    assert 'href="figures/A.b-c.svg"' in text


def test_tables_fold_long_cells_and_mark_missing_ones(tmp_path: Path) -> None:
    def draw(_results: Results) -> Iterator[Element]:
        columns = {"a & b": ["x", "y"], "value": [0.123456, math.nan], "yes": [True, None], "text": ["one\ntwo", "`code` ` one"]}
        yield Table(pd.DataFrame(columns))
        yield Table(pd.DataFrame(columns).head(0))

    text = text_of(write(one_trial(tmp_path), with_sections(provided("table", draw))))
    assert "a &amp; b" in text
    assert '<td class="n s">0.1235</td><td class=" s">yes</td>' in text
    assert '<td class="n s">–</td><td class=" s">–</td>' in text
    assert "<summary>two</summary><pre>one\ntwo</pre>" in text
    assert "`code` ` one" in text


def test_texts_lose_the_paths_and_addresses_of_a_machine() -> None:
    assert portable('  File "/home/me/my suite/plugins/gru.py", line 3') == '  File "plugins/gru.py", line 3'
    assert portable("cannot import name 'x' from 'suite' (/home/me/main/suite/__init__.py)") == (
        "cannot import name 'x' from 'suite' (suite/__init__.py)"
    )
    assert portable("<object at 0x7f00aa00bb00>, 0x10, a/b (/not a path)") == "<object at 0x…>, 0x10, a/b (/not a path)"


# The folder


def test_a_new_report_replaces_the_old_one_whole(tmp_path: Path) -> None:
    store = one_trial(tmp_path)
    leftover = write(store) / "figures" / "leftover.svg"
    leftover.write_text("old")
    write(store)
    assert not leftover.exists()
    assert {path.name for path in store.folder.iterdir() if "report" in path.name} <= {"report", ".report.lock"}


@pytest.mark.parametrize("place", ["fsync", "rename"])
def test_a_full_disk_leaves_the_old_report_and_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str) -> None:
    store = one_trial(tmp_path)
    before = text_of(write(store))

    def full(*_arguments: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, place, full)
    with pytest.raises(SuiteError, match=r"report.*cannot be written: No space left on device"):
        write(store)
    assert text_of(store.report) == before


def test_a_store_without_results_is_said(tmp_path: Path) -> None:
    with pytest.raises(SuiteError, match="nothing has been run here, or the folder was removed while the run was at work"):
        write(Store(tmp_path, "none"))


def vanishing(monkeypatch: pytest.MonkeyPatch, remove: Callable[[], None]) -> None:
    """Let something be removed while a report is being written, after its first look at the store."""
    whole = inputs.gathered

    def gathered(*arguments: object) -> inputs.Inputs:
        made_of = whole(*arguments)  # type: ignore[arg-type]
        remove()
        return made_of

    monkeypatch.setattr(inputs, "gathered", gathered)


def test_a_trial_that_vanishes_meanwhile_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = fill(tmp_path)
    vanishing(monkeypatch, next((store.folder / "trials").iterdir()).unlink)
    assert "23 of 24 trials ended well, 1 are missing." in section_of(write(store), "failures")


def test_a_folder_that_vanishes_meanwhile_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = one_trial(tmp_path)
    vanishing(monkeypatch, lambda: shutil.rmtree(store.folder))
    with pytest.raises(SuiteError, match="nothing has been run here"):
        write(store)


def test_the_same_store_gives_the_same_bytes_anywhere(tmp_path: Path) -> None:
    age(fill(tmp_path / "one", lengths=[10], seeds=5, times=TIMES), GRU)
    shutil.copytree(tmp_path / "one", tmp_path / "another")
    (tmp_path / "matplotlibrc").write_text("axes.facecolor: red\nfont.size: 30\n")
    code = """
import sys
from pathlib import Path
from suite.registry.finder import discover
from suite.report import page
from suite.store.store import Store
page.write(Store(Path(sys.argv[1]), "synthetic"), discover(), None)
"""
    places: dict[str, tuple[Path, dict[str, str]]] = {
        "one": (Path("/"), {"TZ": "Asia/Tokyo", "LC_ALL": "C", "PYTHONHASHSEED": "1"}),
        "another": (tmp_path, {"TZ": "America/Lima", "LC_ALL": "C.UTF-8", "PYTHONHASHSEED": "2", "MPLCONFIGDIR": str(tmp_path)}),
    }
    started = [
        subprocess.Popen(
            [sys.executable, "-W", "error", "-c", code, str(tmp_path / name)],
            cwd=cwd,
            env=environment(PYTHONPATH=str(ROOT), **surroundings),
        )
        for name, (cwd, surroundings) in places.items()
    ]
    assert [process.wait(timeout=120) for process in started] == [0, 0]
    folders = [tmp_path / name / "synthetic" / "report" for name in places]
    one, another = ({path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()} for folder in folders)
    assert len(one) > 8
    assert one == another


# Looks


def test_every_variant_has_a_look_of_its_own_and_the_baseline_is_black(tmp_path: Path) -> None:
    results = frame.read(large(tmp_path))
    look = figures.looks(results, timed=True)
    assert len({(style.colour, style.marker) for style in look.values()}) == len(look) == 13
    assert look["lstm"].colour == "#000000"
    assert list(look)[-1] == "bilstm"
    assert look["bilstm"].label == "bilstm †"
    assert figures.looks(results) == {name: style for name, style in look.items() if name != "gru"}  # which was timed alone


def test_sections_are_listed_without_drawing_libraries() -> None:
    code = (
        "import sys; from suite.registry.finder import discover; discover(); print(*{'matplotlib', 'seaborn', 'pandas'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, env=environment(), capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""
