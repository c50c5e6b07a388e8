"""Writes findings as lines for people, and as plain data for programs."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import asdict
from typing import Any

from ..lines import wrapped
from ..spec import Grade
from . import examination
from .contract import Finding, Subject
from .target import Target

INDENT = 30
"""Where sentences begin."""


def report(target: Target, long: bool) -> Iterator[tuple[str, bool]]:
    """Lines as the checks go on, each with whether a failure begins there."""
    for finding in target.findings:
        yield from _marked(finding)
    every: list[Finding] = []
    for subject in target.subjects:
        yield f"{subject.kind} {subject.label}", False
        findings: list[Finding] = []
        for finding in examination.examine(subject, long):
            findings.append(finding)
            yield from _marked(finding)
        every += findings
        graded = _grade(subject, findings)
        yield f"{subject.label}: {tally(findings)}" + (f"; grade: {graded}" if graded else ""), False
    if len(target.subjects) > 1:
        yield f"all {len(target.subjects)}: {tally([*target.findings, *every])}", False


def _marked(finding: Finding) -> Iterator[tuple[str, bool]]:
    return ((line, index == 0 and finding.status == "failed") for index, line in enumerate(lines(finding)))


def lines(finding: Finding) -> Iterator[str]:
    """``ok name sentence``; for a failure the reason and what to do as well."""
    status = "FAILED" if finding.status == "failed" else finding.status
    name = finding.plugin if finding.kind == "file" else finding.check
    yield from wrapped(f"  {status:8} {name:18} ", finding.reason if finding.status == "skipped" else finding.means)
    if finding.status == "failed":
        where = f" ({finding.where})" if finding.where else ""
        yield from wrapped(" " * INDENT, f"{finding.reason}{where}")
        yield from wrapped(" " * INDENT, f"→ {finding.remedy}")


def tally(findings: Iterable[Finding]) -> str:
    statuses = [finding.status for finding in findings]
    return ", ".join(f"{count} {status}" for status in ("ok", "failed", "skipped") if (count := statuses.count(status)))


def record(target: Target, long: bool) -> dict[str, Any]:
    """All findings as plain data."""
    plugins = []
    failed = sum(finding.status == "failed" for finding in target.findings)
    for subject in target.subjects:
        findings = list(examination.examine(subject, long))
        failed += sum(finding.status == "failed" for finding in findings)
        graded = _grade(subject, findings)
        plugins.append(
            {
                "kind": subject.kind,
                "plugin": subject.label,
                "grade": asdict(graded) if graded else None,
                "findings": [asdict(finding) for finding in findings],
            }
        )
    return {"failed": failed, "loading": [asdict(finding) for finding in target.findings], "plugins": plugins}


def _grade(subject: Subject[Any], findings: Iterable[Finding]) -> Grade | None:
    """The grade of a variant that keeps the contract."""
    sound = all(finding.status != "failed" for finding in findings)
    return examination.grade_of(subject) if subject.kind == "variant" and sound else None
