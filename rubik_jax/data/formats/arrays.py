"""Reads plain arrays: .npy, .npz with one volume, and rows of an .npz with many."""

import functools
from collections.abc import Callable
from pathlib import Path

import numpy as np

from rubik_jax.data import npy, npz
from rubik_jax.data.formats.scan import Scan, without_ones
from rubik_jax.errors import UserError

_NAMES = ("image", "volume", "data")
_GEOMETRY = ("affine", "spacing")


def open_npy(path: Path) -> Scan:
    """An array [x, y, z] or [x, y, z, c]; such a file knows no affine, so its voxels are 1 mm.

    Raises:
        UserError: it is shorter than its header says.
    """
    try:
        array = npy.mapped(path)
    except EOFError as error:
        raise UserError(f"{path} is cut short: {error}") from error
    return _scan(path, array.shape, array.dtype, np.eye(4), functools.partial(_read_npy, path))


def open_npz(path: Path, row: tuple[str, int] | None) -> Scan:
    """The only array, or the one called image, volume or data.

    Args:
        path: of the archive, which may hold an `affine` [4, 4] or a `spacing` [3] in mm as well.
        row: when given, the volume is that row of the array of that name.

    Raises:
        UserError: no such array or row, or a choice of several.
    """
    headers = npz.headers(path)
    if row is not None:
        name, i = row
        if name not in headers or not 0 <= i < headers[name].shape[0]:
            raise UserError(f"{path} holds no row {i} of {name}: it holds {_told(headers)}")
        shape, dtype = headers[name].shape[1:], headers[name].dtype
        return _scan(path, shape, dtype, np.eye(4), functools.partial(npz.row, path, name, i))
    volumes = [name for name in headers if name not in _GEOMETRY]
    found = volumes if len(volumes) == 1 else [name for name in _NAMES if name in volumes]
    if len(found) != 1:
        raise UserError(
            f"{path} holds {_told(headers)}: expected one array, or one that is called "
            f"{', '.join(_NAMES[:-1])} or {_NAMES[-1]}"
        )
    read = functools.partial(npz.load, path, found[0])
    header = headers[found[0]]
    return _scan(path, header.shape, header.dtype, _affine(path, headers), read)


def _read_npy(path: Path) -> np.ndarray:
    with path.open("rb") as file:
        return npy.read(file)


def _affine(path: Path, headers: dict[str, npy.Header]) -> np.ndarray:
    for name, shape in (("affine", (4, 4)), ("spacing", (3,))):
        if name in headers:
            if headers[name].shape != shape or headers[name].dtype.kind not in "iuf":
                raise UserError(
                    f"{name} in {path} is {headers[name].dtype} {list(headers[name].shape)}: "
                    f"expected numbers {list(shape)}"
                )
            found = npz.load(path, name).astype(np.float64)
            return found if name == "affine" else np.diag([*found, 1.0])
    return np.eye(4)


def _scan(
    path: Path,
    shape: tuple[int, ...],
    dtype: np.dtype,
    affine: np.ndarray,
    read: Callable[[], np.ndarray],
) -> Scan:
    shape = without_ones(shape)
    native = np.dtype(np.uint8) if dtype.kind == "b" else dtype.newbyteorder("=")

    def voxels() -> np.ndarray:
        return read().reshape(shape).astype(native, copy=False)

    return Scan(path, "NumPy", shape, dtype, affine, voxels)


def _told(headers: dict[str, npy.Header]) -> str:
    return ", ".join(f"{name} {list(header.shape)}" for name, header in headers.items()) or "none"
