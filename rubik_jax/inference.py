"""Sliding windows: what a network answers for a whole volume, of any size, window by window."""

import itertools
import math
from collections.abc import Callable, Iterator

import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Float32, Shaped

from rubik_jax.data.loader import crop, padded
from rubik_jax.errors import UserError

Forward = Callable[[np.ndarray], ArrayLike]
"""Windows float32 [b, x, y, z, c] -> probabilities [b, x, y, z, k], or [b, k] of whole windows."""

Size = tuple[int, int, int]
Place = tuple[int, int, int]

# MONAI's. A narrow bell would underflow to 0, and a voxel that only 0 covers has no mean.
_FLOOR = 1e-3


def check(overlap: float, mirror: tuple[int, ...] = ()) -> None:
    """Raises UserError for an overlap or axes of mirroring that can't be."""
    if not 0 <= overlap < 1:
        raise UserError(f"config.inference.overlap is {overlap}: expected 0 to less than 1")
    if len(set(mirror)) < len(mirror) or not set(mirror) <= {0, 1, 2}:
        raise UserError(f"config.inference.mirror is {mirror}: expected axes out of 0, 1, 2")


def starts(size: int, window: int, overlap: float) -> tuple[int, ...]:
    """Where windows begin along one axis, so that they tile it exactly and evenly.

    The first begins at 0, the last ends at `size`; there are as few as the overlap allows.

    Args:
        size: voxels of the volume along the axis.
        window: voxels of a window; one that is not smaller than the volume begins at 0.
        overlap: the least share of a window that it has in common with the next, from 0 to below
            1; where that is the whole window but for less than a voxel, a step is one voxel.

    Raises:
        UserError: overlap out of its range.
    """
    check(overlap)
    free = max(0, size - window)
    step = max(1, window - math.ceil(window * overlap))
    steps = -(-free // step)
    return tuple(i * free // steps for i in range(steps + 1)) if steps else (0,)


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


def sliding(
    forward: Forward,
    volume: Shaped[np.ndarray, "x y z c"],
    *,
    window: Size,
    overlap: float,
    batch_size: int,
    classes: int,
    mirror: tuple[int, ...] = (),
) -> Iterator[tuple[int, Float32[np.ndarray, "n y z k"]]]:
    """The probabilities of every voxel, in slabs from left to right, which make up the volume.

    A slab is handed out as soon as no later window reaches it, so no more is held than the sums
    of one window's width along x, and a volume that is memory-mapped may be larger than memory:

        x        0 ........................ X
        windows  [------]
                    [------]        <- the next begins here: all to its left is final
        slabs    <-><-->...

    Args:
        forward: the network's probabilities of a batch of windows, per voxel.
        volume: of any number type, scaled as in training.
        window: voxels along x, y, z; a smaller volume is padded by its edge, and cropped again.
        overlap: as in `starts`, along every axis.
        batch_size: windows of a call of `forward`; the last call is filled up.
        classes: k.
        mirror: axes, of 0, 1, 2, over whose flips (2^n calls a batch) the answer is a mean.

    Yields:
        Where the slab begins along x, and its n planes: means of all windows that reach a voxel,
        weighted by `gaussian`.

    Raises:
        UserError: overlap or mirror out of range.
    """
    size = volume.shape[:3]
    inside = tuple(map(min, window, size))
    own = tuple(slice((w - n) // 2, (w - n) // 2 + n) for w, n in zip(window, inside, strict=True))
    weight = gaussian(window)[own][..., None]
    sums = np.zeros((inside[0], *size[1:], classes), np.float32)
    weights = np.zeros((inside[0], *size[1:], 1), np.float32)

    begin = 0  # of the sums, along x
    answers = _answers(forward, volume, window, overlap, batch_size, mirror, per_voxel=True)
    for (x, y, z), answer in answers:
        if x > begin:
            done = x - begin
            yield begin, sums[:done] / weights[:done]
            for array in (sums, weights):
                array[:-done] = array[done:]
                array[-done:] = 0
            begin = x
        reached = np.s_[:, y : y + inside[1], z : z + inside[2]]
        sums[reached] += weight * answer[own]
        weights[reached] += weight
    yield begin, sums / weights


def classify(
    forward: Forward,
    volume: Shaped[np.ndarray, "x y z c"],
    *,
    window: Size,
    overlap: float,
    batch_size: int,
    mirror: tuple[int, ...] = (),
) -> Float32[np.ndarray, "k"]:
    """The probabilities of a whole volume: the mean over its windows.

    Args:
        forward: the network's probabilities of a batch of windows, one set each.
        volume: of any number type, scaled as in training.
        window: as in `sliding`; one that is not smaller than the volume sees it whole, once.
        overlap: as in `sliding`.
        batch_size: as in `sliding`.
        mirror: as in `sliding`.

    Raises:
        UserError: overlap or mirror out of range.
    """
    answers = _answers(forward, volume, window, overlap, batch_size, mirror, per_voxel=False)
    return np.mean([answer for _, answer in answers], axis=0)


def _answers(
    forward: Forward,
    volume: np.ndarray,
    window: Size,
    overlap: float,
    batch_size: int,
    mirror: tuple[int, ...],
    per_voxel: bool,
) -> Iterator[tuple[Place, np.ndarray]]:
    """Every window's corner and answer, the corners in order, z the fastest."""
    check(overlap, mirror)
    size = volume.shape[:3]
    inside = tuple(map(min, window, size))
    corners = itertools.product(*(starts(n, w, overlap) for n, w in zip(size, window, strict=True)))
    while places := list(itertools.islice(corners, batch_size)):
        windows = [padded(crop(volume, place, inside), window) for place in places]
        windows += windows[-1:] * (batch_size - len(places))  # one shape, compiled once
        batch = np.stack(windows).astype(np.float32)
        yield from zip(places, _mirrored(forward, batch, mirror, per_voxel), strict=False)


def _mirrored(
    forward: Forward, batch: np.ndarray, mirror: tuple[int, ...], per_voxel: bool
) -> np.ndarray:
    """The mean answer over all flips of the windows; answers per voxel are flipped back."""
    axes = [axis + 1 for axis in mirror]
    flips = [some for n in range(len(axes) + 1) for some in itertools.combinations(axes, n)]
    total = 0.0
    for flip in flips:
        answer = np.asarray(forward(np.flip(batch, flip)), np.float32)
        total = total + (np.flip(answer, flip) if per_voxel else answer)
    return total / np.float32(len(flips))
