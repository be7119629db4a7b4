"""Generated videos of moving shapes in UCF101's place, made the first time they're asked for."""

from pathlib import Path

from rubik_jax.data import clips
from rubik_jax.data.cases import Case, Where
from rubik_jax.data.sources import ucf101
from rubik_jax.errors import UserError


def cases(where: Where) -> list[Case]:
    """The first `count` clips of the cohort `seed`, as the source `ucf101` lists them.

    Args:
        where: `path` is the folder that holds them, or shall; `count` how many, `seed` which;
            `division` and `clip` as in `ucf101`.

    Raises:
        UserError: no path, too few, a folder that holds anything else, or a file that is gone.
    """
    if not where.path:
        raise UserError.of("{data.path} is not set: expected a folder to keep the clips in")
    folder = Path(where.path).expanduser()
    clips.write(folder, where.count, where.seed)
    return ucf101.cases(where)
