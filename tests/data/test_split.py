"""Splits are disjoint, complete, proportionate, and independent of the listing's order."""

from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rubik_jax.data.cases import Case
from rubik_jax.data.split import Split, check_classes, check_seen, inherit, limit, make_split
from rubik_jax.errors import UserError

cohorts = st.lists(st.text("abcdef", min_size=1), min_size=1, max_size=40, unique=True)
fractions = st.floats(0, 1, exclude_max=True)
seeds = st.integers(0, 2**32 - 1)


KNOBS = {"test": 0.2, "validation": 0.1, "seed": 0, "folds": 0, "fold": 0, "file": None}


def made(names, targets=None, **knobs):
    """The split of cases by those names, whose classes are the targets, where there are any."""
    targets = targets or {}
    cases = [Case(name, (Path(name),), target=targets.get(name)) for name in names]
    return make_split(cases, **(KNOBS | knobs))


@settings(deadline=None, max_examples=50)
@given(cohorts, fractions, fractions, seeds, st.randoms(), st.booleans())
def test_parts_partition_the_cohort_whatever_its_order(
    names, test, validation, seed, random, classified
):
    knobs = {"test": test, "validation": validation, "seed": seed}
    knobs["targets"] = {name: name[0] for name in names} if classified else {}
    parts = made(names, **knobs)
    assert sorted(sum(parts, ())) == sorted(names)
    assert parts.train
    assert made(random.sample(names, len(names)), **knobs) == parts


@settings(deadline=None, max_examples=50)
@given(cohorts, fractions, fractions, seeds)
def test_parts_asked_for_are_there_and_others_are_not(names, test, validation, seed):
    parts = made(names, test=test, validation=validation, seed=seed)
    n = len(names)
    assert bool(parts.test) == (test > 0 and n >= 2)
    if validation == 0 or n == 1:
        assert not parts.validation
    elif n >= 3:
        assert parts.validation
    assert abs(len(parts.test) - test * n) < 1 or len(parts.test) in (1, n - 1, n - 2)


def test_the_papers_split_and_its_seed():
    names = [f"case{i}" for i in range(200)]
    parts = made(names, seed=1)
    assert [len(part) for part in parts] == [144, 16, 40]
    assert parts != made(names, seed=2)
    assert made(["only"]) == Split(("only",), (), ())


@pytest.mark.parametrize("seed", range(5))
def test_each_part_has_classes_in_the_cohorts_proportions(seed):
    targets = {f"case{i:03d}": "abbbccccc"[i % 9] for i in range(180)}  # 20, 60, 100
    targets |= {f"unlabelled{i}": None for i in range(20)}
    parts = made(targets, targets, seed=seed)
    for part, n in zip(parts, (144, 16, 40), strict=True):
        count = Counter(targets[name] for name in part)
        assert len(part) == n
        for of, share in {"a": 0.1, "b": 0.3, "c": 0.5, None: 0.1}.items():
            assert abs(count[of] - share * n) < 1


@settings(deadline=None, max_examples=50)
@given(st.dictionaries(st.text("abcdef", min_size=1), st.sampled_from("xyz"), min_size=2), seeds)
def test_a_class_loses_its_last_training_case_only_where_every_case_is_one(targets, seed):
    parts = made(targets, targets, seed=seed, test=0.3, validation=0.3, classify=True)
    counts = Counter(targets.values())
    trained = {targets[name] for name in parts.train}
    assert parts.test
    if max(counts.values()) > 1:
        assert trained == {*counts}
    else:
        assert len(trained) == len(counts) - 1 and not parts.validation


def test_a_rare_case_is_trained_on_and_fewer_places_than_classes_are_filled():
    rare = {f"case_{i}": "rare" if i == 0 else "common" for i in range(8)}
    for seed in range(20):
        assert "case_0" in made(rare, rare, seed=seed).train
    many = {f"{of}{i}": of for of in "abcdefgh" for i in range(5)}
    parts = made(many, many, test=0.1)
    assert len(parts.test) == 4 and len({name[0] for name in parts.test}) >= 3


@pytest.mark.parametrize("knob", [{"test": 1.0}, {"test": -0.1}, {"validation": 1.5}, {"seed": -1}])
def test_refuses_impossible_knobs(knob):
    with pytest.raises(UserError, match=rf"{next(iter(knob))} is "):
        made("ab", **knob)


@settings(deadline=None, max_examples=50)
@given(cohorts.filter(lambda names: len(names) > 3), st.integers(2, 4), seeds)
def test_folds_share_the_classes_evenly(names, folds, seed):
    targets = {name: "xy"[len(name) % 2] for name in names}
    parts = [made(names, targets, folds=folds, fold=k, seed=seed).test for k in range(folds)]
    sizes = [Counter(targets[name] for name in part) for part in parts]
    if max(Counter(targets.values()).values()) >= folds:
        for of in "xy":
            assert max(size[of] for size in sizes) - min(size[of] for size in sizes) <= 1


@settings(deadline=None, max_examples=50)
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


@settings(deadline=None, max_examples=50)
@given(st.data(), cohorts, seeds, st.booleans())
def test_fewer_labelled_cases_are_among_more(data, names, seed, classified):
    targets = {name: name[0] for name in names} if classified else None
    whole = Split(tuple(sorted(names)), ("v",), ("t",))
    least = len({*targets.values()}) if classified else 1
    before = limit(whole, str(least), seed, targets)
    assert not classified or {targets[name] for name in before.train} == {*targets.values()}
    for n in range(least, len(names) + 1):
        parts = limit(whole, str(n), seed, targets)
        assert len(parts.train) == n and parts[1:] == whole[1:]
        assert set(before.train) <= set(parts.train) <= set(names)
        if classified:  # no class has a second case, or a third, before each has its first
            per_class = {c: [targets[x] for x in parts.train].count(c) for c in targets.values()}
            for c, count in per_class.items():
                assert count >= min([*targets.values()].count(c), max(per_class.values()) - 1)
        before = parts
    shuffled = Split(tuple(data.draw(st.permutations(names))), ("v",), ("t",))
    n = str(data.draw(st.integers(least, len(names))))
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


def test_fewer_labelled_cases_than_classes_are_refused():
    whole, targets = Split(("a", "b", "c", "d"), (), ()), dict(zip("abcd", "xyzz", strict=True))
    for labelled in ("2", "50%"):
        with pytest.raises(UserError, match=rf"labelled is '{labelled}', 2 of 4 .* 3 classes"):
            limit(whole, labelled, 0, targets)
    assert len(limit(whole, "2", 0).train) == 2


def test_a_class_without_training_cases_is_refused_by_name():
    targets = {"a": "x", "b": "y", "c": "y", "d": "y", "e": "x"}
    check_classes(Split(("a", "b"), (), ("c", "d", "e")), targets)
    with pytest.raises(UserError) as caught:
        check_classes(Split(("a",), ("b",), ("c", "e")), targets)
    assert str(caught.value).startswith(
        "class 'y' has no training case (1 in validation, 1 in test, 1 left out): expected one"
    )
    with pytest.raises(UserError, match=r"all 2 cases .* 'x'; expected at least two classes"):
        check_classes(Split(("a",), (), ("e",)), {"a": "x", "e": "x"})
    with pytest.raises(UserError, match=r"class 'x' .* \(2 in test\), nor have 1 other classes:"):
        check_classes(Split((), (), tuple(targets)), targets)


def test_the_split_of_a_run_is_inherited_where_it_knows_every_case():
    run = Split(["c", "a"], ["b"], ["d"])  # lists, as JSON has them
    cases = [Case(name, ()) for name in "dcba"]
    assert inherit(cases, run) == Split(("a", "c"), ("b",), ("d",))
    assert inherit(cases[1:], run) == Split(("a", "c"), ("b",), ())
    assert inherit([*cases, Case("e", ())], run) is None


def test_cases_of_other_names_follow_their_group_where_it_is_in_one_part():
    run = Split(("p1_ed", "p1_es", "p4_ed"), ("p2_ed",), ("p3_ed", "p3_es", "p4_es"))
    pairs = [Case(name, ()) for name in ("p3", "p1", "p2")]
    assert inherit(pairs, run, "p[0-9]+") == Split(("p1",), ("p2",), ("p3",))
    assert inherit([*pairs, Case("p3_ed", ())], run, "p[0-9]+").test == ("p3", "p3_ed")
    assert inherit(pairs, run) is None
    for other in ("p4", "p5", "q"):  # in two parts, or in none
        assert inherit([*pairs, Case(other, ())], run, "p[0-9]+") is None


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


@settings(deadline=None, max_examples=100)
@given(
    st.integers(2, 12),
    st.integers(1, 4),
    seeds,
    st.sampled_from(["drawn", "folds", "parts"]),
    st.sampled_from(["", "x", "xy", "xyz"]),
)
def test_groups_stay_together_whatever_draws_the_parts(patients, sessions, seed, how, classes):
    cases = [
        Case(
            f"sub-{p:02d}_ses-{s}",
            (),
            part="train" if how == "parts" else None,
            target=classes[(p * p + s) % len(classes)] if classes else None,
        )
        for p in range(patients)
        for s in range(1 + (sessions * p) % 4)
    ]
    knobs = KNOBS | {"group": "sub-[^_]+", "seed": seed, "test": 0.3, "validation": 0.3}
    parts = make_split(cases, **knobs | ({"folds": 2} if how == "folds" else {}))
    assert sorted(sum(parts, ())) == [case.name for case in cases]
    assert parts.train and (how == "parts" or parts.test)
    holders = [{name.split("_")[0] for name in part} for part in parts]
    assert parts.validation or len(holders[0]) == 1
    assert sum(map(len, holders)) == patients  # each in one part alone


@pytest.mark.parametrize("seed", range(5))
def test_patients_of_many_scans_or_few_make_parts_alike_in_size_and_classes(seed):
    """40 patients of 1 to 7 scans, a fifth of them of class x, and one patient of 30."""
    targets = {f"sub-{p}_{s}": "xyyyy"[p % 5] for p in range(40) for s in range(1 + p % 7)}
    targets |= {f"sub-99_{s}": "y" for s in range(30)}
    parts = made(targets, targets, group="sub-[^_]+", seed=seed)
    share = list(targets.values()).count("x") / len(targets)
    for part, size in ((parts.test, 0.2), (parts.validation, 0.08)):
        found = [targets[name] for name in part]
        assert abs(len(part) - size * len(targets)) < 6
        assert abs(found.count("x") - share * len(part)) < 4


def test_a_group_that_matches_nothing_is_a_case_and_a_broken_expression_is_refused():
    cases = [Case(name, ()) for name in "abcdefgh"]
    assert make_split(cases, **KNOBS | {"group": "sub-[^_]+"}) == make_split(cases, **KNOBS)
    with pytest.raises(UserError, match=r"config\.data\.split\.group is 'sub-\('"):
        make_split(cases, **KNOBS | {"group": "sub-("})
