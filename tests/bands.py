"""Writes the reference results that come with the suite from a store of the plan `standard`: python -m tests.bands RUNS/standard."""

from __future__ import annotations

import sys
from pathlib import Path

from suite.proof import reference
from suite.proof.sides import opened
from suite.store.files import seal, write


def main(folder: str) -> None:
    with opened(folder, Path("runs")) as side:
        write(reference.FILE, seal(reference.KIND, reference.measured(side.results, side.ledger)))


if __name__ == "__main__":
    main(*sys.argv[1:])
