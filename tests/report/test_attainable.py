"""Checks that the ideal predictor is scored as a model is."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from suite.registry.finder import discover
from suite.report import attainable
from suite.trial import Trial


def test_the_bayes_rule_errs_as_often_as_theory_says(tiny: Trial) -> None:
    task = discover().task("noisy").noun
    trial = replace(tiny, task=replace(tiny.task, name="noisy", options={"form": "b"}))
    own = attainable.scores(task, trial, "test", 50_000)
    assert own["accuracy"] == pytest.approx(1 - 0.01267, abs=0.002)
    odds = (np.random.default_rng(0).standard_normal(200_000) * math.sqrt(0.2) + 1) * 10
    assert own["loss"] == pytest.approx(np.logaddexp(0, -odds).mean(), abs=0.003)


def test_a_task_without_an_ideal_predictor_is_not_asked(tiny: Trial) -> None:
    task = replace(discover().task("adding").noun, ideal=None)
    assert attainable.missed(task, tiny) == []


def test_nothing_is_asked_where_training_is_under_damage(tiny: Trial) -> None:
    task = replace(discover().task("adding").noun, ideal=lambda x, _batch: np.full((len(x), 1), 9.0))
    damaged = replace(tiny, training=replace(tiny.training, corruption="gaussian_noise", severity=1.0))
    assert attainable.missed(task, tiny) == ["validation", "test"]
    assert attainable.missed(task, damaged) == []
