"""Lists the cases of a cohort; every module here is one kind of source, found by its name.

A source is a module with a function

    cases(where: Where) -> list[Case]

and, where it knows what the labels of masks mean, one more:

    declared(where: Where, cases: Sequence[Case]) -> Declared

A new file here is a new value of `config.data.source`; docs/data.md shows one.
A source gives a modality that a case lacks as None, and whether that may be is decided here.
Classes from a table or from folders are given to what any source lists, by `labels`.
"""

import importlib
import itertools
import pkgutil
from collections.abc import Sequence
from typing import NamedTuple

from rubik_jax.data.cases import Case, Where, canonical
from rubik_jax.data.declaration import Declared
from rubik_jax.data.labels import attach
from rubik_jax.errors import UserError

MISSING = ("refuse", "skip", "zeros")


class Listing(NamedTuple):
    """What a source comes to.

    cases: sorted by name, at least one; every name is unique and can be a file's.
    skipped: case → why it was left out.
    declared: what the source says of the labels of masks.
    """

    cases: list[Case]
    skipped: dict[str, str]
    declared: Declared = Declared()


def find_cases(source: str, where: Where, *, labels: str = "", missing: str = "refuse") -> Listing:
    """The cases that `source` lists.

    Args:
        source: the name of a module of this package.
        where: what the source is told.
        labels: where the classes come from instead of the source: "" (they don't), "folders", or
            the path of a table with the columns `case` and `class`.
        missing: what becomes of a case that lacks a modality: "refuse", "skip" (it is left out),
            or "zeros" (it keeps None in its place; a case that lacks all of them is refused).

    Raises:
        UserError: unknown source, modalities that are no text, no case, two cases of one name,
            names that no file can have, classes that don't fit the cases, modalities that must not
            be missing, or whatever the source refuses.
    """
    known = sorted(module.name for module in pkgutil.iter_modules(__path__))
    if source not in known:
        raise UserError.of("{data.source} is {!r}: expected one of {}", source, ", ".join(known))
    if missing not in MISSING:
        raise UserError.of(
            "{data.missing} is {!r}: expected one of {}", missing, ", ".join(MISSING)
        )
    if not all(isinstance(modality, str) and modality for modality in where.modalities):
        raise UserError.of(
            "{data.modalities} is {!r}: expected globs or names, one per modality, or ()",
            where.modalities,
        )
    module = importlib.import_module(f"{__name__}.{source}")
    listed = module.cases(where)
    if not listed:
        raise UserError(f"source {source!r} lists no case in {where.path}")
    named = [case._replace(name=canonical(case.name)) for case in listed]
    ordered = sorted(named, key=lambda case: case.name)
    _refuse_names(ordered)
    listing = _complete(attach(ordered, labels, where.path), where, missing)
    if hasattr(module, "declared"):
        listing = listing._replace(declared=module.declared(where, ordered))
    return listing


def _refuse_names(ordered: Sequence[Case]) -> None:
    for case in ordered:
        if not case.name or case.name.startswith(".") or "/" in case.name or "\0" in case.name:
            raise UserError(
                f"a case is named {case.name!r}: expected a name that its files can carry, without "
                "'/' and not beginning with '.'"
            )
    for one, other in itertools.pairwise(ordered):
        if one.name == other.name:
            raise UserError(
                f"two cases are named {one.name!r}, from {_origin(one)} and {_origin(other)}: "
                "every case needs a name of its own"
            )


def _complete(cases: list[Case], where: Where, missing: str) -> Listing:
    """The cases that have what they need of their modalities."""
    lacking = {case.name: _lacking(case) for case in cases if None in case.images}
    bare = [case.name for case in cases if not any(case.images)]
    if missing == "refuse" and lacking:
        name, modalities = next(iter(lacking.items()))
        raise UserError.of(
            "case {!r} in {} has no {} ({} of {} cases lack a modality): expected every modality "
            "of every case, or {data.missing} to be skip or zeros",
            *(name, where.path, modalities[0], len(lacking), len(cases)),
        )
    if missing == "zeros":
        if bare:
            raise UserError(
                f"case {bare[0]!r} in {where.path} has none of its modalities "
                f"({len(bare)} of {len(cases)} cases): expected one at least"
            )
        return Listing(cases, {})
    kept = [case for case in cases if case.name not in lacking]
    if not kept:
        raise UserError(
            f"all {len(cases)} cases in {where.path} lack a modality, {cases[0].name!r} has no "
            f"{lacking[cases[0].name][0]}: expected one case at least that has all"
        )
    return Listing(kept, {name: f"has no {', '.join(m)}" for name, m in lacking.items()})


def _lacking(case: Case) -> list[str]:
    names = case.modalities or [f"modality {i}" for i in range(1, len(case.images) + 1)]
    return [name for name, image in zip(names, case.images, strict=True) if image is None]


def _origin(case: Case) -> object:
    return next((path for path in (*case.images, case.label) if path is not None), "nothing")
