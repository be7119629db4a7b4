"""Every AVI video below a folder, or the one that is the path."""

from pathlib import Path

from rubik_jax.data.cases import Case, Where, existing
from rubik_jax.data.formats import walk
from rubik_jax.errors import UserError


def cases(where: Where) -> list[Case]:
    """A case for each video, called as its file.

    Args:
        where: `path` is the folder or the video; `clip` what is taken of each.

    Raises:
        UserError: no such path, or no video there.
    """
    root = existing(where.path)
    found = below(root) if root.is_dir() else [root]
    if not found:
        raise UserError(f"no video lies in {root}: expected files that end in .avi")
    return [case_of(file, where) for file in found]


def below(root: Path) -> list[Path]:
    """The videos below a folder; links and hidden ones as `walk` has them."""
    return [file for file in walk.files(root) if file.suffix.lower() == ".avi"]


def case_of(file: Path, where: Where) -> Case:
    """The clip of a video, whose colours are the channels."""
    return Case(
        file.stem, (file,), channels=3, modalities=("red", "green", "blue"), clip=where.clip
    )
