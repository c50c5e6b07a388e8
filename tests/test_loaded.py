"""Checks trained models that are loaded, asked more than their plan did, and batches that are drawn for a person to look at."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
import torch

import suite
from suite import SuiteError, Variant, loaded
from suite.loaded import LoadedModel
from suite.machine import describe
from suite.measures.evaluate import evaluate
from suite.ops.engines import REFERENCE
from suite.registry.finder import discover
from suite.spec import Plugin
from suite.store.store import Store
from suite.training import data, trainer
from suite.trial import Evaluation, Learning, Outcome, Trial

REGISTRY = discover()


def model_of(trial: Trial) -> LoadedModel:
    """A model as it is before its training, which is all the same to what is asked of it."""
    task, variant = REGISTRY.task(trial.task.name).noun, REGISTRY.variant(trial.variant.name).noun
    (net,) = trainer.build([trial], variant, task)
    return LoadedModel(net, trial, task)


@pytest.fixture
def copier(tiny: Trial) -> LoadedModel:
    return model_of(replace(tiny, task=Plugin("copy"), test_samples=150))


@pytest.mark.parametrize(("measure", "at", "asked"), [
    ("length", 2.0, {"length": 20}),
    ("gaussian_noise", 5.0, {"corruption": "gaussian_noise", "severity": 5}),
])  # fmt: skip
def test_it_answers_as_a_plan_would_to_the_bit_with_tokens_one_hot(copier: LoadedModel, measure: str, at: float, asked: Any) -> None:
    noun, before = REGISTRY.measure(measure).noun, {name: value.clone() for name, value in copier.state_dict().items()}
    question = Evaluation(measure, noun.axis, (at,), copier.trial.key, {}, 150)
    members = trainer.gather([copier], copier.trial.engine)
    members.train(False)
    ((expected,),) = evaluate(members, copier.task, [copier.trial], question, noun)
    random = torch.get_rng_state()
    answer = copier.evaluate(**asked)
    assert replace(answer, at=at) == expected
    assert (answer.length, answer.at) == (expected.length, 1.0 if measure == "length" else at)
    assert all(torch.equal(value, before[name]) for name, value in copier.state_dict().items())
    assert torch.equal(torch.get_rng_state(), random)


def test_it_answers_another_task_of_the_same_form(tiny: Trial) -> None:
    model = model_of(replace(tiny, task=Plugin("noisy")))
    assert model.evaluate("noisy(form=b)", samples=10).baseline == pytest.approx(np.log(2))
    with pytest.raises(SuiteError, match="trained on 'noisy', whose inputs are 1; those of 'adding' are 2"):
        model.evaluate("adding")


def test_it_predicts_what_it_is_scored_on(copier: LoadedModel) -> None:
    batch = suite.draw("copy", 10, samples=4)
    outputs = copier.predict(batch.x)
    assert batch.x.shape == (4, 30, 10)
    assert batch.x.sum(axis=2).tolist() == np.ones((4, 30)).tolist()
    assert outputs.shape == (4, 30, 9)
    assert np.array_equal(outputs, copier(data.inputs(batch.x, torch.float32, "cpu")).detach().numpy())


def test_a_batch_is_drawn_again_and_damaged_where_it_may_be() -> None:
    clean, again, other = (suite.draw("adding", seed=seed, samples=8) for seed in (0, 0, 1))
    assert np.array_equal(clean.x, again.x)
    assert not np.array_equal(clean.x, other.x)
    damaged = suite.draw("adding", samples=8, corruption="gaussian_noise", severity=0)
    assert damaged.protected is not None
    protected = np.broadcast_to(damaged.protected, damaged.x.shape)
    assert np.array_equal(damaged.x[protected], clean.x[protected])
    assert not np.array_equal(damaged.x, clean.x)


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        ({"task": "addding"}, "unknown task 'addding'; did you mean 'adding'"),
        ({"task": "noisy(form=[a,b])"}, "stands for 2 tasks; name one value for each option"),
        ({"task": "adding(", "length": 3}, "is not of the form name"),
        ({"task": "adding", "length": 1}, "task 'adding', length 1: "),
        ({"task": "adding", "length": 2.5}, "length is 2.5; it takes a whole number from 1 on"),
        ({"task": "adding", "samples": 0}, "samples is 0; it takes a whole number from 1 on"),
        ({"task": "adding", "corruption": "gaussian_noise"}, "takes a severity, such as 20, "),
        ({"task": "adding", "severity": 3.0}, "severity is 3.0 and no corruption is named; there is distractors, gaussian_noise"),
    ],
    ids=str,
)
def test_a_mistake_is_told(asked: dict[str, Any], words: str) -> None:
    with pytest.raises(SuiteError) as caught:
        suite.draw(**asked)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_model_is_loaded_whatever_its_runs_folder_holds_besides(tmp_path: Path) -> None:
    with pytest.raises(SuiteError, match="no trials have a key that begins with 'abc'"):
        suite.load("abc", tmp_path)


class Turned(torch.nn.Module):
    """A core whose weights are complex."""

    def __init__(self, input_size: int, hidden_size: int) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.randn(hidden_size, input_size, dtype=torch.complex64))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return (x.to(self.weight.dtype) @ self.weight.T).imag


@pytest.mark.parametrize(("dtype", "of_weights"), [("float32", torch.complex64), ("float64", torch.complex128)])
def test_complex_weights_come_back_whole(
    tiny: Trial, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, dtype: Literal["float32", "float64"], of_weights: torch.dtype
) -> None:
    provided = replace(REGISTRY.variants["lstm"], noun=Variant("turned", Turned))
    monkeypatch.setattr(loaded, "discover", lambda: replace(REGISTRY, variants={**REGISTRY.variants, "turned": provided}))
    trial = replace(tiny, variant=Plugin("turned"), engine=REFERENCE.name, training=replace(tiny.training, dtype=dtype))
    (net,) = trainer.build([trial], provided.noun, REGISTRY.task(trial.task.name).noun)
    store = Store(tmp_path, "turned")
    store.put(trial, Outcome(trial.key, "ok", learning=Learning("loss < 1", 0.5, (), 1, None)), describe("cpu"))
    store.checkpoint(trial.key).parent.mkdir(exist_ok=True)
    torch.save(net.state_dict(), store.checkpoint(trial.key))
    model = suite.load(trial.key, tmp_path, stale=True)
    weight, own = model.state_dict()["core.weight"], net.state_dict()["core.weight"]
    assert weight.dtype == own.dtype == of_weights
    assert torch.equal(weight, own)
    assert own.imag.any()
