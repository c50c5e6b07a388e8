"""Checks that trials are put together where they are alike, each once, so that they fit the memory and every worker has work."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from suite.execution import populations as grouping
from suite.execution.populations import MOST, companions, lacking, populations
from suite.ops.engines import DERIVED, VENDOR
from suite.spec import Plugin, Point
from suite.trial import Evaluation, Outcome, Trial

PLENTY = 1 << 40

kinds = st.tuples(st.sampled_from(["gru", "lstm"]), st.sampled_from([10, 20]), st.sampled_from([(), (1.0,), (1.0, 2.0)]))
members = st.tuples(kinds, st.integers(0, 40), st.sampled_from([0.01, 0.03]))


@pytest.fixture(autouse=True)
def have_memory(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """No test depends on the machine's memory; the function sets another."""

    def have(size: int) -> None:
        monkeypatch.setattr(grouping, "memory", lambda _device: size)

    have(PLENTY)
    return have


def of_seeds(trial: Trial, count: int, rates: Sequence[float] = (0.01,)) -> list[Trial]:
    return [
        replace(trial, seed=seed, training=replace(trial.training, learning_rate=rate), engine=DERIVED.name)
        for seed in range(count)
        for rate in rates
    ]


def asked(trial: Trial, *at: float) -> Trial:
    """The trial with one evaluation at some points."""
    return replace(trial, evaluations=(Evaluation("length", "long_range", at, trial.key, {}),) if at else ())


def without_seed_and_rate(trial: Trial) -> Trial:
    points = tuple(replace(evaluation, trained="") for evaluation in trial.evaluations)
    return replace(trial, seed=0, training=replace(trial.training, learning_rate=1.0), evaluations=points)


def sizes(trials: Sequence[Trial], workers: int) -> list[int]:
    return sorted(len(group) for group in populations(trials, workers))


def test_every_trial_is_in_one_group_with_those_alike_alone(tiny: Trial) -> None:
    @given(st.lists(members, min_size=1, max_size=100, unique=True), st.integers(1, 8), st.sampled_from([VENDOR.name, DERIVED.name]))
    def check(drawn: list[tuple[tuple[str, int, tuple[float, ...]], int, float]], workers: int, engine: str) -> None:
        trials = []
        for (variant, length, at), seed, rate in drawn:
            (trial,) = of_seeds(replace(tiny, variant=Plugin(variant), length=length), 1, (rate,))
            trials.append(asked(replace(trial, seed=seed, engine=engine), *at))
        groups = populations(trials, workers)
        assert Counter(id(trial) for group in groups for trial in group) == Counter(map(id, trials))
        assert all(len(set(map(repr, map(without_seed_and_rate, group)))) == 1 for group in groups)
        assert max(map(len, groups)) <= MOST
        assert len(groups) >= min(workers, len(trials))

    check()


def test_seeds_and_rates_of_one_cell_are_one_program(tiny: Trial) -> None:
    trials = of_seeds(tiny, 5, (0.01, 0.02, 0.03))
    assert populations(trials, 1) == [tuple(trials)]


@pytest.mark.parametrize(("count", "wanted"), [(MOST, [MOST]), (MOST + 1, [16, 17]), (2 * MOST + 2, [22, 22, 22])])
def test_too_many_for_one_program_are_parted_evenly(tiny: Trial, count: int, wanted: list[int]) -> None:
    assert sizes(of_seeds(tiny, count), 1) == wanted


@pytest.mark.parametrize(("count", "workers", "wanted"), [(5, 2, [2, 3]), (8, 3, [2, 2, 4]), (3, 8, [1, 1, 1])])
def test_a_group_is_halved_while_a_worker_would_have_nothing_to_do(tiny: Trial, count: int, workers: int, wanted: list[int]) -> None:
    assert sizes(of_seeds(tiny, count), workers) == wanted


def test_the_largest_work_comes_first(tiny: Trial) -> None:
    trials = [trial for length in (10, 40, 20) for trial in of_seeds(replace(tiny, length=length), 2)]
    assert [group[0].length for group in populations(trials, 2)] == [40, 20, 10]


def bytes_a_member(trial: Trial) -> int:
    return 4 * grouping.VALUES_A_STEP * trial.training.batch_size * trial.length * trial.hidden_size


def test_a_group_that_does_not_fit_the_memory_is_split(tiny: Trial, have_memory: Callable[[int], None]) -> None:
    trials = of_seeds(tiny, 7)
    have_memory(round(3 * bytes_a_member(tiny) / grouping.SHARE))
    assert sizes(trials, 1) == [1, 3, 3]
    doubles = [replace(trial, training=replace(trial.training, dtype="float64")) for trial in trials]
    assert sizes(doubles, 1) == [1] * 7
    assert sizes(trials, 3) == [1] * 7  # each of three workers has a third of the memory
    have_memory(0)
    assert sizes(trials, 1) == [1] * 7


def test_members_that_run_in_turn_need_the_memory_of_one(tiny: Trial, have_memory: Callable[[int], None]) -> None:
    have_memory(0)
    trials = [replace(trial, engine=VENDOR.name) for trial in of_seeds(tiny, 7)]
    assert sizes(trials, 1) == [7]


def test_a_group_on_a_gpu_is_not_halved_for_workers(tiny: Trial, have_memory: Callable[[int], None]) -> None:
    trials = of_seeds(replace(tiny, device="cuda"), 6)
    assert populations(trials, 4) == [tuple(trials)]
    have_memory(round(8 * bytes_a_member(tiny) / grouping.SHARE))
    assert sizes(trials, 4) == [2, 2, 2]  # what does not fit is split there, too


def test_on_a_gpu_the_whole_company_is_trained_again(tiny: Trial) -> None:
    planned = [*of_seeds(replace(tiny, device="cuda"), 4), *of_seeds(replace(tiny, device="cuda", length=20), 2)]
    assert companions([planned[2]], planned) == planned[:4]
    assert companions([planned[4], planned[0]], planned) == planned
    assert companions([], planned) == []


def test_on_a_cpu_those_pending_are_trained_alone(tiny: Trial) -> None:
    planned = of_seeds(tiny, 4)
    assert companions([planned[2], planned[0]], planned) == [planned[0], planned[2]]


def test_a_trial_lacks_the_evaluations_without_an_answer(tiny: Trial) -> None:
    trial = asked(tiny, 1.0)
    (evaluation,) = trial.evaluations
    answered = Outcome(trial.key, "ok", evaluations={evaluation.key: (Point(1.0, 10, {"loss": 1.0}, 1.0, False),)})
    assert lacking(trial, None) == lacking(trial, Outcome(trial.key, "ok")) == trial
    assert lacking(trial, answered) == tiny
