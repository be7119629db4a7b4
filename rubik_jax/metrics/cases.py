"""Measures of many cases: their mean, and their way into a file."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np


def mean_over_cases(cases: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """The mean of each measure over the cases that have it.

    Args:
        cases: measures by name, of each case; NaN stands for one that a case doesn't have.

    Returns:
        Means in the order of the first case, NaN where no case has the measure.
    """
    names = dict.fromkeys(name for case in cases for name in case)
    found = {
        name: [case[name] for case in cases if not math.isnan(case.get(name, math.nan))]
        for name in names
    }
    return {name: float(np.mean(of)) if of else math.nan for name, of in found.items()}


def case_counts(cases: Sequence[Mapping[str, float]], kind: str) -> dict[str, int]:
    """How many cases have each measure of a kind, so that a mean over few is seen as such.

    Args:
        cases: as of `mean_over_cases`.
        kind: what the measures' names begin with, or end with after a word, e.g. "dice".

    Returns:
        `cases_with_<measure>`.
    """
    names = dict.fromkeys(name for case in cases for name in case)
    return {
        f"cases_with_{name}": sum(not math.isnan(case.get(name, math.nan)) for case in cases)
        for name in names
        if name.startswith(f"{kind}_") or name.endswith(f"_{kind}")
    }


def for_json(measures: Mapping[str, Any]) -> dict[str, Any]:
    """The same measures with None for NaN, which isn't JSON."""
    return {
        name: None if isinstance(value, float) and math.isnan(value) else value
        for name, value in measures.items()
    }
