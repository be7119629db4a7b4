"""Tells whether the files that a path stands for are still the same, without reading them."""

from pathlib import Path

from rubik_jax.data import formats
from rubik_jax.data.formats import walk
from rubik_jax.errors import UserError


def identities(path: Path) -> list[tuple[str, int, int]]:
    """Name, bytes and time of change (ns) of each: a header and its voxels are two files.

    Raises:
        UserError: one of them is not there, or can't be read.
    """
    # Whatever lies below a folder: the slices are among that, and need not be opened to be told.
    files = walk.files(path) if path.is_dir() else []
    return [_identity(each) for each in files or sorted(formats.files(path))]


def _identity(path: Path) -> tuple[str, int, int]:
    try:
        status = path.stat()
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}") from error
    return str(path.resolve()), status.st_size, status.st_mtime_ns
