"""Holds the field's claims against what the plan measured: supported, refuted or undecided, with the effects that say so."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING

from suite import Part, Plot, Prose, Results, Section, Table, figures, hookimpl, verdict

if TYPE_CHECKING:
    from pandas import DataFrame

RULINGS = {"supported": "▲ supported", "refuted": "▼ refuted", "undecided": "≈ undecided", "not asked": "– not asked"}

STATES = {"found": "as claimed", "contradicted": "the contrary", "open": "undecided", "absent": "not asked"}


def draw(results: Results) -> Iterator[Prose | Table | Plot | Part]:
    import pandas as pd

    ruled = verdict.rulings(results)
    asked = [claim for claim in ruled if claim.ruling != "not asked"]
    if not asked:
        yield Prose("This plan trains none of the pairs of variants that a claim is about." if ruled else "No claim is known here.")
        return
    fields = [{"Claim": each.claim.sentence, "On this plan": RULINGS[each.ruling], "Found": found(each)} for each in asked]
    yield Table(pd.DataFrame(fields), CAPTION, finding=counted(asked))
    yield Part("claims-more", "Effects, caveats, and where each claim is from", tuple(more(asked)))
    absent = [each for each in ruled if each.ruling == "not asked"]
    if absent:
        reasons = "; ".join(
            f"{each.claim.sentence.rstrip('.')} ({', '.join(dict.fromkeys(part.why for part in each.evidence if part.why))})"
            for each in absent
        )
        yield Prose(f"Not asked by this plan: {reasons}.")


CAPTION = (
    "Each sentence of the field against this plan's own tasks, lengths and budgets: supported where all is found that it says, refuted where "
    "the contrary of a part is found, undecided else. A difference is found where p < 5 %, adjusted by Holm for all claims here; times, and what must "
    "be no worse, are judged by their 95 % intervals."
)


def more(asked: list[verdict.Ruled]) -> Iterator[Table | Plot]:
    """The effects, and what each claim cannot say."""
    import pandas as pd

    rows = differences(asked)
    if len(rows):
        yield Plot(
            "claims",
            figures.effects(rows),
            "Differences that the claims are about, each with its 95 % interval: what the claim expects lies on the side of the arrow. No interval here "
            "means that the effect is large, nor does undecided mean that there is none.",
            finding=counted(asked),
            data=rows,
        )
    yield Table(
        pd.DataFrame([{"Claim": each.claim.sentence, "Mind": each.claim.caveat or "–", "From": each.claim.paper or "–"} for each in asked]),
        "What each comparison cannot say, or where it is not even, and where the claim is from.",
    )


def counted(asked: list[verdict.Ruled]) -> str:
    """How many of the claims that this plan asks fared how."""
    rulings = [each.ruling for each in asked]
    told = ", ".join(f"{rulings.count(ruling)} {ruling}" for ruling in ("supported", "refuted", "undecided") if ruling in rulings)
    return f"Of {len(asked)} {'claim' if len(asked) == 1 else 'claims'} {told}"


def found(ruled: verdict.Ruled) -> str:
    return " ".join(f"{said(part)}." for part in ruled.evidence)


def said(part: verdict.Evidence) -> str:
    """One expectation in a line: who, in what, by how much, and what that says."""
    wanted = part.expectation
    against = "" if wanted.against == verdict.BASELINE else f" against {wanted.against}"
    bound = f", by no more than {wanted.margin:g}" if wanted.way == "not worse" else ""
    p = "" if math.isnan(part.p) else f", p = {part.p:.2g}"
    rests = f", {part.pairs} pairs in {part.cells} cells" if part.pairs else ""
    effect = part.effect.text() if wanted.quantity == "time" else verdict.signed(part.effect)
    return f"{wanted.variant}{against}: {wanted.quantity} {wanted.way}{bound}? {STATES[part.state]} ({effect}{p}{rests})"


def differences(asked: list[verdict.Ruled]) -> DataFrame:
    """A row for each expectation that is about a difference, as ``figures.effects`` takes them."""
    import pandas as pd

    rows = [
        {
            "label": f"{part.expectation.variant} − {part.expectation.against}, {part.expectation.quantity}",
            "mean": part.effect.mean,
            "low": part.effect.low,
            "high": part.effect.high,
            "expected": {"more": 1, "less": -1}.get(part.expectation.way, 0),
            "state": part.state,
        }
        for ruled in asked
        for part in ruled.evidence
        if part.effect.n and part.expectation.quantity != "time"
    ]
    return pd.DataFrame(rows, columns=["label", "mean", "low", "high", "expected", "state"])


@hookimpl
def suite_sections() -> Iterator[Section]:
    yield Section("claims", "What the field claims", draw, order=5)
