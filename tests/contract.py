"""Hands out every shipped plugin with each of its checks, as parameters of a test."""

from __future__ import annotations

from typing import Any

import pytest

from suite import check

SUBJECTS = [one for one in check.resolve("all").subjects if one.path is None or one.path.name != "torchrecurrent.py"]
"""All but a package's own layers, which need not keep our contract."""


def each_check(*kinds: str) -> pytest.MarkDecorator:
    cases = [(subject, one) for subject in SUBJECTS if subject.kind in kinds for one in check.checks_for(subject)]
    return pytest.mark.parametrize(("subject", "one"), cases, ids=[f"{subject.label}-{one.name}" for subject, one in cases])


def hold(subject: check.Subject[Any], one: check.Check) -> None:
    """Fail or skip as the check does."""
    finding = check.judge(subject, one)
    if finding.status == "skipped":
        pytest.skip(finding.reason)
    assert finding.status == "ok", f"{finding.means}\n{finding.reason} {finding.where}\n{finding.remedy}"
