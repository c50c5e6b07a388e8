"""Loads trained models, asks them more than their plan did, and draws batches of tasks: for Python and notebooks."""

from __future__ import annotations

import functools
import math
import warnings
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from . import machine
from .errors import SuiteError, contained, nearest
from .measures import length as lengths
from .measures import robustness
from .measures.evaluate import evaluate
from .plan.choices import Choice, expand, parse_choice
from .registry.extract import found_beside
from .registry.finder import discover
from .registry.registry import Registry, options_of
from .registry.sources import harness_sources
from .spec import Array, Batch, Corruption, Measure, Plugin, Point, Task
from .store.store import Store, StoredTrial
from .training import data, model, trainer
from .training.model import Model
from .trial import Evaluation, Trial


class LoadedModel(Model):
    """A trained model on the CPU, in evaluation mode; called, it takes ``(B, T, D + 1)``, the task's input with a channel of ones.

    trial: what it was trained as; task: that it was trained on
    """

    def __init__(self, net: Model, trial: Trial, task: Task) -> None:
        with torch.random.fork_rng(devices=[]):  # a readout is drawn, in whose place the trained one then stands
            super().__init__(net.variant, net.core, net.readout.in_features, task, trial.engine)
        self.readout = net.readout
        self.trial, self.task = trial, task
        self.eval()

    def predict(self, x: Array) -> Array:
        """The raw outputs, ``(B, C)`` or ``(B, T, C)``, to an input ``(B, T, D)`` as ``suite.draw`` gives it."""
        dtype = getattr(torch, self.trial.training.dtype)
        with torch.no_grad():
            outputs: Array = self(data.inputs(np.asarray(x), dtype, "cpu")).numpy()
        return outputs

    def evaluate(
        self,
        task: str | None = None,
        length: int | None = None,
        *,
        corruption: str = "",
        severity: float | None = None,
        samples: int | None = None,
    ) -> Point:
        """Loss, metrics and solvedness on a task's own test stream, which is the one that the plan's models were tested on.

        task: such as ``noisy(form=b)``; by default the one it was trained on, and another must take and give what that does
        length: of the sequences, by default as trained; samples: of the stream, by default as in the plan
        corruption, severity: damage to the input; both, or neither
        The skill is ``suite.stats.skill(point.scores["loss"], point.baseline, point.ideal)``.

        Raises SuiteError for a task that does not fit, a length that it refuses, or a corruption that is not there.
        """
        plugin, asked = (self.trial.task, self.task) if task is None else chosen(task)
        _check_fits(self.task, asked)
        damage, at = _damage(corruption, severity)
        trial = replace(
            self.trial,
            task=plugin,
            length=_positive("length", self.trial.length if length is None else length),
            test_samples=_positive("samples", self.trial.test_samples if samples is None else samples),
            device="cpu",
        )
        measure = Measure("length", "long_range", stream=lengths.stream)
        if damage:
            measure = Measure(damage.name, "robustness", stream=functools.partial(robustness.stream, corruption=damage))
        question = Evaluation(measure.name, measure.axis, (at,), self.trial.key, {}, trial.test_samples)
        with machine.one_thread(), torch.random.fork_rng(devices=[]):
            _check_drawn(asked, plugin, trial.length)
            members = trainer.gather([self], trial.engine)
            members.train(False)
            ((point,),) = evaluate(members, asked, [trial], question, measure)
        return point


def load(key: str, runs: str | Path = "runs", *, stale: bool = False) -> LoadedModel:
    """The trained model of a trial, on the CPU, in evaluation mode, with its best weights by validation.

    key: the trial's key or the beginning of it, as `suite status PLAN --keys` prints it
    stale: whether to load weights though the variant or the task has changed since they were trained

    Raises SuiteError where no trial, or more than one, has such a key, where it has no weights, and where the code behind them has
    changed. Warns where only the suite's own code has.
    """
    files = sorted(Path(runs).resolve().glob(f"*/trials/{key}*.json")) if key.isalnum() else []
    keys = {file.stem for file in files}
    if len(keys) != 1:
        raise SuiteError(f"{runs}: {len(keys) or 'no'} trials have a key that begins with '{key}'; see `suite status PLAN --keys`")
    (stem,) = keys
    stores = [Store(Path(runs), file.parent.parent.name) for file in files]
    store = next((store for store in stores if store.checkpoint(stem).is_file()), stores[0])
    stored, checkpoint = store.trial(stem), store.checkpoint(stem)
    if stored is None or not checkpoint.is_file():
        raise SuiteError(f"{files[0]}: has no trained weights beside it, in {checkpoint}")
    if not store.defined.is_dir():
        return _loaded(stored, checkpoint, stale)
    with found_beside(store.defined):
        return _loaded(stored, checkpoint, stale)


def _loaded(stored: StoredTrial, checkpoint: Path, stale: bool) -> LoadedModel:
    trial, registry = stored.trial, discover()
    if not stale:
        _check_current(stored, registry)
    variant, task = registry.variant(trial.variant.name).noun, registry.task(trial.task.name).noun
    net = model.build(variant, trial.variant.options, task, trial.hidden_size, trial.engine, seed=0)
    model.cast(net, getattr(torch, trial.training.dtype))
    net.load_state_dict(torch.load(checkpoint, weights_only=True, map_location="cpu"))
    return LoadedModel(net, trial, task)


def _check_current(stored: StoredTrial, registry: Registry) -> None:
    """Raises SuiteError where the plugins behind a trial have changed; warns where the suite has."""
    trial = stored.trial
    now = {**registry.variant(trial.variant.name).digests, **registry.task(trial.task.name).digests}
    edited = [name for name, value in now.items() if trial.sources.get(name) != value]
    if edited:
        raise SuiteError(
            f"{stored.key}: {', '.join(edited)} changed since it was trained, so its weights may not fit; `suite run` trains it again, "
            "load(…, stale=True) takes it as it is"
        )
    own = [name for name, value in harness_sources("training.model").items() if trial.sources.get(name) != value]
    if own:
        warnings.warn(f"{stored.key}: {', '.join(own)} changed since it was trained", stacklevel=4)


def draw(
    task: str,
    length: int | None = None,
    *,
    samples: int = 32,
    seed: int = 0,
    corruption: str = "",
    severity: float | None = None,
) -> Batch:
    """A batch of a task: what its models see, and what is asked of them; the same seed gives the same batch on every machine.

    task: such as ``copy`` or ``noisy(form=b)``; length: of the sequences, by default the task's shortest
    corruption, severity: damage to the input; both, or neither
    In the batch, x is float ``(B, T, D)``, tokens one-hot; y ``(B,)`` or ``(B, T)``; weight, where there is one, ``(B, T)``.

    Raises SuiteError for a task, a length or a corruption that is not there.
    """
    plugin, asked = chosen(task)
    damage, at = _damage(corruption, severity)
    size = _positive("samples", samples)
    length = _positive("length", min(asked.lengths) if length is None else length)
    _check_drawn(asked, plugin, length)
    batch = data.draw(asked, plugin.options, length, "test", seed, 0, size)
    if damage is None:
        return replace(batch, x=data.features(asked, batch))
    rng = data.generator("corruption", damage.name, at, asked.name, dict(plugin.options), length, seed, 0)
    return replace(batch, x=data.corrupt(asked, batch, damage, at, rng))


def chosen(task: str) -> tuple[Plugin, Task]:
    """The task that a text such as ``noisy(form=b)`` stands for, with its options.

    Raises SuiteError where it stands for none, or for several.
    """
    try:
        choice = Choice(**parse_choice(task))
    except ValueError as error:
        raise SuiteError(str(error)) from None
    noun = discover().task(choice.name).noun
    options = list(expand(choice, options_of(noun.draw), "task"))
    if len(options) != 1:
        raise SuiteError(f"'{task}' stands for {len(options)} tasks; name one value for each option")
    return Plugin(noun.name, options[0]), noun


def _positive(what: str, number: int) -> int:
    if type(number) is not int or number < 1:
        raise SuiteError(f"{what} is {number!r}; it takes a whole number from 1 on")
    return number


def _damage(name: str, severity: float | None) -> tuple[Corruption | None, float]:
    """The corruption of a name, and its severity; without one, the factor of the length.

    Raises SuiteError where one of the two lacks the other.
    """
    if not name:
        if severity is not None:
            raise SuiteError(f"severity is {severity!r} and no corruption is named{nearest('', discover().corruptions)}")
        return None, 1.0
    corruption = discover().corruption(name).noun
    if severity is None or not math.isfinite(severity):
        raise SuiteError(
            f"corruption '{corruption.name}' takes a severity, such as {_listed(corruption.severities)} {corruption.unit}".rstrip()
        )
    return corruption, float(severity)


def _listed(numbers: Sequence[float]) -> str:
    return ", ".join(f"{number:g}" for number in numbers)


def _check_fits(trained: Task, asked: Task) -> None:
    """Raises SuiteError where a model of one task cannot be asked another."""
    fields = {"input_size": "inputs", "output_size": "outputs", "loss": "loss", "per_step": "answers a step"}
    for field, what in fields.items():
        own, other = getattr(trained, field), getattr(asked, field)
        if own != other:
            raise SuiteError(f"the model was trained on '{trained.name}', whose {what} are {own}; those of '{asked.name}' are {other}")


def _check_drawn(task: Task, plugin: Plugin, length: int) -> None:
    """Raises SuiteError where the task cannot be drawn so."""
    with contained() as raised:
        data.draw(task, plugin.options, length, "check", 0, 0, 1)
    if raised:
        raise SuiteError(
            f"task '{plugin.label}', length {length}: {raised.error if isinstance(raised.error, ValueError) else raised.reason}"
        )
