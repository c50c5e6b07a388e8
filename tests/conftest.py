"""Gives every test a worker's surroundings, reproducible examples, and a tiny trial to change."""

from __future__ import annotations

import os

import pytest
import torch
from hypothesis import settings

from suite import machine
from suite.ops.engines import VENDOR
from suite.spec import Plugin
from suite.training import trainer
from suite.trial import Training, Trial

settings.register_profile("suite", derandomize=True, deadline=None, database=None, max_examples=25)
settings.load_profile("suite")

os.environ.update(machine.ENVIRONMENT)  # for what the tests start, and for CUDA, which has not started yet


@pytest.fixture(autouse=True, scope="session")
def _as_a_worker() -> None:
    trainer.prepare("cuda" if torch.cuda.is_available() else "cpu")


def pytest_runtest_setup(item: pytest.Item) -> None:
    if item.get_closest_marker("gpu") and not torch.cuda.is_available():
        pytest.skip("torch finds no CUDA device here")


@pytest.fixture
def tiny() -> Trial:
    """A GRU on the adding problem, so small that it trains in a blink."""
    return Trial(
        variant=Plugin("gru"),
        task=Plugin("adding"),
        length=10,
        seed=0,
        eval_seed=1000,
        hidden_size=8,
        parameters=0,
        budget=0,
        causal=True,
        engine=VENDOR.name,
        device="cpu",
        training=Training(
            optimizer="adam",
            learning_rate=0.01,
            batch_size=8,
            steps=20,
            validate_every=5,
            evaluation_samples=64,
            clip=1.0,
            stop="budget",
            dtype="float32",
        ),
        sources={},
        surroundings={},
    )
