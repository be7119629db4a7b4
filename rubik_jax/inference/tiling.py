"""Where windows lie that tile a volume, and how much each voxel of a window counts."""

import math

import numpy as np
from jaxtyping import Float32

from rubik_jax.errors import ArgumentError

Size = tuple[int, int, int]

# MONAI's. A narrow bell would underflow to 0, and a voxel that only 0 covers has no mean.
_FLOOR = 1e-3


def check(overlap: float, mirror: tuple[int, ...] = ()) -> None:
    """Raises ArgumentError for an overlap or axes of mirroring that can't be."""
    if not 0 <= overlap < 1:
        raise ArgumentError("overlap", f"is {overlap}: expected 0 to less than 1")
    if len(set(mirror)) < len(mirror) or not set(mirror) <= {0, 1, 2}:
        raise ArgumentError("mirror", f"is {mirror}: expected axes out of 0, 1, 2")


def starts(size: int, window: int, overlap: float) -> tuple[int, ...]:
    """Where windows begin along one axis, so that they tile it exactly and evenly.

    The first begins at 0, the last ends at `size`; there are as few as the overlap allows.

    Args:
        size: voxels of the volume along the axis.
        window: voxels of a window; one that is not smaller than the volume begins at 0.
        overlap: the least share of a window that it has in common with the next, from 0 to below
            1; where that is the whole window but for less than a voxel, a step is one voxel.

    Raises:
        ArgumentError: overlap out of its range.
    """
    check(overlap)
    free = max(0, size - window)
    steps = -(-free // furthest(window, overlap))
    return tuple(i * free // steps for i in range(steps + 1)) if steps else (0,)


def furthest(window: int, overlap: float) -> int:
    """The most voxels along an axis from one window to the next."""
    return max(1, window - math.ceil(window * overlap))


def gaussian(window: Size, sigma: float = 1 / 8) -> Float32[np.ndarray, "x y z"]:
    """How much each voxel of a window counts: most in its middle, where the context is whole.

    The importance map of nnU-Net (Isensee et al., Nature Methods 2021), in closed form and with
    its peak between the voxels of an even window, so that mirroring leaves it as it is.

    Args:
        window: voxels along x, y, z.
        sigma: standard deviation, as a share of the window.

    Returns:
        Largest 1, at least 1e-3.
    """
    squares = np.zeros(window)
    for axis, voxels in enumerate(window):
        away = (np.arange(voxels) - (voxels - 1) / 2) / (sigma * voxels)
        squares += np.square(away).reshape(np.roll((-1, 1, 1), axis))
    bell = np.exp((squares.min() - squares) / 2)
    return np.maximum(bell, _FLOOR).astype(np.float32)
