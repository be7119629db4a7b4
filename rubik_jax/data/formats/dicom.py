"""Reads DICOM: a folder with the slices of a series, in any order and by any names, or frames."""

import functools
import os
from pathlib import Path
from typing import NamedTuple

import numpy as np
import SimpleITK

from rubik_jax.data.formats import itk
from rubik_jax.data.formats.scan import Scan, without_ones
from rubik_jax.data.formats.signatures import slices_in
from rubik_jax.errors import UserError

_SERIES, _DESCRIPTION = "0020|000e", "0008|103e"
_POSITION, _ORIENTATION = "0020|0032", "0020|0037"
# Share of the distance between slices by which one may lie off its place.
_UNEVEN = 0.1
# Millimetres within which two slices are at one position.
_SAME = 1e-3
_MOST_TOLD = 4


class _Slice(NamedTuple):
    """What the header of one file says.

    shape: (x, y, frames, components).
    affine: as of a scan; of a single slice, the third column is the normal.
    placed: whether position and orientation stand in the header itself.
    """

    path: Path
    series: str
    description: str
    shape: tuple[int, ...]
    dtype: np.dtype
    affine: np.ndarray
    placed: bool


def open_scan(path: Path) -> Scan:
    """One series.

    Args:
        path: of a folder that holds one series, itself or in a folder below it; or of any file of
            a series, which chooses it where a folder holds several.

    Raises:
        UserError: no slices or several series; slices that are missing, doubled or unplaced.
    """
    slices = _chosen(path)
    first = slices[0]
    if first.shape[2] > 1:
        return Scan(path, "DICOM", first.shape, first.dtype, _placed(first), lambda: _read(slices))
    slices = _in_order(path, slices)
    shape = without_ones((*first.shape[:2], len(slices), *first.shape[3:]))
    dtypes = {one.dtype for one in slices}
    dtype = first.dtype if len(dtypes) == 1 else np.dtype(np.float32)
    return Scan(path, "DICOM", shape, dtype, _affine(slices), lambda: _read(slices))


def series(folder: Path) -> list[list[_Slice]]:
    """The files of a folder, those of one series together: one UID, orientation, size, spacing.

    Raises:
        UserError: a file that is damaged or holds no image.
    """
    found: list[list[_Slice]] = []
    for path in slices_in(folder):
        status = path.stat()
        one = _slice(path, status.st_size, status.st_mtime_ns)
        group = next((group for group in found if _belong(group[0], one)), None)
        if group is None:
            found.append([one])
        else:
            group.append(one)
    return found


def files(path: Path) -> list[Path]:
    """The files of the series."""
    return [one.path for one in _chosen(path)]


def _chosen(path: Path) -> list[_Slice]:
    if not path.is_dir():
        for group in series(path.parent):
            if any(path.name == one.path.name for one in group):
                return group
        raise UserError(f"{path} is hidden or an index: expected a slice, or the folder of slices")
    folders = [path] if slices_in(path) else _folders_below(path)
    found = [group for folder in folders for group in series(folder)]
    if not found:
        raise UserError(f"{path} is a folder without DICOM slices: expected a volume")
    if len(found) > 1:
        told = ", ".join(_told(group, path) for group in found[:_MOST_TOLD])
        more = ", ..." if len(found) > _MOST_TOLD else ""
        raise UserError(
            f"{path} holds {len(found)} DICOM series ({told}{more}): expected one, or the path of "
            "any file of a series to choose it"
        )
    return found[0]


def _folders_below(root: Path) -> list[Path]:
    folders = (Path(folder) for folder, _, _ in os.walk(root))
    return sorted(folder for folder in folders if slices_in(folder))


def _told(group: list[_Slice], root: Path) -> str:
    first = group[0]
    size = "x".join(map(str, first.shape[:2]))
    named = f" {first.description!r}" if first.description else ""
    return f"{first.path.relative_to(root)}{named}: {len(group)} of {size}"


@functools.lru_cache(maxsize=2**16)
def _slice(path: Path, size: int, changed: int) -> _Slice:
    """Kept, since listing, keying and reading a case all ask for it."""
    del size, changed
    try:
        reader = itk.read_information(path, "DICOM")
    except RuntimeError as error:
        raise UserError(f"{path} is damaged, or a DICOM file without an image") from error
    said = {key: reader.GetMetaData(key).strip() for key in reader.GetMetaDataKeys()}
    return _Slice(
        path,
        said.get(_SERIES, ""),
        said.get(_DESCRIPTION, ""),
        (*reader.GetSize(), *(1,) * (3 - reader.GetDimension()), itk.components_of(reader)),
        itk.dtype_of(reader),
        itk.affine_of(reader),
        bool(said.get(_POSITION) and said.get(_ORIENTATION)),
    )


def _belong(one: _Slice, other: _Slice) -> bool:
    return (
        one.series == other.series
        and one.shape == other.shape
        and one.shape[2] == 1
        and np.allclose(one.affine[:3, :2], other.affine[:3, :2], rtol=0, atol=1e-3)
    )


def _placed(one: _Slice) -> np.ndarray:
    """The affine of a file with frames; GDCM makes one up where the file has none."""
    made_up = np.array_equal(one.affine, np.diag(one.affine.diagonal()))
    if made_up and not one.placed:
        raise UserError(f"{one.path} says nothing of its place, so left and right are unknown")
    return one.affine


def _in_order(path: Path, slices: list[_Slice]) -> list[_Slice]:
    """The slices along their normal, none missing and none doubled."""
    for one in slices:
        if not one.placed:
            raise UserError(f"{one.path} has no position or orientation, so its place is unknown")
    normal = np.cross(*slices[0].affine[:3, :2].T)
    normal /= np.linalg.norm(normal)
    slices = sorted(slices, key=lambda one: one.affine[:3, 3] @ normal)
    places = np.array([one.affine[:3, 3] for one in slices])
    gaps = np.abs(np.diff(places @ normal))
    doubled = np.flatnonzero(gaps < _SAME)
    if doubled.size:
        a, b = slices[doubled[0]].path.name, slices[doubled[0] + 1].path.name
        raise UserError(
            f"{path} holds {len(slices)} slices, {doubled.size} of them at the position of another "
            f"({a} and {b}): expected one at each, so keep one echo or time in the folder"
        )
    even = np.linspace(places[0], places[-1], len(places))
    step = np.median(gaps) if gaps.size else 1.0
    if np.linalg.norm(places - even, axis=1).max() > _UNEVEN * step:
        worst = int(np.abs(gaps - step).argmax())
        a, b = slices[worst].path.name, slices[worst + 1].path.name
        raise UserError(
            f"{path} has slices missing or uneven: {a} and {b} are {gaps[worst]:.4g} mm apart, "
            f"most of its {len(slices)} slices {step:.4g} mm"
        )
    return slices


def _affine(slices: list[_Slice]) -> np.ndarray:
    affine = slices[0].affine.copy()
    if len(slices) > 1:
        affine[:3, 2] = (slices[-1].affine[:3, 3] - affine[:3, 3]) / (len(slices) - 1)
    return affine


def _read(slices: list[_Slice]) -> np.ndarray:
    """The voxels; GDCM applies slope and intercept, slice by slice."""
    reader = SimpleITK.ImageSeriesReader()
    reader.SetImageIO("GDCMImageIO")
    reader.SetFileNames([str(one.path) for one in slices])
    dtypes = {one.dtype for one in slices}
    if len(dtypes) > 1 or np.dtype(np.float64) in dtypes:
        reader.SetOutputPixelType(SimpleITK.sitkFloat32)
    array = itk.array_of(itk.execute(reader))
    return array.reshape(without_ones(array.shape), order="F")
