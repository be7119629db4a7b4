"""Reads volumes that lie as rows in the arrays of one .npz file."""

import functools
import threading
import zipfile
import zlib
from pathlib import Path

import numpy as np

from rubik_jax.data import npy
from rubik_jax.errors import UserError

_BAD = (ValueError, EOFError, MemoryError, RuntimeError, zipfile.BadZipFile, zlib.error)
# Threads that want the same array shall wait for the one that reads it.
_lock = threading.Lock()


def headers(path: Path) -> dict[str, npy.Header]:
    """The arrays of a file by their names; none is read.

    Raises:
        UserError: it is no .npz file, or an array is not whole or holds Python objects.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            return {
                info.filename.removesuffix(".npy"): _header(archive, info)
                for info in archive.infolist()
            }
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}") from error
    except _BAD as error:
        raise _refusal(path, error) from error


def load(path: Path, array: str) -> np.ndarray:
    """One array; Python objects in it are refused, since reading them runs the file's code.

    Raises:
        UserError: it is not there or cannot be read.
    """
    try:
        with zipfile.ZipFile(path) as archive, archive.open(f"{array}.npy") as stream:
            return npy.read(stream)
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}") from error
    except KeyError as error:
        raise UserError(f"{path} holds no array {array!r}") from error
    except _BAD as error:
        raise _refusal(path, error) from error


def row(path: Path, array: str, i: int) -> np.ndarray:
    """`array[i]`; the array is kept, so that its other rows cost nothing, until `forget`.

    Raises:
        UserError: as `load`.
    """
    try:
        status = path.stat()
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}") from error
    with _lock:
        rows = _kept(path, array, status.st_size, status.st_mtime_ns)
    return rows[i]


def forget() -> None:
    """Frees the arrays that `row` keeps."""
    with _lock:
        _kept.cache_clear()


# Two, because cases are prepared in order, and threads meet where one array follows another.
@functools.lru_cache(maxsize=2)
def _kept(path: Path, array: str, size: int, changed: int) -> np.ndarray:
    del size, changed
    return load(path, array)


def _header(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> npy.Header:
    with archive.open(info) as stream:
        try:
            header = npy.read_header(stream)
        except ValueError as error:
            raise ValueError(f"{info.filename}: {error}") from error
    promised = header.offset + header.nbytes
    if promised != info.file_size:
        raise ValueError(f"{info.filename} is {info.file_size} bytes, not {promised}")
    return header


def _refusal(path: Path, error: Exception) -> UserError:
    said = " ".join(str(error).split()) or type(error).__name__
    return UserError(f"{path} is damaged, or no .npz file of plain arrays: {said}")
