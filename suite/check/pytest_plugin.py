"""Makes each check of a plugin a pytest item: ``pytest --suite-check NAME|FILE|PACKAGE|all``."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from .check import Check, Finding, Subject

# pytest loads this module in every project of an environment that has the suite, so torch waits until the option is given


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("recurrent-suite")
    group.addoption(
        "--suite-check",
        action="append",
        default=[],
        metavar="NAME|FILE|PACKAGE|all",
        help="check a plugin of recurrent-suite, each check a test; may be given again",
    )
    group.addoption("--suite-check-long", action="store_true", help="with --suite-check: the checks that take long, too")


@pytest.hookimpl(tryfirst=True)  # before -k and -m choose
def pytest_collection_modifyitems(session: pytest.Session, config: pytest.Config, items: list[pytest.Item]) -> None:
    targets: list[str] = config.getoption("--suite-check")
    if targets:
        items.extend(_items(session, targets, config.getoption("--suite-check-long")))


def _items(session: pytest.Session, targets: list[str], long: bool) -> Iterator[pytest.Item]:
    from .check import checks_for, resolve
    from .spec import SuiteError

    root = Collected.from_parent(session, name="suite-check", nodeid="suite-check")
    for target in targets:
        try:
            found = resolve(target)
        except SuiteError as error:
            raise pytest.UsageError(f"--suite-check {target}: {error}") from None
        for finding in found.findings:
            yield Loaded.from_parent(root, name=f"file:{finding.plugin}:{finding.check}", finding=finding)
        for subject in found.subjects:
            for one in checks_for(subject, long):
                yield Checked.from_parent(root, name=f"{subject.kind}:{subject.label}:{one.name}", subject=subject, check=one)


class Collected(pytest.Collector):
    """Where the items hang that come from no file."""

    def collect(self) -> list[pytest.Item]:
        return []


class CheckFailed(Exception):
    """Carries a finding to the report of the test."""

    def __init__(self, finding: Finding) -> None:
        where = f" ({finding.where})" if finding.where else ""
        super().__init__(f"{finding.means}\n{finding.reason}{where}\n→ {finding.remedy}")


class Told(pytest.Item):
    """An item whose failure reads as a finding, without a traceback."""

    def tell(self, finding: Finding) -> None:
        if finding.status == "skipped":
            pytest.skip(finding.reason)
        if finding.status == "failed":
            raise CheckFailed(finding)

    def repr_failure(self, excinfo: pytest.ExceptionInfo[BaseException], style: Any = None) -> Any:
        if isinstance(excinfo.value, CheckFailed):
            return str(excinfo.value)
        return super().repr_failure(excinfo, style)

    def reportinfo(self) -> tuple[Path, int | None, str]:
        return self.path, None, self.name


class Loaded(Told):
    """A plugin that could not be taken in, or that has nothing to offer here."""

    def __init__(self, *, finding: Finding, **words: Any) -> None:
        super().__init__(**words)
        self.finding = finding

    def runtest(self) -> None:
        self.tell(self.finding)


class Checked(Told):
    """One check of one plugin."""

    def __init__(self, *, subject: Subject[Any], check: Check, **words: Any) -> None:
        super().__init__(**words)
        self.subject, self.check = subject, check

    def runtest(self) -> None:
        from .check import judge

        self.tell(judge(self.subject, self.check))
