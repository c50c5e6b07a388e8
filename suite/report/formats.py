"""Writes what a report holds in the forms that papers and other programs take: Markdown, LaTeX, CSV, Parquet, and figures as PDF."""

from __future__ import annotations

import importlib.util
import io
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, TypeAlias

from ..errors import SuiteError
from . import figures
from .elements import Block, Folded, Grid, Paragraphs, Picture, flat

if TYPE_CHECKING:
    from pandas import DataFrame

    from ..spec import Results
    from .page import Drawn

Files: TypeAlias = dict[str, bytes]


def table_of(results: Results) -> DataFrame:
    """The frame with a column for each option of a variant or a task, and one that says whether a score is of the clean test stream."""
    table, options = results.frame, results.provenance.options
    for role in ("variant", "task"):
        known = {label: options[label] for label in dict.fromkeys(table[role]) if label in options}
        for option in sorted({name for own in known.values() for name in own}):
            values = {label: own[option] for label, own in known.items() if option in own}
            table = table.assign(**{f"{role}.{option}": table[role].map(values)})
    clean: DataFrame = table.assign(clean=table["axis"].eq("long_range") & table["at"].eq(1))
    return clean


def csv(frame: DataFrame) -> bytes:
    return frame.to_csv(index=False, lineterminator="\n").encode(errors="backslashreplace")


def _csv(results: Results, sections: Sequence[Drawn]) -> Files:
    import pandas as pd

    files = {"results.csv": csv(table_of(results))}
    for element in _elements(sections):
        if isinstance(element, Picture) and element.data:
            files[f"figures/{element.name}.csv"] = element.data
        elif isinstance(element, Grid):
            rows = [[field.text for field in row] for row in element.rows]
            files[f"tables/{element.place}.csv"] = csv(pd.DataFrame(rows, columns=list(element.head)))
    return files


def _parquet(results: Results, _sections: Sequence[Drawn]) -> Files:
    if importlib.util.find_spec("pyarrow") is None:
        raise SuiteError("--format parquet: it takes the package pyarrow, which is not installed; use --format csv")
    content = io.BytesIO()
    table = table_of(results)
    mixed = [name for name in table.columns if "." in name]  # options may be numbers here and words there
    table.assign(**{name: table[name].astype("string") for name in mixed}).to_parquet(content, index=False)
    return {"results.parquet": content.getvalue()}


def _pdf(_results: Results, sections: Sequence[Drawn]) -> Files:
    return {f"figures/{name}.pdf": figures.pdf(picture.figure) for name, picture in _pictures(sections)}


def _markdown(results: Results, sections: Sequence[Drawn]) -> Files:
    files = {f"figures/{name}.svg": picture.content for name, picture in _pictures(sections)}
    lines = [f"# {results.plan['question']}", "", *_told(sections, MARKDOWN)]
    return {**files, "report.md": ("\n".join(lines) + "\n").encode(errors="backslashreplace")}


def _latex(results: Results, sections: Sequence[Drawn]) -> Files:
    lines = [
        *PREAMBLE,
        f"\\title{{{tex(results.plan['question'])}}}",
        "\\begin{document}",
        "\\maketitle",
        *_told(sections, LATEX),
        "\\end{document}",
    ]
    return {**_pdf(results, sections), "report.tex": ("\n".join(lines) + "\n").encode(errors="backslashreplace")}


FORMATS: Mapping[str, Callable[[Results, Sequence[Drawn]], Files]] = {
    "md": _markdown,
    "latex": _latex,
    "csv": _csv,
    "parquet": _parquet,
    "pdf-figures": _pdf,
}
"""What a report is written as, beside the page, by the name of the format."""


def _elements(sections: Iterable[Drawn]) -> Iterator[Paragraphs | Grid | Picture | Block]:
    return (element for section in sections for element in flat(section.elements))


def _pictures(sections: Iterable[Drawn]) -> Iterator[tuple[str, Picture]]:
    return ((element.name, element) for element in _elements(sections) if isinstance(element, Picture))


# As text


class Markdown:
    """How each kind of element reads in Markdown."""

    def heading(self, text: str, level: int) -> str:
        return f"{'#' * level} {text}\n"

    def prose(self, paragraphs: Sequence[str]) -> str:
        return "\n\n".join(paragraphs) + "\n"

    def picture(self, picture: Picture) -> str:
        finding = f"**{picture.finding}**\n\n" if picture.finding else ""
        return f"{finding}![{picture.caption}](figures/{picture.name}.svg)\n\n{picture.caption}\n"

    def grid(self, grid: Grid) -> str:
        rows = [list(grid.head), ["---"] * len(grid.head), *([field.text for field in row] for row in grid.rows)]
        cells = [[re.sub(r"\s*\n\s*", " ", cell).replace("|", "\\|") for cell in row] for row in rows]
        finding = f"**{grid.finding}**\n\n" if grid.finding else ""
        return finding + "\n".join(f"| {' | '.join(row)} |" for row in cells) + f"\n\n{grid.caption}\n"

    def block(self, block: Block) -> str:
        fence = "`" * max(3, 1 + max((len(run) for run in re.findall("`+", block.text)), default=0))
        return f"{block.caption}\n\n{fence}\n{block.text}\n{fence}\n"


class Latex:
    """How each kind of element reads in LaTeX, tables with the lines of booktabs."""

    def heading(self, text: str, level: int) -> str:
        return f"\\{'sub' * (level - 2)}section{{{tex(text)}}}\n"

    def prose(self, paragraphs: Sequence[str]) -> str:
        return "\n\n".join(map(tex, paragraphs)) + "\n"

    def picture(self, picture: Picture) -> str:
        caption = tex(". ".join(part for part in (picture.finding, picture.caption) if part))
        name = picture.name
        return (
            f"\\begin{{figure}}[htbp]\n\\centering\n\\includegraphics[width=\\linewidth]{{figures/{{{name}}}.pdf}}\n"
            f"\\caption{{{caption}}}\n\\label{{fig:{name}}}\n\\end{{figure}}\n"
        )

    def grid(self, grid: Grid) -> str:
        width = f"{0.92 / max(1, len(grid.head)):.3f}\\linewidth"
        columns = "".join("r" if numeric else "l" if _short(grid, place) else f"p{{{width}}}" for place, numeric in enumerate(grid.numeric))
        rows = [" & ".join(tex(re.sub(r"\s*\n\s*", " ", field.text)) for field in row) + " \\\\" for row in grid.rows]
        head = " & ".join(map(tex, grid.head)) + " \\\\"
        caption = tex(". ".join(part for part in (grid.finding, grid.caption) if part))
        lines = [
            "\\begin{table}[htbp]",
            "\\centering\\footnotesize",
            f"\\begin{{tabular}}{{{columns}}}",
            "\\toprule",
            head,
            "\\midrule",
            *rows,
        ]
        return "\n".join(
            [*lines, "\\bottomrule", "\\end{tabular}", f"\\caption{{{caption}}}", f"\\label{{tab:{grid.place}}}", "\\end{table}\n"]
        )

    def block(self, block: Block) -> str:
        return f"{tex(block.caption)}\n\\begin{{Verbatim}}[fontsize=\\footnotesize]\n{block.text}\n\\end{{Verbatim}}\n"


MARKDOWN, LATEX = Markdown(), Latex()

PREAMBLE = (
    "\\documentclass{article}",
    "\\usepackage[utf8]{inputenc}",
    "\\usepackage[T1]{fontenc}",
    "\\usepackage{amssymb,booktabs,fancyvrb,graphicx}",
    "\\date{}",
)
"""What a report in LaTeX begins with."""

SIGNS: Mapping[str, str] = {
    **{sign: f"\\{sign}" for sign in "&%$#_{}"},
    "\\": "\\textbackslash{}", "~": "\\textasciitilde{}", "^": "\\textasciicircum{}", "\u00a0": "~",
    "−": "$-$", "–": "--", "≈": "$\\approx$", "≥": "$\\geq$", "≤": "$\\leq$", "×": "$\\times$", "→": "$\\rightarrow$", "σ": "$\\sigma$",
    "▲": "$\\blacktriangle$", "▼": "$\\blacktriangledown$", "▷": "$\\triangleright$", "†": "\\dag{}", "⚑": "!", "÷": "$\\div$", "∂": "$\\partial$",
    **{digit: f"$^{place}$" for place, digit in enumerate("⁰¹²³⁴⁵⁶⁷⁸⁹")},
    "⁻": "$^-$", "“": "``", "”": "''", "‘": "`", "’": "'", "·": "$\\cdot$", "…": "\\dots{}",
}  # fmt: skip
"""How signs are written in LaTeX."""


def tex(text: str) -> str:
    """The text in LaTeX, with what stands between backticks or pairs of asterisks set apart as on the page."""
    parts = text.split("`")
    if len(parts) % 2 == 0:
        return _escaped(text)
    return "".join(f"\\texttt{{{_escaped(part)}}}" if place % 2 else _escaped(part) for place, part in enumerate(parts))


def _escaped(text: str) -> str:
    escaped = "".join(SIGNS.get(sign, sign) for sign in text)
    return re.sub(r"\*\*(\S[^*]*\S)\*\*", r"\\textbf{\1}", escaped)


def _short(grid: Grid, column: int) -> bool:
    return all(len(row[column].text) <= 20 for row in grid.rows) and len(grid.head[column]) <= 20


def _told(sections: Sequence[Drawn], style: Markdown | Latex) -> Iterator[str]:
    """Every section in order, an empty line between its elements."""
    for section in sections:
        yield style.heading(section.title, 2)
        if section.error:
            yield style.prose([f"It could not be drawn: {section.error}"])
        for element in section.elements:
            if isinstance(element, Folded):
                yield style.heading(element.title, 3)
            for inner in element.elements if isinstance(element, Folded) else (element,):
                yield _one(inner, style)


def _one(element: Paragraphs | Grid | Picture | Block, style: Markdown | Latex) -> str:
    if isinstance(element, Paragraphs):
        return style.prose(element.paragraphs)
    if isinstance(element, Picture):
        return style.picture(element)
    return style.grid(element) if isinstance(element, Grid) else style.block(element)
