"""Says in words whether a variant is worth it: what it gains on lstm, what it loses, and what stays open, as the answer's rows say."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ..trial import BASELINE
from .answer import BEST, Answer, Row

WORDS: Mapping[tuple[str, str], str] = {
    ("speed", "better"): "faster",
    ("speed", "worse"): "slower",
    ("robustness", "better"): "more robust",
    ("robustness", "worse"): "less robust",
    ("long_range", "better"): "remembers further",
    ("long_range", "worse"): "remembers less far",
}
"""What is found on an axis, in words."""

NOUNS: Mapping[str, str] = {"speed": "speed", "robustness": "robustness", "long_range": "memory"}
"""What an axis is about."""


@dataclass(frozen=True)
class Worth:
    """A judgement of one variant: `word` sums it up, `sentence` says what it rests on."""

    word: str
    sentence: str


def worth(answer: Answer, variant: str) -> Worth:
    """What the answer says of a variant, over speed (on the engine that most variants share and on each one's best), robustness and memory."""
    rows = [row for row in _asked(answer, variant) if row is not None]
    judged = [row for row in rows if row.verdict != "not comparable"]
    if not judged:
        why = next((row.why for row in rows if row.why), "nothing of it was measured")
        return Worth("Not compared", f"{why}.")
    gains, losses = (_found(judged, verdict, answer) for verdict in ("better", "worse"))
    open_ = [NOUNS[axis] for axis in NOUNS if _is_open(axis, judged)]
    rest = f"; {_listed(open_)} undecided" if open_ else ""
    if gains and losses:
        return Worth("A trade", f"{_listed(gains)}, but {_listed(losses)}{rest}.")
    if gains:
        return Worth("Worth it", f"{_listed(gains)}{rest or ', and nothing lost'}.")
    if losses:
        return Worth("No gain seen", f"{_listed(losses)}{rest or ', and nothing better'}.")
    return Worth("Undecided", f"no difference to {BASELINE.label} was found.")


def _asked(answer: Answer, variant: str) -> list[Row | None]:
    engines = dict.fromkeys(engine for engine in (answer.common, BEST) if engine)
    return [
        *(answer.row(variant, "speed", engine) for engine in engines),
        answer.row(variant, "robustness"),
        answer.row(variant, "long_range"),
    ]


def _found(rows: Sequence[Row], verdict: str, answer: Answer) -> list[str]:
    """What was found of this verdict, in words; speed says where, unless it is the same on both engines."""
    texts = []
    for axis in NOUNS:
        here = [row for row in rows if row.axis == axis]
        alike = [row for row in here if row.verdict == verdict]
        if alike:
            place = "" if axis != "speed" or len(alike) == len(here) else f" {_place(alike[0], answer)}"
            texts.append(WORDS[axis, verdict] + place)
    return texts


def _place(row: Row, answer: Answer) -> str:
    return "with each on its fastest" if row.engine == BEST else f"on the {answer.common} engine"


def _is_open(axis: str, rows: Sequence[Row]) -> bool:
    here = [row.verdict for row in rows if row.axis == axis]
    return bool(here) and all(verdict == "undecided" for verdict in here)


def _listed(texts: Sequence[str]) -> str:
    return texts[0] if len(texts) == 1 else f"{', '.join(texts[:-1])} and {texts[-1]}"
