"""Hands out every shipped plugin with each of its checks, as parameters of a test."""

from __future__ import annotations

from typing import Any

import pytest

from suite import check

SUBJECTS = [subject for subject in check.resolve("all").subjects if subject.path is None or subject.path.name != "torchrecurrent.py"]
"""All but a package's own layers, which need not keep our contract."""


def each_check(*kinds: str) -> pytest.MarkDecorator:
    cases = [(subject, promise) for subject in SUBJECTS if subject.kind in kinds for promise in check.checks_for(subject)]
    return pytest.mark.parametrize(("subject", "promise"), cases, ids=[f"{subject.label}-{promise.name}" for subject, promise in cases])


def hold(subject: check.Subject[Any], promise: check.Check) -> None:
    """Fail or skip as the check does."""
    finding = check.judge(subject, promise)
    if finding.status == "skipped":
        pytest.skip(finding.reason)
    assert finding.status == "ok", f"{finding.means}\n{finding.reason} {finding.where}\n{finding.remedy}"
