"""Draws which cases train, which choose the best checkpoint, and which are only reported on."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from rubik_jax.errors import UserError


class Split(NamedTuple):
    """The names of the cases of each part, each sorted."""

    train: tuple[str, ...]
    validation: tuple[str, ...]
    test: tuple[str, ...]


def split(names: Sequence[str], *, test: float, validation: float, seed: int) -> Split:
    """Splits a cohort by case; the order in which the names are listed does not matter.

    A part that is asked for gets at least one case where there are enough of them (two for test,
    three for validation as well), and at least one case is left to train on.

    Args:
        names: the cases, each named once.
        test: the fraction of all cases (the paper's 80:20 is 0.2).
        validation: the fraction of the cases that test leaves.
        seed: of the draw.

    Raises:
        UserError: a fraction outside [0, 1), or a seed outside [0, 2**32).
    """
    for part, fraction in (("test", test), ("validation", validation)):
        if not 0 <= fraction < 1:
            raise UserError(
                f"config.data.split.{part} is {fraction}: expected a fraction in [0, 1)"
            )
    if not 0 <= seed < 2**32:
        raise UserError(f"config.data.split.seed is {seed}: expected 0 to {2**32 - 1}")

    ordered = np.array(sorted(names), dtype=object)
    shuffled = ordered[np.random.default_rng(seed).permutation(len(ordered))]
    validates = validation > 0 and len(names) >= 3
    n_test = _count(test, len(names), least=len(names) >= 2, spare=1 + validates)
    n_validation = _count(validation, len(names) - n_test, least=validates, spare=1)
    parts = np.split(shuffled, [n_test, n_test + n_validation])
    test_names, validation_names, train_names = (tuple(sorted(part)) for part in parts)
    return Split(train_names, validation_names, test_names)


def _count(fraction: float, of: int, *, least: bool, spare: int) -> int:
    """The fraction rounded, but at least `least` when asked for, and `spare` cases left over."""
    wanted = max(round(fraction * of), int(least and fraction > 0))
    return max(0, min(wanted, of - spare))
