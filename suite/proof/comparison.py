"""Compares two stores, and tells it as a page like the report's, as Markdown, and as plain data."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import pandas as pd

from ..errors import SuiteError
from ..registry.finder import discover
from ..registry.registry import Provided
from ..report import figures, formats, page, verdict
from ..report.counted import listed
from ..report.manifest import MANIFEST
from ..report.telling import MARKS, signed
from ..report.worth import WORDS
from ..shown import Element, Plot, Prose, Table
from ..spec import Results, Section
from .changes import Change, changes_between, noise, unmatched
from .pairing import Apart, Pairing, pair
from .sides import Side

MARKDOWN, PLAIN = "comparison.md", "comparison.json"
QUESTION = "What changed from A to B?"
SAME = "= the same"

AXES = {"speed": "time", "robustness": "robust", "long_range": "remembers"}
"""How an axis is called, as in the report's answer."""

STATES = {"better": "found", "worse": "contradicted"}
"""How a figure of effects colours a verdict; any other stays open."""


@dataclass(frozen=True)
class Comparison:
    """What is found of two sides, by what names they were opened.

    changes: over all cells of an axis, and on each engine; by_cell: the same in each cell
    noise: by what part a copy of the baseline differed from it at most, NaN where none was timed
    """

    a: str
    b: str
    changes: tuple[Change, ...]
    by_cell: tuple[Change, ...]
    pairing: Pairing
    noise: float

    @property
    def apart(self) -> tuple[Apart, ...]:
        """What is compared with nothing, what has one reason in one entry."""
        refused: dict[str, list[str]] = {}
        for change in self.changes:
            if change.why:
                refused.setdefault(change.why, []).append(f"{change.variant} ({titled(change)})")
        return (*self.pairing.apart, *(Apart(", ".join(names), why) for why, names in refused.items()))


def titled(change: Change) -> str:
    """The axis of a change, with the engine of a time or the cell."""
    return f"{AXES[change.axis]}{f' ({change.where})' if change.where else ''}"


def compare(a: Side, b: Side) -> Comparison:
    """Compare all that two sides hold, as far as it compares."""
    paired = pair(a, b, discover())
    changes, by_cell = changes_between(a, b, paired)
    if paired.timed:
        paired = replace(paired, apart=(*paired.apart, *unmatched(a, b)))
    return Comparison(a.name, b.name, changes, by_cell, paired, noise(a, b))


# In words


def headline(compared: Comparison) -> str:
    """What changed, in a sentence."""
    judged = [change for change in compared.changes if change.verdict != "not comparable"]
    if not judged:
        return "Nothing of the two compares."
    moved = [change for change in judged if change.verdict in ("better", "worse")]
    if moved:
        return f"From A to B {'; '.join(_sentence(change) for change in moved)}."
    if all(change.verdict == "same" for change in judged):
        return "Nothing changed: every score and every time that compares is the same number."
    return "Nothing is found to have changed."


def _sentence(change: Change) -> str:
    word = WORDS[change.axis, change.verdict]
    if change.axis == "speed":
        return f"{change.variant} is {word} on the {change.where} engine (its time is {change.effect.mean:.2f} times what it was)"
    predicate = word if change.axis == "long_range" else f"is {word}"
    return f"{change.variant} {predicate} ({signed(change.effect)}, p = {change.p:.2g})"


def shown(change: Change | None) -> str:
    """A change as a field of a table."""
    if change is None:
        return ""
    if change.verdict == "same":
        return SAME
    effect = (change.effect.text() if change.axis == "speed" else signed(change.effect)) if change.effect.n else ""
    return f"{MARKS[change.verdict]} {effect}".strip()


def table(changes: Sequence[Change]) -> pd.DataFrame:
    """A row for each variant and, of changes by cell, each cell; a column for each axis, and engine of a time."""
    columns = dict.fromkeys(titled(replace(change, where=change.where if change.axis == "speed" else "")) for change in changes)
    rows: dict[tuple[str, str], dict[str, str]] = {}
    for change in changes:
        cell = "" if change.axis == "speed" else change.where
        title = titled(change if change.axis == "speed" else replace(change, where=""))
        rows.setdefault((change.variant, cell), dict.fromkeys(columns, ""))[title] = shown(change)
    cells = any(cell for _, cell in rows)
    return pd.DataFrame(
        [{"Variant": variant, **({"Task and length": cell} if cells else {}), **fields} for (variant, cell), fields in rows.items()]
    )


def method(compared: Comparison) -> str:
    """How to read the numbers."""
    floor = "" if math.isnan(compared.noise) else f" A copy of {verdict.BASELINE} differed from it by up to {100 * compared.noise:.1f} %."
    marks = ", ".join(f"{mark} {finding}" for finding, mark in MARKS.items())
    return (
        f"Each variant in B against itself in A: {marks}, {SAME[0]} every number is the same. Robust and remembers: the mean difference over "
        "pairs of one task, length and seed, with its interval at 95 %; better and worse at p < 5 %, by exchange, adjusted for all variants and "
        f"both axes. Time: forward and backward at the longest length that both timed, as a multiple of {verdict.BASELINE}'s in the same rounds, "
        f"in B over A, with an interval no narrower than what tells two copies of {verdict.BASELINE} apart; {verdict.BASELINE} itself by its "
        f"seconds, which are judged where its code differs and the processor does not.{floor}"
    )


def markdown(compared: Comparison) -> str:
    """The comparison in Markdown."""
    lines = [f"**{QUESTION}** A: `{compared.a}`, B: `{compared.b}`", "", headline(compared), ""]
    if compared.changes:
        lines += [*_grid(table(compared.changes)), "", method(compared), ""]
    if compared.apart:
        lines += ["Compared with nothing:", "", *(f"- {apart.what}: {apart.why}" for apart in compared.apart), ""]
    if compared.pairing.differing:
        names = [f"{name} ({in_a} → {in_b})" for name, (in_a, in_b) in compared.pairing.differing.items()]
        lines += [f"What A and B rest on differs in {len(names)}: {'; '.join(names)}", ""]
    return "\n".join(lines)


def _grid(rows: pd.DataFrame) -> Iterator[str]:
    body = [list(map(str, row)) for row in rows.itertuples(index=False, name=None)]
    for line in [list(rows.columns), ["---"] * len(rows.columns), *body]:
        yield f"| {' | '.join(field.replace('|', chr(92) + '|') for field in line)} |"


def plain(compared: Comparison) -> dict[str, object]:
    """The comparison as plain data; None for a number that is not there."""

    def row(change: Change) -> dict[str, object]:
        numbers = dict(zip(("effect", "low", "high", "p"), (*change.effect[:3], change.p), strict=True))
        return {
            "variant": change.variant,
            "axis": change.axis,
            "where": change.where,
            "verdict": change.verdict,
            **{name: value if math.isfinite(value) else None for name, value in numbers.items()},
            "pairs": change.pairs,
            "why": change.why,
        }

    return {
        "a": compared.a,
        "b": compared.b,
        "changes": [row(change) for change in compared.changes],
        "by_cell": [row(change) for change in compared.by_cell],
        "apart": [{"what": apart.what, "why": apart.why} for apart in compared.apart],
        "differing": {name: list(values) for name, values in compared.pairing.differing.items()},
    }


# As a page


def write(compared: Comparison, a: Side, folder: Path) -> Path:
    """Write the page with all beside it into a folder, in place of an earlier comparison; the page's file.

    Raises SuiteError where the folder holds something else, or cannot be written.
    """
    if folder.exists() and not (folder / PLAIN).is_file() and (not folder.is_dir() or any(folder.iterdir())):
        raise SuiteError(f"{folder}: is there and holds no comparison; name another folder with --out, or empty it")
    learned, name = compared.pairing.learned, f"{compared.a} and {compared.b}"
    seeds = sorted({int(seed) for seed in learned.trials["seed"]})
    results = replace(a.results, plan={**a.results.plan, "name": name, "question": QUESTION, "seeds": seeds})
    parts = [
        Section("changes", "What changed", lambda _: _answer(compared, a)),
        Section("cells", "By task and length", lambda _: _cells(compared)),
        Section("apart", "What is compared with nothing", lambda _: _apart(compared)),
        Section("provenance", "What the two rest on", lambda _: _differing(compared)),
    ]
    with figures.theme():
        drawn = [page.draw(Provided(section, "suite compare", None, {}), results) for section in parts]
    files = {f"figures/{name}.svg": content for section in drawn for name, content in section.figures.items()}
    files |= {f"figures/{picture.name}.csv": picture.data for section in drawn for picture in section.pictures if picture.data}
    files["results.csv"] = formats.csv(formats.table_of(learned))
    files[MARKDOWN] = markdown(compared).encode(errors="backslashreplace")
    files[PLAIN] = (json.dumps(plain(compared), indent=1) + "\n").encode()
    files["index.html"] = page.html(results, drawn).encode(errors="backslashreplace")
    digests = {name: hashlib.sha256(content).hexdigest() for name, content in sorted(files.items())}
    files[MANIFEST] = (json.dumps({"sha256": digests}, indent=1) + "\n").encode()
    page.replace_folder(folder.resolve(), files)
    return folder / "index.html"


def _answer(compared: Comparison, a: Side) -> Iterator[Element]:
    yield Prose(f"**{headline(compared)}** A is `{compared.a}`, B is `{compared.b}`.")
    if not compared.changes:
        return
    yield Table(table(compared.changes), method(compared), name="answer")
    timed = [change for change in compared.changes if change.axis == "speed" and change.effect.n and change.verdict != "same"]
    if timed:
        yield _times(timed, a.results)
    learned = [change for change in compared.changes if change.axis != "speed" and change.effect.n and change.verdict != "same"]
    if learned:
        caption = "Mean difference over all pairs, with its interval; right of the line B is better."
        yield Plot("changes_learned", figures.effects(_effects(learned)), caption, data=_effects(learned))


def _times(timed: Sequence[Change], results: Results) -> Plot:
    look = figures.looks(results, timed=True)
    rows = pd.DataFrame([{"panel": f"{c.where} engine", "variant": c.variant, **c.effect._asdict()} for c in timed])
    drawn = figures.dots(
        rows, {name: look[name] for name in listed(results, timed=True)}, x_label="time in B over time in A", log=True, level=1
    )
    return Plot("changes_time", drawn, "Forward and backward, with the interval; right of the line B is slower.", data=rows)


def _effects(learned: Sequence[Change]) -> pd.DataFrame:
    return pd.DataFrame(
        [
            {
                "label": f"{change.variant}, {AXES[change.axis]}",
                **{name: getattr(change.effect, name) for name in ("mean", "low", "high")},
                "expected": 0,
                "state": STATES.get(change.verdict, "open"),
            }
            for change in learned
        ]
    )


def _cells(compared: Comparison) -> Iterator[Element]:
    if not compared.by_cell:
        yield Prose("No cell compares.")
        return
    yield Table(table(compared.by_cell), "Better and worse at p < 5 %, adjusted for all cells, variants and both axes.", name="cells")


def _apart(compared: Comparison) -> Iterator[Element]:
    if not compared.apart:
        yield Prose("Everything is in both, and compares.")
        return
    yield Table(pd.DataFrame([(apart.what, apart.why) for apart in compared.apart], columns=["What", "Why"]), name="apart")


def _differing(compared: Comparison) -> Iterator[Element]:
    if not compared.pairing.differing:
        yield Prose("Both rest on the same code, versions and machine.")
        return
    rows = [(name, *values) for name, values in compared.pairing.differing.items()]
    yield Table(pd.DataFrame(rows, columns=["", "A", "B"]), "Versions, hardware and sources in which the two differ.", name="differing")
