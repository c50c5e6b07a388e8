"""Holds what a plan that was run has given, as Python and notebooks look at it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from markupsafe import Markup

from .report import telling
from .report.answer import Answer, answer
from .spec import Results
from .trial import BASELINE

if TYPE_CHECKING:
    from pandas import DataFrame


@dataclass(frozen=True)
class Drawing:
    """A figure of a report, which a notebook shows."""

    path: Path

    def _repr_svg_(self) -> str:
        return self.path.read_text(encoding="utf-8")


@dataclass(frozen=True, repr=False)
class Finished:
    """A plan that was run; as text its answer, in a notebook the same as a table.

    results: the tables behind the report, of what was asked for; report: the folder that it was written to
    """

    results: Results
    report: Path

    @property
    def frame(self) -> DataFrame:
        """One row per trial and score: the rows of ``results.csv``."""
        return self.results.frame

    @property
    def trials(self) -> DataFrame:
        """One row per trial, also those that did not end well, with the reason."""
        return self.results.trials

    @cached_property
    def answer(self) -> Answer:
        """Every variant against the baseline, on every axis."""
        return answer(self.results)

    @property
    def figures(self) -> Mapping[str, Drawing]:
        """The figures of the report by name, such as ``figures["scoreboard_skill"]``."""
        return {path.stem: Drawing(path) for path in sorted((self.report / "figures").glob("*.svg"))}

    def __repr__(self) -> str:
        return f"{telling.text(telling.plain(self.answer))}\nreport: {self.report / 'index.html'}"

    def _repr_html_(self) -> str:
        head, *body = telling.tabulated(self.answer)
        titles = Markup("").join(Markup("<th>{}</th>").format(title) for title in head)
        rows = Markup("").join(
            Markup("<tr>{}</tr>").format(Markup("").join(Markup("<td>{}</td>").format(field) for field in line)) for line in body
        )
        return Markup(
            "<p><strong>{question}</strong></p><table><thead><tr>{titles}</tr></thead><tbody>{rows}</tbody></table>"
            "<p>Against {baseline}: {legend}. Report: <code>{report}</code></p>"
        ).format(
            question=self.results.plan["question"],
            titles=titles,
            rows=rows,
            baseline=BASELINE.label,
            legend=telling.LEGEND,
            report=self.report / "index.html",
        )
