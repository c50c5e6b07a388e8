"""Names what a claim is: a sentence of the field, with what would have to be found for it to hold."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Expectation:
    """What a claim expects of one variant against another, over a plan's tasks and lengths.

    variant, against: labels, such as ``residual(depth=8)``
    quantity: what is compared, such as ``skill`` or ``time``; ``suite.report.claims.QUANTITIES`` lists them
    way: whether it is more, less, or not worse by `margin` or more
    """

    variant: str
    quantity: str
    way: Literal["more", "less", "not worse"]
    against: str = "lstm"
    margin: float = 0.0


@dataclass(frozen=True)
class Claim:
    """A sentence of the field that a plan's results are held against.

    expects: what follows from it; all must be found for it to be supported
    caveat: what the comparison cannot say, or where it is not even
    paper: who claims it
    figure: the section of the report that shows it

    Raises ValueError where it expects nothing.
    """

    name: str
    sentence: str
    expects: tuple[Expectation, ...]
    caveat: str = ""
    paper: str = ""
    figure: str = ""

    def __post_init__(self) -> None:
        if not self.expects:
            raise ValueError(f"claim '{self.name}': expects nothing; name what would have to be found for it to hold")
