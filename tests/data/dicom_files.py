"""Writes DICOM objects of many kinds by pydicom, for the tests to spoil."""

from pathlib import Path

import numpy as np
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.sequence import Sequence
from pydicom.uid import ExplicitVRLittleEndian

KINDS = {
    "Enhanced MR": "1.2.840.10008.5.1.4.1.1.4.1",
    "Enhanced CT": "1.2.840.10008.5.1.4.1.1.2.1",
    "Legacy Converted Enhanced CT": "1.2.840.10008.5.1.4.1.1.2.2",
    "CT": "1.2.840.10008.5.1.4.1.1.2",
    "Ultrasound Multi-frame": "1.2.840.10008.5.1.4.1.1.3.1",
    "Multi-frame Grayscale Word Secondary Capture": "1.2.840.10008.5.1.4.1.1.7.3",
    "Nuclear Medicine": "1.2.840.10008.5.1.4.1.1.20",
    "RT Dose": "1.2.840.10008.5.1.4.1.1.481.2",
    "Segmentation": "1.2.840.10008.5.1.4.1.1.66.4",
    "RT Structure Set": "1.2.840.10008.5.1.4.1.1.481.3",
    "Comprehensive SR": "1.2.840.10008.5.1.4.1.1.88.33",
    "Presentation State": "1.2.840.10008.5.1.4.1.1.11.1",
    "private": "1.3.12.2.1107.5.9.1",
}
AXIAL = (1.0, 0, 0, 0, 1, 0)


def items(**values) -> Sequence:
    """A sequence of one item."""
    item = Dataset()
    for name, value in values.items():
        setattr(item, name, value)
    return Sequence([item])


def write(path: Path, kind: str, voxels: np.ndarray | None = None, **values) -> Path:
    """An object of a kind, with the pixels [frame, row, column] of its image, if any."""
    path.parent.mkdir(parents=True, exist_ok=True)
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = KINDS[kind], "1.2.3.9"
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    of = FileDataset(str(path), {}, file_meta=meta, preamble=bytes(128))
    of.SOPClassUID, of.SOPInstanceUID, of.Modality = KINDS[kind], "1.2.3.9", "MR"
    of.StudyInstanceUID, of.SeriesInstanceUID = "1.2.3", values.pop("SeriesInstanceUID", "1.2.99")
    if voxels is not None:
        of.SamplesPerPixel, of.PhotometricInterpretation = 1, "MONOCHROME2"
        of.Rows, of.Columns = voxels.shape[1:]
        of.BitsAllocated = of.BitsStored = 16
        of.HighBit, of.PixelRepresentation = 15, 1
        if len(voxels) > 1:
            of.NumberOfFrames = len(voxels)
        of.PixelData = voxels.astype("<i2").tobytes()
    for name, value in values.items():
        setattr(of, name, value)
    of.save_as(path, enforce_file_format=True)
    return path


def frames(
    path: Path, voxels: np.ndarray, places, *, kind="Enhanced MR", shared=None, each=None, **values
) -> Path:
    """A multi-frame object; the frames lie at these places (mm) along z, or at these points.

    shared: functional groups of all frames; each: of a frame, by its index.
    """
    own = []
    for k, place in enumerate(places):
        frame = Dataset()
        if place is not None:
            point = (-8.5, -7.0, place) if np.isscalar(place) else place
            frame.PlanePositionSequence = items(ImagePositionPatient=[*map(float, point)])
        for name, value in (each(k) if each else {}).items():
            setattr(frame, name, value)
        own.append(frame)
    groups = {
        "PlaneOrientationSequence": items(ImageOrientationPatient=[*AXIAL]),
        # Thickness and spacing say otherwise than the positions, as they often do.
        "PixelMeasuresSequence": items(
            PixelSpacing=[0.9, 0.7], SliceThickness=5.0, SpacingBetweenSlices=1.0
        ),
    }
    groups |= shared or {}
    of = items(**{name: value for name, value in groups.items() if value is not None})
    values |= {"SharedFunctionalGroupsSequence": of}
    values |= {"PerFrameFunctionalGroupsSequence": Sequence(own)}
    return write(path, kind, voxels, **values)
