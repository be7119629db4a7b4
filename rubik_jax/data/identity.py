"""What the files of a case hold, wherever they lie: the same files elsewhere are the same case."""

import hashlib
import json
from pathlib import Path
from typing import NamedTuple

from rubik_jax.data import formats
from rubik_jax.data.cases import Case
from rubik_jax.data.digests import SIZE, Digests
from rubik_jax.data.formats import walk
from rubik_jax.data.formats.signatures import slices_in

# Fields of a case that nothing which is kept of it depends on.
_APART = ("images", "label", "target", "part")


class Content(NamedTuple):
    """What a case is made of, digests of its parts, wherever its files lie.

    Attributes:
        images: one for each of the case's, in their order; None in the place of one it lacks.
        label: of its mask, or None.
        declared: of its name, and what else its source says of how it is read.
        target: its class where classes are trained on; a store doesn't know it.
    """

    images: list[str | None]
    label: str | None
    declared: str
    target: str | None = None

    @property
    def first(self) -> str:
        """What distinguishes the first image from any other, whatever the case is called."""
        return next(digest for digest in self.images if digest is not None)


def content_of(case: Case, digests: Digests) -> Content:
    """Digests of a case.

    Raises:
        UserError: a file of the case isn't there, or can't be read.
    """
    # Without those that are empty, so that a new one leaves the digests of others as they are.
    fields = {name: value for name, value in case._asdict().items() if name not in _APART and value}
    return Content(
        [None if path is None else digest_of(path, case.row, digests) for path in case.images],
        None if case.label is None else digest_of(case.label, case.row, digests),
        combined(fields),
    )


def first_of(case: Case, digests: Digests) -> str:
    """`Content.first` of a case, whose other files are not read; raises as `content_of`."""
    return digest_of(next(path for path in case.images if path is not None), case.row, digests)


def digest_of(path: Path, row: tuple[str, int] | None, digests: Digests) -> str:
    """A digest of all files that a volume is read from, and of which row of them it is.

    Args:
        path: a file, or the folder of a DICOM series.
        row: which of the many volumes of the one file.
        digests: of files.

    Raises:
        UserError: one of them isn't there, or can't be read.
    """
    # All slices below a folder: those of the series are among them, without a header being read.
    folders = walk.folders(path) if path.is_dir() else ()
    found = [each for folder, _ in folders for each in slices_in(folder)]
    files = sorted(found or formats.files(path, row))
    home = path if path.is_dir() else path.parent
    # A header may name what belongs to it, so the names count where there are several files.
    held = [(_below(each, home) if len(files) > 1 else "", digests.digest(each)) for each in files]
    return held[0][1] if len(held) == 1 and row is None else combined([held, row])


def combined(parts: object) -> str:
    """A digest of what JSON can hold."""
    return hashlib.blake2b(json.dumps(parts).encode(), digest_size=SIZE).hexdigest()


def _below(path: Path, home: Path) -> str:
    return str(path.relative_to(home) if path.is_relative_to(home) else path.name)
