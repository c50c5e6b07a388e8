"""Writes figures as SVG: text stays text, marks say what they are when pointed at, and on a page the colours follow the reader's."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from html import escape
from typing import TYPE_CHECKING

from ..palette import COLOURS, OF_BASELINE

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes

FONTS = "'DejaVu Sans', Verdana, 'Bitstream Vera Sans', sans-serif"
"""Fonts of a figure's text, from the one it is laid out in to others of about its width."""

INK, GROUND, GRID, LEVEL, SMALL = "#1b1c1e", "#ffffff", "#e4e4e4", "#8a8a8a", "#555555"
"""What text, the ground, the grid, lines for comparison and small print are drawn in."""

THEMED: Mapping[str, str] = {
    INK: "ink",
    OF_BASELINE: "ink",
    GROUND: "plot",
    GRID: "grid",
    LEVEL: "level",
    SMALL: "soft",
    **{colour: f"series-{index}" for index, colour in enumerate(COLOURS)},
}
"""The page's variable for each colour; the page gives them other values where the reader's screen is dark."""

COLOUR = re.compile("|".join(map(re.escape, THEMED)))
GROUP = re.compile(r'<g id="(mark|panel)\.([0-9a-f]*)\.([0-9a-f]*)">')
USE = re.compile(r"(<use [^>]*)/>")

BETWEEN = "\x1f"
"""Stands between what the marks of one line say."""


def named(artist: Artist, variant: str = "", *titles: str) -> None:
    """Let marks say in the SVG whose they are, and what they say when pointed at: all of them the one title, or each its own."""
    artist.set_gid(f"mark.{_hex(variant)}.{_hex(BETWEEN.join(titles))}")


def panelled(axis: Axes, title: str) -> None:
    """Let an axis say in the SVG which panel it is."""
    axis.set_gid(f"panel.{_hex(title)}.")


def _hex(text: str) -> str:
    return text.encode(errors="replace").hex()


def marked(text: str) -> str:
    """The SVG of a figure with the fonts that may stand in for its own, and with what its marks and panels say."""
    text = text.replace("'DejaVu Sans'", FONTS)
    groups = list(GROUP.finditer(text))
    starts = [*(group.start() for group in groups), len(text)]
    return text[: starts[0]] + "".join(_group(group, text[group.end() : end]) for group, end in zip(groups, starts[1:], strict=True))


def _group(match: re.Match[str], content: str) -> str:
    """The opening of a group with what its name says, and what follows it up to the next."""
    kind, (variant, said) = match[1], (bytes.fromhex(match[place]).decode() for place in (2, 3))
    if kind == "panel":
        return f'<g class="panel" data-panel="{escape(variant)}">{content}'
    titles = said.split(BETWEEN) if said else []
    owner = f' data-variant="{escape(variant)}"' if variant else ""
    if len(titles) == 1:
        return f'<g class="mark"{owner}><title>{escape(titles[0])}</title>{content}'
    remaining = iter(titles)
    content = (
        USE.sub(lambda use: f"{use[1]}><title>{escape(next(remaining, ''))}</title></use>", content, count=len(titles))
        if titles
        else content
    )
    return f'<g class="mark"{owner}>{content}'


def inline(content: str, name: str, label: str) -> str:
    """A figure's file as part of a page: without its header, with ids that no other figure has, in the page's colours and font, and terse."""
    content = content[content.index("<svg") :]
    content = re.sub(r"<!--.*?-->|<metadata>.*?</metadata>", "", content, flags=re.DOTALL)
    content = _terse(content)
    content = re.sub(r'\b(id="|url\(#|href="#)', rf"\g<1>{name}-", content)
    content = re.sub(r' style="[^"]*"', _themed, content)
    return content.replace("<svg ", f'<svg role="img" aria-label="{escape(label)}" ', 1)


PLACED = re.compile(r' (?:d|x|y|transform)="[^"]*"')
DIGITS = re.compile(r"\.(\d\d)\d+")


def _terse(content: str) -> str:
    """The same drawing in fewer letters: no name that nothing refers to, no turn by nothing, no digit that no screen shows."""
    content = content.replace(f"; font-family: {FONTS}", "")
    content = re.sub(r' transform="rotate\(-0 [^"]*\)"', "", content)
    used = set(re.findall(r'(?:url\(|href=")#([^")]+)', content))
    content = re.sub(r' id="([^"]+)"', lambda match: match[0] if match[1] in used else "", content)
    content = PLACED.sub(lambda placed: DIGITS.sub(r".\1", placed[0]), content)
    content = re.sub(r"\s*\n\s*", " ", content)
    content = re.sub(r"> <", "><", content)
    for _ in range(3):  # groups within groups
        content = re.sub(r"<g>((?:<use [^>]*/>|<path [^>]*/>|<text[^>]*>[^<]*</text>)*)</g>", r"\1", content)
    return content


STYLE = re.compile(r' style="([^"]*)"')


def classed(pictures: Sequence[str]) -> tuple[list[str], str]:
    """Pictures of a page whose repeated styles are classes, and the rules of these classes."""
    counts = Counter(style for picture in pictures for style in STYLE.findall(picture))
    classes = {style: f"f{place}" for place, style in enumerate(style for style, count in counts.items() if count > 1)}
    short = [STYLE.sub(lambda style: f' class="{classes[style[1]]}"' if style[1] in classes else style[0], picture) for picture in pictures]
    return short, "\n".join(f".{name} {{ {style} }}" for style, name in classes.items())


def _themed(style: re.Match[str]) -> str:
    return COLOUR.sub(lambda colour: f"var(--{THEMED[colour[0]]})", style[0])
