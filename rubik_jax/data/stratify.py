"""Draws parts of a cohort, alike in classes and whole in groups, with scikit-learn's splitters."""

import warnings
from collections import Counter
from collections.abc import Mapping, Sequence
from fractions import Fraction

import numpy as np

FINEST = 20  # folds into which groups are dealt where a share of them is drawn


def draw(
    names: Sequence[str],
    share: float,
    seed: int,
    *,
    classes: Mapping[str, str | None],
    groups: Mapping[str, str],
    spare: int = 1,
    keep: bool = False,
) -> list[str]:
    """About that share of the cases, each class alike; the order of `names` does not matter.

    The last group of a class is left over, unless every group is the last of some class. Single
    cases are drawn by `StratifiedShuffleSplit`, the share rounded; larger groups by
    `StratifiedGroupKFold`, of whose folds those are taken that come nearest to the share.

    Args:
        names: of the cases, each once.
        share: in [0, 1) of them; at least one group where it isn't 0.
        seed: of the draw.
        classes: case → class; cases without one, None, are drawn like a class of their own.
        groups: case → group, which is drawn whole.
        spare: groups that must be left over.
        keep: whether to draw nothing where every group is the last of some class.

    Returns:
        The names that were drawn, sorted; none where there are no more than `spare` groups.
    """
    members = _members(names, groups)
    if not share or len(members) <= spare:
        return []
    holders = Counter(kind for of in members.values() for kind in {classes[name] for name in of})
    free = {k: of for k, of in members.items() if min(holders[classes[n]] for n in of) > 1}
    if not free and keep:
        return []
    if not free:
        free, classes = members, dict.fromkeys(names)
    if len(members) == len(names):
        number = min(max(round(share * len(names)), 1), len(names) - spare)
        single = [name for of in free.values() for name in of]
        drawn = [groups[name] for name in _drawn_cases(single, number, seed, classes)]
    else:
        drawn = _drawn_groups(free, members, share * len(names), seed, classes, spare)
    drawn = _without_last(drawn, members, classes)
    return sorted(name for key in drawn for name in members[key])


def deal(
    names: Sequence[str],
    count: int,
    seed: int,
    *,
    classes: Mapping[str, str | None],
    groups: Mapping[str, str],
) -> list[list[str]]:
    """All cases in `count` folds, alike in classes and in size, however `names` are ordered.

    Args:
        names: of the cases, each once.
        count: 2 to the number of groups.
        seed: of the draw.
        classes: case → class or None.
        groups: case → group, which lies in one fold as a whole.

    Returns:
        The names of each fold, sorted, none empty.
    """
    from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold  # half a second

    names = sorted(names)
    of = [groups[name] for name in names]
    splitter = StratifiedKFold if len({*of}) == len(names) else StratifiedGroupKFold
    alike = np.zeros(len(names), int)
    numbers = _numbers([classes[name] for name in names])
    # More folds than any class has cases are refused, and rounding may leave a fold empty.
    for strata in (numbers, alike) if np.bincount(numbers).max() >= count else (alike,):
        with warnings.catch_warnings():  # some classes may have fewer cases than there are folds
            warnings.simplefilter("ignore", UserWarning)
            folds = splitter(count, shuffle=True, random_state=seed).split(names, strata, of)
            dealt = [[names[i] for i in rows] for _, rows in folds]
        if all(dealt):
            break
    return dealt


def _drawn_cases(
    names: list[str], number: int, seed: int, classes: Mapping[str, str | None]
) -> list[str]:
    """So many of the cases, of each class two of which are there."""
    from sklearn.model_selection import StratifiedShuffleSplit

    sizes = Counter(classes[name] for name in names)
    number = min(number, max(1, len(names) - len(sizes)))
    # With fewer places than classes the rarest share one.
    common = [kind for kind, _ in sizes.most_common(number - 1 if number < len(sizes) else None)]
    strata = [common.index(classes[n]) if classes[n] in common else -1 for n in names]
    splitter = StratifiedShuffleSplit(1, test_size=number, random_state=seed)
    _, rows = next(splitter.split(names, strata))
    return [names[i] for i in rows]


def _drawn_groups(
    free: Mapping[str, list[str]],
    members: Mapping[str, list[str]],
    wanted: float,
    seed: int,
    classes: Mapping[str, str | None],
    spare: int,
) -> list[str]:
    """Groups of about `wanted` cases in all, of those that are free to be drawn."""
    if len(free) == 1:
        return [*free]
    group = {name: key for key, names in free.items() for name in names}
    share = Fraction(min(wanted / len(group), 1)).limit_denominator(min(len(free), FINEST))
    count = share.denominator if 0 < share < 1 else min(len(free), FINEST)
    most = count - max(1, spare - (len(members) - len(free)))
    take = max(1, min(round(share * count), most))
    folds = deal([*group], count, seed, classes=classes, groups=group)
    known = {*classes.values()}

    def misfit(first: int) -> tuple[bool, int, int, float]:
        """What a part of neighbouring folds lacks, and by how many cases it misses its size."""
        part = {name for i in range(take) for name in folds[(first + i) % count]}
        rest = {name for names in members.values() for name in names} - part
        lost, absent = (len(known - {classes[n] for n in names}) for names in (rest, part))
        left = len(members) - len({group[name] for name in part})
        return left < spare, lost, absent, abs(len(part) - wanted)

    first = min(np.random.default_rng(seed).permutation(count).tolist(), key=misfit)
    return list(dict.fromkeys(group[n] for i in range(take) for n in folds[(first + i) % count]))


def _without_last(
    drawn: list[str], members: Mapping[str, list[str]], classes: Mapping[str, str | None]
) -> list[str]:
    """The groups without those that hold the last cases of a class, one for each such class."""
    left = {classes[n] for key in members.keys() - {*drawn} for n in members[key]}
    kept = []
    for key in drawn:
        new = {classes[name] for name in members[key]} - left
        if new:
            left |= new
        else:
            kept.append(key)
    return kept or drawn


def _members(names: Sequence[str], groups: Mapping[str, str]) -> dict[str, list[str]]:
    """Group → its cases, both sorted."""
    members: dict[str, list[str]] = {}
    for name in sorted(names, key=lambda name: (groups[name], name)):
        members.setdefault(groups[name], []).append(name)
    return members


def _numbers(classes: Sequence[str | None]) -> np.ndarray:
    """The number of each case's class, by its name; 0 for those without."""
    order = {kind: i for i, kind in enumerate(sorted({c for c in classes if c is not None}), 1)}
    return np.array([order.get(kind, 0) for kind in classes])
