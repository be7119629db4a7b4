"""Arrays on disk that windows are read from: plain and memory-mapped, or compressed in blocks."""

import functools
import resource
from pathlib import Path
from types import ModuleType
from typing import BinaryIO, Protocol, runtime_checkable

import numpy as np

from rubik_jax.errors import UserError

PLAIN, COMPRESSED = ".npy", ".b2nd"

# Voxels along an axis. A window is unpacked from the blocks that it touches; a chunk is what is
# looked up and written at once, and fits the last cache of a core.
_BLOCK, _CHUNK = 16, 64


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
        np.save(file, array)
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


def load(path: str | Path) -> Array:
    """The array of a file, of which slices are read when they are asked for.

    Raises:
        UserError: the file is compressed, but Blosc2 is not installed.
    """
    if not str(path).endswith(COMPRESSED):
        return _mapped(str(path))
    # Opened anew each time, which takes a small part of unpacking a window: two threads must not
    # read through one handle.
    return _blosc2().open(str(path), mode="r", mmap_mode="r", dparams={"nthreads": 1})


# Opening takes longer than copying a small window does, so maps are kept; each holds one of the
# files that a process may have open, of which some systems allow few.
@functools.lru_cache(maxsize=resource.getrlimit(resource.RLIMIT_NOFILE)[0] // 3)
def _mapped(path: str) -> np.ndarray:
    """A plain view of the map, since slicing costs `np.memmap` more than an array."""
    return np.load(path, mmap_mode="r").view(np.ndarray)


def _blosc2() -> ModuleType:
    try:
        import blosc2
    except ImportError as error:
        raise UserError(
            "config.data.compress needs the package blosc2, which is not installed: install it, or "
            "set config.data.compress=False"
        ) from error
    return blosc2
