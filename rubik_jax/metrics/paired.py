"""What one way of training gains over another on the same cases, and how sure that is."""

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

CHUNK = 4_000_000  # drawn cases that are held in memory at a time


class Result(NamedTuple):
    """What one finished run came to.

    strategy: how it was pre-trained, if it was.
    target: what it was trained for.
    labelled: how many labels it had, "8", "10%" or "all".
    seed: of the run.
    cases: test case -> its measure, as the IoU of the foreground, or 1 and 0 for a right and a
        wrong answer; NaN where the case has none.
    """

    strategy: str
    target: str
    labelled: str
    seed: int
    cases: Mapping[str, float]


class Summary(NamedTuple):
    """The mean over seeds of the runs' means over cases.

    spread: the sample standard deviation of the runs' means, NaN for one seed.
    seeds: how many runs there are, each with one seed; without any, the mean is NaN too.
    """

    mean: float
    spread: float
    seeds: int


class Difference(NamedTuple):
    """A mean difference, and its interval from `low` to `high`; both are NaN for a single case.

    cases, seeds: how many both sides have, over which it was taken.
    """

    mean: float
    low: float
    high: float
    cases: int
    seeds: int


def summarise(results: Sequence[Result]) -> Summary:
    """The mean and spread of runs that differ in their seed; one without any measure is left out.

    Args:
        results: of one strategy, target and number of labels.
    """
    return over_seeds([_mean(list(result.cases.values())) for result in results])


def over_seeds(means: Sequence[float]) -> Summary:
    """The mean and spread of one number of each run, of which NaN is left out."""
    means = [mean for mean in means if not math.isnan(mean)]
    spread = float(np.std(means, ddof=1)) if len(means) > 1 else math.nan
    return Summary(_mean(means), spread, len(means))


def difference(
    results: Sequence[Result],
    twins: Sequence[Result],
    *,
    resamples: int = 10_000,
    level: float = 0.95,
    seed: int = 0,
) -> Difference | None:
    """By how much runs are better than their twins: the same seeds, on the same cases.

    For each case the differences are averaged over the seeds, then over the cases; the interval
    is the percentile bootstrap over the cases (Efron, Bootstrap methods: another look at the
    jackknife, 1979; Efron & Tibshirani, An introduction to the bootstrap, 1993, chapter 13).

    What it covers is the draw of the test cases: how much the mean would move with other patients
    of the same kind. It does not cover the draw of the seeds, of the training cases or of the
    pre-training, all of which it takes as they are. With few cases, it is too narrow.

    Args:
        results: of one strategy, target and number of labels, one for each seed.
        twins: what they are compared with.
        resamples: how often as many cases are drawn again, with replacement.
        level: the share of such intervals that hold the true mean.
        seed: of the draws.

    Returns:
        The difference over all pairs that both sides measured; None if there are none.
    """
    by_seed = {result.seed: result.cases for result in results}
    twin_by_seed = {twin.seed: twin.cases for twin in twins}
    pairs = [(by_seed[s], twin_by_seed[s]) for s in sorted(by_seed.keys() & twin_by_seed.keys())]
    differences: dict[str, list[float]] = {}
    seeds = 0
    for ours, theirs in pairs:
        found = {case: ours[case] - theirs[case] for case in ours.keys() & theirs.keys()}
        found = {case: x for case, x in found.items() if not math.isnan(x)}
        seeds += bool(found)
        for case, x in found.items():
            differences.setdefault(case, []).append(x)
    if not differences:
        return None
    # In the order of their names, so that the draws don't depend on that of the files.
    of_cases = np.array([np.mean(differences[case]) for case in sorted(differences)])
    low = high = math.nan
    if len(of_cases) > 1:
        means = _resampled(of_cases, resamples, np.random.default_rng(seed))
        low, high = np.quantile(means, [(1 - level) / 2, (1 + level) / 2]).tolist()
    return Difference(float(of_cases.mean()), low, high, len(of_cases), seeds)


def _resampled(
    values: Float[np.ndarray, " n"], resamples: int, random: np.random.Generator
) -> Float[np.ndarray, " resamples"]:
    """The mean of each of so many draws of as many values, with replacement."""
    n = len(values)
    rows = max(1, CHUNK // n)
    return np.concatenate(
        [
            values[random.integers(0, n, (min(rows, resamples - done), n))].mean(axis=1)
            for done in range(0, resamples, rows)
        ]
    )


def _mean(values: Sequence[float]) -> float:
    """Over those that there are; NaN if there is none."""
    there = [value for value in values if not math.isnan(value)]
    return math.fsum(there) / len(there) if there else math.nan
