"""Opens the volumes of all formats alike: a header now, the voxels when they are asked for."""

import errno
from collections.abc import Callable, Iterator, Set
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np

from rubik_jax import failures
from rubik_jax.data.formats import arrays, nifti, packed, records, walk
from rubik_jax.data.formats.scan import SUFFIXES, Clip, Scan, beside
from rubik_jax.data.formats.signatures import kind_of, slices_in
from rubik_jax.errors import RunError, UserError

__all__ = ["SUFFIXES", "Clip", "Scan", "files", "find", "open_scan"]


class _Reader(NamedTuple):
    """What a format offers for one path."""

    open: Callable[[], Scan]
    files: Callable[[], list[Path]]


def open_scan(
    path: Path,
    *,
    row: tuple[str, int] | None = None,
    mask: bool = False,
    clip: Clip | None = None,
    geometry: str = "affine",
) -> Scan:
    """Reads the header of a volume, whose format is found by what the file holds.

    Args:
        path: a file; or, for DICOM, the folder that holds the slices of one series, or any file of
            the series where the folder holds several; or the `dataset_info.json` of a data set of
            TensorFlow Datasets.
        row: which of the many volumes of the one file.
        mask: whether the row's mask is meant, where it has one.
        clip: what is taken of a video; without it there is no volume in one.
        geometry: "affine" or "pixdim", whose spacing is taken of a NIfTI where they differ.

    Raises:
        UserError: it cannot be read, in a sentence that names the file; the scan's `voxels` raises
            it for what the header does not show.
    """
    path, kind = _file_and_kind(path)
    with _told(path, f"cannot be read as {kind}"):
        scan = _reader(path, kind, row, mask, clip, geometry).open()

    def voxels() -> np.ndarray:
        with _told(path, "is damaged or cut short"):
            return scan.voxels()

    return scan._replace(voxels=voxels)


def files(path: Path, row: tuple[str, int] | None = None) -> list[Path]:
    """All files that a volume is read from: detached voxels and the slices of a series, too.

    Args:
        path: as `open_scan` takes it.
        row: as well; of a data set it decides which of its files that are.

    Raises:
        UserError: as `open_scan`.
    """
    path, kind = _file_and_kind(path)
    with _told(path, f"cannot be read as {kind}"):
        return _reader(path, kind, row).files()


def find(root: Path) -> list[Path]:
    """What could be volumes below a folder, sorted; links and hidden ones as `walk` has them.

    Files whose names end as `SUFFIXES` has it, of a pair the header alone; folders that hold the
    slices of one DICOM series, and the first slice of each where a folder holds several.
    """
    found: list[Path] = []
    for folder, names in walk.folders(root):
        lower = {name.lower() for name in names}
        found += (folder / name for name in names if _is_volume(name, lower))
        found += _series(folder) if names else ()
    return sorted(found)


def _reader(
    path: Path,
    kind: str,
    row: tuple[str, int] | None = None,
    mask: bool = False,
    clip: Clip | None = None,
    geometry: str = "affine",
) -> _Reader:
    # SimpleITK takes longer to import than all else; most cohorts do without it, and without PyAV.
    match kind:
        case "NIfTI":
            return _Reader(partial(nifti.open_scan, path, geometry), partial(nifti.files, path))
        case "NRRD" | "MetaImage":
            from rubik_jax.data.formats import itk

            return _Reader(partial(itk.open_scan, path, kind), partial(itk.files, path, kind))
        case "DICOM":
            from rubik_jax.data.formats import dicom

            return _Reader(partial(dicom.open_scan, path), partial(dicom.files, path))
        case "records":
            open_record = partial(records.open_record, path, row, mask, clip)
            return _Reader(open_record, partial(records.files, path, row))
        case "AVI":
            from rubik_jax.data.formats import video

            return _Reader(partial(video.open_clip, path, clip), lambda: [path])
        case "NumPy archive":
            return _Reader(partial(arrays.open_npz, path, row), lambda: [path])
        case _:
            return _Reader(partial(arrays.open_npy, path), lambda: [path])


def _file_and_kind(path: Path) -> tuple[Path, str]:
    """The file that holds the header, and its format."""
    with _told(path, "cannot be read"):
        header = beside(path, ".hdr")
        path = header if header.is_file() else path
        if path.name == records.FILE:
            return path, "records"
        return path, "DICOM" if path.is_dir() else kind_of(path)


def _is_volume(name: str, beside: Set[str]) -> bool:
    """Whether it may be one by its name, and that of no file in lower case is its header's."""
    name = name.lower()
    of_pair = name.endswith(".img") and f"{name[:-4]}.hdr" in beside
    return name.endswith(SUFFIXES) and not name.endswith(".dcm") and not of_pair


def _series(folder: Path) -> list[Path]:
    try:
        if not slices_in(folder):
            return []
        from rubik_jax.data.formats import series

        return series.listed(folder)
    except UserError:  # opening it will say why
        return [folder]


@contextmanager
def _told(path: Path, what: str) -> Iterator[None]:
    """Any error of a reader as one sentence; they have dozens of kinds for damaged files."""
    try:
        yield
    except (UserError, RunError, MemoryError):
        raise
    except Exception as error:
        # One scan that a disk can't give is a bad case; after other failures the scan may be sound.
        system = isinstance(error, OSError) and error.errno != errno.EIO
        if failure := failures.of_file(error, path) if system else None:
            raise failure from error
        if isinstance(error, EOFError | packed.Damaged):
            what = "is damaged or cut short"
        said = getattr(error, "strerror", None) or str(error).strip().rpartition("\n")[2]
        raise UserError(
            f"{path} {what}: {' '.join(said.split()) or type(error).__name__}"
        ) from error
