"""Reads volumes into RAS+ arrays, refuses what nobody can train on, scales intensities."""

import gzip
import itertools
from pathlib import Path
from typing import NamedTuple

import nibabel as nib
import numpy as np
from nibabel.orientations import apply_orientation, inv_ornt_aff, io_orientation

from rubik_jax.data import npz
from rubik_jax.errors import UserError

MOST_VOXELS = 2**33
# Deflate packs at most 1032 bytes into one; a header that promises more is lying.
_MOST_PACKED = 1032
_LARGEST_LABEL = 2**15 - 1


class Volume(NamedTuple):
    """A scan.

    array: float32 [x, y, z, c]; x runs to the right, y to the front, z to the head.
    affine: float64 [4, 4], from voxel indices to millimetres, RAS+.
    """

    array: np.ndarray
    affine: np.ndarray


def read(
    images: tuple[Path, ...],
    *,
    channels: int | None = None,
    row: tuple[str, int] | None = None,
) -> Volume:
    """The volume of one case, its modalities as channels.

    Args:
        images: one 3D file per modality, all on one grid.
        channels: when given, `images` is one file with that many modalities along its last axis.
        row: when given, `images` is one .npz file, and the volume is a row [x, y, z] of the array
            of that name; such a file knows no affine, so its voxels count as 1 mm.

    Raises:
        UserError: names the file and what is wrong with it.
    """
    if row is not None:
        parts = [Volume(npz.row(images[0], *row)[..., None].astype(np.float32), np.eye(4))]
    else:
        parts = [_read(path, channels or 1) for path in images]
    for path, part in zip(images, parts, strict=True):
        for channel in range(part.array.shape[-1]):
            voxels = part.array[..., channel]
            if voxels.min() == voxels.max():
                which = f"channel {channel} of {path}" if channels else path
                which = f"row {row[1]} of {row[0]} in {path}" if row else which
                raise UserError(f"{which} is constant: every voxel is {voxels.flat[0]:g}")
        _refuse_other_grid(path, part, images[0], parts[0])
    return Volume(np.concatenate([part.array for part in parts], axis=-1), parts[0].affine)


def read_mask(path: Path, like: Volume) -> np.ndarray:
    """The labels of a mask, int16 [x, y, z], on the grid of the volume they belong to.

    Raises:
        UserError: another shape or affine than the volume's, or labels that are not whole numbers
            from 0 to 32767.
    """
    part = _read(path, 1)
    _refuse_other_grid(path, part, "the image", like)
    labels = np.rint(part.array[..., 0])
    if np.abs(labels - part.array[..., 0]).max() > 1e-3:
        raise UserError(f"the mask {path} holds values that are not whole numbers")
    if labels.min() < 0 or labels.max() > _LARGEST_LABEL:
        raise UserError(
            f"the mask {path} holds labels from {labels.min():.0f} to {labels.max():.0f}: "
            f"expected 0 to {_LARGEST_LABEL}"
        )
    return labels.astype(np.int16)


def scale(array: np.ndarray, kind: str, low: float, high: float) -> np.ndarray:
    """Intensities scaled into [0, 1] and clipped there, each channel by itself.

    Args:
        array: [x, y, z, c].
        kind: "percentile": `low` and `high` are percentiles of the voxels above the channel's
            minimum, so that the zeroed background of a stripped scan does not count (where both
            fall on one value, minimum and maximum serve instead); "window": they are values, in
            Hounsfield units for CT, say.
        low: what becomes 0.
        high: what becomes 1.

    Returns:
        float32 [x, y, z, c].

    Raises:
        UserError: unknown kind, `low` not below `high`, percentiles outside 0 to 100.
    """
    if kind not in ("percentile", "window"):
        raise UserError(
            f"config.data.intensity.kind is {kind!r}: expected 'percentile' or 'window'"
        )
    if not low < high:
        raise UserError(f"config.data.intensity.low is {low}: expected less than high, {high}")
    if kind == "percentile" and not 0 <= low < high <= 100:
        raise UserError(
            f"config.data.intensity asks for percentiles {low} to {high}: expected 0 to 100"
        )
    scaled = np.empty(array.shape, np.float32)
    for channel in range(array.shape[-1]):
        voxels = array[..., channel]
        least, most = (low, high) if kind == "window" else _percentiles(voxels, low, high)
        share = (np.clip(voxels, least, most) - least) / (most - least)
        scaled[..., channel] = np.minimum(share, 1)  # rounding can pass 1
    return scaled


def _percentiles(voxels: np.ndarray, low: float, high: float) -> tuple[float, float]:
    above = voxels[voxels > voxels.min()]
    if above.size:
        # Rounded before they are compared, so that their difference does not vanish later.
        least, most = np.percentile(above, (low, high)).astype(np.float32).tolist()
        if least < most:
            return least, most
    least, most = float(voxels.min()), float(voxels.max())
    return least, most if least < most else least + 1.0


def _read(path: Path, channels: int) -> Volume:
    """One file, turned to RAS+; [x, y, z, channels]."""
    image = _open(path)
    shape = _refuse_header(path, image, channels)
    affine = _refuse_affine(path, image)
    try:
        array = _voxels(path, image).reshape(shape)
    except Exception as error:  # nibabel, gzip and zlib have a dozen kinds for damaged files
        raise UserError(f"{path} is damaged or cut short: {_line(error)}") from error
    bad = array.size - np.count_nonzero(np.isfinite(array))
    if bad:
        raise UserError(f"{path} holds {bad} voxels that are NaN or infinite, of {array.size}")
    orientation = io_orientation(affine)
    return Volume(
        apply_orientation(array, orientation), affine @ inv_ornt_aff(orientation, shape[:3])
    )


def _open(path: Path) -> nib.Nifti1Pair:
    if path.is_dir():
        raise UserError(f"{path} is a folder: expected a NIfTI file")
    if not path.is_file():
        raise UserError(f"{path} does not exist or is a link to nothing: expected a NIfTI file")
    try:
        image = nib.load(path)
    except Exception as error:  # nibabel has a dozen kinds for what is not an image
        raise UserError(f"{path} cannot be read as NIfTI: {_line(error)}") from error
    if not isinstance(image, nib.Nifti1Pair):
        raise UserError(f"{path} is a {type(image).__name__}: expected a NIfTI file")
    return image


def _voxels(path: Path, image: nib.Nifti1Pair) -> np.ndarray:
    """The voxels as float32, with the header's slope and intercept applied."""
    if path.suffix != ".gz" or not isinstance(image, nib.Nifti1Image):
        return image.get_fdata(dtype=np.float32)
    with gzip.open(path) as stream:
        array = type(image).from_stream(stream).get_fdata(dtype=np.float32)
        while stream.read(2**20):  # nibabel stops at the last voxel, short of the checksum
            pass
    return array


def _refuse_header(path: Path, image: nib.Nifti1Pair, channels: int) -> tuple[int, ...]:
    """The shape [x, y, z, channels] that the header promises, if that can be a volume."""
    shape = image.shape
    while len(shape) > 3 and shape[-1] == 1:
        shape = shape[:-1]
    size = "x".join(map(str, shape))
    if len(shape) < 3 or min(shape[:3]) < 2:
        raise UserError(f"{path} is a 2D image of {size} voxels: expected a 3D volume")
    if channels == 1 and len(shape) > 3:
        raise UserError(
            f"{path} is a {len(shape)}D series of {size} voxels: expected one 3D volume"
        )
    found = shape[3] if len(shape) == 4 else 1
    if len(shape) > 4 or found != channels:
        raise UserError(f"{path} holds {size} voxels: expected {channels} modalities on a 4th axis")

    dtype = image.get_data_dtype()
    if dtype.kind not in "iuf":
        kind = "complex" if dtype.kind == "c" else "RGB colours or another compound"
        raise UserError(f"{path} holds {kind} values ({dtype}): expected one number per voxel")
    voxels = int(np.prod(shape, dtype=object))
    single = isinstance(image, nib.Nifti1Image) and path.suffix == ".gz"
    if voxels > MOST_VOXELS or (single and voxels > path.stat().st_size * _MOST_PACKED):
        raise UserError(f"{path} promises {size} voxels in its header, more than it can hold")
    return (*shape[:3], channels)


def _refuse_affine(path: Path, image: nib.Nifti1Pair) -> np.ndarray:
    header = image.header
    if header["qform_code"] == 0 and header["sform_code"] == 0:
        raise UserError(
            f"{path} has no affine (sform_code and qform_code are 0), so left and right are unknown"
        )
    affine = np.asarray(image.affine, np.float64)
    finite = np.isfinite(affine).all()
    # Relative to the voxel's edges, so that small voxels do not look like singular ones.
    edges = np.linalg.norm(affine[:3, :3], axis=0).prod() if finite else 0.0
    if edges == 0 or abs(np.linalg.det(affine[:3, :3])) < 1e-3 * edges:
        raise UserError(f"{path} has a singular affine: {affine[:3].tolist()}")
    return affine


def _refuse_other_grid(path: Path, part: Volume, other_path: Path | str, other: Volume) -> None:
    """Two grids are one when no corner of the volume moves by more than a tenth of a voxel."""
    shape, expected = part.array.shape[:3], other.array.shape[:3]
    if shape != expected:
        found, wanted = ("x".join(map(str, size)) for size in (shape, expected))
        raise UserError(f"{path} is {found} voxels, {other_path} is {wanted}: expected one grid")
    corners = np.array([(*corner, 1) for corner in itertools.product(*((0, n) for n in shape))])
    moved = np.linalg.norm((corners @ (part.affine - other.affine).T)[:, :3], axis=1).max()
    if moved > 0.1 * np.linalg.norm(other.affine[:3, :3], axis=0).min():
        raise UserError(
            f"{path} and {other_path} have affines that differ by up to {moved:.3g} mm: "
            "expected one grid"
        )


def _line(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__
