"""Reads DICOM: a folder with the slices of a series, in any order and by any names, or frames."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import SimpleITK

from rubik_jax.data.formats import frames, itk, series
from rubik_jax.data.formats.frames import Frame
from rubik_jax.data.formats.scan import Scan, without_ones
from rubik_jax.data.formats.series import Slice
from rubik_jax.errors import UserError

# Share of the distance between slices by which one may lie off its place.
_UNEVEN = 0.1
# What writers give to an array that has no place.
_UNPLACED = np.diag([-1.0, -1.0, 1.0, 1.0])
# Millimetres within which two slices are at one position.
_SAME = 1e-3


class _Place(NamedTuple):
    """Where a slice or frame lies: its number among them, its name and its affine."""

    index: int
    name: str
    affine: np.ndarray


def open_scan(path: Path) -> Scan:
    """One series, of slices or of frames.

    Args:
        path: as `series.choose` takes it.

    Raises:
        UserError: no slices or several series; slices or frames that are missing, doubled or
            unplaced.
    """
    slices, aside = series.choose(path)
    first = slices[0]
    if first.shape[2] > 1:
        return _open_frames(path, first)._replace(passed_over=aside)
    for one in slices:
        if not one.placed:
            raise UserError(f"{one.path} has no position or orientation, so its place is unknown")
    places = _in_order(
        path, "slices", [_Place(k, one.path.name, one.affine) for k, one in enumerate(slices)]
    )
    slices = [slices[place.index] for place in places]
    shape = without_ones((*first.shape[:2], len(slices), *first.shape[3:]))
    dtypes = {one.dtype for one in slices}
    dtype = first.dtype if len(dtypes) == 1 else np.dtype(np.float32)
    affine = _affine(places)
    return Scan(path, "DICOM", shape, dtype, affine, lambda: _read(slices), passed_over=aside)


def files(path: Path) -> list[Path]:
    """The files of the series."""
    return [one.path for one in series.choose(path)[0]]


def _open_frames(path: Path, file: Slice) -> Scan:
    shape = without_ones(file.shape)
    places = _in_order(
        file.path, "frames", [_Place(one.index, one.name, one.affine) for one in file.frames]
    )
    frames.refuse_several(file.path, file.frames)
    ordered = tuple(file.frames[place.index] for place in places)
    dtype = np.dtype(np.float32) if _is_scaled(ordered) else file.dtype
    affine = _affine(places)
    if "Secondary Capture" in file.kind and np.array_equal(affine, _UNPLACED):
        raise UserError(f"{file.path} says nothing of its place, so left and right are unknown")
    return Scan(path, "DICOM", shape, dtype, affine, lambda: _read_frames(file.path, ordered))


def _in_order(path: Path, what: str, places: Sequence[_Place]) -> list[_Place]:
    """Slices or frames along their normal, all in one direction, none missing and none doubled."""
    columns = places[0].affine[:3, :2]
    turned = [each for each in places if not np.allclose(each.affine[:3, :2], columns, atol=1e-3)]
    if turned:
        raise UserError(
            f"{path} holds {len(places)} {what} of several directions or spacings, as localizers "
            f"do ({places[0].name} and {turned[0].name} differ): expected one volume"
        )
    normal = np.cross(*columns.T)
    normal /= np.linalg.norm(normal)
    places = sorted(places, key=lambda each: each.affine[:3, 3] @ normal)
    origins = np.array([each.affine[:3, 3] for each in places])
    gaps = np.abs(np.diff(origins @ normal))
    doubled = np.flatnonzero(gaps < _SAME)
    if doubled.size:
        a, b = (places[doubled[0] + k].name for k in range(2))
        raise UserError(
            f"{path} holds {len(places)} {what}, {doubled.size} of them at the position of another "
            f"({a} and {b}): expected one at each, so keep one echo or time in the "
            f"{'folder' if what == 'slices' else 'file'}"
        )
    even = np.linspace(origins[0], origins[-1], len(origins))
    step = np.median(gaps) if gaps.size else 1.0
    off = np.linalg.norm(origins - even, axis=1)
    if off.max() > _UNEVEN * step:
        if np.abs(gaps - step).max() <= _UNEVEN * step:
            raise UserError(
                f"{path} has {what} that aren't in line: {places[off.argmax()].name} lies "
                f"{off.max():.4g} mm off"
            )
        worst = int(np.abs(gaps - step).argmax())
        a, b = places[worst].name, places[worst + 1].name
        raise UserError(
            f"{path} has {what} missing or uneven: {a} and {b} are {gaps[worst]:.4g} mm apart, "
            f"most of its {len(places)} {what} {step:.4g} mm"
        )
    return places


def _affine(places: Sequence[_Place]) -> np.ndarray:
    affine = places[0].affine.copy()
    if len(places) > 1:
        affine[:3, 2] = (places[-1].affine[:3, 3] - affine[:3, 3]) / (len(places) - 1)
    return affine


def _read(slices: Sequence[Slice]) -> np.ndarray:
    """The voxels; GDCM applies slope and intercept, slice by slice."""
    reader = SimpleITK.ImageSeriesReader()
    reader.SetImageIO("GDCMImageIO")
    reader.SetFileNames([str(one.path) for one in slices])
    dtypes = {one.dtype for one in slices}
    if len(dtypes) > 1 or np.dtype(np.float64) in dtypes:
        reader.SetOutputPixelType(SimpleITK.sitkFloat32)
    array = itk.array_of(itk.execute(reader))
    return array.reshape(without_ones(array.shape), order="F")


def _is_scaled(ordered: Sequence[Frame]) -> bool:
    """Whether frames differ in slope or intercept, of which GDCM applies the first frame's."""
    return len({(one.slope, one.intercept) for one in ordered}) > 1


def _read_frames(path: Path, ordered: Sequence[Frame]) -> np.ndarray:
    """The voxels, the frames in this order."""
    reader = itk.read_information(path, "DICOM")
    array = itk.array_of(reader.Execute())[:, :, [one.index for one in ordered]]
    if _is_scaled(ordered):
        first = min(ordered, key=lambda one: one.index)
        scaled = np.empty(array.shape, np.float32, order="F")
        for k, one in enumerate(ordered):
            stored = np.rint((array[:, :, k] - first.intercept) / first.slope)
            scaled[:, :, k] = stored * one.slope + one.intercept
        array = scaled
    array = array.astype(np.float32, copy=False) if array.dtype == np.float64 else array
    return array.reshape(without_ones(array.shape), order="A")
