"""Splits are disjoint, complete, proportionate, and independent of the listing's order."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rubik_jax.data.split import Split, split
from rubik_jax.errors import UserError

cohorts = st.lists(st.text("abcdef", min_size=1), min_size=1, max_size=40, unique=True)
fractions = st.floats(0, 1, exclude_max=True)
seeds = st.integers(0, 2**32 - 1)


@given(cohorts, fractions, fractions, seeds, st.randoms())
def test_parts_partition_the_cohort_whatever_its_order(names, test, validation, seed, random):
    parts = split(names, test=test, validation=validation, seed=seed)
    assert sorted(sum(parts, ())) == sorted(names)
    assert parts.train
    shuffled = random.sample(names, len(names))
    assert split(shuffled, test=test, validation=validation, seed=seed) == parts


@given(cohorts, fractions, fractions, seeds)
def test_parts_asked_for_are_there_and_others_are_not(names, test, validation, seed):
    parts = split(names, test=test, validation=validation, seed=seed)
    n = len(names)
    assert bool(parts.test) == (test > 0 and n >= 2)
    if validation == 0 or n == 1:
        assert not parts.validation
    elif n >= 3:
        assert parts.validation
    assert abs(len(parts.test) - test * n) < 1 or len(parts.test) in (1, n - 1, n - 2)


def test_the_papers_split_and_its_seed():
    names = [f"case{i}" for i in range(200)]
    parts = split(names, test=0.2, validation=0.1, seed=1)
    assert [len(part) for part in parts] == [144, 16, 40]
    assert parts != split(names, test=0.2, validation=0.1, seed=2)
    assert split(["only"], test=0.2, validation=0.1, seed=0) == Split(("only",), (), ())


@pytest.mark.parametrize("knob", [{"test": 1.0}, {"test": -0.1}, {"validation": 1.5}, {"seed": -1}])
def test_refuses_impossible_knobs(knob):
    with pytest.raises(UserError, match=rf"{next(iter(knob))} is "):
        split(["a", "b"], **({"test": 0.2, "validation": 0.1, "seed": 0} | knob))
