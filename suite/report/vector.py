"""Writes figures as SVG: text stays text, marks say what they are when pointed at, and on a page the colours follow the reader's."""

from __future__ import annotations

import re
from collections.abc import Mapping
from html import escape
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes

FONTS = "'DejaVu Sans', Verdana, 'Bitstream Vera Sans', sans-serif"
"""Fonts of a figure's text, from the one it is laid out in to others of about its width."""

COLOURS = ("#0173b2", "#de8f05", "#029e73", "#d55e00", "#cc78bc", "#56b4e9", "#ca9161", "#7f7f7f")
"""Colours that differ for any kind of colour vision: seaborn's "colorblind" palette without its two palest."""

INK, BASELINE, GROUND, GRID, LEVEL, SMALL = "#1b1c1e", "#000000", "#ffffff", "#e4e4e4", "#8a8a8a", "#555555"
"""What text, the baseline, the ground, the grid, lines for comparison and small print are drawn in."""

THEMED: Mapping[str, str] = {
    INK: "ink",
    BASELINE: "ink",
    GROUND: "plot",
    GRID: "grid",
    LEVEL: "level",
    SMALL: "soft",
    **{colour: f"series-{index}" for index, colour in enumerate(COLOURS)},
}
"""The page's variable for each colour; the page gives them other values where the reader's screen is dark."""

COLOUR = re.compile("|".join(map(re.escape, THEMED)))
GROUP = re.compile(r'<g id="(mark|panel)\.([0-9a-f]*)\.([0-9a-f]*)">')


def named(artist: Artist, variant: str = "", title: str = "") -> None:
    """Let a mark say in the SVG whose it is, and what it says when pointed at."""
    artist.set_gid(f"mark.{variant.encode().hex()}.{title.encode(errors='replace').hex()}")


def panelled(axis: Axes, title: str) -> None:
    """Let an axis say in the SVG which panel it is."""
    axis.set_gid(f"panel.{title.encode().hex()}.")


def marked(text: str) -> str:
    """The SVG of a figure with the fonts that may stand in for its own, and with what its marks and panels say."""
    return GROUP.sub(_group, text.replace("'DejaVu Sans'", FONTS))


def _group(found: re.Match[str]) -> str:
    """The opening of a group with what its name says."""
    kind, (variant, title) = found[1], (bytes.fromhex(found[place]).decode() for place in (2, 3))
    if kind == "panel":
        return f'<g class="panel" data-panel="{escape(variant)}">'
    owner = f' data-variant="{escape(variant)}"' if variant else ""
    return f'<g class="mark"{owner}>' + (f"<title>{escape(title)}</title>" if title else "")


def inline(content: str, name: str, label: str) -> str:
    """A figure's file as part of a page: without its header, with ids that no other figure has, in the page's colours and font, and terse."""
    content = content[content.index("<svg") :]
    content = re.sub(r"<!--.*?-->|<metadata>.*?</metadata>", "", content, flags=re.DOTALL)
    content = _terse(content)
    content = re.sub(r'\b(id="|url\(#|href="#)', rf"\g<1>{name}-", content)
    content = re.sub(r' style="[^"]*"', _themed, content)
    return content.replace("<svg ", f'<svg role="img" aria-label="{escape(label)}" ', 1)


def _terse(content: str) -> str:
    """The same drawing in fewer letters: no name that nothing refers to, no turn by nothing, no digit that no screen shows."""
    content = content.replace(f"; font-family: {FONTS}", "")
    content = re.sub(r' transform="rotate\(-0 [^"]*\)"', "", content)
    used = set(re.findall(r'(?:url\(|href=")#([^")]+)', content))
    content = re.sub(r' id="([^"]+)"', lambda found: found[0] if found[1] in used else "", content)
    content = re.sub(r"(?<=\d)\.(\d\d)\d+(?=[^\d%])", r".\1", content)
    content = re.sub(r"\s*\n\s*", " ", content)
    content = re.sub(r"> <", "><", content)
    return re.sub(r"<g>(<use [^>]*/>)</g>", r"\1", content)


def _themed(style: re.Match[str]) -> str:
    return COLOUR.sub(lambda colour: f"var(--{THEMED[colour[0]]})", style[0])
