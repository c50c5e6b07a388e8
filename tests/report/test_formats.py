"""Checks the forms in which a report can be taken away: what is in them, and that signs of Markdown and LaTeX are escaped."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator

import pandas as pd
import pytest

from suite import Element, Listing, Part, Plot, Prose, Results, SuiteError, Table
from suite.check.imagined import fill
from suite.report import formats, page
from suite.report.page import Drawn
from suite.store.store import Store

from .drawing import TIMES, provided, with_sections


def plain(_results: Results) -> Iterator[Element]:
    from matplotlib.figure import Figure

    figure = Figure()
    figure.subplots().set_title("50 %")
    yield Prose("Costs 5 % of `a_b`, **really**.")
    yield Table(pd.DataFrame({"Who & what": ["a|b", "c_d"], "value": [0.5, 1.5]}), "Caption_1.", finding="Half of it")
    yield Part(
        "more",
        "More of it",
        (Plot("tried", figure, "A figure.", finding="50 % is half", data=pd.DataFrame({"x": [1]})), Listing("a ``` b", "Run")),
    )


@pytest.fixture(scope="module")
def taken(tmp_path_factory: pytest.TempPathFactory) -> tuple[Store, Results, list[Drawn]]:
    """A store with a variant's option, and what its report is drawn from."""
    variants: list[str | tuple[str, dict[str, object]]] = ["lstm", ("attention", {"depth": 2}), "gru"]
    store = fill(tmp_path_factory.mktemp("runs"), variants=variants, tasks=["adding"], lengths=[10], times=TIMES)
    return store, *page.drawn(store, with_sections(provided("plain", plain)), None)


def files_of(taken: tuple[Store, Results, list[Drawn]], form: str) -> dict[str, bytes]:
    return formats.FORMATS[form](*taken[1:])


def test_markdown_has_all_with_its_signs_escaped(taken: tuple[Store, Results, list[Drawn]]) -> None:
    files = files_of(taken, "md")
    text = files["report.md"].decode()
    assert text.startswith("# Which is it?\n")
    assert "| Who & what | value |\n| --- | --- |\n| a\\|b | 0.5 |\n" in text
    assert "**50 % is half**\n\n![A figure.](figures/tried.svg)" in text
    assert "\n### More of it\n" in text
    assert "Run\n\n````\na ``` b\n````" in text
    assert set(re.findall(r"\((figures/[^)]+)\)", text)) == set(files) - {"report.md"}


def test_latex_has_all_with_its_signs_escaped(taken: tuple[Store, Results, list[Drawn]]) -> None:
    files = files_of(taken, "latex")
    text = files["report.tex"].decode()
    assert "Costs 5 \\% of \\texttt{a\\_b}, \\textbf{really}." in text
    assert "Who \\& what & value \\\\\n\\midrule\na|b & 0.5 \\\\\nc\\_d & 1.5 \\\\\n\\bottomrule" in text
    assert "\\caption{Half of it. Caption\\_1.}\n\\label{tab:table-plain-2}" in text
    assert "$\\blacktriangle$ 0.50 (0.49--0.51)" in text
    for name in ("document", "table", "tabular", "figure", "Verbatim"):
        assert text.count(f"\\begin{{{name}}}") == text.count(f"\\end{{{name}}}") > 0, name
    assert {f"figures/{name}.pdf" for name in re.findall(r"figures/\{([^}]+)\}", text)} == set(files) - {"report.tex"}
    assert not re.search(r"(?<!\\)[%#]", text)


def test_figures_are_pdf_the_same_each_time(taken: tuple[Store, Results, list[Drawn]]) -> None:
    files = files_of(taken, "pdf-figures")
    assert files["figures/tried.pdf"].startswith(b"%PDF")
    assert files == files_of(taken, "pdf-figures")


def test_csv_has_each_table_and_the_data_of_each_figure(taken: tuple[Store, Results, list[Drawn]]) -> None:
    files = files_of(taken, "csv")
    assert files["figures/tried.csv"] == b"x\n1\n"
    assert files["tables/table-plain-2.csv"] == b"Who & what,value\na|b,0.5\nc_d,1.5\n"
    assert pd.read_csv(io.BytesIO(files["tables/table-answer.csv"]))["Variant"].tolist() == ["attention(depth=2)", "gru", "bilstm †"]


def test_results_have_a_column_for_each_option_and_say_what_is_clean(taken: tuple[Store, Results, list[Drawn]]) -> None:
    table = pd.read_csv(io.BytesIO(files_of(taken, "csv")["results.csv"]))
    options = table.dropna(subset=["variant.depth"])
    assert set(options["variant"]) == {"attention(depth=2)"}
    assert set(options["variant.depth"]) == {2}
    clean = table[table["clean"]]
    assert set(clean["axis"]) == {"long_range"}
    assert set(clean["at"]) == {1}
    assert set(clean["variant"]) == {"lstm", "attention(depth=2)", "gru"}


def test_parquet_holds_the_same_table(taken: tuple[Store, Results, list[Drawn]]) -> None:
    pytest.importorskip("pyarrow")
    table = pd.read_parquet(io.BytesIO(files_of(taken, "parquet")["results.parquet"]))
    assert table["value"].tolist() == pytest.approx(taken[1].frame["value"].tolist(), nan_ok=True)


def test_parquet_without_its_package_is_said(taken: tuple[Store, Results, list[Drawn]], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda _name: None)
    with pytest.raises(SuiteError, match=r"--format parquet: it takes the package pyarrow, which is not installed; use --format csv"):
        files_of(taken, "parquet")


def test_a_format_has_a_folder_of_its_own_and_an_unknown_one_is_said(taken: tuple[Store, Results, list[Drawn]]) -> None:
    store, registry = taken[0], with_sections(provided("plain", plain))
    folder = page.export(store, registry, None, "csv").folder
    assert folder == store.folder / "exports" / "csv"
    assert sorted(path.name for path in folder.iterdir()) == ["figures", "results.csv", "tables"]
    with pytest.raises(SuiteError, match=r"--format mdd: there is no such format.*md"):
        page.export(store, registry, None, "mdd")


def test_signs_of_latex() -> None:
    assert (
        formats.tex("50 % of a_b #1 {x} ~ ^ \\") == "50 \\% of a\\_b \\#1 \\{x\\} \\textasciitilde{} \\textasciicircum{} \\textbackslash{}"
    )
    assert formats.tex("one ` alone") == "one ` alone"
    assert formats.tex("10⁻⁶ ≥ −1") == "10$^-$$^6$ $\\geq$ $-$1"
