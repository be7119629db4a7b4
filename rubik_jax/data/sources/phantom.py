"""Toy heads, generated into the folder the first time that they're asked for."""

from pathlib import Path

from rubik_jax.data import phantom
from rubik_jax.data.cases import Case, Where
from rubik_jax.errors import UserError


def cases(where: Where) -> list[Case]:
    """The first `count` phantoms of the cohort `seed`, with their masks and classes.

    Args:
        where: `path` is the folder that holds them, or shall; `count` how many, `seed` which.

    Raises:
        UserError: no path, a folder that holds anything else, or a file that is gone.
    """
    if not where.path:
        raise UserError.of("{data.path} is not set: expected a folder to keep the phantoms in")
    folder = Path(where.path).expanduser()
    phantom.write(folder, where.count, where.seed)
    pairs = [phantom.paths(folder, case) for case in range(where.count)]
    gone = [file for pair in pairs for file in pair if not file.is_file()]
    if gone:
        raise UserError(
            f"{gone[0]} is gone, though {folder / phantom.DONE} says that it was written: "
            "delete that folder and it is generated anew"
        )
    return [
        Case(phantom.name_of(case), (image,), label, target=phantom.kind_of(where.seed, case))
        for case, (image, label) in enumerate(pairs)
    ]
