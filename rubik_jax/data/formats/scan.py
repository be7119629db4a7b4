"""What the reader of any format says of a volume before its voxels are read."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np

SUFFIXES = (
    *(".nii.gz", ".nii", ".hdr", ".img"),
    *(".nrrd", ".nhdr", ".mha", ".mhd"),
    *(".npy", ".npz", ".dcm"),
)
_OTHERS = (".raw", ".zraw", ".avi")
# Deflate packs at most 1032 bytes into one; a header that promises more is lying.
MOST_PACKED = 1032


class Clip(NamedTuple):
    """What is taken of a video.

    frames: how many, evenly spaced over the whole of it; a shorter one repeats some.
    side: of the square in the middle of each, once its shorter side is scaled to that.
    """

    frames: int
    side: int


class Scan(NamedTuple):
    """A volume's file (or folder of slices), its header read, its voxels not yet.

    path: the file (of a pair the header) or the folder that was asked for.
    kind: "NIfTI", "NRRD", "MetaImage", "DICOM", "NumPy", "AVI" or "records".
    shape: (x, y, z) or (x, y, z, c) in the file's own axis order; trailing ones are dropped.
    dtype: of the stored numbers.
    affine: float64 [4, 4], from voxel indices to millimetres, RAS+ whatever the format's own world.
    voxels: reads all voxels [*shape]: float32 where a slope or an intercept applies, else the
        stored numbers in native byte order.
    passed_over: files beside the volume's own that are no part of it, with their kind.
    doubts: what the header says in two ways, in words.
    """

    path: Path
    kind: str
    shape: tuple[int, ...]
    dtype: np.dtype
    affine: np.ndarray
    voxels: Callable[[], np.ndarray]
    passed_over: tuple[str, ...] = ()
    doubts: tuple[str, ...] = ()


def without_ones(shape: tuple[int, ...]) -> tuple[int, ...]:
    """The shape without its trailing ones, which stand for axes that are not there."""
    while shape and shape[-1] == 1:
        shape = shape[:-1]
    return tuple(map(int, shape))


def beside(path: Path, ending: str) -> Path:
    """The other half of a pair, whose name ends so; in upper case where that is there alone."""
    half = re.compile(r"\.(?:hdr|img)(?=(?:\.gz)?$)", re.IGNORECASE)
    found = [path.parent / half.sub(end, path.name) for end in (ending, ending.upper())]
    return next((file for file in found if file.is_file()), found[0])


def lowered(path: str) -> str:
    """The path with its ending, if that is of a known format, in lower case."""
    lower = path.lower()
    ending = next((e for e in (*SUFFIXES, *_OTHERS) if lower.endswith(e)), "")
    return path[: len(path) - len(ending)] + ending
