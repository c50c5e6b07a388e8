"""Checks that a report stands whatever the results are, says no more than they do, and has the same bytes each time."""

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
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from suite import Plot, Prose, Results, Section, SuiteError, Table, figures, matrix, report, results
from suite.check.imagined import even, fill
from suite.manager import Provided, Registry, discover
from suite.spec import Broken, Element
from suite.store import Store

from .running import environment

TIMES = {("lstm", "reference"): 2.0, ("gru", "reference"): 1.0, ("bilstm", "reference"): 0.5, ("lstm", "vendor"): 1.0}
SECTIONS = sorted(discover().sections)


def one_row(runs: Path) -> Store:
    return fill(runs, variants=["gru"], tasks=["adding"], lengths=[10], seeds=1)


def all_failed(runs: Path) -> Store:
    return fill(runs, lambda *_: "failed", times={})


def all_diverged(runs: Path) -> Store:
    return fill(runs, lambda *_: None)


def nothing_learned(runs: Path) -> Store:
    return fill(runs, lambda *_: 0.0, times=TIMES)


def mixed(runs: Path) -> Store:
    """A little of everything, with a grid of learning rates."""
    ways: list[float | str | None] = [0.95, "failed", 0.5, None, "missing"]
    return fill(runs, lambda v, t, n, s: ways[(len(v) + len(t) + n + s) % 5], seeds=3, rates=[0.01, 0.1], times=TIMES)


def large(runs: Path) -> Store:
    variants: list[str | tuple[str, dict[str, Any]]] = ["lstm", "bilstm", *(("attention", {"depth": depth}) for depth in range(10))]
    return fill(runs, variants=variants, lengths=[10, 1000], seeds=5, times=TIMES)


def empty(runs: Path) -> Store:
    return fill(runs, tasks=["adding"], lengths=[10], skill=lambda *_: "missing")


@pytest.fixture(autouse=True)
def _quick_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "fsync", lambda _file: None)  # thousands of small files: the tests need no power failure


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Callable[[Callable[[Path], Store]], Path]:
    """The report folder of a made-up store, drawn once."""
    folders: dict[Callable[[Path], Store], Path] = {}

    def draw(make: Callable[[Path], Store]) -> Path:
        if make not in folders:
            folders[make] = report.write(make(tmp_path_factory.mktemp(make.__name__)), discover())
        return folders[make]

    return draw


def page(folder: Path) -> str:
    return (folder / "index.html").read_text()


def answers(store: Store) -> dict[str, str]:
    """The five lines."""
    *_, table = discover().sections["answer"].noun.draw(results.read(store))
    assert isinstance(table, Table)
    return dict(table.frame.itertuples(index=False))


# Any results


@pytest.mark.parametrize("make", [empty, one_row, all_failed, all_diverged, nothing_learned, mixed, large], ids=lambda make: make.__name__)
def test_every_section_stands(make: Callable[[Path], Store], drawn: Callable[..., Path]) -> None:
    text = page(drawn(make))
    assert [name for name in SECTIONS if f'<section id="{name}">' in text] == SECTIONS
    assert "Traceback (most recent call last)" not in html.unescape(text)
    assert 'class="broken"' not in text
    assert not re.search(r"\bnan\b|\bNone\b|<NA>|\binf\b", re.sub(r"<svg.*?</svg>", "", text, flags=re.DOTALL))


def test_results_csv_has_the_frame(drawn: Callable[..., Path]) -> None:
    file = drawn(mixed) / "results.csv"
    frame = pd.read_csv(file)
    assert frame.columns.tolist() == list(results.COLUMNS)
    assert b"\r" not in file.read_bytes()
    again = results.read(Store(drawn(mixed).parents[1], "synthetic")).frame
    assert frame["value"].tolist() == pytest.approx(again["value"].tolist(), rel=0, abs=0, nan_ok=True)


def test_manifest_is_true(drawn: Callable[..., Path]) -> None:
    folder = drawn(mixed)
    found = {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.rglob("*") if path.is_file()}
    del found["manifest.json"]
    assert json.loads((folder / "manifest.json").read_text()) == {"sha256": dict(sorted(found.items()))}
    assert {f'href="figures/{Path(name).name}"' for name in found if name.endswith(".svg")} <= set(
        re.findall(r'href="figures[^"]*"', page(folder))
    )


def test_the_page_asks_for_nothing_else(drawn: Callable[..., Path]) -> None:
    text = page(drawn(mixed))
    assert not re.findall(r"<(?:script|link|img|iframe|image)\b|@import|\bsrc=|url\((?!#)", text)
    ids = re.findall(r'\bid="([^"]*)"', text)
    assert {name.removeprefix("#") for name in re.findall(r'(?:href="|url\()(#[^")]*)', text)} <= set(ids)
    assert str(drawn(mixed).parents[2]) not in text


# What the words say


def test_leading_is_not_claimed_where_ranges_overlap(tmp_path: Path) -> None:
    close = {"lstm": 0.0, "gru": 0.001, "bilstm": 0.05}
    said = answers(fill(tmp_path, lambda v, t, n, s: even(v, t, n, s) + close[v], times=TIMES))
    assert said["Long range"].startswith("`gru` 0.94 (0.93–0.94) leads, level with `lstm` 0.94 (0.93–0.94): the ranges overlap.")
    assert said["Robustness"].startswith("`gru` ")
    assert "level with `lstm`" in said["Robustness"]
    assert not re.search(r"\b(best|ranked|significant\w*|wins?)\b", " ".join(said.values()))
    assert "a p under 0.5." in said["How far to trust it"]
    assert "Untuned: one learning rate, 0.01, for all." in said["How far to trust it"]


def test_a_lead_is_told_with_its_range(tmp_path: Path) -> None:
    said = answers(fill(tmp_path, lambda v, t, n, s: even(v, t, n, s) - 0.3 * (v == "lstm"), times=TIMES))
    assert said["Long range"].startswith(
        "`gru` 0.94 (0.93–0.94) leads, ahead of `lstm` 0.64 (0.63–0.64). Apart, not causal: `bilstm †` 0.94"
    )
    assert said["Robustness"].startswith("Only `gru` ")
    assert "Not compared, since not solved so: `lstm`." in said["Robustness"]


def test_speed_is_compared_within_an_engine_and_a_variant_that_is_not_causal_never_leads(tmp_path: Path) -> None:
    said = answers(fill(tmp_path, times=TIMES))
    assert said["Speed, reference engine"].startswith(
        "`gru` 0.50 (0.49–0.51) leads, ahead of `lstm` 1.00. Apart, not causal: `bilstm †` 0.25"
    )
    assert said["Speed, vendor engine"].startswith("Only `lstm` 1.00 has a score. ")
    assert "Not timed on this engine: `gru`, `bilstm †`." in said["Speed, vendor engine"]


def test_a_slower_plugin_that_solves_nothing_looks_neither_robust_nor_able(tmp_path: Path) -> None:
    store = nothing_learned(tmp_path)
    said = answers(store)
    assert said["Robustness"].startswith("No variant solved a task with every seed")
    assert said["Long range"].startswith("Nobody does better than not looking at the input.")
    assert "Nobody solved any task at any length" in said["Long range"]
    elements = list(discover().sections["robustness"].noun.draw(results.read(store)))
    assert [type(element) for element in elements] == [Prose, Prose]
    board = next(one for one in discover().sections["scoreboard"].noun.draw(results.read(store)) if isinstance(one, Table)).frame
    assert set(board["Robustness"]) == {"not solved"}
    assert set(board["Solved"]) == {"0 of 8"}


def test_a_diverged_trial_has_no_skill_and_a_failed_one_no_say(tmp_path: Path) -> None:
    ways: dict[str, tuple[float | str | None, ...]] = {"lstm": (0.8, None), "gru": (0.8, "failed"), "bilstm": (0.8, 0.8)}
    store = fill(tmp_path, lambda v, _task, _length, s: ways[v][s])
    board = next(one for one in discover().sections["scoreboard"].noun.draw(results.read(store)) if isinstance(one, Table)).frame
    assert board.set_index("Variant")["Test skill"].to_dict() == {
        "lstm": "0.40 (0.00–0.80)",
        "gru": "0.80 (0.80–0.80)",
        "bilstm †": "0.80 (0.80–0.80)",
    }
    assert board["Lost"].tolist() == [4, 4, 0]
    assert board["Parameters"].tolist() == ["1,010", "1,100 ⚑", "1,010"]


def test_a_choice_at_the_edge_of_the_grid_is_flagged_and_no_choice_is_called_untuned(drawn: Callable[..., Path]) -> None:
    tuned, untuned = (page(drawn(make)).partition('<section id="scoreboard">')[2].partition("</section>")[0] for make in (mixed, one_row))
    assert "0.01 ⚑" in tuned
    assert "Untuned" not in tuned
    assert "Untuned: every variant was trained with the one learning rate 0.01" in untuned


def test_failures_are_listed_with_their_reasons(drawn: Callable[..., Path]) -> None:
    text = page(drawn(mixed)).partition('<section id="failures">')[2].partition("</section>")[0]
    assert "it was too warm" in text
    assert "<details><summary>it was too warm</summary><pre>Traceback\n  in a plugin" in text
    assert "Trials without a result" in text
    calm = page(drawn(one_row)).partition('<section id="failures">')[2].partition("</section>")[0]
    assert "Nothing failed: 1 of 1 trials" in calm


def test_the_command_names_lists_only_where_they_differ(tmp_path: Path) -> None:
    found = results.read(one_row(tmp_path))
    draw = discover().sections["provenance"].noun.draw
    packaged = {**found.plan}

    def command(plan: dict[str, Any]) -> str:
        first = next(iter(draw(replace(found, plan=plan, provenance={**found.provenance, "packaged": packaged}))))
        assert isinstance(first, Prose)
        return first.text

    assert command(dict(packaged)) == "Made again by `suite run synthetic --device cpu`"
    packaged["variants"] = [{"name": "lstm", "options": {}}, {"name": "gru", "options": {}}]
    packaged["seeds"] = [0, 1, 2]
    assert command(dict(found.plan)) == "Made again by `suite run synthetic --variants gru --seeds 1 --device cpu`"


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
    text = page(report.write(store, discover()))
    assert 'class="broken"' not in text
    assert "<script" not in text
    assert text.count("&lt;script&gt;") > 5


def provided(name: str, draw: Callable[[Results], Iterator[Element]], order: int = 5) -> Provided[Section]:
    return Provided(Section(name, name.title(), draw, order), f"reports/{name}.py", None, {})


def with_sections(*added: Provided[Section]) -> Registry:
    kept = {name: discover().sections[name] for name in ("answer", "failures")}
    return replace(discover(), sections={**kept, **{one.noun.name: one for one in added}})


def test_a_section_that_raises_loses_only_its_own_place(tmp_path: Path) -> None:
    from matplotlib import pyplot

    def bad(_found: Results) -> Iterator[Element]:
        yield Plot("half", pyplot.figure(), "begun")
        raise RuntimeError(f"cannot <b>draw</b> {object()}")

    def worse(_found: Results) -> Iterator[Element]:
        raise SystemExit(3)
        yield

    def wrong(_found: Results) -> Iterator[Element]:
        yield "words"  # type: ignore[misc]

    def outside(_found: Results) -> Iterator[Element]:
        yield Plot("../up", pyplot.figure(), "")

    sections = [provided(name, draw) for name, draw in (("bad", bad), ("worse", worse), ("wrong", wrong), ("outside", outside))]
    folder = report.write(one_row(tmp_path), with_sections(*sections))
    text = page(folder)
    assert text.count('<div class="broken"') == 4
    assert "Section ‘bad’ from reports/bad.py could not be drawn." in text
    assert "RuntimeError: cannot &lt;b&gt;draw&lt;/b&gt; &lt;object object at 0x…&gt;" in text
    assert "Traceback (most recent call last)" in text
    assert "SystemExit: 3" in text
    assert "draw yielded str; it must yield Prose, Plot or Table" in text
    assert str(Path(__file__).parents[1]) not in text
    assert "Nothing failed" in text
    assert not list((folder / "figures").glob("*")) if (folder / "figures").exists() else True
    assert pyplot.get_fignums() == []


def test_figures_of_one_name_are_refused(tmp_path: Path) -> None:
    def draw(_found: Results) -> Iterator[Element]:
        from matplotlib.figure import Figure

        yield Plot("same", Figure(), "")

    text = page(report.write(one_row(tmp_path), with_sections(provided("one", draw), provided("two", draw))))
    assert text.count('class="broken"') == 1
    assert "figure &#39;same&#39; has the name of a figure in section &#39;one&#39;; rename one of the two" in text


def test_tables_fold_long_cells_and_mark_missing_ones(tmp_path: Path) -> None:
    def draw(_found: Results) -> Iterator[Element]:
        yield Table(
            pd.DataFrame({"a & b": ["x", "y"], "value": [0.123456, math.nan], "yes": [True, None], "text": ["one\ntwo", "`code` ` one"]})
        )

    text = page(report.write(one_row(tmp_path), with_sections(provided("table", draw))))
    assert "a &amp; b" in text
    assert '<td class="n s">0.1235</td><td class=" s">yes</td>' in text
    assert '<td class="n s">–</td><td class=" s">–</td>' in text
    assert "<summary>two</summary><pre>one\ntwo</pre>" in text
    assert "`code` ` one" in text


# The folder


def test_a_new_report_replaces_the_old_one_whole(tmp_path: Path) -> None:
    store = one_row(tmp_path)
    stale = report.write(store, discover()) / "figures" / "stale.svg"
    stale.write_text("old")
    report.write(store, discover())
    assert not stale.exists()
    assert {path.name for path in store.folder.iterdir() if "report" in path.name} <= {"report", ".report.lock"}


@pytest.mark.parametrize("place", ["write_bytes", "rename"])
def test_a_full_disk_leaves_the_old_report_and_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str) -> None:
    store = one_row(tmp_path)
    before = page(report.write(store, discover()))

    def full(*_words: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, *(("rename", full) if place == "rename" else ("fsync", full)))
    with pytest.raises(SuiteError, match=r"report.*cannot be written: No space left on device"):
        report.write(store, discover())
    assert page(store.report) == before


def test_no_results_is_told(tmp_path: Path) -> None:
    with pytest.raises(SuiteError, match="nothing has been run here"):
        report.write(Store(tmp_path, "none"), discover())


def test_the_same_store_gives_the_same_bytes_anywhere(tmp_path: Path) -> None:
    fill(tmp_path / "one", lengths=[10], seeds=5, times=TIMES)
    shutil.copytree(tmp_path / "one", tmp_path / "another")
    (tmp_path / "matplotlibrc").write_text("axes.facecolor: red\nfont.size: 30\n")
    code = """
import sys
from pathlib import Path
from suite import report
from suite.manager import discover
from suite.store import Store
report.write(Store(Path(sys.argv[1]), "synthetic"), discover())
"""
    places: dict[str, tuple[Path, dict[str, str]]] = {
        "one": (Path("/"), {"TZ": "Asia/Tokyo", "LC_ALL": "C", "PYTHONHASHSEED": "1"}),
        "another": (tmp_path, {"TZ": "America/Lima", "LC_ALL": "C.UTF-8", "PYTHONHASHSEED": "2", "MPLCONFIGDIR": str(tmp_path)}),
    }
    root = str(Path(__file__).parents[1])
    started = [
        subprocess.Popen(
            [sys.executable, "-W", "error", "-c", code, str(tmp_path / name)], cwd=cwd, env=environment(PYTHONPATH=root, **surroundings)
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
    found = results.read(large(tmp_path))
    look = figures.looks(found, timed=True)
    assert len({(one.colour, one.marker) for one in look.values()}) == len(look) == 13
    assert look["lstm"].colour == "#000000"
    assert figures.BASELINE == matrix.BASELINE
    assert list(look)[-1] == "bilstm"
    assert look["bilstm"].label == "bilstm †"
    assert figures.looks(found) == {name: one for name, one in look.items() if name != "gru"}  # which was timed alone


def test_sections_are_listed_without_drawing_libraries() -> None:
    code = "import sys; from suite.manager import discover; discover(); print(*{'matplotlib', 'seaborn', 'pandas'} & set(sys.modules))"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=Path(__file__).parents[1], env=environment(), capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == ""
