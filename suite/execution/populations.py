"""Puts trials together that can be trained as one program, and parts them so that they fit the memory and all workers have work."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from ..machine import memory
from ..ops.engines import engine
from ..plan.limits import ITEM_BYTES
from ..store.store import Store
from ..trial import Outcome, Trial

MOST = 32
"""Members of a population at most: more of them make a step no faster per member."""

VALUES_A_STEP = 24
"""So many values of the hidden size a step, sample and member are taken to be in memory, on the way there and back."""

VALUES_RECOMPUTED = 14
"""So many where pieces of the recurrence are done again: the inputs and outputs of each step stay."""

SHARE = 0.5
"""The part of the memory that all workers' populations may take together."""


def trained_before(outcome: Outcome | None, store: Store, key: str) -> bool:
    """Whether a trial's weights are there, so that only evaluations are left to do."""
    return outcome is not None and outcome.status != "diverged" and outcome.learning is not None and store.checkpoint(key).is_file()


def populations(trials: Sequence[Trial], workers: int, devices: int = 1) -> list[tuple[Trial, ...]]:
    """The trials in groups that differ in seed and learning rate alone and ask for the same evaluations, the largest work first.

    A group is split where it has more than MOST members or needs more memory than there is; and, as long as some worker would have
    nothing to do, the largest is halved. On a CPU no member's numbers depend on its company, so that any split is as good.
    devices: how many the workers share, each with the memory of the first
    """
    together: dict[object, list[Trial]] = {}
    for trial in trials:
        together.setdefault(_alike(trial), []).append(trial)
    groups = [group for every in together.values() for group in _parted(tuple(every), -(-workers // devices))]
    while len(groups) < workers:
        largest = max(groups, key=len)
        if len(largest) == 1 or not splits(largest[0]):
            break
        groups.remove(largest)
        groups += [largest[: len(largest) // 2], largest[len(largest) // 2 :]]
    return sorted(groups, key=_cost, reverse=True)


def _alike(trial: Trial) -> object:
    asked = tuple((asked.measure, asked.at) for asked in trial.evaluations)
    alone = replace(trial, seed=0, training=replace(trial.training, learning_rate=1.0), evaluations=())
    return alone.key, asked


def _member_bytes(trial: Trial) -> int:
    """What a member's training step is thought to keep for its way back."""
    training = trial.training
    samples = max(training.batch_size, 1) * trial.length
    return (VALUES_RECOMPUTED if training.recompute else VALUES_A_STEP) * samples * trial.hidden_size * ITEM_BYTES[training.dtype]


def needed(group: Sequence[Trial]) -> int:
    """Bytes that the training of a population is thought to need on its device; members that run in turn need those of one."""
    return _member_bytes(group[0]) * (len(group) if engine(group[0].engine).stacks else 1)


def _parted(group: tuple[Trial, ...], workers: int) -> list[tuple[Trial, ...]]:
    """The group in equal parts, none larger than what fits a device that so many workers share."""
    first = group[0]
    fitting = int(SHARE * memory(first.device) / workers / _member_bytes(first)) if engine(first.engine).stacks else MOST
    size = max(1, min(MOST, fitting))
    count = -(-len(group) // size)
    size = -(-len(group) // count)  # equal parts
    return [group[start : start + size] for start in range(0, len(group), size)]


def splits(trial: Trial) -> bool:
    """Whether a trial's numbers are the same in whatever company it is trained: promised on a CPU alone."""
    return trial.device == "cpu"


def _cost(group: Sequence[Trial]) -> int:
    return sum(trial.training.steps * trial.length for trial in group)


def companions(pending: Sequence[Trial], planned: Sequence[Trial]) -> list[Trial]:
    """The trials to train: those pending, and where numbers depend on the company, with the whole company they were planned in."""
    wanted = {_alike(trial) for trial in pending if not splits(trial)}
    keys = {trial.key for trial in pending}
    return [trial for trial in planned if trial.key in keys or _alike(trial) in wanted]


def lacking(trial: Trial, outcome: Outcome | None) -> Trial:
    """The trial with the evaluations left that it has no answers of."""
    known: Mapping[str, object] = outcome.evaluations if outcome else {}
    return replace(trial, evaluations=tuple(asked for asked in trial.evaluations if asked.key not in known))
