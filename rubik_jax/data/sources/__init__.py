"""Lists the cases of a cohort; every module here is one kind of source, found by its name.

A source is a module with a function

    cases(where: Where) -> list[Case]

A new file here is a new value of `config.data.source`.
Classes from a table or from folders are given to what any source lists, by `labels`.
"""

import importlib
import itertools
import pkgutil

from rubik_jax.data.cases import Case, Where
from rubik_jax.data.labels import attach
from rubik_jax.errors import UserError


def find_cases(source: str, where: Where, *, labels: str = "") -> list[Case]:
    """The cases that `source` lists, sorted by name; at least one, and every name unique.

    Args:
        source: the name of a module of this package.
        where: what the source is told.
        labels: where the classes come from instead of the source: "" (they don't), "folders", or
            the path of a table with the columns `case` and `class`.

    Raises:
        UserError: unknown source, no case, two cases of one name, classes that don't fit the cases,
            or whatever the source refuses.
    """
    known = sorted(module.name for module in pkgutil.iter_modules(__path__))
    if source not in known:
        raise UserError(f"config.data.source is {source!r}: expected one of {', '.join(known)}")
    listed = importlib.import_module(f"{__name__}.{source}").cases(where)
    if not listed:
        raise UserError(f"source {source!r} lists no case in {where.path}")
    ordered = sorted(listed, key=lambda case: case.name)
    for one, other in itertools.pairwise(ordered):
        if one.name == other.name:
            raise UserError(
                f"two cases are named {one.name!r}, from {one.images[0]} and {other.images[0]}: "
                "every case needs a name of its own"
            )
    return attach(ordered, labels, where.path)
