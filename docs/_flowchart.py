"""Draws the flowcharts of pages into the site, which has no script that could do it in a browser."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

BLOCK = re.compile(r"^```mermaid\nflowchart TB\n(.*?)^```$", re.MULTILINE | re.DOTALL)
NODE = re.compile(r'\s*(\w+)\["<b>([^<]+)</b>(?:<br/>([^"]*))?"\]')
ARROW = re.compile(r"\s*(\w+) --> (\w+)")

WIDTH, LINE, PADDING = 184, 14, 8
"""Of a box: its width, the height of a line in it, and the space around its lines, in pixels."""

COLUMNS = 29
"""So many letters of small print a line of a box holds."""

BESIDE, BELOW = 12, 30
"""The space between boxes of a row, and between rows."""


@dataclass(frozen=True)
class Box:
    """A node: its title, the lines of small print below it, and its row, counted from the top."""

    title: str
    lines: tuple[str, ...]
    row: int

    @property
    def height(self) -> int:
        return LINE * (1 + len(self.lines)) + 2 * PADDING


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Put drawings in the place of flowcharts."""
    return BLOCK.sub(lambda block: drawing(block[1]), markdown)


def drawing(flowchart: str) -> str:
    """The flowchart as a part of a page.

    Raises ValueError for a line that is neither a node nor an arrow.
    """
    nodes: dict[str, tuple[str, str]] = {}
    arrows: list[tuple[str, str]] = []
    for line in flowchart.splitlines():
        if node := NODE.fullmatch(line):
            nodes[node[1]] = (node[2], node[3] or "")
        elif arrow := ARROW.fullmatch(line):
            arrows.append((arrow[1], arrow[2]))
        else:
            raise ValueError(f"a flowchart has the line {line!r}, which is neither a node nor an arrow")
    rows = _rows(list(nodes), arrows)
    boxes = {name: Box(title, tuple(textwrap.wrap(text, COLUMNS)), rows[name]) for name, (title, text) in nodes.items()}
    return _svg(boxes, arrows)


def _rows(names: Sequence[str], arrows: Sequence[tuple[str, str]]) -> dict[str, int]:
    """The row of each node: below all that point at it. Nodes stand in an order in which arrows point onwards."""
    rows: dict[str, int] = {}
    for name in names:
        rows[name] = 1 + max((rows[source] for source, target in arrows if target == name), default=-1)
    return rows


def _svg(boxes: Mapping[str, Box], arrows: Sequence[tuple[str, str]]) -> str:
    count = 1 + max(box.row for box in boxes.values())
    rows = [[name for name, box in boxes.items() if box.row == row] for row in range(count)]
    width = max(len(row) for row in rows) * (WIDTH + BESIDE)
    middles: dict[str, float] = {}
    tops: dict[str, float] = {}
    top = 4.0
    for row in rows:
        above = {name: [middles[source] for source, target in arrows if target == name] for name in row}
        ordered = sorted(row, key=lambda name: sum(above[name]) / len(above[name]) if above[name] else width / 2)
        for place, name in enumerate(ordered):
            middles[name] = width / 2 + (place - (len(ordered) - 1) / 2) * (WIDTH + BESIDE)
            tops[name] = top
        top += max(boxes[name].height for name in row) + BELOW
    lines = [_arrow(middles[a], tops[a] + boxes[a].height, middles[b], tops[b], f"{a} → {b}") for a, b in arrows]
    drawn = [_box(box, middles[name], tops[name]) for name, box in boxes.items()]
    head = (
        '<defs><marker id="head" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" orient="auto">'
        '<path d="M0 0L8 4L0 8z" fill="currentColor" /></marker></defs>'
    )
    style = "width: 100%; color: var(--md-default-fg-color--light, #555); font-family: sans-serif"
    return f'<div><svg viewBox="0 0 {width} {top - BELOW + 8:.0f}" role="img" style="{style}">{head}{"".join((*lines, *drawn))}</svg></div>'


def _arrow(x: float, y: float, to_x: float, to_y: float, title: str) -> str:
    bend = (to_y - y) / 2
    path = f"M{x:.0f} {y:.0f}C{x:.0f} {y + bend:.0f} {to_x:.0f} {to_y - bend:.0f} {to_x:.0f} {to_y:.0f}"
    return f'<path d="{path}" fill="none" stroke="currentColor" stroke-opacity="0.45" marker-end="url(#head)"><title>{escape(title)}</title></path>'


def _box(box: Box, middle: float, top: float) -> str:
    left = middle - WIDTH / 2
    frame = (
        f'<rect x="{left:.0f}" y="{top:.0f}" width="{WIDTH}" height="{box.height}" rx="4" '
        'fill="var(--md-default-bg-color, #fff)" stroke="currentColor" />'
    )
    first = top + PADDING + LINE - 3
    title = f'<text x="{middle:.0f}" y="{first:.0f}" text-anchor="middle" font-size="13" font-weight="bold" fill="currentColor">{escape(box.title)}</text>'
    small = [
        f'<text x="{middle:.0f}" y="{first + LINE * place:.0f}" text-anchor="middle" font-size="11" fill="currentColor">{escape(line)}</text>'
        for place, line in enumerate(box.lines, 1)
    ]
    return frame + title + "".join(small)
