"""Checks what a person is shown of one trial."""

from __future__ import annotations

from pathlib import Path

import pytest

from suite import SuiteError, machine, status
from suite.store.store import Store
from suite.trial import Learning, Outcome, Trial, Validation


def test_a_log_shows_how_a_trial_went(tiny: Trial, tmp_path: Path) -> None:
    learning = Learning("loss < 0.01", 0.2, (Validation(5, {"loss": 0.25, "accuracy": 0.5}),), best_step=5)
    outcome = Outcome(tiny.key, "failed", "no such luck", "Traceback\n  here\n", learning=learning, train_seconds=2.0, members=3)
    Store(tmp_path, "plan").put(tiny, outcome, machine.describe("cpu"))
    lines = list(status.log(tiny.key[:8], tmp_path))
    assert lines[0] == f"{tiny.key}  {tiny.cell}"
    assert lines[1] == "failed: no such luck"
    assert lines[2].startswith("trained in 2.0 s, its share of 3 trained together, on ")
    assert lines[3:] == ["step 5: loss 0.25, accuracy 0.5", "Traceback\n  here"]


@pytest.mark.parametrize("key", ["0123", "../x"])
def test_a_key_that_no_trial_has_is_refused(key: str, tmp_path: Path) -> None:
    with pytest.raises(SuiteError, match="no trials have a key that begins with"):
        list(status.log(key, tmp_path))
