"""Reads NumPy's own files without evaluating their headers, so that any thread may.

`np.load` hands a header to `ast.literal_eval`. In Python 3.11 that fails by chance where several
threads do it ("SystemError: AST constructor recursion depth mismatch", python/cpython#106905). The
headers of plain arrays are of one form, which is matched here.
"""

import re
import struct
from io import BufferedIOBase
from pathlib import Path
from typing import NamedTuple

import numpy as np

MAGIC = b"\x93NUMPY"

_VALUE = r"""'[^'"]*'|"[^'"]*"|True|False|\([\dL,\s]*\)"""
_FIELD = rf"""\s*['"](\w+)['"]\s*:\s*({_VALUE})\s*"""
_HEADER = re.compile(rf"\s*\{{{_FIELD},{_FIELD},{_FIELD},?\s*\}}\s*")
# One type; a comma makes several of it, which NumPy evaluates.
_TYPE = re.compile(r"[<>=|]?[?a-zA-Z]\d*(\[\w+\])?")
_MOST = 10_000  # bytes of a header, as NumPy has it
_AT_ONCE = 2**24  # bytes


class Header(NamedTuple):
    """What a file states of its array.

    Attributes:
        shape: its sizes.
        dtype: of its elements.
        fortran: whether the first axis changes fastest.
        offset: bytes before the first element.
    """

    shape: tuple[int, ...]
    dtype: np.dtype
    fortran: bool
    offset: int

    @property
    def nbytes(self) -> int:
        """The bytes of the elements."""
        return int(np.prod(self.shape, dtype=object)) * self.dtype.itemsize


def read_header(file: BufferedIOBase) -> Header:
    """The header of a file that stands at its beginning, and then at its first element.

    Raises:
        ValueError: it isn't NumPy's, or is of Python objects or of records.
    """
    offset = read_offset(file)
    begun = file.tell()
    text = file.read(offset - begun).decode("latin1")
    found = _HEADER.fullmatch(text) if len(text) == offset - begun else None
    named = found.groups() if found else ()
    fields = dict(zip(named[::2], named[1::2], strict=True))
    if fields.keys() != {"descr", "fortran_order", "shape"}:
        what = "records, expected one number a voxel" if "[(" in text else "no array's"
        raise ValueError(f"its header is of {what}: {text.strip()[:100]!r}")
    kind = fields["descr"][1:-1]
    if kind.strip("|<>=").startswith("O"):
        raise ValueError("it holds Python objects")
    if not _TYPE.fullmatch(kind):
        raise ValueError(f"its header has no type of numbers: {kind!r}")
    try:
        dtype = np.dtype(kind)
    except TypeError as error:
        raise ValueError(f"its header has no type of numbers: {kind!r}") from error
    shape = tuple(int(n.strip(" \tL")) for n in fields["shape"][1:-1].split(",") if n.strip())
    return Header(shape, dtype, fields["fortran_order"] == "True", offset)


def read_offset(file: BufferedIOBase) -> int:
    """Where the elements begin, by the first bytes of a file that stands at its beginning.

    Raises:
        ValueError: it isn't NumPy's.
    """
    head = file.read(8)
    if len(head) < 8 or head[:6] != MAGIC or head[6] not in (1, 2, 3):
        raise ValueError("it does not begin as NumPy's files do")
    size = struct.Struct("<H" if head[6] == 1 else "<I")
    length = file.read(size.size)
    if len(length) < size.size or size.unpack(length)[0] > _MOST:
        raise ValueError("it has a damaged header")
    return 8 + size.size + size.unpack(length)[0]


def read(file: BufferedIOBase) -> np.ndarray:
    """The array of a file, or of a member of an archive.

    Raises:
        ValueError: as `read_header`.
        EOFError: it is cut short.
    """
    header = read_header(file)
    content = np.empty(header.nbytes, np.uint8)
    view, filled = memoryview(content), 0
    while filled < len(view):
        got = file.readinto(view[filled : filled + _AT_ONCE])
        if not got:
            raise EOFError(f"{filled} of {len(view)} bytes are there")
        filled += got
    order = "F" if header.fortran else "C"
    return np.ndarray(header.shape, header.dtype, buffer=content, order=order)


def mapped(path: Path) -> np.ndarray:
    """A read-only map of the array of a file.

    Raises:
        ValueError: as `read_header`.
        EOFError: it is cut short.
    """
    with path.open("rb") as file:
        return map_array(file, read_header(file))


def map_array(file: BufferedIOBase, header: Header) -> np.ndarray:
    """A read-only map of the array that an open file holds; a plain view of it.

    Slicing costs `np.memmap` more than an array.

    Raises:
        EOFError: the file is shorter than that.
    """
    there = file.seek(0, 2)
    if there < header.offset + header.nbytes:
        raise EOFError(f"{there} of {header.offset + header.nbytes} bytes are there")
    order = "F" if header.fortran else "C"
    if not header.nbytes:  # which no system maps
        return np.empty(header.shape, header.dtype, order)
    memory = np.memmap(file, header.dtype, "r", header.offset, header.shape, order)
    return memory.view(np.ndarray)
