"""Holds every discovered variant to the contract, so that a new file in `plugins/` is tested by being there."""

from __future__ import annotations

from typing import Any

import pytest

from suite import check
from suite.registry.finder import discover

from ..contract import SUBJECTS, each_check, hold

TWINS = [subject for subject in SUBJECTS if subject.kind == "variant" and subject.noun.vendor]


def test_the_seven_variants_are_there() -> None:
    assert set(discover().variants) >= {"rnn", "lstm", "gru", "attention", "layernorm", "residual", "bilstm"}


@each_check("variant")
def test_contract(subject: check.Subject[Any], promise: check.Check) -> None:
    hold(subject, promise)


@pytest.mark.gpu
@pytest.mark.parametrize("subject", TWINS, ids=lambda subject: subject.label)
def test_vendor_twin_equals_the_reference_on_cuda(subject: check.Subject[Any]) -> None:
    [twin] = [promise for promise in check.checks_for(subject) if promise.name == "twin"]
    hold(subject, twin)  # on every device there is
