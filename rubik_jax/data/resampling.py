"""Puts arrays on a grid of other voxels between the same outer edges."""

import math
from collections.abc import Sequence

import nibabel as nib
import numpy as np

from rubik_jax.data.volumes import MOST_VOXELS
from rubik_jax.errors import UserError

Box = tuple[tuple[int, int], ...]
"""Of a volume's voxels: (start, stop) per axis."""


def shape_at(
    spacing: Sequence[float], shape: tuple[int, ...], affine: np.ndarray
) -> tuple[int, ...]:
    """The number of voxels per axis, at least 1, whose edges come nearest to `spacing` in mm.

    Args:
        spacing: of the new grid, per axis.
        shape: of the old one.
        affine: of the old one, [4, 4].

    Raises:
        UserError: more voxels than a volume may have.
    """
    lengths = np.multiply(shape, nib.affines.voxel_sizes(affine))
    new = tuple(max(1, round(float(length))) for length in lengths / spacing)
    if math.prod(new) > MOST_VOXELS:
        asked, found = ("x".join(f"{n:.10g}" for n in numbers) for numbers in (spacing, new))
        raise UserError.of(
            "resampling to {} mm ({data.resample.spacing}) would give {} voxels: expected {} at "
            "most",
            *(asked, found, MOST_VOXELS),
        )
    return new


def resample(array: np.ndarray, shape: tuple[int, ...], *, order: int) -> np.ndarray:
    """The array on a grid of another shape, axis by axis.

    Args:
        array: [x, y, z]; floats where `order` is 1.
        shape: of the result.
        order: 0 takes the nearest voxel; 1 interpolates between the centres of the voxels, and
            beyond the outermost ones stays as they are.
    """
    # Axes that shrink go first, and leave the others less to do.
    for axis in sorted(range(3), key=lambda axis: shape[axis] / array.shape[axis]):
        old, new = array.shape[axis], shape[axis]
        if old == new:
            continue
        places = (np.arange(new) + 0.5) * old / new
        if order == 0:
            array = array.take(places.astype(np.intp), axis)
            continue
        places = np.clip(places - 0.5, 0, old - 1)
        before = places.astype(np.intp)
        weights = (places - before).astype(array.dtype)
        step = array.take(np.minimum(before + 1, old - 1), axis)
        array = array.take(before, axis)
        step -= array
        step *= np.expand_dims(weights, tuple({0, 1, 2} - {axis}))
        array += step
    return array


def affine_of(box: Box, shape: tuple[int, ...], affine: np.ndarray) -> np.ndarray:
    """The affine [4, 4] of a grid of this shape between the edges of a box of another grid."""
    starts = np.array([start for start, _ in box])
    edges = np.array([stop - start for start, stop in box]) / shape
    step = np.diag([*edges, 1.0])
    step[:3, 3] = starts + edges / 2 - 0.5
    return affine @ step
