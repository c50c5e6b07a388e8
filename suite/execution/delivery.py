"""Does a call that has come from another machine in a process of this one, and tells that machine of it until it has ended."""

from __future__ import annotations

import pickle
import platform
import tempfile
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .. import dropins
from ..errors import SuiteError
from . import carrying
from .carrying import News, Parcel
from .executor import POLL_SECONDS, Died, Gone
from .local import LocalPool
from .placement import Device


@dataclass(frozen=True)
class Ended:
    """How a call ended, as plain data: exactly one of its answer, pickled, with whether it ended well, and how its process died."""

    well: bool = False
    answer: bytes = b""
    died: tuple[Any, ...] = ()


def deliver(parcel: Parcel, tell: Callable[[News], None], leaving: Callable[[], bool] = lambda: False) -> Ended | None:
    """Do a call in a process under a warden; None where it was left before its end, with how far it had come told of.

    Where a GPU may be at fault for how a call ended, it is tried out, and the call's end says so where it has fallen over.

    tell: takes what is new of the call, the last of it before this returns; leaving: whether the call is to be left
    """
    dropins.FATAL.update(parcel.fatal)
    printed: list[str] = []
    with tempfile.TemporaryDirectory(prefix="suite-", ignore_cleanup_errors=True) as folder:
        home = Path(folder)
        carrying.lay_out(parcel, home)
        written = carrying.Written(home)
        with LocalPool(1, printed.append, devices_of(parcel)) as pool:
            arguments = (parcel.request, pool.channel, home, parcel.device, parcel.alike)
            future = pool.submit(carrying.carry_out, *arguments, bounds=parcel.bounds)
            done = False
            while not done and not leaving():
                pool.wait([future], POLL_SECONDS)
                done = future.done()
                events = tuple(event.line() for event in pool.events())
                if news := News(events, written.take(), "".join(printed) if done else ""):
                    tell(news)
        if not done and (news := News(files=written.take())):  # its process has kept how far it had come when the pool was left
            tell(news)
    return _ended(future) if done else None


def devices_of(parcel: Parcel) -> tuple[Device, ...]:
    """What the call computes on here, named so that it can be told from those of other machines; it is the only call, so no room is asked for."""
    return () if parcel.device == "cpu" else (Device(f"{parcel.device} of {platform.node()}", 0, kind=parcel.device),)


def _ended(future: Future[Any]) -> Ended:
    error = future.exception()
    if isinstance(error, Gone):  # of this machine's pool: the run has others
        return Ended(died=(str(error), "crashed", ""))
    if isinstance(error, Died):
        return Ended(died=(str(error), error.status, error.output))
    return Ended(error is None, pickle.dumps(error or future.result()))


def conclude(future: Future[Any], ended: Ended, fault: SuiteError | None) -> None:
    """Give a future what its call came to on another machine; fault: why what it wrote there could not be kept here."""
    if fault or ended.died:
        future.set_exception(fault or Died(*ended.died))
        return
    try:
        well, answer = ended.well, pickle.loads(ended.answer)
    except Exception as error:  # of classes that are not here
        well, answer = False, error
    future.set_result(answer) if well else future.set_exception(answer)
