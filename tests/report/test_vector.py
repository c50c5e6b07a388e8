"""Checks that figures are SVG with text, with marks that tell what they are, and in the colours of the page."""

from __future__ import annotations

import re
from pathlib import Path

import pandas as pd
import pytest
from matplotlib.figure import Figure

from suite.report import canvas, vector
from suite.report.canvas import Look, spread_out
from suite.report.curves import lines
from suite.report.edges import apart, left_out
from suite.report.pareto import front, unbeaten

CSS = (Path(__file__).parents[2] / "reports" / "templates" / "style.css").read_text()
LOOK = {"lstm": Look("lstm", "lstm", True, "#000000", "o"), "a<b": Look("a<b", "a<b", True, "#de8f05", "s")}


@pytest.fixture(scope="module")
def curve() -> str:
    """A curve of two variants with three seeds each, as SVG."""
    rows = [
        {"panel": "adding, T = 20", "variant": name, "x": x, "mean": 0.5, "low": 0.4, "high": 0.6, "n": 3}
        for name in LOOK
        for x in (1.0, 2.0)
    ]
    frame = pd.DataFrame(rows)
    points = pd.concat([frame.assign(seed=seed, value=0.1 * seed) for seed in range(3)])
    with canvas.theme():
        return canvas.svg(lines(frame, LOOK, x_label="x", y_label="y", points=points), "curve").decode()


def test_text_is_text_with_fonts_that_may_stand_in(curve: str) -> None:
    assert "'DejaVu Sans', Verdana" in curve
    assert len(re.findall(r"<text[^>]*>a&lt;b</text>", curve)) == 1, "the line is labelled at its end"


def test_each_mark_says_whose_it_is_its_value_interval_and_n(curve: str) -> None:
    assert curve.count("<title>lstm at 1: 0.50 (0.40–0.60), n = 3</title>") == 1
    assert curve.count("<title>a&lt;b at 2: 0.50 (0.40–0.60), n = 3</title>") == 1
    assert 'data-variant="a&lt;b"' in curve
    assert 'class="panel" data-panel="adding, T = 20"' in curve


def test_few_seeds_are_thin_lines_and_many_a_band(curve: str) -> None:
    assert len(re.findall(r"stroke-width: 0\.6", curve)) == 2 * 3
    assert "fill-opacity: 0.13" not in curve


def test_on_a_page_colours_are_the_page_s_and_ids_the_figure_s_own(curve: str) -> None:
    inline = vector.inline(curve, "curve", 'what "it" says')
    assert not re.search(r"#(000000|de8f05|ffffff|1b1c1e)", inline)
    assert {f"--{name}" for name in re.findall(r"var\(--([a-z0-9-]+)\)", inline)} <= set(re.findall(r"--[a-z0-9-]+", CSS))
    ids, used = set(re.findall(r'\bid="([^"]+)"', inline)), set(re.findall(r'(?:url\(|href=")#([^")]+)', inline))
    assert ids == used
    assert all(name.startswith("curve-") for name in ids)
    assert 'aria-label="what &quot;it&quot; says"' in inline
    assert len(inline) < len(curve)


def test_every_colour_has_a_value_for_light_dark_and_paper() -> None:
    blocks = re.findall(r":root \{(.*?)\}", CSS, flags=re.DOTALL)
    assert len(blocks) == 3
    for name in set(vector.THEMED.values()):
        assert all(f"--{name}:" in block for block in blocks), name


def test_repeated_styles_become_classes_and_the_drawing_stays() -> None:
    short, rules = vector.classed(['<path style="a: 1"/><path style="b: 2"/>', '<path style="a: 1"/>'])
    assert short == ['<path class="f0"/><path style="b: 2"/>', '<path class="f0"/>']
    assert rules == ".f0 { a: 1 }"


def test_a_figure_without_marks_stays_as_it_is() -> None:
    with canvas.theme():
        assert b"<svg" in canvas.svg(Figure(), "empty")


def test_labels_are_moved_apart_and_no_further() -> None:
    places = {place: height for height, place in spread_out([(0.5, 0), (0.5, 1), (0.9, 2)], 0.1)}
    assert places == {0: pytest.approx(0.45), 1: pytest.approx(0.55), 2: pytest.approx(0.9)}
    assert [height for height, _ in spread_out([(1.0, 0), (1.0, 1), (1.0, 2)], 0.1)] == [pytest.approx(at) for at in (0.8, 0.9, 1.0)]
    crowded = [height for height, _ in spread_out([(0.5, 0), (0.52, 1), (0.58, 2)], 0.1)]
    assert crowded == [pytest.approx(0.4333, abs=1e-3), pytest.approx(0.5333, abs=1e-3), pytest.approx(0.6333, abs=1e-3)]


def test_the_front_is_of_those_that_nobody_beats_in_both() -> None:
    points = pd.DataFrame({"variant": ["lstm", "slow", "fast", "worst"], "x": [1.0, 2.0, 0.5, 3.0], "y": [0.0, 0.1, -0.2, -0.3]})
    assert unbeaten(points) == ["fast", "lstm", "slow"]
    assert unbeaten(points.head(0)) == []


def test_names_in_the_front_hide_no_mark() -> None:
    columns = {"x": [1.0, 1.01], "y": [0.0, 0.0]}
    points = pd.DataFrame({"variant": list(LOOK), **columns}).assign(x_low=0.9, x_high=1.1, y_low=-0.1, y_high=0.1)
    with canvas.theme():
        svg = canvas.svg(front(points, LOOK, x_label="time", y_label="skill"), "front").decode()
    assert "<title>lstm: time 1.00 (0.90–1.10), skill 0.00 (−0.10 to 0.10)</title>" in svg
    assert "the front: nobody is both faster and better" in svg
    places = re.findall(r'x="([\d.]+)" y="([\d.]+)"[^>]*>(?:lstm|a&lt;b)<', svg)
    assert len(places) == 2
    assert abs(float(places[0][1]) - float(places[1][1])) > 8 or abs(float(places[0][0]) - float(places[1][0])) > 20


def test_panels_in_which_all_is_at_an_end_are_said_instead() -> None:
    rows = pd.DataFrame({"panel": ["a", "a", "b", "c"], "low": [0.99, 1.0, 0.0, 0.5], "high": [1.0, 1.0, 0.01, 1.0]})
    seen, nothing, everything = apart(rows)
    assert (list(seen["panel"]), nothing, everything) == (["c"], ["b"], ["a"])
    assert left_out(nothing, everything, "skills") == " Not drawn, since all skills are at 0: b, and since all skills are at 1: a."
    assert left_out([], [], "skills") == ""
