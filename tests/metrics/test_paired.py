"""Differences are paired by seed and case, and their intervals hold the truth as often as said."""

import math

import numpy as np
import pytest
from scipy import stats

from rubik_jax.metrics import paired
from rubik_jax.metrics.paired import Difference, Result, Summary, difference, summarise

NAN = math.nan


def runs(of_seeds: dict[int, dict[str, float]], strategy: str = "rubik") -> list[Result]:
    return [Result(strategy, "unet", "8", seed, cases) for seed, cases in of_seeds.items()]


def drawn(random: np.random.Generator, seeds: int, cases: int) -> list[Result]:
    values = random.normal(size=(seeds, cases))
    return runs({s: {f"c{i}": float(x) for i, x in enumerate(of)} for s, of in enumerate(values)})


def shifted(results: list[Result], by: float) -> list[Result]:
    return [r._replace(cases={case: x + by for case, x in r.cases.items()}) for r in results]


def test_a_summary_is_of_the_means_of_runs():
    assert summarise(runs({0: {"a": 0.25, "b": 0.75}, 1: {"a": 1.0, "b": 0.5}, 2: {"a": 1.0}})) == (
        Summary(0.75, 0.25, 3)
    )
    mean, spread, seeds = summarise(runs({4: {"a": 0.25, "b": NAN}, 5: {"a": NAN}}))
    assert (mean, seeds) == (0.25, 1)
    assert math.isnan(spread)
    assert summarise([]).seeds == 0


def test_a_gain_that_is_the_same_everywhere_has_an_interval_of_no_width():
    twins = drawn(np.random.default_rng(0), 3, 20)
    found = difference(shifted(twins, 0.25), twins)
    assert found == pytest.approx(Difference(0.25, 0.25, 0.25, 20, 3))


def test_only_what_both_sides_measured_counts():
    ours = runs({0: {"a": 0.5, "b": 0.5, "c": NAN}, 1: {"a": 1.0, "d": 9.0}, 7: {"a": 9.0}})
    twins = runs({0: {"a": 0.25, "b": 0.75, "c": 1.0}, 1: {"a": 0.25, "d": NAN}, 8: {"a": -9.0}})
    found = difference(ours, twins)
    assert (found.mean, found.cases, found.seeds) == ((0.5 - 0.25) / 2, 2, 2)
    assert (found.low, found.high) == (-0.25, 0.5)  # either case alone: half of the draws


def test_without_a_pair_there_is_no_difference():
    ours = runs({0: {"a": 1.0}})
    assert difference(ours, runs({1: {"a": 1.0}})) is None
    assert difference(ours, runs({0: {"b": 1.0}})) is None
    assert difference(ours, runs({0: {"a": NAN}})) is None
    assert difference([], []) is None


def test_a_single_case_says_nothing_of_others():
    found = difference(runs({0: {"a": 1.0}}), runs({0: {"a": 0.5}}))
    assert (found.mean, found.cases) == (0.5, 1)
    assert math.isnan(found.low)
    assert math.isnan(found.high)


def test_the_order_of_runs_and_cases_changes_nothing():
    random = np.random.default_rng(1)
    ours, twins = drawn(random, 3, 12), drawn(random, 3, 12)
    turned = [r._replace(cases=dict(reversed(r.cases.items()))) for r in reversed(ours)]
    assert difference(turned, twins[::-1]) == difference(ours, twins)


def test_draws_that_do_not_fit_in_memory_together_are_the_same(monkeypatch):
    random = np.random.default_rng(2)
    ours, twins = drawn(random, 2, 9), drawn(random, 2, 9)
    whole = difference(ours, twins, resamples=1000)
    monkeypatch.setattr(paired, "CHUNK", 100)
    assert difference(ours, twins, resamples=1000) == whole


@pytest.mark.parametrize("level", [0.95, 0.8])
def test_the_interval_is_that_of_scipy(level):
    random = np.random.default_rng(3)
    ours, twins = drawn(random, 3, 40), drawn(random, 3, 40)
    sides = [np.array([list(r.cases.values()) for r in of]).mean(axis=0) for of in (ours, twins)]
    theirs = stats.bootstrap(
        sides,
        lambda a, b, axis: np.mean(a - b, axis=axis),
        paired=True,
        vectorized=True,
        n_resamples=50_000,
        confidence_level=level,
        method="percentile",
        rng=np.random.default_rng(4),
    ).confidence_interval
    found = difference(ours, twins, resamples=50_000, level=level)
    assert found.mean == pytest.approx(np.mean(sides[0] - sides[1]))
    assert (found.low, found.high) == pytest.approx(tuple(theirs), abs=0.02 * np.ptp(theirs))


def test_intervals_hold_the_true_gain_as_often_as_they_say():
    """Cases differ in how hard they are, which pairs cancel, and in what they gain."""
    random = np.random.default_rng(5)
    gain, trials, inside = 0.02, 400, 0
    for _ in range(trials):
        hard = random.normal(0.7, 0.2, 50)
        gains = random.normal(gain, 0.05, 50)
        noise = random.normal(0, 0.02, (2, 3, 50))
        sides = hard + np.stack([gains, np.zeros(50)])[:, None] + noise
        ours, twins = (
            runs(
                {
                    s: dict(zip(map(str, range(50)), map(float, of), strict=True))
                    for s, of in enumerate(side)
                }
            )
            for side in sides
        )
        found = difference(ours, twins, resamples=1000)
        inside += found.low <= gain <= found.high
    assert 0.915 <= inside / trials <= 0.975
