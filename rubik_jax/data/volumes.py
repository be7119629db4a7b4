"""Reads cases into volumes of one orientation, and refuses what nobody can train on."""

import itertools
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from nibabel.orientations import (
    apply_orientation,
    axcodes2ornt,
    inv_ornt_aff,
    io_orientation,
    ornt_transform,
)

from rubik_jax.data import foreground, formats
from rubik_jax.data.formats import Clip, Scan
from rubik_jax.errors import UserError

MOST_VOXELS = 2**33
_LARGEST_LABEL = 2**15 - 1
_EDGES = (1e-3, 100.0)  # mm of a voxel that anyone can have meant


class Volume(NamedTuple):
    """A scan.

    array: [x, y, z, c], numbers as stored if all modalities store the same kind, else float32; in
        RAS+, x runs to the right, y to the front, z to the head.
    affine: float64 [4, 4], from voxel indices to millimetres, RAS+.
    scans: what each image's header said; None for a missing modality.
    """

    array: np.ndarray
    affine: np.ndarray
    scans: tuple[Scan | None, ...]


class _Part(NamedTuple):
    """One image, turned: voxels [x, y, z, channels] and their affine."""

    name: str
    array: np.ndarray
    affine: np.ndarray
    scan: Scan


def read(
    images: Sequence[Path | None],
    *,
    channels: int | None = None,
    row: tuple[str, int] | None = None,
    clip: Clip | None = None,
    orientation: str = "RAS",
    geometry: str = "affine",
) -> Volume:
    """The volume of one case, its modalities as channels.

    Args:
        images: one 3D volume per modality, all on one grid; None is a modality that is missing,
            whose channel is zero.
        channels: when given, `images` is one file with that many modalities along its last axis.
        row: when given, `images` is one file of many volumes, and this is which.
        clip: when given, `images` is one video, and this is taken of it.
        orientation: codes of the directions in which the axes shall run.
        geometry: as `formats.open_scan` takes it.

    Raises:
        UserError: names the file and what is wrong with it.
    """
    if len(images) == 1:
        only = _read(images[0], channels or 1, row, orientation, geometry, clip=clip)
        return Volume(only.array, only.affine, (only.scan,))
    whole: _Part | None = None
    scans: list[Scan | None] = [None] * len(images)
    for channel, path in enumerate(images):
        if path is None:
            continue
        part = _read(path, 1, row, orientation, geometry)
        if whole is None:
            # x fastest, as the parts have it: else they would be copied one number at a time.
            size = (*part.array.shape[:3], len(images))
            whole = part._replace(array=np.zeros(size, part.array.dtype, order="F"))
        _refuse_other_grid(part, whole)
        if part.array.dtype != whole.array.dtype:
            whole = whole._replace(array=whole.array.astype(np.float32, copy=False))
        whole.array[..., channel], scans[channel] = part.array[..., 0], part.scan
        del part  # whose memory the next one takes
    return Volume(whole.array, whole.affine, tuple(scans))


def read_mask(
    path: Path,
    like: Volume,
    *,
    row: tuple[str, int] | None = None,
    orientation: str = "RAS",
    geometry: str = "affine",
    values: tuple[int, ...] | None = None,
) -> np.ndarray:
    """The labels of a mask, int16 [x, y, z], on the grid of the volume they belong to.

    Args:
        path: of the mask.
        like: the volume, as `read` gives it in the same orientation.
        row: when given, `path` is a file of many, and this is which.
        orientation, geometry: as of the volume.
        values: the labels that there may be; None allows all.

    Raises:
        UserError: another shape or affine than the volume's, or labels that are not whole numbers
            from 0 to 32767, or not among `values`.
    """
    part = _read(path, 1, row, orientation, geometry, mask=True)
    scan = next(scan for scan in like.scans if scan)
    _refuse_other_grid(part, _Part(str(scan.path), like.array, like.affine, scan))
    found = part.array[..., 0]
    labels = found if found.dtype.kind in "iu" else np.rint(found)
    if labels is not found and np.abs(labels - found).max() > 1e-3:
        raise UserError(f"the mask {path} holds values that are not whole numbers")
    if labels.min() < 0 or labels.max() > _LARGEST_LABEL:
        raise UserError(
            f"the mask {path} holds labels from {labels.min():.0f} to {labels.max():.0f}: "
            f"expected 0 to {_LARGEST_LABEL}"
        )
    labels = labels.astype(np.int16, copy=False)
    if values is not None:
        undeclared = sorted({int(value) for value in foreground.count(labels)} - {*values})
        if undeclared:
            raise UserError(
                f"the mask {path} holds the labels {undeclared}, which its source does not "
                f"declare: expected {sorted(values)}"
            )
    return labels


def _read(
    path: Path,
    channels: int,
    row: tuple[str, int] | None,
    orientation: str,
    geometry: str,
    *,
    mask: bool = False,
    clip: Clip | None = None,
) -> _Part:
    """One image, turned."""
    scan = formats.open_scan(path, row=row, mask=mask, clip=clip, geometry=geometry)
    name = f"row {row[1]} of {row[0]} in {path}" if row else str(path)
    shape = _refuse_header(name, scan, channels)
    _refuse_affine(name, scan.affine)
    array = scan.voxels().reshape(shape, order="A")
    for channel in range(channels):
        which = f"channel {channel} of {name}" if channels > 1 else name
        _refuse_voxels(which, array[..., channel], mask)
    turn = ornt_transform(io_orientation(scan.affine), axcodes2ornt(orientation))
    affine = scan.affine @ inv_ornt_aff(turn, shape[:3])
    return _Part(name, apply_orientation(array, turn), affine, scan)


def _refuse_header(name: str, scan: Scan, channels: int) -> tuple[int, ...]:
    """The shape [x, y, z, channels] that the header promises, if that can be a volume."""
    shape = scan.shape
    size = "x".join(map(str, shape))
    if min(shape, default=1) < 1:
        raise UserError(f"{name} has a size of {size} voxels in its header: expected a 3D volume")
    if len(shape) < 3 or min(shape[:3]) < 2:
        raise UserError(f"{name} is a 2D image of {size} voxels: expected a 3D volume")
    if channels == 1 and len(shape) > 3:
        raise UserError(
            f"{name} is a {len(shape)}D series of {size} voxels: expected one 3D volume"
        )
    found = shape[3] if len(shape) == 4 else 1
    if len(shape) > 4 or found != channels:
        raise UserError(f"{name} holds {size} voxels: expected {channels} modalities on a 4th axis")
    if scan.dtype.kind not in "biuf":
        kind = "complex" if scan.dtype.kind == "c" else "RGB colours or another compound"
        raise UserError(f"{name} holds {kind} values ({scan.dtype}): expected one number per voxel")
    if int(np.prod(shape, dtype=object)) > MOST_VOXELS:
        raise UserError(f"{name} promises {size} voxels, more than the {MOST_VOXELS} that are read")
    return (*shape[:3], channels)


def _refuse_affine(name: str, affine: np.ndarray) -> None:
    edges = np.linalg.norm(affine[:3, :3], axis=0)
    if not np.isfinite(affine).all():
        raise UserError(f"{name} has an affine that is not finite: {affine[:3].tolist()}")
    if edges.min() < _EDGES[0] or edges.max() > _EDGES[1]:
        found = " x ".join(f"{edge:.4g}" for edge in edges)
        raise UserError(
            f"{name} has voxels of {found} mm: expected edges of {_EDGES[0]:g} to {_EDGES[1]:g} mm"
        )
    # Relative to the edges, so that small voxels do not look like singular ones.
    if abs(np.linalg.det(affine[:3, :3])) < 1e-3 * edges.prod():
        raise UserError(f"{name} has a singular affine: {affine[:3].tolist()}")


def _refuse_voxels(name: str, voxels: np.ndarray, mask: bool) -> None:
    # The extremes are not finite when any voxel is not, and they take no array of their own.
    least, most = voxels.min(), voxels.max()
    if not (np.isfinite(least) and np.isfinite(most)):
        bad = voxels.size - np.count_nonzero(np.isfinite(voxels))
        raise UserError(f"{name} holds {bad} voxels that are NaN or infinite, of {voxels.size}")
    if least == most and not mask:
        raise UserError(f"{name} is constant: every voxel is {least:g}")


def _refuse_other_grid(part: _Part, other: _Part) -> None:
    """Two grids are one when no corner of the volume moves by more than a tenth of a voxel."""
    shape, expected = part.array.shape[:3], other.array.shape[:3]
    if shape != expected:
        found, wanted = ("x".join(map(str, size)) for size in (shape, expected))
        raise UserError(
            f"{part.name} is {found} voxels, {other.name} is {wanted}: expected one grid"
        )
    corners = np.array([(*corner, 1) for corner in itertools.product(*((0, n) for n in shape))])
    moved = np.linalg.norm((corners @ (part.affine - other.affine).T)[:, :3], axis=1).max()
    if moved > 0.1 * np.linalg.norm(other.affine[:3, :3], axis=0).min():
        raise UserError(
            f"{part.name} and {other.name} have affines that differ by up to {moved:.3g} mm: "
            "expected one grid"
        )
