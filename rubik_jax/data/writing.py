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

from rubik_jax.errors import UserError

# What a header says of the grid, the shape apart. The sform and the qform are both copied as they
# are: a program may go by either, and they need not agree.
_GRID = (
    *("xyzt_units", "sform_code", "srow_x", "srow_y", "srow_z", "qform_code"),
    *("quatern_b", "quatern_c", "quatern_d", "qoffset_x", "qoffset_y", "qoffset_z"),
)


def write_mask(path: Path, labels: np.ndarray, like: Path) -> None:
    """Writes labels as `.nii.gz`, whole or not at all, in place of what lies there.

    Args:
        path: of the new file.
        labels: integers [x, y, z], RAS+ as `volumes.read` gives the scan; memory-mapped or not.
        like: the NIfTI file whose shape, axes, affine (sform and qform), spacing and units the mask
            gets; a last axis of modalities is not among them.

    Raises:
        UserError: `like` is no NIfTI file, or `path` cannot be written.
        ValueError: the labels have another shape than the scan.
    """
    least, most = int(labels.min()), int(labels.max())
    kinds = (np.uint8, np.int16, np.int32)
    kind = next(k for k in kinds if np.iinfo(k).min <= least and most <= np.iinfo(k).max)
    _write(path, labels.astype(kind, copy=False), like)


def write_probabilities(path: Path, probabilities: np.ndarray, like: Path) -> None:
    """Writes probabilities [x, y, z, k] as float32, the classes along the fourth axis.

    Arguments and errors are those of `write_mask`.
    """
    _write(path, probabilities.astype(np.float32, copy=False), like)


@contextmanager
def replacing(path: Path) -> Iterator[BinaryIO]:
    """A new file that takes the place of `path` once it is whole; an error leaves all as it was.

    Raises:
        UserError: it cannot be written.
    """
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with temporary.open("wb") as file:
                yield file
            os.replace(temporary, path)
        finally:
            temporary.unlink(missing_ok=True)
    except OSError as error:
        raise UserError(f"{path} cannot be written: {error.strerror or error}") from error


def _write(path: Path, array: np.ndarray, like: Path) -> None:
    source = _open(like)
    turn = ornt_transform(axcodes2ornt("RAS"), io_orientation(source.affine))
    turned = apply_orientation(array, turn)
    if turned.shape[:3] != source.shape[:3]:
        raise ValueError(f"{turned.shape[:3]} voxels for the grid of {like}, {source.shape[:3]}")

    second = isinstance(source.header, nib.Nifti2Header)
    kind = nib.Nifti2Image if second else nib.Nifti1Image
    header = kind.header_class()
    for field in _GRID:
        header[field] = source.header[field]
    header["pixdim"][:4] = source.header["pixdim"][:4]
    header.set_data_dtype(array.dtype)
    image = kind(turned, source.affine, header)
    # No time and no name in the header of gzip: equal arrays give equal bytes.
    with replacing(path) as file, gzip.GzipFile("", "wb", 1, file, mtime=0) as packed:
        image.to_stream(packed)


def _open(path: Path) -> nib.Nifti1Pair:
    try:
        image = nib.load(path)
    except Exception as error:  # nibabel has a dozen kinds for what is not an image
        said = " ".join(str(error).split()) or type(error).__name__
        raise UserError(f"{path} gives no grid to write on: {said}") from error
    if not isinstance(image, nib.Nifti1Pair):
        raise UserError(f"{path} is a {type(image).__name__}: expected NIfTI, to write on its grid")
    return image
