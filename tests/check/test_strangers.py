"""Checks that variants which a stranger writes from docs/plugins.md pass every check: complex weights, a parallel scan, dropout."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from suite import check

from ..running import suite

LRU = '''"""Linear recurrent unit: a diagonal linear recurrence of complex numbers. Orvieto et al., 2023, arXiv:2303.06349

    λ = exp(−exp(ν) + i exp(θ)),  γ = √(1 − |λ|²)
    h_t = λ ∘ h_{t−1} + γ ∘ (B x_t)
    y_t = Re(C h_t) + D x_t
"""

import math

import torch
from torch import nn

from suite import Variant, hookimpl, ops


class LRU(nn.Module):
    def __init__(self, input_size, hidden_size, *, r_min: float = 0.4, r_max: float = 0.99):
        super().__init__()
        u1, u2 = torch.rand(hidden_size), torch.rand(hidden_size)
        self.nu_log = nn.Parameter(torch.log(-0.5 * torch.log(u1 * (r_max**2 - r_min**2) + r_min**2)))
        self.theta_log = nn.Parameter(torch.log(math.pi / 10 * u2 + 1e-3))
        self.B = nn.Parameter(torch.randn(hidden_size, input_size, dtype=torch.cfloat) / math.sqrt(2 * input_size))
        self.C = nn.Parameter(torch.randn(hidden_size, hidden_size, dtype=torch.cfloat) / math.sqrt(hidden_size))
        self.D = nn.Parameter(torch.randn(hidden_size, input_size) / math.sqrt(input_size))

    def step(self, x_t, h):  # (B, D), (B, H) complex -> output (B, H) real, state (B, H) complex
        decay = torch.exp(torch.complex(-torch.exp(self.nu_log), torch.exp(self.theta_log)))
        gain = torch.sqrt(1 - decay.abs() ** 2)
        h = decay * h + gain * (x_t.to(self.B.dtype) @ self.B.T)
        return (h @ self.C.T).real + x_t @ self.D.T, h

    def forward(self, x):  # (B, T, D) -> (B, T, H)
        return ops.scan(self.step, x, x.new_zeros(len(x), len(self.B), dtype=self.B.dtype))


@hookimpl
def suite_variants():
    yield Variant(
        "LRU",
        LRU,
        paper="arXiv:2303.06349",
        parameters=lambda D, H, **_: 2 * H + 2 * H * D + 2 * H * H + H * D,
    )
'''

MIN_GRU = '''"""minGRU: gates that see the input alone, so that all steps are computed at once. Feng et al., 2024, arXiv:2410.01201

    z_t = σ(W_z x_t + b_z),  n_t = g(W_n x_t + b_n),  g(a) = a + 1/2 where a ≥ 0, else σ(a)
    h_t = (1 − z_t) ∘ h_{t−1} + z_t ∘ n_t,  h_0 = g(0)

in log space, as in the paper's appendix B:  h_t = exp(a_t + log Σ_{s ≤ t} exp(b_s − a_s)),  a_t = Σ_{s ≤ t} log(1 − z_s)
"""

import torch
from torch import nn
from torch.nn import functional

from suite import Variant, hookimpl


def log_g(a):
    return torch.where(a >= 0, torch.log(functional.relu(a) + 0.5), -functional.softplus(-a))


class MinGRU(nn.Module):
    def __init__(self, input_size, hidden_size):
        super().__init__()
        self.gate = nn.Linear(input_size, hidden_size)
        self.candidate = nn.Linear(input_size, hidden_size)

    def forward(self, x):  # (B, T, D) -> (B, T, H)
        k = self.gate(x)
        log_keep, log_take = -functional.softplus(k), -functional.softplus(-k)
        start = log_g(torch.zeros_like(k[:, :1]))
        values = torch.cat([start, log_take + log_g(self.candidate(x))], dim=1)
        kept = functional.pad(torch.cumsum(log_keep, dim=1), (0, 0, 1, 0))
        return torch.exp(kept + torch.logcumsumexp(values - kept, dim=1))[:, 1:]


@hookimpl
def suite_variants():
    yield Variant("min-GRU", MinGRU, paper="arXiv:2410.01201", parameters=lambda D, H: 2 * H * (D + 1))
'''

DROPOUT = '''"""Two LSTMs with dropout between them. Zaremba et al., 2014, arXiv:1409.2329"""

from torch import nn

from suite import Variant, hookimpl


class Dropped(nn.Module):
    def __init__(self, input_size, hidden_size, *, rate: float = 0.3):
        super().__init__()
        self.lower = nn.LSTM(input_size, hidden_size, batch_first=True)
        self.dropout = nn.Dropout(rate)
        self.upper = nn.LSTM(hidden_size, hidden_size, batch_first=True)
        for lstm in (self.lower, self.upper):
            nn.init.ones_(lstm.bias_ih_l0[hidden_size : 2 * hidden_size])  # remember at first

    def forward(self, x):  # (B, T, D) -> (B, T, H)
        y, _ = self.lower(x)
        y, _ = self.upper(self.dropout(y))
        return y


@hookimpl
def suite_variants():
    yield Variant("dropped", Dropped, paper="arXiv:1409.2329")
'''

FILES = {"LRU": ("lru.py", LRU), "min-GRU": ("min_gru.py", MIN_GRU), "dropped": ("dropped.py", DROPOUT)}


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the strangers' files."""
    folder = tmp_path_factory.mktemp("strangers")
    (folder / "plugins").mkdir()
    for file, text in FILES.values():
        (folder / "plugins" / file).write_text(text)
    return folder


@pytest.mark.parametrize("name", FILES)
def test_a_stranger_passes_every_check(name: str, root: Path) -> None:
    [subject] = check.resolve(str(root / "plugins" / FILES[name][0])).subjects
    findings = list(check.examine(subject, long=True))
    assert [(finding.check, finding.reason) for finding in findings if finding.status == "failed"] == []
    assert all(finding.reason for finding in findings if finding.status == "skipped")
    assert {"shapes", "gradcheck", "parameters", "learns"} <= {finding.check for finding in findings if finding.status == "ok"}
    grade = check.grade_of(subject)
    assert (grade.run_to_run, grade.failed) == (True, "")


@pytest.mark.slow
def test_strangers_run(root: Path, tmp_path: Path) -> None:
    variants = ",".join(["lstm", *FILES])
    suite("run", "smoke", "--variants", variants, "--tasks", "adding", "--device", "cpu", "--path", root, cwd=tmp_path)
    results = pd.read_csv(tmp_path / "runs" / "smoke" / "report" / "results.csv")
    assert set(results["variant"]) == {"lstm", *FILES}
    assert set(results["status"]) == {"ok"}
