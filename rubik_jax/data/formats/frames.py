"""Reads by pydicom what ITK doesn't tell of a DICOM file: its kind, and the place of each frame."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pydicom
from pydicom.uid import UID

from rubik_jax.errors import UserError

_TAGS = (
    *("SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence", "NumberOfFrames"),
    *("FrameTime", "FrameTimeVector", "GridFrameOffsetVector", "SpacingBetweenSlices"),
    *("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing"),
    *("InConcatenationNumber", "InConcatenationTotalNumber"),
)
# What tells frames of one place apart: the group it stands in, its keyword, and in plain words.
_TELLING = (
    ("MREchoSequence", "EffectiveEchoTime", "echo time {:g} ms"),
    ("FrameContentSequence", "TemporalPositionIndex", "time point {:g}"),
    ("MRDiffusionSequence", "DiffusionBValue", "b-value {:g}"),
    ("CardiacSynchronizationSequence", "NominalCardiacTriggerDelayTime", "trigger delay {:g} ms"),
    ("TemporalPositionSequence", "TemporalPositionTimeOffset", "time offset {:g} s"),
    ("SegmentIdentificationSequence", "ReferencedSegmentNumber", "segment {:g}"),
)
# Of those, what is one and the same within a volume.
_ONE = ("EffectiveEchoTime", "TemporalPositionIndex", "DiffusionBValue", "ReferencedSegmentNumber")
_LPS_TO_RAS = np.array([-1.0, -1.0, 1.0])
_PRIVATE = "a private kind"


class Frame(NamedTuple):
    """One frame of a file.

    index: where it stands in the file, from 0.
    affine: float64 [4, 4], from voxel indices to RAS+ millimetres; the third column is the normal.
    slope, intercept: of its numbers.
    about: what tells it from others, such as its echo time; "" where nothing does.
    volume: what frames of one volume have in common: their stack, echo and so on.
    rank: its number in its stack, counted from 1; 0 where the file doesn't say.
    """

    index: int
    affine: np.ndarray
    slope: float
    intercept: float
    about: str
    volume: tuple[str, ...] = ()
    rank: int = 0

    @property
    def name(self) -> str:
        """What a sentence calls it, counted from 1."""
        return f"frame {self.index + 1}" + (f" ({self.about})" if self.about else "")


def without_image(path: Path) -> str:
    """The kind of a sound object that holds no image, e.g. "RT Structure Set"; "" of all others."""
    try:
        kind = kind_of(
            pydicom.filereader.read_file_meta_info(path)["MediaStorageSOPClassUID"].value
        )
        if kind == _PRIVATE:
            header = pydicom.dcmread(path, specific_tags=["Rows", "PixelData"])
            return "" if "Rows" in header or "PixelData" in header else kind
    except Exception:  # damaged, which its reader says
        return ""
    return "" if is_image(kind) else kind


def kind_of(uid: str) -> str:
    """What an SOP class is called, without "Storage"; "" where none is given."""
    name = UID(uid.strip("\0 ")).name
    return _PRIVATE if name[:1].isdigit() else name.removesuffix(" Storage")


def is_image(kind: str) -> bool:
    """Whether objects of a kind are pictures of a patient; those of an unknown kind may be."""
    return kind in ("", _PRIVATE, "Enhanced US Volume") or "Image" in kind


def read(path: Path) -> tuple[Frame, ...]:
    """The frames of a file in their order; () where it doesn't place each of them.

    Raises:
        UserError: a frame without a place, another number of them than the file declares, frames
            that follow one another in time, or a part of a file that was divided.
        Exception: pydicom's own, of damaged files.
    """
    header = pydicom.dcmread(path, stop_before_pixels=True, specific_tags=list(_TAGS), force=True)
    parts = int(header.get("InConcatenationTotalNumber") or 1)
    if parts > 1:
        raise UserError(
            f"{path} is part {header.get('InConcatenationNumber')} of {parts} of one volume: "
            "expected all frames in one file"
        )
    number = int(header.get("NumberOfFrames") or 1)
    groups = header.get("PerFrameFunctionalGroupsSequence") or ()
    if groups:
        if len(groups) != number:
            raise UserError(f"{path} declares {number} frames and describes {len(groups)}")
        shared = (header.get("SharedFunctionalGroupsSequence") or (pydicom.Dataset(),))[0]
        return tuple(_frame(path, k, own, shared) for k, own in enumerate(groups))
    if header.get("GridFrameOffsetVector"):
        return tuple(_of_grid(path, header))
    if number > 1 and (header.get("FrameTime") or header.get("FrameTimeVector")):
        raise UserError(
            f"{path} holds {number} frames that follow one another in time: expected a volume"
        )
    if number > 1:
        return tuple(_in_steps(path, number, header))
    return ()


def refuse_several(path: Path, frames: Sequence[Frame]) -> None:
    """Refuses frames of more than one volume, wherever they lie, or of a stack that has gaps.

    Raises:
        UserError: names two frames of different volumes, or how many of a stack there are.
    """
    first = frames[0]
    other = next((each for each in frames if each.volume != first.volume), None)
    if other is not None:
        pairs = zip(first.volume, other.volume, strict=True)
        what = next(f"{one or 'none'} and {two or 'none'}" for one, two in pairs if one != two)
        raise UserError(
            f"{path} holds frames of several volumes ({first.name} and {other.name}: {what}): "
            "expected one, so keep one stack, echo and time in the file"
        )
    ranks = {each.rank for each in frames} - {0}
    if len(ranks) == len(frames) <= max(ranks) - min(ranks):
        raise UserError(
            f"{path} has frames missing: {len(frames)} of the positions {min(ranks)} to "
            f"{max(ranks)} of its stack are there"
        )


def _frame(path: Path, index: int, own: pydicom.Dataset, shared: pydicom.Dataset) -> Frame:
    def found(group: str, keyword: str):
        """What the frame itself says goes before what is said of all."""
        for of in (own, shared):
            for item in of.get(group) or ():
                if item.get(keyword) not in (None, ""):
                    return item.get(keyword)
        return None

    position = found("PlanePositionSequence", "ImagePositionPatient")
    orientation = found("PlaneOrientationSequence", "ImageOrientationPatient")
    spacing = found("PixelMeasuresSequence", "PixelSpacing")
    if not (position and orientation and spacing):
        lacking = "position" if not position else "orientation" if not orientation else "spacing"
        raise UserError(
            f"{path} has no {lacking} for its frame {index + 1}, so its place is unknown"
        )
    slope = found("PixelValueTransformationSequence", "RescaleSlope")
    intercept = found("PixelValueTransformationSequence", "RescaleIntercept")
    values = [(key, words, found(group, key)) for group, key, words in _TELLING]
    known = {key: words.format(float(value)) for key, words, value in values if value is not None}
    stack = found("FrameContentSequence", "StackID")
    return Frame(
        index,
        _affine(position, orientation, spacing),
        1.0 if slope is None else float(slope),
        float(intercept or 0),
        ", ".join(known.values()),
        (f"stack {stack}", *(known.get(key, "") for key in _ONE)),
        int(found("FrameContentSequence", "InStackPositionNumber") or 0),
    )


def _in_steps(path: Path, number: int, header: pydicom.Dataset) -> Iterator[Frame]:
    """The frames of an object that gives the place of the first, and one distance for all."""
    tags = ("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing")
    step = header.get("SpacingBetweenSlices")
    if not step or not all(header.get(tag) for tag in tags):
        raise UserError(f"{path} holds {number} frames and says nothing of the place of each")
    yield from _at(path, header, float(step) * np.arange(number))


def _of_grid(path: Path, header: pydicom.Dataset) -> Iterator[Frame]:
    """The frames of an object that gives the distance of each from the first."""
    offsets = np.array(header.GridFrameOffsetVector, float)
    yield from _at(path, header, offsets - offsets[0])


def _at(path: Path, header: pydicom.Dataset, offsets: np.ndarray) -> Iterator[Frame]:
    """Frames at those distances (mm) along the normal."""
    where = [header.get(tag) for tag in ("ImagePositionPatient", "ImageOrientationPatient")]
    if not all(where) or not header.get("PixelSpacing"):
        raise UserError(f"{path} has no position or orientation, so its place is unknown")
    first = _affine(*where, header.PixelSpacing)
    for k, offset in enumerate(offsets):
        affine = first.copy()
        affine[:3, 3] += offset * first[:3, 2]
        yield Frame(k, affine, 1.0, 0.0, "")


def _affine(position, orientation, spacing) -> np.ndarray:
    """Of position (mm), two directions and spacing (mm between rows, between columns), LPS."""
    x, y = np.reshape(np.array(orientation, float), (2, 3)) * _LPS_TO_RAS
    rows, columns = map(float, spacing)
    affine = np.eye(4)
    affine[:3, 0], affine[:3, 1] = x * columns, y * rows
    # x cross y in LPS; turning two axes round turns it the same way.
    affine[:3, 2] = np.cross(x, y)
    affine[:3, 3] = np.array(position, float) * _LPS_TO_RAS
    return affine
