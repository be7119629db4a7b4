"""Reads NIfTI-1 and NIfTI-2 of either byte order, as one file or a pair, gzipped or not."""

import functools
import itertools
import logging
from pathlib import Path

import nibabel as nib
import numpy as np

from rubik_jax.data.formats import packed
from rubik_jax.data.formats.scan import MOST_PACKED, Scan, beside, without_ones
from rubik_jax.data.formats.signatures import GZIP
from rubik_jax.errors import UserError

# What nibabel would put right and print, is put right; what it cannot, is raised.
_QUIET = logging.Logger(__name__, logging.CRITICAL + 1)
_HEADER = 540  # bytes of a NIfTI-2 header; one of NIfTI-1 is shorter
# Millimetres to the unit that the low bits of xyzt_units name; 0 is unknown, taken for millimetres.
_UNITS = {1: 1000.0, 3: 0.001}
# By how much voxels of two parts of a header may differ, and by how many voxels the corners.
_UNLIKE, _APART = 0.01, 0.1


def open_scan(path: Path, geometry: str = "affine") -> Scan:
    """The header's word on the volume.

    Args:
        path: of the file, or of either of a pair.
        geometry: whose spacing is taken where the two contradict each other: that of the "affine"
            (the sform, or the qform where there is none), or "pixdim".

    Raises:
        UserError: no affine, or a header without its image, or that promises more than is there.
    """
    header = read_header(path)
    single = header["magic"].item()[:2] == b"n+"
    image = path if single else _image_of(path)
    shape, dtype = without_ones(header.get_data_shape()), header.get_data_dtype()
    offset = int(header.get_data_offset())
    end = offset + int(np.prod(shape, dtype=object)) * dtype.itemsize
    if end > image.stat().st_size * (MOST_PACKED if _is_packed(image) else 1):
        size = "x".join(map(str, shape))
        raise UserError(
            f"{path} is damaged or cut short: it promises {size} voxels in its header, "
            f"more than it can hold"
        )
    voxels = functools.partial(_voxels, image, offset, shape, dtype, header.get_slope_inter())
    affine = _affine(path, header)
    spacing = _spacing(header, affine)
    doubts = _doubts(header, affine, spacing, shape, geometry)
    if geometry == "pixdim":
        edges = nib.affines.voxel_sizes(affine)
        affine[:3, :3] *= np.divide(spacing, edges, out=np.ones(3), where=edges > 0)
    return Scan(path, "NIfTI", shape, dtype, affine, voxels, doubts=doubts)


def read_header(path: Path) -> nib.Nifti1Header | nib.Nifti2Header:
    """The header, put right where writers are known to be careless."""
    with path.open("rb") as file:
        head = packed.start(file, _HEADER) if _is_packed(path) else file.read(_HEADER)
    kind = nib.Nifti2Header if head[4:7] in (b"n+2", b"ni2") else nib.Nifti1Header
    header = kind(head[: kind.sizeof_hdr], check=False)
    lost = header["pixdim"][1:4] == 0  # nibabel would make them 1
    header.check_fix(_QUIET, error_level=40)
    header["pixdim"][1:4][lost] = 0
    return header


def files(path: Path) -> list[Path]:
    """The header's file and that of its image, if it has one of its own."""
    header = read_header(path)
    return [path] if header["magic"].item()[:2] == b"n+" else [path, _image_of(path)]


def _image_of(path: Path) -> Path:
    image = beside(path, ".img")
    if image == path or not image.is_file():
        raise UserError(
            f"{path} is a header whose voxels are missing: expected {image.name} with it"
        )
    return image


def _is_packed(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(2) == GZIP


def _affine(path: Path, header: nib.Nifti1Header) -> np.ndarray:
    if header["qform_code"] == 0 and header["sform_code"] == 0:
        raise UserError(
            f"{path} has no affine (sform_code and qform_code are 0), so left and right are unknown"
        )
    affine = np.array(header.get_best_affine(), np.float64)
    affine[:3] *= _unit(header)
    return affine


def _spacing(header: nib.Nifti1Header, affine: np.ndarray) -> np.ndarray:
    """Of pixdim, mm; along an axis where that says nothing, of the affine."""
    own = np.abs(np.array(header["pixdim"][1:4], np.float64)) * _unit(header)
    with np.errstate(invalid="ignore"):
        return np.where(np.isfinite(own) & (own > 0), own, nib.affines.voxel_sizes(affine))


def _doubts(
    header: nib.Nifti1Header,
    affine: np.ndarray,
    spacing: np.ndarray,
    shape: tuple[int, ...],
    geometry: str,
) -> tuple[str, ...]:
    """Sentences on where sform, qform and pixdim contradict each other."""
    edges = nib.affines.voxel_sizes(affine)
    if not np.isfinite(affine).all() or len(shape) < 3:
        return ()  # which is refused
    if not np.allclose(spacing, edges, rtol=_UNLIKE, atol=0):
        found = ["x".join(f"{edge:.4g}" for edge in of) for of in (edges, spacing)]
        return (
            f"the affine says voxels of {found[0]} mm and pixdim {found[1]} mm, of which "
            f"{'pixdim' if geometry == 'pixdim' else 'the affine'} is taken (config.data.geometry)",
        )
    if not header["qform_code"] or not header["sform_code"]:
        return ()
    try:
        other = np.array(header.get_qform(), np.float64)
    except ValueError:  # a quaternion that is none
        return ()
    other[:3] *= _unit(header)
    corners = np.array([(*c, 1) for c in itertools.product(*((0, n) for n in shape[:3]))])
    apart = np.linalg.norm(corners @ (other - affine).T, axis=1).max()
    if apart <= _APART * edges.min():
        return ()
    return (f"the sform and the qform place it up to {apart:.3g} mm apart: the sform is taken",)


def _unit(header: nib.Nifti1Header) -> float:
    return _UNITS.get(int(header["xyzt_units"]) & 7, 1.0)


def _voxels(
    path: Path,
    offset: int,
    shape: tuple[int, ...],
    dtype: np.dtype,
    scaling: tuple[float | None, float | None],
) -> np.ndarray:
    """The voxels in the order they have in the file, x changing fastest."""
    content = np.empty(offset + int(np.prod(shape)) * dtype.itemsize, np.uint8)
    with path.open("rb") as file:
        is_packed = file.read(2) == GZIP
        file.seek(0)
        as_it_is = iter(functools.partial(file.read, 2**20), b"")
        packed.fill(content, packed.blocks(file) if is_packed else as_it_is)
    array = np.ndarray(shape, dtype, content.data, offset, order="F")
    slope, inter = (1.0 if scaling[0] is None else scaling[0]), scaling[1] or 0.0
    if (slope, inter) == (1.0, 0.0):
        return array.astype(dtype.newbyteorder("="), copy=False)
    scaled = array.astype(np.float32)
    scaled *= np.float32(slope)
    scaled += np.float32(inter)
    return scaled
