"""Tells which DICOM files of a folder are one series, and which lie beside it and are no volume."""

import functools
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from rubik_jax.data.formats import frames, itk, walk
from rubik_jax.data.formats.frames import Frame
from rubik_jax.data.formats.signatures import slices_in
from rubik_jax.errors import UserError

_CLASS, _SERIES, _DESCRIPTION = "0008|0016", "0020|000e", "0008|103e"
_POSITION, _ORIENTATION, _IMAGE_TYPE = "0020|0032", "0020|0037", "0008|0008"
_MOST_TOLD = 4


class Slice(NamedTuple):
    """What the header of one file says.

    kind: of object, e.g. "CT Image".
    shape: (x, y, frames, components); () where it holds no image.
    affine: as of a scan; of a single slice, the third column is the normal.
    placed: whether position and orientation stand in the header itself.
    localizer: whether it is there to plan other images on.
    frames: each, in their order in the file; () of a single slice.
    trouble: why its frames are no volume; "" where they may be.
    """

    path: Path
    kind: str
    series: str = ""
    description: str = ""
    shape: tuple[int, ...] = ()
    dtype: np.dtype = np.dtype(np.uint8)
    affine: np.ndarray = np.eye(4)
    placed: bool = False
    localizer: bool = False
    frames: tuple[Frame, ...] = ()
    trouble: str = ""


Series = list[Slice]


class Found(NamedTuple):
    """What a folder holds.

    series: files that belong together: one UID, orientation, size, spacing.
    aside: the same, of what is passed over: objects without an image, others than images, and
        localizers and single images of a series of their own; where there are other series.
    """

    series: list[Series]
    aside: list[Series]


def look(folder: Path) -> Found:
    """The series of a folder itself.

    Raises:
        UserError: a file that is damaged.
    """
    groups: list[Series] = []
    for path in slices_in(folder):
        status = path.stat()
        one = _slice(path, status.st_size, status.st_mtime_ns)
        group = next((group for group in groups if _belong(group[0], one)), None)
        if group is None:
            groups.append([one])
        else:
            group.append(one)
    shown = [group for group in groups if group[0].shape]
    images = [group for group in shown if frames.is_image(group[0].kind)] or shown
    series = [group for group in images if not _is_aside(group, images)]
    kept = {id(group) for group in series}
    return Found(series, [group for group in groups if id(group) not in kept])


def listed(folder: Path) -> list[Path]:
    """What stands for the series of images in a folder: itself for one, else a file of each.

    Raises:
        UserError: as `look`.
    """
    series = [group for group in look(folder).series if frames.is_image(group[0].kind)]
    return [folder] if len(series) == 1 else [group[0].path for group in series]


def choose(path: Path) -> tuple[Series, tuple[str, ...]]:
    """The one series that a path stands for, and what is passed over beside it, in words.

    Args:
        path: of a folder that holds one series, itself or in a folder below it; or of any file of
            a series.

    Raises:
        UserError: none or several; a file without an image, or that is damaged.
    """
    if not path.is_dir():
        return _of_file(path), ()
    folders = [path] if slices_in(path) else _folders_below(path)
    found = [look(folder) for folder in folders]
    series = [group for each in found for group in each.series]
    images = [group for group in series if frames.is_image(group[0].kind)] or series
    aside = [group for each in found for group in each.aside]
    if not images:
        without = f" with an image, but {_listed(aside, path)}" if aside else ""
        raise UserError(f"{path} is a folder without DICOM slices{without}: expected a volume")
    if len(images) > 1:
        told = ", ".join(_told(group, path) for group in images[:_MOST_TOLD])
        more = ", ..." if len(images) > _MOST_TOLD else ""
        raise UserError(
            f"{path} holds {len(images)} DICOM series ({told}{more}): expected one, or the path of "
            "any file of a series to choose it"
        )
    return _sound(images[0]), tuple(_named(one, path) for group in aside for one in group)


def _of_file(path: Path) -> Series:
    found = look(path.parent)
    for group in (*found.series, *found.aside):
        if any(path.name == one.path.name for one in group):
            if not group[0].shape:
                raise UserError(f"{path} is of the kind {group[0].kind}, which holds no image")
            return _sound(group)
    raise UserError(f"{path} is hidden or an index: expected a slice, or the folder of slices")


def _sound(group: Series) -> Series:
    """The series; UserError where its frames are no volume."""
    if group[0].trouble:
        raise UserError(group[0].trouble)
    return group


def _folders_below(root: Path) -> list[Path]:
    return [folder for folder, names in walk.folders(root) if names and slices_in(folder)]


def _told(group: Series, root: Path) -> str:
    first = group[0]
    size = "x".join(map(str, first.shape[:2]))
    named = f" {first.description!r}" if first.description else ""
    return f"{first.path.relative_to(root)}{named}: {len(group)} of {size}"


def _named(one: Slice, root: Path) -> str:
    kind = one.kind or "image"
    if one.shape and frames.is_image(one.kind):
        kind = "localizer" if one.localizer else f"{kind} of another series"
    return f"{one.path.relative_to(root)} ({kind})"


def _listed(groups: Sequence[Series], root: Path) -> str:
    names = [_named(one, root) for group in groups for one in group]
    return ", ".join(names[:_MOST_TOLD]) + (", ..." if len(names) > _MOST_TOLD else "")


@functools.lru_cache(maxsize=2**16)
def _slice(path: Path, size: int, changed: int) -> Slice:
    """Kept, since listing, keying and reading a case all need it."""
    del size, changed
    try:
        reader = itk.read_information(path, "DICOM")
    except RuntimeError as error:
        if kind := frames.without_image(path):
            return Slice(path, kind)
        found = _trouble(path) or f"{path} is damaged, or a DICOM file without an image"
        raise UserError(found) from error
    said = {key: reader.GetMetaData(key).strip() for key in reader.GetMetaDataKeys()}
    shape = (*reader.GetSize(), *(1,) * (3 - reader.GetDimension()), itk.components_of(reader))
    placed = bool(said.get(_POSITION) and said.get(_ORIENTATION))
    each, trouble = (), ""
    try:
        each = () if placed and shape[2] == 1 else frames.read(path)
        if len(each) != shape[2] and (each or shape[2] > 1):
            trouble = f"{path} holds {shape[2]} frames and describes {len(each)}"
    except UserError as error:  # it may lie beside a series, and be no part of it
        trouble = str(error)
    return Slice(
        path,
        frames.kind_of(said.get(_CLASS, "")),
        said.get(_SERIES, ""),
        said.get(_DESCRIPTION, ""),
        shape,
        itk.dtype_of(reader),
        each[0].affine if each else itk.affine_of(reader),
        placed or bool(each),
        "LOCALIZER" in said.get(_IMAGE_TYPE, "").upper().split("\\"),
        each,
        trouble,
    )


def _trouble(path: Path) -> str:
    """Why the frames of a file are no volume; "" where they may be, or it's damaged."""
    try:
        frames.read(path)
    except UserError as error:
        return str(error)
    except Exception:  # of any kind: its bytes may be anything
        return ""
    return ""


def _belong(one: Slice, other: Slice) -> bool:
    return (
        one.series == other.series
        and one.shape == other.shape
        and one.shape[2:3] == (1,)
        and np.allclose(one.affine[:3, :2], other.affine[:3, :2], rtol=0, atol=1e-3)
    )


def _is_aside(group: Series, groups: Sequence[Series]) -> bool:
    """Whether it is no volume, and there is one that it can't be a lost part of."""
    volumes = [each for each in groups if _is_volume(each)]
    if not volumes or _is_volume(group):
        return False
    return group[0].localizer or group[0].series not in {each[0].series for each in volumes}


def _is_volume(group: Series) -> bool:
    first = group[0]
    several = len(group) * first.shape[2] > 1
    return first.placed and several and not (first.localizer or first.trouble)
