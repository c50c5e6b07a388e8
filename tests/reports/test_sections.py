"""Holds every discovered report section to the contract."""

from __future__ import annotations

from typing import Any

from suite import check

from ..contract import each_check, hold


@each_check("section")
def test_contract(subject: check.Subject[Any], promise: check.Check) -> None:
    hold(subject, promise)
