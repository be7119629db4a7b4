"""Arrays on disk that windows are read from: plain and memory-mapped, or compressed in blocks."""

import functools
import resource
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import BinaryIO, Protocol, runtime_checkable

import numpy as np

from rubik_jax.data import npy
from rubik_jax.errors import UserError

PLAIN, COMPRESSED = ".npy", ".b2nd"

# Voxels along an axis. A window is unpacked from the blocks that it touches; a chunk is what is
# looked up and written at once, and fits the last cache of a core.
_BLOCK, _CHUNK = 16, 64
# Maps that are kept at most. Linux lets a process have 65,530.
_MOST_MAPS = 2**14


@runtime_checkable
class Array(Protocol):
    """An array, on disk or not, of which a slice is a NumPy array, and so is `np.asarray`."""

    shape: tuple[int, ...]
    dtype: np.dtype
    ndim: int

    def __getitem__(self, where) -> np.ndarray: ...


def suffix(*, compress: bool) -> str:
    """How the name of a file ends that `save` writes.

    Raises:
        UserError: compression is asked for, but Blosc2 is not installed.
    """
    if not compress:
        return PLAIN
    _blosc2()
    return COMPRESSED


def save(file: BinaryIO, array: np.ndarray, *, compress: bool) -> None:
    """Writes an array [x, y, z] or [x, y, z, c], as it is or compressed without loss."""
    array = np.ascontiguousarray(array)
    if not compress:
        # Not by np.save, whose error for a full disk doesn't name the disk.
        header = np.lib.format.header_data_from_array_1_0(array)
        np.lib.format.write_array_header_1_0(file, header)
        file.write(array.reshape(-1).view(np.uint8))
        return
    blosc2 = _blosc2()
    packed = blosc2.asarray(
        array,
        chunks=(*(min(_CHUNK, n) for n in array.shape[:3]), *array.shape[3:]),
        blocks=(*(min(_BLOCK, n) for n in array.shape[:3]), *array.shape[3:]),
        cparams={
            "codec": blosc2.Codec.LZ4,
            "clevel": 5,
            "filters": [blosc2.Filter.SHUFFLE],
            "nthreads": 1,  # the store's workers are threads already
        },
    )
    file.write(packed.to_cframe())


def load(path: str | Path, shape: tuple[int, ...], dtype: np.dtype) -> Array:
    """The array of a file, of which slices are read when they are asked for; threads may call it.

    Args:
        path: of a file that `save` wrote.
        shape: of the array that it wrote.
        dtype: the same.

    Raises:
        UserError: the file holds something else, or is compressed and Blosc2 is not installed.
    """
    if not str(path).endswith(COMPRESSED):
        return _kept_maps()(str(path), tuple(shape), dtype)
    # Opened anew each time, which takes a small part of unpacking a window: two threads must not
    # read through one handle.
    blosc2 = _blosc2()
    try:
        array = blosc2.open(str(path), mode="r", mmap_mode="r", dparams={"nthreads": 1})
    except (RuntimeError, ValueError) as error:
        raise _damaged(path, str(error)) from error
    if array.shape != tuple(shape) or array.dtype != dtype:
        raise _damaged(path, f"it holds {array.dtype} {list(array.shape)}")
    return array


@functools.cache
def _kept_maps() -> Callable[[str, tuple[int, ...], np.dtype], np.ndarray]:
    """`_mapped`, whose maps are kept, since opening takes longer than copying a small window does.

    Each holds one of the files that a process may have open, of which some systems allow few.
    """
    allowed, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = _MOST_MAPS if allowed == resource.RLIM_INFINITY else min(allowed // 3, _MOST_MAPS)
    return functools.lru_cache(maxsize=most)(_mapped)


def _mapped(path: str, shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
    """A map of the elements, whose shape and type the store's entry states."""
    with open(path, "rb") as file:
        try:
            header = npy.Header(shape, dtype, False, npy.read_offset(file))
            there, expected = file.seek(0, 2), header.offset + header.nbytes
            if there != expected:
                raise ValueError(f"it is {there} bytes, not {expected}")
            return npy.map_array(file, header)
        except ValueError as error:
            raise _damaged(path, str(error)) from error


def _damaged(path: str | Path, found: str) -> UserError:
    return UserError(
        f"{path} in the store is damaged: {found}; delete it, and the next run prepares the case "
        "again"
    )


def _blosc2() -> ModuleType:
    try:
        import blosc2
    except ImportError as error:
        raise UserError(
            "config.data.compress needs the package blosc2, which is not installed: install it, or "
            "set config.data.compress=False"
        ) from error
    return blosc2
