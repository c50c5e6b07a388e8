"""Checks what the checks say of a step that no engine can be derived from: why, and that this is no fault."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from suite import Variant, check

from .sound import Sound


class MakesATensor(Sound):
    def step(self, x_t: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
        return super().step(x_t, h * torch.tensor(0.9))


class NeverScans(Sound):
    step = None  # type: ignore[assignment]

    def forward(self, x: Tensor) -> Tensor:
        return torch.tanh(x @ self.weight_x.T + self.bias).cumsum(1) @ self.weight_h.T / 2


@pytest.mark.parametrize(
    ("build", "reason"), [(MakesATensor, "its step uses a tensor that is neither a weight"), (NeverScans, "its forward calls no ops.scan")]
)
def test_a_step_without_a_derived_engine_is_said_and_no_fault(build: type[nn.Module], reason: str) -> None:
    findings = list(check.examine(check.Subject("variant", Variant("v", build))))
    assert [finding.check for finding in findings if finding.status == "failed"] == []
    [derived] = [finding for finding in findings if finding.check == "derived"]
    assert derived.status == "skipped"
    assert derived.reason.startswith(reason)


def test_a_step_with_a_derived_engine_passes() -> None:
    [derived] = [finding for finding in check.examine(check.Subject("variant", Variant("v", Sound))) if finding.check == "derived"]
    assert derived.status == "ok"
