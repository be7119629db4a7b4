"""Tells the formats apart by what their files hold, whatever the files are called."""

import os
import re
from pathlib import Path

from rubik_jax.data.formats import packed
from rubik_jax.data.formats.scan import SUFFIXES
from rubik_jax.errors import UserError

GZIP = b"\x1f\x8b"
_HEAD = 4096
_NIFTI = rb"(?s).{344}(?:n\+1|ni1)\0|.{4}(?:n\+2|ni2)\0\r\n\x1a\n"
_SIGNATURES = {
    "NIfTI": _NIFTI,
    "NRRD": rb"NRRD000\d",
    "MetaImage": rb"(?s)(?=[^\0]*\bNDims\s*=)\s*\w+\s*=",
    "DICOM": rb"(?s).{128}DICM",
    "AVI": rb"(?s)RIFF.{4}AVI ",
    "NumPy array": rb"\x93NUMPY",
    "NumPy archive": rb"PK\x03\x04",
    "Analyze": rb"(?s)(?:\x5c\x01\0\0|\0\0\x01\x5c).{340}",
}
_FORMATS = "NIfTI, NRRD, MetaImage, DICOM or NumPy"


def kind_of(path: Path) -> str:
    """One of the names above, or "gzip" where what is packed is none of them.

    Raises:
        UserError: nothing there, or of no such kind.
        OSError: it cannot be read.
        packed.Damaged: it is.
    """
    if not path.is_file():
        what = "is no regular file" if path.exists() else "does not exist or is a link to nothing"
        raise UserError(f"{path} {what}: expected a volume ({_FORMATS})")
    head = _head(path, _HEAD)
    if not head:
        raise UserError(f"{path} is an empty file: expected a volume ({_FORMATS})")
    kind = next((k for k, sign in _SIGNATURES.items() if re.match(sign, head)), None)
    if head.startswith(GZIP):
        kind = "NIfTI" if re.match(_NIFTI, _unpacked(path)) else "gzip"
    if kind is None and path.suffix.lower() == ".dcm":  # old ones begin without a signature
        kind = "DICOM"
    if kind is None and path.suffix.lower() == ".avi":  # its reader says what is wrong with it
        kind = "AVI"
    if kind in ("Analyze", "gzip", None):
        found = {
            "Analyze": "an Analyze 7.5 header, which knows no left and right",
            "gzip": "a gzip file that holds no NIfTI",
        }.get(kind, "of no known format")
        raise UserError(f"{path} is {found}: expected {_FORMATS}")
    return kind


def slices_in(folder: Path) -> list[Path]:
    """The DICOM files that lie in the folder itself, by name; hidden ones and indices are not.

    Raises:
        UserError: the folder, or a file that may be one, cannot be read.
    """
    found, unread = [], None
    try:
        for name in sorted(entry.name for entry in os.scandir(folder) if _may_be_slice(entry)):
            try:
                found += [folder / name] if _is_slice(folder / name) else []
            except OSError as error:
                unread = unread or error
        if found and unread:  # which may be one of them; elsewhere it's a stray file
            raise unread
    except OSError as error:
        raise UserError(f"{error.filename} cannot be read: {error.strerror}") from error
    return found


def _may_be_slice(entry: os.DirEntry) -> bool:
    if entry.name.startswith(".") or entry.name.upper() == "DICOMDIR":
        return False
    named = entry.name.lower().endswith(".dcm")
    try:
        return (named and entry.is_symlink() and not entry.is_dir()) or entry.is_file()
    except OSError:  # a link to itself, say
        return named


def _is_slice(path: Path) -> bool:
    if path.suffix.lower() == ".dcm":
        return True
    if path.name.lower().endswith(SUFFIXES):
        return False
    return re.match(_SIGNATURES["DICOM"], _head(path, 132)) is not None


def _head(path: Path, size: int) -> bytes:
    with path.open("rb") as file:
        return file.read(size)


def _unpacked(path: Path) -> bytes:
    with path.open("rb") as file:
        return packed.start(file, _HEAD)
