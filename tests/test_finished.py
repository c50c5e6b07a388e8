"""Checks what a run gives Python and notebooks."""

from __future__ import annotations

from pathlib import Path

import pytest

from suite.finished import Finished
from suite.report import answer as answers
from suite.report import telling

from .report.test_answer import results_of


@pytest.fixture
def done(tmp_path: Path) -> Finished:
    results = results_of(tmp_path / "runs", lambda v, _t, _n, s: 0.93 + 0.01 * s - 0.05 * (v == "gru"))
    (tmp_path / "report" / "figures").mkdir(parents=True)
    (tmp_path / "report" / "figures" / "skill.svg").write_text("<svg/>")
    return Finished(results, tmp_path / "report")


def test_it_holds_the_answer_the_tables_and_the_figures(done: Finished) -> None:
    assert done.answer == answers.answer(done.results)
    assert done.frame is done.results.frame
    assert set(done.trials["variant"]) == {"lstm", "gru", "rnn"}
    assert done.figures["skill"]._repr_svg_() == "<svg/>"


def test_as_text_it_is_the_answer(done: Finished) -> None:
    text = repr(done)
    assert telling.text(telling.plain(done.answer)) in text
    assert "▼ −0.05" in text
    assert text.endswith(f"report: {done.report / 'index.html'}")


def test_a_notebook_shows_the_answer_as_a_table_whatever_a_plan_asks(done: Finished) -> None:
    shown = done._repr_html_()
    head, *body = telling.tabulated(done.answer)
    assert shown.count("<tr>") == len(body) + 1
    assert all(f"<td>{field}</td>" in shown for line in body for field in line)
    assert all(f"<th>{title}</th>" in shown for title in head)
    spiteful = Finished(done.results, done.report)
    spiteful.results.plan["question"] = "<script>"  # type: ignore[index]
    assert "&lt;script&gt;" in spiteful._repr_html_()
