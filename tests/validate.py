"""Measures the report's statistics on data whose truth is planted: `make validate`, or with the names of some measurements."""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import combinations_with_replacement

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from suite.report import inference
from suite.report.stats import Interval

Floats = NDArray[np.float64]

CELLS = 4
SOLVED = np.array([0.2, 0.5, 0.8, 0.95])[:, None]
"""How often a cell is solved, by cell (CELLS, 1)."""

SIGNS = 4096
"""Draws of signs: of 3 seeds in 4 cells the test is exact."""

RATES = 3


@dataclass(frozen=True)
class Measured:
    """How often something happened, with what was promised of it."""

    what: str
    rate: Interval
    least: float = 0.0
    most: float = 1.0

    @property
    def kept(self) -> bool:
        return self.least <= self.rate.mean <= self.most

    def text(self) -> str:
        promised = f"≥ {self.least:.3f}" if self.least else f"≤ {self.most:.3f}" if self.most < 1 else ""
        return f"{self.what:<64} {self.rate.mean:.4f} ({self.rate.low:.4f}–{self.rate.high:.4f})  {promised:<8} {'' if self.kept else 'MISSED'}"


# What is planted


def skills(kind: str, seeds: int, rng: np.random.Generator) -> Floats:
    """The skills of one variant, (CELLS, seeds), of a distribution that every variant shares."""
    if kind == "normal":
        return rng.normal(0.5, 0.1, (CELLS, seeds))
    if kind == "solved or not":
        return (rng.random((CELLS, seeds)) < SOLVED).astype(np.float64)
    means = {"equal rates": [0.5, 0.5, 0.5], "unlike rates": [0.4, 0.5, 0.45]}[kind]
    return np.stack([inference.cross_fitted(*learned(means, seeds, rng))[1] for _ in range(CELLS)])


def learned(means: Sequence[float], seeds: int, rng: np.random.Generator) -> tuple[Floats, Floats]:
    """Validation and test skills (rates, seeds) of trials whose trained weights move both alike, by 0.1, and each alone by 0.05."""
    weights = np.asarray(means)[:, None] + rng.normal(0, 0.1, (len(means), seeds))
    return weights + rng.normal(0, 0.05, weights.shape), weights + rng.normal(0, 0.05, weights.shape)


def lognormal(rng: np.random.Generator, size: int | tuple[int, ...]) -> Floats:
    """Lognormal skills with sigma 1, a tenth of their size, so that 1 % lie above 1 and are cut there."""
    return np.minimum(rng.lognormal(0, 1, size) / 10, 1.0)


def lognormal_mean() -> float:
    """E min(X / 10, 1), in closed form."""
    return math.exp(0.5) / 10 * stats.norm.cdf(math.log(10) - 1) + float(stats.norm.sf(math.log(10)))


def solved(p: float, rng: np.random.Generator, size: tuple[int, ...]) -> Floats:
    return (rng.random(size) < p).astype(np.float64)


Draw = Callable[[np.random.Generator, tuple[int, ...]], Floats]

SCORES: dict[str, tuple[Draw, float]] = {
    "normal": (lambda rng, size: np.clip(rng.normal(0.5, 0.1, size), 0, 1), 0.5),
    "lognormal": (lognormal, lognormal_mean()),
    "solved with p 0.8": (lambda rng, size: solved(0.8, rng, size), 0.8),
    "solved with p 0.95": (lambda rng, size: solved(0.95, rng, size), 0.95),
}
"""By name how skills are drawn, and their true mean."""

DIFFERENCES: dict[str, tuple[Draw, float]] = {
    **SCORES,
    "normal, mean 0.1": (lambda rng, size: np.clip(rng.normal(0.1, 0.2, size), -1, 1), 0.1),
    "0.8 against 0.8": (lambda rng, size: solved(0.8, rng, size) - solved(0.8, rng, size), 0.0),
    "0.95 against 0.8": (lambda rng, size: solved(0.95, rng, size) - solved(0.8, rng, size), 0.15),
    "0.95 against 0.95": (lambda rng, size: solved(0.95, rng, size) - solved(0.95, rng, size), 0.0),
    "0.8 always against 0.8": (lambda rng, size: 0.8 - solved(0.8, rng, size), 0.0),
}
"""By name how paired differences are drawn, and their true mean."""


# What is measured


def claims(columns: Sequence[Floats], baseline: Floats, rng: np.random.Generator) -> Floats:
    """The p of each variant (variants,) against the one baseline, skills (CELLS, seeds) each."""
    return np.array([inference.sign_flip(list(column - baseline), rng, SIGNS) for column in columns])


def false_claims(kind: str, seeds: int, draws: int, rng: np.random.Generator, most: int = 7) -> dict[int, Interval]:
    """How often anything is found between so many equal variants and one baseline that all are compared with, by how many."""
    wrong = dict.fromkeys(range(1, most + 1), 0)
    for _ in range(draws):
        columns = [skills(kind, seeds, rng) for _ in range(most + 1)]
        p = [float(value) for value in claims(columns[1:], columns[0], rng)]
        for variants in wrong:
            findings = [inference.verdict(value, 1.0) for value in inference.holm(p[:variants])]
            wrong[variants] += any(finding != "undecided" for finding in findings)
    return {variants: inference.solve_rate(count, draws) for variants, count in wrong.items()}


def power(difference: float, seeds: int, variants: int, draws: int, rng: np.random.Generator) -> Interval:
    """How often the one better variant among equals is found better, its skill so many SD of a paired difference above theirs."""
    found = 0
    for _ in range(draws):
        columns = [skills("normal", seeds, rng) for _ in range(variants + 1)]
        columns[1] = columns[1] + difference * 0.1 * math.sqrt(2)
        p = [float(value) for value in claims(columns[1:], columns[0], rng)]
        found += inference.verdict(inference.holm(p)[0], float((columns[1] - columns[0]).mean())) == "better"
    return inference.solve_rate(found, draws)


def covered(
    interval: Callable[[Sequence[Floats], np.random.Generator, int], Interval], drawn: tuple[Draw, float], cells: int, seeds: int, draws: int,
    rng: np.random.Generator,
) -> tuple[Interval, float]:  # fmt: skip
    """How often an interval holds the true mean, and its mean width."""
    draw, truth = drawn
    held, width = 0, 0.0
    for _ in range(draws):
        bounds = interval(list(draw(rng, (cells, seeds))), rng, 2000)
        held += bounds.low - 1e-9 <= truth <= bounds.high + 1e-9
        width += bounds.high - bounds.low
    return inference.solve_rate(held, draws), width / draws


def chosen_by_all(validation: Floats, test: Floats) -> Floats:
    """The test scores (seeds,) at the rate with the best mean validation over all seeds, each seed's own among them."""
    return np.asarray(test[int(np.argmax(validation.mean(axis=1)))])


def selection_bias(choose: Callable[[Floats, Floats], Floats], seeds: int, draws: int, rng: np.random.Generator) -> Interval:
    """By how much the mean test skill exceeds the true one of rates that are all equal, with its interval at 95 %."""
    biases = [choose(*learned([0.5] * RATES, seeds, rng)).mean() - 0.5 for _ in range(draws)]
    half = 1.96 * float(np.std(biases)) / math.sqrt(draws)
    return Interval(float(np.mean(biases)), float(np.mean(biases)) - half, float(np.mean(biases)) + half, draws)


@cache
def clopper_pearson(trials: int) -> tuple[Floats, Floats]:
    """The ends of the interval for each number of solved trials (trials + 1,)."""
    bounds = [inference.solve_rate(count, trials) for count in range(trials + 1)]
    return np.array([bound.low for bound in bounds]), np.array([bound.high for bound in bounds])


def pooled_counts_cover(seeds: int) -> float:
    """The least exact coverage of the pooled interval over all mixtures of four cells that are each solved so often or not."""
    low, high = clopper_pearson(CELLS * seeds)
    coverage = []
    for chances in combinations_with_replacement((0.0, 0.05, 0.2, 0.35, 0.5, 0.65, 0.8, 0.95, 1.0), CELLS):
        mass = np.ones(1)
        for p in chances:
            mass = np.convolve(mass, stats.binom.pmf(np.arange(seeds + 1), seeds, p))
        truth = float(np.mean(chances))
        coverage.append(mass[(low <= truth + 1e-12) & (high >= truth - 1e-12)].sum())
    return float(min(coverage))


# The measurements


def measure_false_claims(rng: np.random.Generator) -> list[Measured]:
    rows = []
    for kind in ("normal", "solved or not", "equal rates", "unlike rates"):
        for seeds in (3, 5, 10):
            for variants, rate in false_claims(kind, seeds, 1000, rng).items():
                rows.append(Measured(f"{kind}, {seeds} seeds, {variants} equal variants: anything found", rate, most=0.05))
    return rows


def measure_power(rng: np.random.Generator) -> list[Measured]:
    return [
        Measured(f"{seeds} seeds, {variants} variants, {difference} SD better: found", power(difference, seeds, variants, 1000, rng))
        for variants in (1, 7)
        for seeds in (3, 5, 10)
        for difference in (1, 2, 3)
    ]


def measure_coverage(rng: np.random.Generator) -> list[Measured]:
    rows = []
    for name, interval, table in (("skill", inference.pooled_skill, SCORES), ("effect", inference.effect, DIFFERENCES)):
        for kind, drawn in table.items():
            for cells, seeds in ((1, 5), (1, 10), (CELLS, 3), (CELLS, 5), (CELLS, 10)):
                rate, width = covered(interval, drawn, cells, seeds, 1000, rng)
                rows.append(Measured(f"{name}, {kind}, {cells} × {seeds}: held (width {width:.2f})", rate, least=0.93))
    return rows


def measure_counts(_rng: np.random.Generator) -> list[Measured]:
    rows = []
    for trials in (5, 10):
        low, high = clopper_pearson(trials)
        for p in (0.8, 0.95):
            held = float(stats.binom.pmf(np.arange(trials + 1), trials, p)[(low <= p) & (p <= high)].sum())
            rows.append(Measured(f"solve rate, p {p}, {trials} trials: held (exactly)", Interval(held, held, held, 1), least=0.93))
    for seeds in (3, 5, 10):
        held = pooled_counts_cover(seeds)
        rows.append(Measured(f"any mixture of 4 cells of {seeds} counts: held (least, exactly)", Interval(held, held, held, 1), least=0.93))
    return rows


def measure_bias(rng: np.random.Generator) -> list[Measured]:
    rows = []
    for seeds in (3, 5, 10):
        fair = selection_bias(lambda validation, test: inference.cross_fitted(validation, test)[1], seeds, 4000, rng)
        rows += [
            Measured(f"{seeds} seeds, {RATES} equal rates: bias, chosen by the others", fair, -0.02, 0.02),
            Measured(f"{seeds} seeds, {RATES} equal rates: bias, chosen by all", selection_bias(chosen_by_all, seeds, 4000, rng), -1),
        ]
    return rows


def measure_planning(rng: np.random.Generator) -> list[Measured]:
    """Whether `sign_flip` has the promised power at the smallest effect, also where Student's t stands in for simulation."""
    rows = []
    for sizes, comparisons in (([6], 1), ([3] * 4, 1), ([3] * 4, 7), ([5] * 4, 7), ([3, 20], 1), ([10] * 4, 7), ([10, 20, 20], 1)):
        least = inference.smallest_effect(sizes, 1.0, comparisons, rng)
        found = sum(
            inference.sign_flip([rng.normal(least, 1, size) for size in sizes], rng, SIGNS) <= inference.LEVEL / comparisons
            for _ in range(1000)
        )
        rate = inference.solve_rate(found, 1000)
        rows.append(Measured(f"{sizes} pairs, {comparisons} comparisons, {least:.2f} SD: found", rate, 0.75, 0.85))
    return rows


def measure_dependence(rng: np.random.Generator) -> list[Measured]:
    """What correlation of a seed's differences over the lengths of a task does to the test, with and without averaging them first."""
    rows = []
    for correlation in (0.1, 0.3, 0.5):
        apart = averaged = 0
        for _ in range(1000):
            shared = math.sqrt(correlation) * rng.standard_normal((CELLS, 1, 5))
            tasks = shared + math.sqrt(1 - correlation) * rng.standard_normal((CELLS, 4, 5))  # (tasks, lengths, seeds)
            apart += inference.sign_flip(list(tasks.reshape(-1, 5)), rng, SIGNS) <= inference.LEVEL
            averaged += inference.sign_flip(list(tasks.mean(axis=1)), rng, SIGNS) <= inference.LEVEL
        rows.append(Measured(f"lengths correlate by {correlation}, a cell each: found", inference.solve_rate(apart, 1000)))
        rows.append(Measured(f"lengths correlate by {correlation}, averaged first: found", inference.solve_rate(averaged, 1000), most=0.05))
    return rows


def measure_skew(rng: np.random.Generator) -> list[Measured]:
    """How often a steady variant is found worse than a baseline that solves or does not, with the same mean."""
    rows = []
    for p in (0.5, 0.8, 0.95):
        for seeds in (3, 5, 10):
            draws = (list(p - solved(p, rng, (CELLS, seeds))) for _ in range(1000))
            found = sum(inference.sign_flip(cells, rng, SIGNS) <= inference.LEVEL for cells in draws)
            rows.append(Measured(f"{p} always against {p} solved, {seeds} seeds: found", inference.solve_rate(found, 1000)))
    return rows


def measure_steps(rng: np.random.Generator) -> list[Measured]:
    """How often equal groups are found apart by the log-rank test, and how often a median's interval holds the true one."""
    rows = []
    for trials in (3, 5, 10, 20):
        found = held = 0
        for _ in range(1000):
            ends = 1 - rng.random((2, trials))  # uniform in (0, 1]; what is not solved by 0.8 never is
            (a, b), (solved_a, solved_b) = np.minimum(ends, 0.8), ends < 0.8
            found += inference.log_rank(a, solved_a, b, solved_b) <= inference.LEVEL
            curve = inference.survival(a, solved_a)
            held += curve.median_low <= 0.5 <= curve.median_high
        rows.append(Measured(f"log-rank, {trials} equal trials each: found", inference.solve_rate(found, 1000)))
        rows.append(Measured(f"median steps, {trials} trials: held", inference.solve_rate(held, 1000), least=0.93))
    return rows


MEASUREMENTS = {
    "claims": measure_false_claims,
    "power": measure_power,
    "coverage": measure_coverage,
    "counts": measure_counts,
    "bias": measure_bias,
    "planning": measure_planning,
    "dependence": measure_dependence,
    "skew": measure_skew,
    "steps": measure_steps,
}


def main() -> None:
    missed = 0
    for name in sys.argv[1:] or MEASUREMENTS:
        start = time.monotonic()
        rows = MEASUREMENTS[name](np.random.default_rng(0))
        print(f"\n{name} ({time.monotonic() - start:.0f} s)")
        for row in rows:
            print(row.text())
        missed += sum(not row.kept for row in rows)
    sys.exit(f"\n{missed} promises missed" if missed else 0)


if __name__ == "__main__":
    main()
