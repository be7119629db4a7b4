"""Splits are disjoint, complete, proportionate, and independent of the listing's order."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rubik_jax.data.cases import Case
from rubik_jax.data.split import Split, check_seen, inherit, limit, make_split, split
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


KNOBS = {"test": 0.2, "validation": 0.1, "seed": 0, "folds": 0, "fold": 0, "file": None}


def made(names, **knobs):
    cases = [Case(name, (Path(name),)) for name in names]
    return make_split(cases, **(KNOBS | knobs))


@given(cohorts, fractions, fractions, seeds)
def test_without_folds_or_file_the_split_is_drawn_as_ever(names, test, validation, seed):
    knobs = {"test": test, "validation": validation, "seed": seed}
    assert made(names, **knobs) == split(names, **knobs)


def test_the_draw_is_that_of_earlier_runs():
    assert made([f"c{i}" for i in range(12)], test=0.25, validation=0.2, seed=7) == Split(
        ("c10", "c11", "c3", "c5", "c6", "c7", "c9"), ("c0", "c1"), ("c2", "c4", "c8")
    )


@given(st.data(), cohorts.filter(lambda names: len(names) > 1), fractions, seeds)
def test_folds_test_every_case_exactly_once(data, names, validation, seed):
    folds = data.draw(st.integers(2, len(names)))
    knobs = {"validation": validation, "seed": seed, "folds": folds}
    parts = [made(names, **knobs, fold=fold) for fold in range(folds)]
    assert sorted(name for part in parts for name in part.test) == sorted(names)
    sizes = [len(part.test) for part in parts]
    assert max(sizes) - min(sizes) <= 1
    for part in parts:
        assert sorted(sum(part, ())) == sorted(names) and part.train
        assert bool(part.validation) == (validation > 0 and len(names) - len(part.test) > 1)
    shuffled = data.draw(st.permutations(names))
    assert made(shuffled, **knobs, fold=folds - 1) == parts[-1]


def test_the_cohorts_own_parts_hold_unless_folds_are_asked_for():
    cases = [Case(f"c{i}", (), part="test" if i < 3 else "train") for i in range(13)]
    own = make_split(cases, **KNOBS | {"test": 0.9, "validation": 0.2})
    assert own.test == ("c0", "c1", "c2") and len(own.validation) == 2 and len(own.train) == 8
    assert make_split(cases[::-1], **KNOBS | {"validation": 0.2}) == own
    assert make_split(cases, **KNOBS | {"validation": 0.0}).validation == ()
    cases[3] = cases[3]._replace(part="validation")
    assert make_split(cases, **KNOBS).validation == ("c3",)
    names = [case.name for case in cases]
    assert make_split(cases, **KNOBS | {"folds": 4}) == made(names, folds=4)
    with pytest.raises(UserError, match="fixes a part for some cases only"):
        make_split([*cases, Case("c", ())], **KNOBS)
    with pytest.raises(UserError, match="none to train on"):
        make_split(cases[:3], **KNOBS)


@pytest.mark.parametrize(
    ("knobs", "said"),
    [
        ({"folds": 1}, r"folds is 1: expected 0, or 2 to 4"),
        ({"folds": 5}, "folds is 5"),
        ({"folds": -2}, "folds is -2"),
        ({"folds": 3, "fold": 3}, "fold is 3: expected 0 to 2"),
        ({"folds": 3, "fold": -1}, "fold is -1"),
        ({"folds": 3, "file": "x.csv"}, r"file is x\.csv and .*folds is 3: expected one"),
        ({"folds": 3, "validation": 1.0}, r"validation is 1\.0"),
    ],
)
def test_refuses_impossible_folds(knobs, said):
    with pytest.raises(UserError, match=said):
        made("abcd", **knobs)


@given(st.data(), cohorts, seeds, st.booleans())
def test_fewer_labelled_cases_are_among_more(data, names, seed, classified):
    targets = {name: name[0] for name in names} if classified else None
    whole = Split(tuple(sorted(names)), ("v",), ("t",))
    before = limit(whole, "1", seed, targets)
    for n in range(1, len(names) + 1):
        parts = limit(whole, str(n), seed, targets)
        assert len(parts.train) == n and parts[1:] == whole[1:]
        assert set(before.train) <= set(parts.train) <= set(names)
        if classified:  # no class has a second case, or a third, before each has its first
            per_class = {c: [targets[x] for x in parts.train].count(c) for c in targets.values()}
            for c, count in per_class.items():
                assert count >= min([*targets.values()].count(c), max(per_class.values()) - 1)
        before = parts
    shuffled = Split(tuple(data.draw(st.permutations(names))), ("v",), ("t",))
    n = str(data.draw(st.integers(1, len(names))))
    assert limit(shuffled, n, seed, targets) == limit(whole, n, seed, targets)
    assert limit(whole, "all", seed, targets) == limit(whole, "100%", seed) == whole


def test_shares_of_the_labelled_cases_are_rounded_and_seeds_differ():
    parts = Split(tuple(f"c{i:02d}" for i in range(45)), (), ())
    for share, n in (("10%", 4), ("50%", 22), ("0.1%", 1), ("99.9%", 45), ("12.5%", 6)):
        assert len(limit(parts, share, 0).train) == n
    assert limit(parts, "8", 0) != limit(parts, "8", 1)


@pytest.mark.parametrize(
    "labelled", ["0", "-1", "4", "0%", "101%", "nan%", "inf%", "few", "", "%", "1.5", "8 cases"]
)
def test_refuses_impossible_numbers_of_labelled_cases(labelled):
    with pytest.raises(UserError, match=r"config\.data\.labelled is "):
        limit(Split(("a", "b", "c"), (), ()), labelled, 0)


def test_the_split_of_a_run_is_inherited_where_it_knows_every_case():
    run = Split(["c", "a"], ["b"], ["d"])  # lists, as JSON has them
    cases = [Case(name, ()) for name in "dcba"]
    assert inherit(cases, run) == Split(("a", "c"), ("b",), ("d",))
    assert inherit(cases[1:], run) == Split(("a", "c"), ("b",), ())
    assert inherit([*cases, Case("e", ())], run) is None


def test_a_test_case_that_was_trained_on_is_refused_unless_named():
    run = Split(["a", "b"], ["c"], ["d"])
    seen = {name: f"/{name}.nii" for name in (*run.train, *run.validation)}
    files = {name: (f"/{name}.nii", f"digest of {name}") for name in "abcde"}
    check_seen(Split(("a", "b", "c"), (), ("d", "e")), seen, files)
    for test, said in ((("c", "d"), "'c' .*1 of 2"), (("a", "b", "d"), "'a' .*2 of 3")):
        with pytest.raises(UserError, match=rf"test case {said} .*config\.data\.split\.seen"):
            check_seen(Split((), (), test), seen, files)
        check_seen(Split((), (), test), seen, files, ("*",))
        check_seen(Split((), (), test), seen, files, ("a", "b", "c"))
    with pytest.raises(UserError, match=r"'b' .*1 of 3"):
        check_seen(Split((), (), ("a", "b", "d")), seen, files, ("a",))
    for known in ("/a.nii", "digest of a"):  # the same file by another name
        with pytest.raises(UserError, match="'e'"):
            check_seen(Split((), (), ("d", "e")), seen | {"a": known}, files | {"e": (known,)})


@given(st.integers(2, 12), st.integers(1, 4), seeds, st.sampled_from(["drawn", "folds", "parts"]))
def test_groups_stay_together_whatever_draws_the_parts(patients, sessions, seed, how):
    cases = [
        Case(f"sub-{p:02d}_ses-{s}", (), part="train" if how == "parts" else None)
        for p in range(patients)
        for s in range(sessions)
    ]
    knobs = KNOBS | {"group": "sub-[^_]+", "seed": seed, "test": 0.3, "validation": 0.3}
    parts = make_split(cases, **knobs | ({"folds": 2} if how == "folds" else {}))
    assert sorted(sum(parts, ())) == [case.name for case in cases]
    assert parts.train and (how == "parts" or parts.test)
    holders = [{name.split("_")[0] for name in part} for part in parts]
    assert sum(map(len, holders)) == patients  # each in one part alone


def test_a_group_that_matches_nothing_is_a_case_and_a_broken_expression_is_refused():
    cases = [Case(name, ()) for name in "abcdefgh"]
    assert make_split(cases, **KNOBS | {"group": "sub-[^_]+"}) == make_split(cases, **KNOBS)
    with pytest.raises(UserError, match=r"config\.data\.split\.group is 'sub-\('"):
        make_split(cases, **KNOBS | {"group": "sub-("})
