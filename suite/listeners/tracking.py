"""Mirrors finished trials into MLflow, once each, through one client in the parent process."""

from __future__ import annotations

import contextlib
import socket
import sqlite3
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import SuiteError
from ..spec import Listener, hookimpl
from ..store.store import Store
from ..trial import Invocation, Outcome, Trial
from . import database
from .aside import Aside

if TYPE_CHECKING:
    from .mirror import Mirror

LONGEST_REASON = 400
"""How many characters of an error's text are shown."""

INTERRUPTED_SECONDS = 1.5
"""A run that is broken off waits so long for MLflow; what is not mirrored by then the next run mirrors."""

SILENT_SECONDS = 2.0
"""A run that is over says so where it has waited so long for MLflow."""

ROOTS = (ConnectionError, TimeoutError, socket.gaierror, sqlite3.Error)
"""Errors that MLflow and its libraries wrap in several others, which say less."""


class Tracking:
    """A listener that keeps an MLflow experiment per plan, a parent run per invocation, and a run per trial.

    All that has to do with MLflow, its import and connecting included, is done in a thread of its own, so that neither the training nor
    the display waits for a slow server; the run waits for that thread at its end. Where MLflow fails, the mirroring stops and the run goes
    on; when its report is written, what is missing is tried once more, since the server may be back. Where that fails too, the last hook
    raises a SuiteError, which the audience notes, and the next invocation mirrors from the trial files what is missing. MLflow is imported
    only when there is something to mirror.

    say: is told at the end what the run waits for, where that takes long
    """

    def __init__(self, say: Callable[[str], None] = lambda _: None) -> None:
        self._say = say
        self._aside = Aside("MLflow")
        self._invocation: Invocation | None = None
        self._mirror: Mirror | None = None
        self._finished: list[tuple[Trial, Outcome]] = []
        self._failed = ""
        self._reported = False
        self._mended = ""

    # The hooks are called last, so that no other listener waits for the end of the mirroring.

    @hookimpl(trylast=True)
    def suite_plan_started(self, invocation: Invocation) -> None:
        self._invocation = invocation
        if invocation.pending:  # meanwhile: importing MLflow and making a database take seconds
            self._aside.do(lambda: self._attempt(lambda _mirror: None))

    @hookimpl(trylast=True)
    def suite_trial_finished(self, trial: Trial, outcome: Outcome) -> None:
        self._finished.append((trial, outcome))
        self._aside.do(lambda: self._attempt(lambda mirror: mirror.show(trial, outcome)))

    @hookimpl(trylast=True)
    def suite_report_written(self, folder: Path) -> None:
        self._reported = True
        self._aside.do(self._recover)
        self._aside.do(lambda: self._attempt(lambda mirror: self._complete(mirror, folder)))

    @hookimpl(trylast=True)
    def suite_plan_finished(self) -> None:
        if self._run.pending or self._reported:
            self._aside.do(self._end)
            self._await()
        elif not self._up_to_date():
            self._catch_up()
        unexpected = self._aside.raised[0].reason if self._aside.raised else ""
        if problem := self._failed or unexpected or self._mended:
            raise SuiteError(problem)

    def _await(self) -> None:
        """Wait for what is being mirrored; where the run was broken off, only for a moment."""
        try:
            if not self._reported:
                self._aside.wait(INTERRUPTED_SECONDS)
            elif not self._aside.wait(SILENT_SECONDS):
                address = database.shown(database.uri(self._run.runs))
                self._say(f"waiting for MLflow at {address}; Ctrl-C leaves the rest to the next run")
                self._aside.wait()
        finally:
            self._aside.end()

    @property
    def _run(self) -> Invocation:
        assert self._invocation is not None
        return self._invocation

    @property
    def _store(self) -> Store:
        return Store(self._run.runs, self._run.plan)

    def _earlier(self) -> Iterator[tuple[Trial, Outcome]]:
        """The trials that this invocation found finished."""
        for trial in self._run.trials:
            if trial.key in self._run.finished and trial.key not in self._run.pending:
                yield trial, self._run.finished[trial.key]

    def _attempt(self, action: Callable[[Mirror], None]) -> None:
        """Do one thing with MLflow, unless something has failed before."""
        if self._failed:
            return
        try:
            action(self._opened())
        except Exception as error:  # whatever a server or its client raises: the results are safe in the store
            self._failed = self._sentence(error)

    def _sentence(self, error: Exception) -> str:
        """What the user is told of a failure, in one line."""
        address = database.uri(self._run.runs)
        place, folder = database.shown(address), self._store.folder
        reason = _reason(error).replace("<database_uri>", address).replace(address, place)
        return f"MLflow at {place}: {reason}; the results are safe in {folder}, and the next run mirrors them"

    def _opened(self) -> Mirror:
        """The mirror of this invocation; it is made when it is first needed, and a local database before it."""
        from .mirror import Mirror

        if self._mirror is None:
            address = database.uri(self._run.runs)
            file = database.file_of(address)
            if file and (fault := database.ensure(file)):
                self._mended = f"{file} {fault}"
            self._mirror = Mirror(database.client(address), self._run)
        return self._mirror

    def _recover(self) -> None:
        """After a failure, see what came of it, and let what follows be tried."""
        if self._failed:
            self._failed = ""
            if self._mirror is not None:
                self._attempt(lambda mirror: mirror.look())

    def _complete(self, mirror: Mirror, report: Path) -> None:
        """Mirror what a failure or earlier invocations left out, and attach the report."""
        for trial, outcome in (*self._earlier(), *self._finished):
            mirror.show(trial, outcome)
        mirror.attach(report)

    def _end(self) -> None:
        """End the runs of this invocation in MLflow; this is tried after a failure too, since the server may be back."""
        if self._mirror is None:
            return
        try:
            self._mirror.end("FAILED" if self._failed else "FINISHED" if self._reported else "KILLED")
        except Exception as error:  # the next run of this folder ends them
            self._failed = self._failed or self._sentence(error)

    def _up_to_date(self) -> bool:
        """Whether a local database shows every finished trial; for a server the answer is no, since only MLflow's client can ask it."""
        file = database.file_of(database.uri(self._run.runs))
        contents = {trial.key: database.content_of(outcome) for trial, outcome in self._earlier()}
        return file is not None and database.shows(file, self._run.plan, contents, database.folder_of(self._run.runs))

    def _catch_up(self) -> None:
        """Mirror what earlier invocations left out, where this one has nothing else to do and nobody holds the store's lock."""
        with contextlib.ExitStack() as held:
            try:
                held.enter_context(self._store.writing())
            except SuiteError:  # another run holds the lock and mirrors by itself, or the folder is read-only
                return
            self._reported = True
            self._aside.do(lambda: self._attempt(self._mirror_earlier))
            self._aside.do(self._end)
            self._await()

    def _mirror_earlier(self, mirror: Mirror) -> None:
        for trial, outcome in self._earlier():
            mirror.show(trial, outcome)
        if self._store.report.is_dir() and mirror.owes_report():
            mirror.attach(self._store.report)


def _reason(error: BaseException) -> str:
    """Why something failed, in one line: the first error of the network or the database if one led to it, else the error itself."""
    first = error
    while cause := first.__cause__ or first.__context__:
        first = cause
    source = first if isinstance(first, ROOTS) else error
    if isinstance(source, OSError) and source.strerror:
        return f"{source.filename}: {source.strerror}" if source.filename else source.strerror
    text = " ".join(str(source).split()).partition(" NOTE:")[0].rstrip(".")
    return text if isinstance(source, SuiteError) else f"{type(source).__name__}: {text[:LONGEST_REASON]}"


def state(runs: Path) -> str:
    """The tracking URI, and what was wrong with its database, which is made again where it was left unfinished."""
    address = database.uri(runs)
    file = database.file_of(address)
    if file is None:
        return database.shown(address)
    if database.condition(file) == "absent":
        return f"{address} (not there yet; the first run makes it)"
    try:
        fault = database.ensure(file)
    except SuiteError as error:
        return f"{address}: {error}"
    return f"{address}: the file {fault}; `suite run PLAN` mirrors what is stored" if fault else address


def start(*, track: bool = True, progress: bool = False) -> Tracking | None:
    """Mirror the run, unless ``track=False``; say what is waited for where progress is shown."""
    return Tracking(_say if progress else lambda _: None) if track else None


def _say(line: str) -> None:
    sys.stderr.write(f"{line}\n")
    sys.stderr.flush()


@hookimpl
def suite_listeners() -> Iterator[Listener]:
    yield Listener("tracking", start, about="mirrors finished trials into MLflow; option track")
