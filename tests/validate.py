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
from suite.report.exchange import cross_fitted, fitted_sign_flip
from suite.report.stats import Interval

Floats = NDArray[np.float64]

CELLS = 4
SOLVED = np.array([0.2, 0.5, 0.8, 0.95])[:, None]
"""How often a cell is solved, by cell (CELLS, 1)."""

CLAIMS = 0.07
"""Up to here the interval of a rate of 5 % reaches, measured over thousands of draws."""

SIGNS = 4096
"""Draws of signs: of 3 seeds in 4 cells the test is exact."""

EQUAL_RATES = (0.5, 0.5, 0.5)
UNLIKE_RATES = (0.4, 0.5, 0.45)
"""The mean skill at each learning rate."""


@dataclass(frozen=True)
class Measured:
    """How often something happened, with what was promised of it."""

    what: str
    rate: Interval
    least: float = -math.inf
    most: float = math.inf

    @property
    def kept(self) -> bool:
        """Whether the whole interval of what was measured lies within the promise."""
        return self.least <= self.rate.low and self.rate.high <= self.most

    def text(self) -> str:
        bounds = [f"{sign} {bound:g}" for sign, bound in (("≥", self.least), ("≤", self.most)) if math.isfinite(bound)]
        promised = ", ".join(bounds) + ("" if self.kept else "  MISSED")
        return f"{self.what:<68} {self.rate.mean:.4f} ({self.rate.low:.4f} to {self.rate.high:.4f})  {promised}".rstrip()


# What is planted


def skills(kind: str, seeds: int, rng: np.random.Generator) -> Floats:
    """The skills of one variant, (CELLS, seeds), of a distribution that every variant shares."""
    if kind == "normal":
        return rng.normal(0.5, 0.1, (CELLS, seeds))
    return (rng.random((CELLS, seeds)) < SOLVED).astype(np.float64)


def learned(means: Sequence[float], seeds: int, rng: np.random.Generator) -> tuple[Floats, Floats]:
    """Validation and test skills (rates, seeds) of trials whose trained weights move both alike, by 0.1, and each alone by 0.05."""
    weights = np.asarray(means)[:, None] + rng.normal(0, 0.1, (len(means), seeds))
    return weights + rng.normal(0, 0.05, weights.shape), weights + rng.normal(0, 0.05, weights.shape)


def learned_or_not(means: Sequence[float], seeds: int, rng: np.random.Generator) -> tuple[Floats, Floats]:
    """The same of trials that solve so often or not, and show it alike in validation and test but for 0.02."""
    weights = (rng.random((len(means), seeds)) < np.asarray(means)[:, None]).astype(np.float64)
    return weights - 0.02 * rng.random(weights.shape), weights - 0.02 * rng.random(weights.shape)


def kept_if_solved(means: Sequence[float], seeds: int, rng: np.random.Generator) -> tuple[Floats, Floats]:
    """The same of the part of its skill that a trial keeps under damage, which is none where it was not solved."""
    validation, test = learned_or_not(means, seeds, rng)
    return validation, np.where(test > 0.5, rng.uniform(0.3, 0.9, test.shape), np.nan)


def lognormal(rng: np.random.Generator, size: int | tuple[int, ...]) -> Floats:
    """Lognormal skills with sigma 1, a tenth of their size, so that 1 % lie above 1 and are cut there."""
    return np.minimum(rng.lognormal(0, 1, size) / 10, 1.0)


def lognormal_mean() -> float:
    """E min(X / 10, 1), in closed form."""
    return float(math.exp(0.5) / 10 * stats.norm.cdf(math.log(10) - 1) + stats.norm.sf(math.log(10)))


def solved(p: float, rng: np.random.Generator, size: tuple[int, ...]) -> Floats:
    return (rng.random(size) < p).astype(np.float64)


Draw = Callable[[np.random.Generator, tuple[int, ...]], Floats]
Learned = Callable[[Sequence[float], int, np.random.Generator], tuple[Floats, Floats]]
Bounded = Callable[[Sequence[Floats], np.random.Generator, int], Interval]
Test = Callable[[int, np.random.Generator], list[float]]
"""Draws so many variants with their baseline, and gives the p of each."""

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


def plain(kind: str, seeds: int) -> Test:
    """`sign_flip` of variants that all are compared with one baseline."""

    def p_values(variants: int, rng: np.random.Generator) -> list[float]:
        baseline, *columns = [skills(kind, seeds, rng) for _ in range(variants + 1)]
        return [inference.sign_flip(list(column - baseline), rng, SIGNS) for column in columns]

    return p_values


def fitted(draw: Learned, means: Sequence[float], seeds: int, *, exchange: bool) -> Test:
    """`fitted_sign_flip` of such variants, or with no exchange `sign_flip` of the scores at the chosen rates."""

    def p_values(variants: int, rng: np.random.Generator) -> list[float]:
        baseline, *columns = [[draw(means, seeds, rng) for _ in range(CELLS)] for _ in range(variants + 1)]
        if exchange:
            return [fitted_sign_flip(column, baseline, rng, 500) for column in columns]
        chosen, *others = [np.stack([cross_fitted(*cell)[1] for cell in column]) for column in (baseline, *columns)]
        return [inference.sign_flip([cell[np.isfinite(cell)] for cell in other - chosen], rng, SIGNS) for other in others]

    return p_values


def false_claims(test: Test, draws: int, rng: np.random.Generator, most: int = 7) -> dict[int, Interval]:
    """How often anything is found between equal variants and one baseline, by how many of them are compared."""
    wrong = dict.fromkeys(range(1, most + 1), 0)
    for _ in range(draws):
        p = test(most, rng)
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
        p = [inference.sign_flip(list(column - columns[0]), rng, SIGNS) for column in columns[1:]]
        found += inference.verdict(inference.holm(p)[0], float((columns[1] - columns[0]).mean())) == "better"
    return inference.solve_rate(found, draws)


def covered(
    bounded: Bounded, drawn: tuple[Draw, float], cells: int, seeds: int, draws: int, rng: np.random.Generator
) -> tuple[Interval, float]:
    """How often an interval holds the true mean, and its mean width."""
    draw, truth = drawn
    held, width = 0, 0.0
    for _ in range(draws):
        bounds = bounded(list(draw(rng, (cells, seeds))), rng, 1000)
        held += bounds.low - 1e-9 <= truth <= bounds.high + 1e-9
        width += bounds.high - bounds.low
    return inference.solve_rate(held, draws), width / draws


def chosen_by_all(validation: Floats, test: Floats) -> Floats:
    """The test scores (seeds,) at the rate with the best mean validation over all seeds, each seed's own among them."""
    return np.asarray(test[int(np.argmax(validation.mean(axis=1)))])


def selection_bias(choose: Callable[[Floats, Floats], Floats], seeds: int, draws: int, rng: np.random.Generator) -> Interval:
    """By how much the mean test skill exceeds the true one of rates that are all equal, with its interval at 95 %."""
    biases = [choose(*learned(EQUAL_RATES, seeds, rng)).mean() - 0.5 for _ in range(draws)]
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
    return [
        Measured(f"{kind}, {seeds} seeds, {variants} equal variants: found", rate, most=CLAIMS)
        for kind in ("normal", "solved or not")
        for seeds in (3, 5, 10)
        for variants, rate in false_claims(plain(kind, seeds), 4000, rng).items()
    ]


def measure_chosen_rates(rng: np.random.Generator) -> list[Measured]:
    """What choosing rates does to the test: with exchange of all that belongs to a seed, and with flipped signs alone."""
    rows = []
    kinds = (
        ("normal", learned, UNLIKE_RATES),
        ("solved or not", learned_or_not, (0.5, 0.8, 0.7)),
        ("kept", kept_if_solved, (0.5, 0.8, 0.7)),
    )
    for kind, draw, means in kinds:
        for seeds in (3, 5, 10):
            for variants, draws in ((1, 4000), (7, 2000)):
                for exchange in (True, False):
                    test = fitted(draw, means, seeds, exchange=exchange)
                    rate = false_claims(test, draws if exchange else draws // 4, rng, variants)[variants]
                    what = f"{'exchange' if exchange else 'signs'}, {kind}, {seeds} seeds, {variants} equal variants: found"
                    rows.append(Measured(what, rate, most=CLAIMS if exchange else math.inf))
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
        fair = selection_bias(lambda validation, test: cross_fitted(validation, test)[1], seeds, 4000, rng)
        rows += [
            Measured(f"{seeds} seeds, 3 equal rates: bias, chosen by the others", fair, -0.02, 0.02),
            Measured(f"{seeds} seeds, 3 equal rates: bias, chosen by all", selection_bias(chosen_by_all, seeds, 4000, rng)),
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
        rows.append(Measured(f"{sizes} pairs, {comparisons} comparisons, {least:.2f} SD: found", rate, 0.7, 0.9))
    return rows


def measure_dependence(rng: np.random.Generator) -> list[Measured]:
    """What correlation of a seed's differences over the lengths of a task does to the test, with and without averaging them first."""
    rows = []
    for correlation in (0.1, 0.3, 0.5):
        apart = averaged = 0
        for _ in range(4000):
            shared = math.sqrt(correlation) * rng.standard_normal((CELLS, 1, 5))
            tasks = shared + math.sqrt(1 - correlation) * rng.standard_normal((CELLS, 4, 5))  # (tasks, lengths, seeds)
            apart += inference.sign_flip(list(tasks.reshape(-1, 5)), rng, SIGNS) <= inference.LEVEL
            averaged += inference.sign_flip(list(tasks.mean(axis=1)), rng, SIGNS) <= inference.LEVEL
        rows.append(Measured(f"lengths correlate by {correlation}, a cell each: found", inference.solve_rate(apart, 4000)))
        rows.append(
            Measured(f"lengths correlate by {correlation}, averaged first: found", inference.solve_rate(averaged, 4000), most=CLAIMS)
        )
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
        rows.append(Measured(f"median steps, {trials} trials: held", inference.solve_rate(held, 1000), least=0.91))
    return rows


MEASUREMENTS = {
    "claims": measure_false_claims,
    "chosen": measure_chosen_rates,
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
