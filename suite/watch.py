"""Shows from a store how a run goes that another process is at; writes nothing."""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from .errors import SuiteError
from .execution import processes
from .store import unfinished
from .store.files import Spoiled, load
from .store.store import CURE, HOLDER, Holder, Store
from .trial import FAULTS

LOOK_SECONDS = 2.0
"""So often the store is looked at."""


@dataclass(frozen=True)
class View:
    """What a store shows of a run at one moment.

    holder: who is at work in it; None where nobody is
    ended: how each cell's trial ended, by cell; steps: the last step that is kept of each training under way, by cell
    timings: how many are measured, and how many are asked for
    """

    holder: Holder | None
    cells: tuple[str, ...]
    ended: dict[str, str]
    steps: dict[str, int]
    timings: tuple[int, int]

    def lines(self) -> Iterator[str]:
        """What a person is shown, a line each."""
        at_work = (
            f"process {self.holder.process} on {self.holder.machine}, since {self.holder.since}" if self.holder else "nobody is at work"
        )
        yield at_work
        ends = [self.ended[cell] for cell in self.cells if cell in self.ended]
        unwell = {end: ends.count(end) for end in sorted({*ends} - {"ok"})}
        told = "".join(f", {count} {end}" for end, count in unwell.items())
        yield f"trials: {len(ends)} of {len(self.cells)} done{told}"
        if self.timings[1]:
            yield f"timings: {self.timings[0]} of {self.timings[1]} done"
        for group, count, total in _groups(self.cells, self.ended):
            yield f"  {_bar(count, total)} {count:>{len(str(len(self.cells)))}}/{total} {group}"
        for cell, step in sorted(self.steps.items()):
            yield f"  {cell}: kept at step {step}"


def _groups(cells: tuple[str, ...], ended: dict[str, str]) -> Iterator[tuple[str, int, int]]:
    """Variants with how many of their trials are done, and how many there are."""
    totals: dict[str, list[str]] = {}
    for cell in cells:
        totals.setdefault(cell.split(" | ")[0], []).append(cell)
    for variant, own in totals.items():
        yield variant, sum(cell in ended for cell in own), len(own)


def _bar(count: int, total: int, width: int = 20) -> str:
    full = width * count // total
    return "█" * full + "·" * (width - full)


class Looking:
    """Looks at a store again and again; a trial that has ended is read once, unless another run may try it again."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._ends: dict[str, str] = {}

    def view(self) -> View:
        """Raises SuiteError where nothing was run there, or its ledger cannot be read."""
        ledger = self._store.ledger()
        if ledger is None:
            raise SuiteError(
                f"{self._store.folder}: nothing has been run here; `suite run` comes first, or name another folder with --runs"
            )
        begun = unfinished.steps(self._store.unfinished)
        keys = {cell: entry.key for cell, entry in ledger.cells.items()}
        ends = dict(self._ends)
        for key in set(keys.values()) - ends.keys():
            stored, _ = self._store.standing(key)
            if stored is not None:
                ends[key] = stored.status
        self._ends = {key: status for key, status in ends.items() if status not in FAULTS}
        return View(
            holder=_holder(self._store),
            cells=tuple(sorted(keys)),
            ended={cell: ends[key] for cell, key in keys.items() if key in ends},
            steps={cell: begun[key] for cell, key in keys.items() if key in begun and key not in self._ends},
            timings=(sum(os.path.isfile(self._store.path("timings", key)) for key in ledger.timings.values()), len(ledger.timings)),
        )


def _holder(store: Store) -> Holder | None:
    """Who is at work in the store; None where nobody is, or where the process that says so is of this machine and gone."""
    try:
        holder = load(store.folder / HOLDER, Holder, CURE)
    except Spoiled:  # it is just being written
        return None
    if holder is not None and holder.machine == platform.node() and processes.seen() and not processes.alive(holder.process):
        return None
    return holder


def follow(runs: Path, plan: str, show: Callable[[View], None], sleep: Callable[[float], None] = time.sleep) -> View:
    """Show a run until it ends; what was there at last.

    Raises SuiteError where nothing was run under the plan's name.
    """
    looking = Looking(Store(runs, plan))
    view = looking.view()
    show(view)
    while view.holder is not None:
        sleep(LOOK_SECONDS)
        view = looking.view()
        show(view)
    return view


def shown(runs: Path, plan: str) -> str:
    """Show a run on standard output until it ends, in place on a terminal, else a block of lines whenever something has changed.

    Returns what is said at the end.
    """
    from rich.console import Console
    from rich.live import Live
    from rich.text import Text

    console = Console()
    told: list[str] = []

    def tell(view: View) -> None:
        lines = list(view.lines())
        if lines != told:
            told[:] = lines
            console.print("\n".join(lines), markup=False, highlight=False, soft_wrap=True)

    if not console.is_terminal:
        follow(runs, plan, tell)
        return "the run has ended; see `suite status` and `suite answer`"
    with Live(console=console, auto_refresh=False, transient=True) as live:
        view = follow(runs, plan, lambda view: live.update(Text("\n".join(view.lines())), refresh=True))
    return "\n".join([*view.lines(), "the run has ended; see `suite status` and `suite answer`"])
