"""Checks the bridge to torchrecurrent with the package where it is installed, and without it."""

from __future__ import annotations

import importlib
import importlib.util
import sys

import pytest
import torch

from suite import Unavailable

bridge = importlib.import_module("suite.dropins.plugins.torchrecurrent")


def test_without_the_package_it_offers_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torchrecurrent", None)
    with pytest.raises(Unavailable, match="zoo"):
        list(bridge.suite_variants())


@pytest.mark.skipif(importlib.util.find_spec("torchrecurrent") is None, reason="torchrecurrent (extra zoo) is not installed")
def test_with_the_package_every_layer_is_a_variant() -> None:
    layers = {variant.name: variant for variant in bridge.suite_variants()}
    assert len(layers) > 30
    torch.manual_seed(0)
    for name in ("tr_mgu", "tr_peepholelstm"):
        y = layers[name].build(3, 5)(torch.zeros(2, 4, 3))
        assert y.shape == (2, 4, 5)
