"""Makes each check of a plugin a pytest item: ``pytest --suite-check NAME|FILE|PACKAGE|all``."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from .contract import Check, Finding, Subject

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


def _items(session: pytest.Session, names: list[str], long: bool) -> Iterator[pytest.Item]:
    from ..errors import SuiteError
    from .examination import checks_for
    from .target import resolve

    root = Collected.from_parent(session, name="suite-check", nodeid="suite-check")
    for name in names:
        try:
            target = resolve(name)
        except SuiteError as error:
            raise pytest.UsageError(f"--suite-check {name}: {error}") from None
        for finding in target.findings:
            yield LoadingItem.from_parent(root, name=f"file:{finding.plugin}:{finding.check}", finding=finding)
        for subject in target.subjects:
            for check in checks_for(subject, long):
                yield CheckItem.from_parent(root, name=f"{subject.kind}:{subject.label}:{check.name}", subject=subject, check=check)


class Collected(pytest.Collector):
    """The parent of the items, which come from no file."""

    def collect(self) -> list[pytest.Item]:
        return []


class CheckFailed(Exception):
    """Carries a finding to the report of the test."""

    def __init__(self, finding: Finding) -> None:
        where = f" ({finding.where})" if finding.where else ""
        super().__init__(f"{finding.means}\n{finding.reason}{where}\n→ {finding.remedy}")


class FindingItem(pytest.Item):
    """An item whose failure reads as a finding, without a traceback."""

    def conclude(self, finding: Finding) -> None:
        """End the test as the finding says."""
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


class LoadingItem(FindingItem):
    """A plugin that could not be taken in, or that has nothing to check here."""

    def __init__(self, *, finding: Finding, **keywords: Any) -> None:
        super().__init__(**keywords)
        self.finding = finding

    def runtest(self) -> None:
        self.conclude(self.finding)


class CheckItem(FindingItem):
    """One check of one plugin."""

    def __init__(self, *, subject: Subject[Any], check: Check, **keywords: Any) -> None:
        super().__init__(**keywords)
        self.subject, self.check = subject, check

    def runtest(self) -> None:
        from .examination import judge

        self.conclude(judge(self.subject, self.check))
