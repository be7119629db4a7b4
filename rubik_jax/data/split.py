"""Draws which cases train, which choose the best checkpoint, and which are only reported on."""

import itertools
import re
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from rubik_jax.data import split_file
from rubik_jax.data.cases import Case
from rubik_jax.errors import UserError


class Split(NamedTuple):
    """The names of the cases of each part, each sorted."""

    train: tuple[str, ...]
    validation: tuple[str, ...]
    test: tuple[str, ...]


def make_split(
    cases: Sequence[Case],
    *,
    test: float,
    validation: float,
    seed: int,
    folds: int,
    fold: int,
    file: str | Path | None,
    group: str = "",
    absent: Collection[str] = (),
) -> Split:
    """The split of a cohort: from a file, by folds, as the cohort fixes it, or drawn as a fraction.

    What comes first of these wins. Where a file or a cohort says nothing of validation, it is drawn
    from the cases that train. Nothing depends on the order in which the cases are listed.

    Args:
        cases: each named once.
        test: the fraction of all cases, where neither file, folds nor cohort decide.
        validation: the fraction of the cases that test leaves.
        seed: of the draw.
        folds: into how many parts, alike to one case, the cohort is dealt; 0 for none.
        fold: which of them is the test part, or which fold of nnU-Net's file is meant.
        file: see `split_file.read`; None or "" for none.
        group: a regular expression; cases in whose names it finds the same stay together where a
            part is drawn, as the sessions of a patient do by "sub-[^_]+". "" draws case by case.
        absent: cases that the file may list, though they can't be used.

    Raises:
        UserError: knobs out of range or at odds with each other, or a file that does not fit.
    """
    _check(test, validation, seed)
    names = sorted(case.name for case in cases)
    members = _grouped(names, group)
    if file:
        if folds:
            raise UserError(
                f"config.data.split.file is {file} and config.data.split.folds is {folds}: "
                "expected one of them"
            )
        given = split_file.read(file, fold, {*names}, absent)
        there = {part: [n for n in found if n not in absent] for part, found in given.items()}
        return _completed(there, validation, seed, group)
    if folds:
        return _expanded(_fold(list(members), validation, seed, folds, fold), members)
    if any(case.part for case in cases):
        parts = {part: [c.name for c in cases if c.part == part] for part in Split._fields}
        if sum(map(len, parts.values())) < len(cases) or not parts["train"]:
            raise UserError(
                "the cohort fixes a part for some cases only, or none to train on: expected "
                "config.data.split.file or config.data.split.folds"
            )
        given = {part: found for part, found in parts.items() if found}
        return _completed(given, validation, seed, group)
    drawn = split(list(members), test=test, validation=validation, seed=seed)
    return _expanded(drawn, members)


def split(names: Sequence[str], *, test: float, validation: float, seed: int) -> Split:
    """Splits a cohort by fractions; the order in which the names are listed does not matter.

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
    _check(test, validation, seed)
    shuffled = _shuffled(names, seed)
    validates = validation > 0 and len(names) >= 3
    n_test = _count(test, len(names), least=len(names) >= 2, spare=1 + validates)
    n_validation = _count(validation, len(names) - n_test, least=validates, spare=1)
    tested, validated, trained = np.split(shuffled, [n_test, n_test + n_validation])
    return _sorted(trained, validated, tested)


def limit(
    parts: Split, labelled: str, seed: int, targets: Mapping[str, str] | None = None
) -> Split:
    """The same split with fewer cases to train on, as if the others had no labels.

    Fewer are always among more, so that a curve over their number adds cases and exchanges none.

    Args:
        parts: the whole split.
        labelled: "all", a number as "8", or a share of the training cases as "10%", rounded, at
            least one case.
        seed: of the draw, which depends on nothing else but names and classes.
        targets: case → class, where there are classes: they take turns then, so that few cases
            hold as many classes as they can.

    Raises:
        UserError: not understood, none, or more than there are.
    """
    if labelled == "all":
        return parts
    order = _shuffled(parts.train, seed).tolist()
    if targets is not None:
        seen: Counter[str] = Counter()
        turns = {}
        for name in order:
            turns[name] = seen[targets[name]]
            seen[targets[name]] += 1
        order.sort(key=turns.__getitem__)
    return parts._replace(train=tuple(sorted(order[: _number(labelled, len(order))])))


def inherit(cases: Sequence[Case], run_split: Split) -> Split | None:
    """The split of an earlier run, if it knows all of these cases, without those it knows beside.

    So it may have been pre-trained on scans that nobody has labelled. None where a case is new.
    """
    names = {case.name for case in cases}
    if not names <= set(_names(run_split)):
        return None
    return _sorted(*([name for name in part if name in names] for part in run_split))


def check_seen(
    parts: Split,
    seen: Mapping[str, str],
    files: Mapping[str, Collection[str]],
    allowed: tuple[str, ...] = (),
) -> None:
    """Refuses test cases that the weights have been trained on or chosen by.

    Args:
        parts: the split of the run to come.
        seen: case → what identifies its first file, of all that the run which `config.init_from`
            names, and those that it came from, have trained on or been chosen by.
        files: case → the same in all forms there are, of the run to come; a case that goes by
            another name is known.
        allowed: cases that may be tested nevertheless; ("*",) for all.

    Raises:
        UserError: names the first such case.
    """
    if "*" in allowed:
        return
    known = {*seen.values()}
    found = [
        name
        for name in parts.test
        if (name in seen or not known.isdisjoint(files[name])) and name not in allowed
    ]
    if found:
        raise UserError(
            f"test case {found[0]!r} was a training or validation case of config.init_from, or of "
            f"what that came from ({len(found)} of {len(parts.test)} test cases were): expected "
            "test cases that were never seen, or their names in config.data.split.seen, ('*',) "
            "for all of them"
        )


def _fold(names: list[str], validation: float, seed: int, folds: int, fold: int) -> Split:
    if not 2 <= folds <= len(names):
        raise UserError(
            f"config.data.split.folds is {folds}: expected 0, or 2 to {len(names)}, as many as "
            "there are cases, or groups of them"
        )
    if not 0 <= fold < folds:
        raise UserError(f"config.data.split.fold is {fold}: expected 0 to {folds - 1}")
    dealt = np.array_split(_shuffled(names, seed), folds)
    # From the next fold on, so that each fold has a validation part of its own.
    rest = np.concatenate([*dealt[fold + 1 :], *dealt[:fold]])
    n = _count(validation, len(rest), least=len(rest) >= 2, spare=1)
    return _sorted(rest[n:], rest[:n], dealt[fold])


def _completed(
    parts: Mapping[str, Sequence[str]], validation: float, seed: int, group: str
) -> Split:
    """The split of parts that are given, validation drawn from train where it is not."""
    train, test = parts["train"], parts.get("test", ())
    if "validation" in parts:
        return _sorted(train, parts["validation"], test)
    members = _grouped(train, group)
    shuffled = _shuffled(list(members), seed)
    n = _count(validation, len(members), least=len(members) >= 2, spare=1)
    drawn = _expanded(_sorted(shuffled[n:], shuffled[:n], ()), members)
    return _sorted(drawn.train, drawn.validation, test)


def _grouped(names: Sequence[str], group: str) -> dict[str, list[str]]:
    """Group → its cases; a case in which the expression finds nothing is one of its own."""
    try:
        found = {name: re.search(group, name) if group else None for name in names}
    except re.error as error:
        raise UserError(
            f"config.data.split.group is {group!r}: expected a regular expression ({error})"
        ) from error
    members: dict[str, list[str]] = {}
    for name, match in found.items():
        members.setdefault(match[0] if match else name, []).append(name)
    return members


def _expanded(groups: Split, members: Mapping[str, Sequence[str]]) -> Split:
    """The split of the cases, given that of their groups."""
    return _sorted(*([name for key in part for name in members[key]] for part in groups))


def _number(labelled: str, of: int) -> int:
    knob = f"config.data.labelled is {labelled!r}"
    share = labelled.endswith("%")
    try:
        wanted = float(labelled.removesuffix("%")) if share else int(labelled)
    except ValueError as error:
        raise UserError(f"{knob}: expected 'all', a number such as 8, or 10%") from error
    if not 0 < wanted <= (100 if share else of):  # nor what is no number
        raise UserError(f"{knob}: expected 1 to {of}, as many as train, or up to 100%")
    return max(1, round(wanted * of / 100)) if share else wanted


def _check(test: float, validation: float, seed: int) -> None:
    for part, fraction in (("test", test), ("validation", validation)):
        if not 0 <= fraction < 1:
            raise UserError(
                f"config.data.split.{part} is {fraction}: expected a fraction in [0, 1)"
            )
    if not 0 <= seed < 2**32:
        raise UserError(f"config.data.split.seed is {seed}: expected 0 to {2**32 - 1}")


def _shuffled(names: Sequence[str], seed: int) -> np.ndarray:
    ordered = np.array(sorted(names), dtype=object)
    return ordered[np.random.default_rng(seed).permutation(len(ordered))]


def _sorted(*parts: Iterable[str]) -> Split:
    return Split(*(tuple(sorted(part)) for part in parts))


def _names(parts: Split) -> list[str]:
    return list(itertools.chain.from_iterable(parts))


def _count(fraction: float, of: int, *, least: bool, spare: int) -> int:
    """The fraction rounded, but at least `least` when asked for, and `spare` cases left over."""
    wanted = max(round(fraction * of), int(least and fraction > 0))
    return max(0, min(wanted, of - spare))
