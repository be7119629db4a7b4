"""Reads NRRD and MetaImage by SimpleITK, once it is sure that their voxels are all there."""

import re
import threading
from pathlib import Path
from typing import NamedTuple

import numpy as np
import SimpleITK

from rubik_jax.data.formats import packed
from rubik_jax.data.formats.scan import MOST_PACKED, Scan, without_ones
from rubik_jax.errors import UserError

_HEADER = 2**16
_AXES = ("2", "3", "4")
_TRUE = ("T", "t", "1")  # how MetaImage's own reader takes a word
_READERS = {"NRRD": "NrrdImageIO", "MetaImage": "MetaImageIO", "DICOM": "GDCMImageIO"}
_NAMES = {
    **{"8-bit unsigned integer": "u1", "8-bit signed integer": "i1"},
    **{"16-bit unsigned integer": "u2", "16-bit signed integer": "i2"},
    **{"32-bit unsigned integer": "u4", "32-bit signed integer": "i4"},
    **{"64-bit unsigned integer": "u8", "64-bit signed integer": "i8"},
    **{"32-bit float": "f4", "64-bit float": "f8"},
    **{"complex of 32-bit float": "c8", "complex of 64-bit float": "c16"},
}
_LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])


class _Quiet:
    """ITK's switch for warnings is the process's: off while any thread reads, then as it was."""

    def __init__(self):
        self._lock, self._reading, self._before = threading.Lock(), 0, True

    def __enter__(self) -> None:
        with self._lock:
            if not self._reading:
                self._before = SimpleITK.ProcessObject.GetGlobalWarningDisplay()
                SimpleITK.ProcessObject.SetGlobalWarningDisplay(False)
            self._reading += 1

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._reading -= 1
            if not self._reading:
                SimpleITK.ProcessObject.SetGlobalWarningDisplay(self._before)


_quiet = _Quiet()


class _Data(NamedTuple):
    """Where the voxels lie: in which file, from which byte on, packed by deflate or not.

    order: "<" or ">", of the bytes of a number.
    """

    file: Path
    start: int
    packed: bool
    order: str


def open_scan(path: Path, kind: str) -> Scan:
    """The header's word on the volume.

    Args:
        path: of the file, or of the header whose voxels are detached.
        kind: "NRRD" or "MetaImage".

    Raises:
        UserError: the voxels' file is missing or too short.
        RuntimeError: ITK cannot read the header.
    """
    data = _data(path, kind)
    reader = read_information(path, kind)
    shape, dtype = shape_of(reader), dtype_of(reader)
    promised = int(np.prod(shape, dtype=object)) * dtype.itemsize
    if data:
        _refuse_lie(path, data, promised)

    def voxels() -> np.ndarray:
        # ITK unpacks what is damaged and says nothing, so that is done here.
        content = _unpacked(data, promised) if data and data.packed else None
        # Of NRRD, ITK alone knows which axis the components of a voxel have.
        if content is None or (kind == "NRRD" and components_of(reader) > 1):
            return array_of(execute(reader)).reshape(shape, order="F")
        stored = content.view(dtype.newbyteorder(data.order)).astype(dtype, copy=False)
        array = stored.reshape((components_of(reader), *reader.GetSize()), order="F")
        return np.moveaxis(array, 0, -1).reshape(shape, order="F")

    return Scan(path, kind, shape, dtype, affine_of(reader), voxels)


def read_information(path: Path, kind: str) -> SimpleITK.ImageFileReader:
    """ITK's reader of a file, whatever the file is called, with its header read."""
    reader = SimpleITK.ImageFileReader()
    reader.SetImageIO(_READERS[kind])
    reader.SetFileName(str(path))
    with _quiet:
        reader.ReadImageInformation()
    return reader


def execute(reader: SimpleITK.ImageFileReader | SimpleITK.ImageSeriesReader) -> SimpleITK.Image:
    """What a reader reads, without ITK's warnings on stderr: the readers here refuse in words."""
    with _quiet:
        return reader.Execute()


def shape_of(reader: SimpleITK.ImageFileReader) -> tuple[int, ...]:
    """The size along ITK's axes, and the components of a voxel if there are several."""
    size = (*reader.GetSize(), *(1,) * (3 - reader.GetDimension()))
    return without_ones((*size, components_of(reader)))


def components_of(reader: SimpleITK.ImageFileReader) -> int:
    """How many numbers a voxel holds; ITK counts two for a complex one."""
    return 1 if dtype_of(reader).kind == "c" else reader.GetNumberOfComponents()


def dtype_of(reader: SimpleITK.ImageFileReader) -> np.dtype:
    """The type of one component."""
    name = SimpleITK.GetPixelIDValueAsString(reader.GetPixelIDValue())
    return np.dtype(_NAMES[name.removeprefix("vector of ")])


def affine_of(reader: SimpleITK.ImageFileReader) -> np.ndarray:
    """float64 [4, 4] from voxel indices to RAS+ millimetres, of the first three axes."""
    n = reader.GetDimension()
    edges = np.array(reader.GetSpacing())
    columns = np.where(edges == 0, 0, np.reshape(reader.GetDirection(), (n, n)) * edges)
    affine = np.eye(4)
    affine[: min(n, 3), : min(n, 3)] = columns[:3, :3]
    affine[: min(n, 3), 3] = reader.GetOrigin()[:3]
    return _LPS_TO_RAS @ affine


def array_of(image: SimpleITK.Image) -> np.ndarray:
    """The voxels [x, y, z] or [x, y, z, c], x changing fastest."""
    array = SimpleITK.GetArrayFromImage(image)
    axes = range(image.GetDimension())
    return array.transpose(*reversed(axes), *range(len(axes), array.ndim))


def files(path: Path, kind: str) -> list[Path]:
    """The file, and those that its voxels are detached to."""
    data = _data(path, kind)
    found = _listed(path, kind) if data is None else [data.file]
    return [path, *(file for file in found if file != path)]


def _unpacked(data: _Data, size: int) -> np.ndarray:
    with data.file.open("rb") as file:
        file.seek(data.start)
        return packed.fill(np.empty(size, np.uint8), packed.blocks(file))


def _data(path: Path, kind: str) -> _Data | None:
    """Where the voxels lie, or None for what is rare: text, or a list of files."""
    with path.open("rb") as file:
        head = file.read(_HEADER)
    return _nrrd_data(path, head) if kind == "NRRD" else _meta_data(path, head)


def _listed(path: Path, kind: str) -> list[Path]:
    """The files that a header names in any of the ways there are; none where it holds the voxels.

    It names one; or a pattern with the first, the last and the step of its numbers; or "LIST", and
    one on each line that follows.
    """
    with path.open("rb") as file:
        head = file.read(_HEADER)
    key = rb"data ?file:" if kind == "NRRD" else rb"ElementDataFile\s*="
    header = re.match(rb"(?s).*?(?:\r?\n\r?\n|\Z)", head)[0]
    name = _field(header, key)
    if not name or name.upper() == "LOCAL":
        return []
    if name.split()[0].upper() == "LIST":
        rest = re.split(rb"(?im)^" + key + rb".*$", header)[1].decode(errors="replace")
        names = [line.strip() for line in rest.splitlines() if line.strip()]
    elif "%" in name:
        pattern, first, last, *more = name.split()
        names = [pattern % i for i in range(int(first), int(last) + 1, int(*more[:1] or (1,)))]
    else:
        names = [name]
    return [path.parent / name for name in names]


def _nrrd_data(path: Path, head: bytes) -> _Data | None:
    header = re.match(rb"(?s).*?(?:\r?\n\r?\n|\Z)", head)[0]
    # ITK takes all for LPS, and names no space where it writes a series itself.
    if not _field(header, rb"space:") and _field(header, rb"space dimension:") != "4":
        raise UserError(
            f"{path} has no space, so left and right are unknown: expected one in its header, such "
            "as space: left-posterior-superior"
        )
    encoding = _field(header, rb"encoding:")
    if encoding not in ("raw", "gz", "gzip") or _field(header, rb"(?:line|byte) ?skip:"):
        return None
    name = _field(header, rb"data ?file:")
    if name.split()[:1] == ["LIST"] or "%" in name:
        return None
    file, start = (_detached(path, name), 0) if name else (path, len(header))
    order = ">" if _field(header, rb"endian:") == "big" else "<"
    return _Data(file, start, encoding != "raw", order)


def _meta_data(path: Path, head: bytes) -> _Data | None:
    axes, sizes, kind, name = (
        _field(head, rb"%b\s*=" % key)
        for key in (b"NDims", b"DimSize", b"ElementType", b"ElementDataFile")
    )
    # ITK says more than a sentence of such headers, and some numbers of axes end the process.
    if axes not in _AXES or len(sizes.split()) != int(axes) or not (kind and name):
        raise UserError(
            f"{path} has a damaged header: NDims is {axes!r}, DimSize {sizes!r}, ElementType "
            f"{kind!r}, ElementDataFile {name!r}"
        )
    is_packed, is_binary, big = (
        _field(head, name + rb"\s*=")[:1] in _TRUE
        for name in (rb"CompressedData", rb"BinaryData", rb"(?:Binary|Element)\w*ByteOrderMSB")
    )
    if name.split()[:1] == ["LIST"] or "%" in name or not (is_packed or is_binary):
        return None
    local = name.upper() == "LOCAL"
    start = re.search(rb"ElementDataFile\s*=[^\n]*\n", head).end() if local else 0
    file = path if local else _detached(path, name)
    return _Data(file, start, is_packed, ">" if big else "<")


def _field(head: bytes, name: bytes) -> str:
    found = re.search(rb"(?im)^" + name + rb"[ \t]*([^\r\n]*)", head)
    return found[1].decode(errors="replace").strip() if found else ""


def _detached(path: Path, name: str) -> Path:
    file = path.parent / name
    if not file.is_file():
        raise UserError(f"{path} names {name} as the file of its voxels, which is missing")
    return file


def _refuse_lie(path: Path, data: _Data, promised: int) -> None:
    there = data.file.stat().st_size - data.start
    if promised > there * (MOST_PACKED if data.packed else 1):
        raise UserError(
            f"{path} is damaged or cut short: it promises {promised} bytes of voxels in its "
            f"header, more than the {there} bytes of {data.file.name} can hold"
        )
