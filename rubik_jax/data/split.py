"""Draws which cases train, which choose the best checkpoint, and which are only reported on."""

import re
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from rubik_jax.data import split_file
from rubik_jax.data.cases import Case
from rubik_jax.data.stratify import deal, draw
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
    classify: bool = False,
) -> Split:
    """The split of a cohort: from a file, by folds, as the cohort fixes it, or drawn as a fraction.

    What comes first of these wins. Where a file or a cohort says nothing of validation, it is drawn
    from the cases that train. Every part that is drawn has classes in the cohort's proportions, as
    far as its size allows; see `stratify`. Nothing depends on the order in which cases are listed.

    A part that is requested gets at least one case where there are enough of them (two for test,
    three for validation as well), and at least one case is left to train on.

    Args:
        cases: each named once.
        test: the fraction of all cases, where neither file, folds nor cohort decide (the paper's
            80:20 is 0.2).
        validation: the fraction of the cases that test leaves.
        seed: of the draw.
        folds: into how many parts, alike to one case, the cohort is dealt; 0 for none.
        fold: which of them is the test part, or which fold of nnU-Net's file is meant.
        file: see `split_file.read`; None or "" for none.
        group: a regular expression; cases in whose names it finds the same stay together where a
            part is drawn, as the sessions of a patient do by "sub-[^_]+". "" draws case by case.
        absent: cases that the file may list, though they can't be used.
        classify: whether classes are what is trained on; there is rather no validation part than
            a class without training cases.

    Raises:
        UserError: knobs out of range or at odds with each other, or a file that does not fit.
    """
    _check(test, validation, seed)
    names = sorted(case.name for case in cases)
    alike = {
        "classes": {case.name: case.target for case in cases},
        "groups": _groups(names, group),
    }
    if file and folds:
        raise UserError(
            f"config.data.split.file is {file} and config.data.split.folds is {folds}: "
            "expected one of them"
        )
    given = {}
    if file:
        listed = split_file.read(file, fold, {*names}, absent)
        given = {part: [n for n in found if n not in absent] for part, found in listed.items()}
    elif folds:
        given["test"] = _fold(names, seed, folds, fold, **alike)
    elif any(case.part for case in cases):
        parts = {part: [c.name for c in cases if c.part == part] for part in Split._fields}
        if sum(map(len, parts.values())) < len(cases) or not parts["train"]:
            raise UserError(
                "the cohort fixes a part for some cases only, or none to train on: expected "
                "config.data.split.file or config.data.split.folds"
            )
        given = {part: found for part, found in parts.items() if found}
    else:
        spare = 2 if validation else 1
        few = len({*alike["groups"].values()}) <= spare
        given["test"] = draw(names, test, seed, spare=1 if few else spare, **alike)
    tested = given.get("test", [])
    if "validation" in given:
        return _sorted(given["train"], given["validation"], tested)
    rest = sorted({*names} - {*tested})
    validated = draw(rest, validation, seed, keep=classify, **alike)
    return _sorted({*rest} - {*validated}, validated, tested)


def check_classes(parts: Split, targets: Mapping[str, str]) -> None:
    """Refuses classes that no network could learn from the training part.

    Args:
        parts: the split.
        targets: case → class, of all cases, also of those that are in no part.

    Raises:
        UserError: one class alone, or one that no training case has; names the first such class,
            and where its cases are.
    """
    known = sorted({*targets.values()})
    if len(known) == 1:
        raise UserError(
            f"all {len(targets)} cases with a class are of class {known[0]!r}; expected at least "
            "two classes"
        )
    trained = {targets[name] for name in parts.train}
    lacking = [name for name in known if name not in trained]
    if not lacking:
        return
    cases = {name for name, of in targets.items() if of == lacking[0]}
    counts = {f"in {part}": len(cases.intersection(of)) for part, of in parts._asdict().items()}
    counts["left out"] = len(cases) - sum(counts.values())
    where = ", ".join(f"{count} {place}" for place, count in counts.items() if count)
    others = f", nor have {len(lacking) - 1} other classes" if len(lacking) > 1 else ""
    raise UserError(
        f"class {lacking[0]!r} has no training case ({where}){others}: expected one at least, by "
        "more cases of it, by classes merged in config.data.labels, or by another "
        "config.data.split"
    )


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
        targets: case → class, where classes are trained on: they take turns then, so that each
            has cases, as many as the others as far as there are.

    Raises:
        UserError: not understood, none, more than there are, or fewer than their classes.
    """
    if labelled == "all":
        return parts
    names = sorted(parts.train)
    order = [names[i] for i in np.random.default_rng(seed).permutation(len(names))]
    number = _number(labelled, len(order))
    if targets is not None:
        classes = len({targets[name] for name in order})
        if number < classes:
            raise UserError.of(
                "{data.labelled} is {!r}, {} of {} training cases, which have {} classes: expected "
                "at least {}, one of each",
                *(labelled, number, len(order), classes, classes),
            )
        seen: Counter[str] = Counter()
        turns = {}
        for name in order:
            turns[name] = seen[targets[name]]
            seen[targets[name]] += 1
        order.sort(key=turns.__getitem__)
    return parts._replace(train=tuple(sorted(order[:number])))


def inherit(cases: Sequence[Case], run_split: Split, group: str = "") -> Split | None:
    """The split of an earlier run, if it knows all of these cases, without those it knows beside.

    So it may have been pre-trained on scans that nobody has labelled. A case of another name is
    known by its group, where all cases of that group are in one part: pairs of frames follow the
    split of frames by "patient[0-9]+".

    Args:
        cases: of the run to come.
        run_split: of the earlier run.
        group: as `make_split` takes.

    Returns:
        None where a case is new.
    """
    names = {case.name for case in cases}
    known = {name: part for part, of in run_split._asdict().items() for name in of}
    if group and not names <= known.keys():
        parts: dict[str, set[str]] = {}
        for name, key in _groups([*known], group).items():
            parts.setdefault(key, set()).add(known[name])
        known |= {
            name: next(iter(parts[key]))
            for name, key in _groups([*names - known.keys()], group).items()
            if len(parts.get(key, ())) == 1
        }
    if not names <= known.keys():
        return None
    return _sorted(*([name for name in names if known[name] == part] for part in Split._fields))


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


def _fold(
    names: list[str],
    seed: int,
    folds: int,
    fold: int,
    *,
    classes: Mapping[str, str | None],
    groups: Mapping[str, str],
) -> list[str]:
    """The cases of one fold."""
    most = len({*groups.values()})
    if not 2 <= folds <= most:
        raise UserError(
            f"config.data.split.folds is {folds}: expected 0, or 2 to {most}, as many as "
            "there are cases, or groups of them"
        )
    if not 0 <= fold < folds:
        raise UserError(f"config.data.split.fold is {fold}: expected 0 to {folds - 1}")
    return deal(names, folds, seed, classes=classes, groups=groups)[fold]


def _groups(names: Sequence[str], group: str) -> dict[str, str]:
    """Case → its group; a case in which the expression finds nothing is one of its own."""
    try:
        found = {name: re.search(group, name) if group else None for name in names}
    except re.error as error:
        raise UserError(
            f"config.data.split.group is {group!r}: expected a regular expression ({error})"
        ) from error
    return {name: match[0] if match else name for name, match in found.items()}


def _number(labelled: str, of: int) -> int:
    share = labelled.endswith("%")
    try:
        wanted = float(labelled.removesuffix("%")) if share else int(labelled)
    except ValueError as error:
        raise UserError.of(
            "{data.labelled} is {!r}: expected 'all', a number such as 8, or 10%", labelled
        ) from error
    if not 0 < wanted <= (100 if share else of):  # nor what is no number
        raise UserError.of(
            "{data.labelled} is {!r}: expected 1 to {}, as many as train, or up to 100%",
            *(labelled, of),
        )
    return max(1, round(wanted * of / 100)) if share else wanted


def _check(test: float, validation: float, seed: int) -> None:
    for part, fraction in (("test", test), ("validation", validation)):
        if not 0 <= fraction < 1:
            raise UserError(
                f"config.data.split.{part} is {fraction}: expected a fraction in [0, 1)"
            )
    if not 0 <= seed < 2**32:
        raise UserError(f"config.data.split.seed is {seed}: expected 0 to {2**32 - 1}")


def _sorted(*parts: Iterable[str]) -> Split:
    return Split(*(tuple(sorted(part)) for part in parts))
