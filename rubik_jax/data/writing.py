"""Writes masks and probabilities as NIfTI, on the very grid of the scan that they belong to."""

import gzip
import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import nibabel as nib
import numpy as np
from nibabel.orientations import apply_orientation, axcodes2ornt, io_orientation, ornt_transform
from nibabel.spatialimages import HeaderDataError
from nibabel.wrapstruct import WrapStructError

from rubik_jax import failures
from rubik_jax.data import formats
from rubik_jax.data.formats import Scan, nifti
from rubik_jax.errors import UserError

MARK = b"rubik_jax"  # in the header's description, by which answers are told from scans
# What a header says of the grid, the shape apart. The sform and the qform are both copied as they
# are: a program may go by either, and they need not agree.
_GRID = (
    *("xyzt_units", "sform_code", "srow_x", "srow_y", "srow_z", "qform_code"),
    *("quatern_b", "quatern_c", "quatern_d", "qoffset_x", "qoffset_y", "qoffset_z"),
)


def write_mask(
    path: Path,
    labels: np.ndarray,
    like: Path,
    *,
    row: tuple[str, int] | None = None,
    orientation: str = "RAS",
) -> None:
    """Writes labels as `.nii.gz`, whole or not at all, in place of what lies there.

    Args:
        path: of the new file.
        labels: integers [x, y, z], turned as `volumes.read` gives the scan; memory-mapped or not.
        like: the scan, in any format that is read, whose shape, axes and affine the mask gets; of
            NIfTI also the sform, the qform and the units; a last axis of modalities is not among
            them.
        row: when given, `like` is one file of many volumes, and this is which.
        orientation: codes of the directions in which the axes of `labels` run.

    Raises:
        UserError: `like` cannot be read, or `path` cannot be written.
        ValueError: the labels have another shape than the scan.
    """
    least, most = int(labels.min()), int(labels.max())
    kinds = (np.uint8, np.int16, np.int32)
    kind = next(k for k in kinds if np.iinfo(k).min <= least and most <= np.iinfo(k).max)
    _write(path, labels.astype(kind, copy=False), formats.open_scan(like, row=row), orientation)


def write_probabilities(
    path: Path,
    probabilities: np.ndarray,
    like: Path,
    *,
    row: tuple[str, int] | None = None,
    orientation: str = "RAS",
) -> None:
    """Writes probabilities [x, y, z, k] as float32, the classes along the fourth axis.

    Arguments and errors are those of `write_mask`.
    """
    scan = formats.open_scan(like, row=row)
    _write(path, probabilities.astype(np.float32, copy=False), scan, orientation)


def is_ours(path: Path) -> bool:
    """Whether a file is NIfTI that was written here; False where it can't be read."""
    try:
        return bytes(nifti.read_header(path)["descrip"]).rstrip(b"\0") == MARK
    except (OSError, EOFError, UserError, HeaderDataError, WrapStructError):
        return False


@contextmanager
def replacing(path: Path) -> Iterator[BinaryIO]:
    """A new file that takes the place of `path` once it is whole; an error leaves all as it was.

    Raises:
        UserError: it cannot be written.
        RunError: the disk is full or fails.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with whole(path) as file:
            yield file
    except OSError as error:
        raise failures.of_file(error, path) or UserError(
            f"{path} cannot be written: {error.strerror or error}"
        ) from error


@contextmanager
def whole(path: Path) -> Iterator[BinaryIO]:
    """As `replacing`, in a folder that is there, and with the system's own errors."""
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex}.tmp")
    try:
        with temporary.open("wb") as file:
            yield file
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def _write(path: Path, array: np.ndarray, scan: Scan, orientation: str) -> None:
    turn = ornt_transform(axcodes2ornt(orientation), io_orientation(scan.affine))
    turned = apply_orientation(array, turn)
    if turned.shape[:3] != scan.shape[:3]:
        raise ValueError(f"{turned.shape[:3]} voxels for the grid of {scan.path}, {scan.shape[:3]}")
    image = (_like_nifti if scan.kind == "NIfTI" else _like_other)(turned, scan)
    image.header["descrip"] = MARK
    # No time and no name in the header of gzip: equal arrays give equal bytes.
    with replacing(path) as file, gzip.GzipFile("", "wb", 1, file, mtime=0) as packed:
        image.to_stream(packed)


def _like_nifti(array: np.ndarray, scan: Scan) -> nib.Nifti1Image:
    source = nifti.read_header(scan.path)
    kind = nib.Nifti2Image if isinstance(source, nib.Nifti2Header) else nib.Nifti1Image
    header = kind.header_class()
    for field in _GRID:
        header[field] = source[field]
    header["pixdim"][:4] = source["pixdim"][:4]
    header.set_data_dtype(array.dtype)
    return kind(array, source.get_best_affine(), header)


def _like_other(array: np.ndarray, scan: Scan) -> nib.Nifti1Image:
    image = nib.Nifti1Image(array, scan.affine)
    image.header.set_xyzt_units("mm")
    image.set_sform(scan.affine, code=1)
    axes = scan.affine[:3, :3] / np.linalg.norm(scan.affine[:3, :3], axis=0)
    # A qform cannot tell that axes are askew, as under a tilted gantry: it would misplace the mask.
    image.set_qform(scan.affine, code=int(np.allclose(axes.T @ axes, np.eye(3), atol=1e-3)))
    return image
