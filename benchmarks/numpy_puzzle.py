"""The puzzle in NumPy, as the public ports of the paper make it."""

import itertools
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

Triple = tuple[int, int, int]


class Puzzle(NamedTuple):
    """What is played: a grid's cubes along x, y, z, their sides and gaps, and the orders [k, m]."""

    counts: Triple
    cube: Triple
    gap: Triple
    orders: np.ndarray

    @property
    def window(self) -> Triple:
        """The voxels that the grid covers."""
        sides = zip(self.counts, self.cube, self.gap, strict=True)
        return tuple(n * cube + (n - 1) * gap for n, cube, gap in sides)


def play(
    window: np.ndarray,
    puzzle: Puzzle,
    order: int,
    turns: np.ndarray,
    out: np.ndarray | None = None,
) -> np.ndarray:
    """The cubes of a window, float32 [m, c, x, y, z]: cut, normalised, ordered and turned.

    Args:
        window: [c, x, y, z], as large as the puzzle's.
        puzzle: what is played.
        order: which of its orders.
        turns: [m, 2], of the cube that comes to each place: horizontally, vertically.
        out: where they're put; a new array without it.
    """
    corners = np.add(puzzle.cube, puzzle.gap) * [*itertools.product(*map(range, puzzle.counts))]
    cubes = [normalise(crop(window, corner, puzzle.cube)) for corner in corners]
    if out is None:
        out = np.empty((len(cubes), *cubes[0].shape), np.float32)
    return scramble(cubes, puzzle.orders[order], turns, out)


def scramble(
    cubes: Sequence[np.ndarray], order: np.ndarray, turns: np.ndarray, out: np.ndarray
) -> np.ndarray:
    """Cubes [c, x, y, z], put in that order and turned, in `out`, [m, c, x, y, z]."""
    for place, (cell, (horizontal, vertical)) in enumerate(zip(order, turns, strict=True)):
        turned = (horizontal, horizontal != vertical, vertical)
        axes = [axis for axis, on in enumerate(turned, start=1) if on]
        out[place] = np.flip(cubes[cell], axes)
    return out


def normalise(block: np.ndarray) -> np.ndarray:
    """Scales each channel of [c, x, y, z] to [-1, 1] about its mean; a constant becomes zeros."""
    block = block.astype(np.float32)
    block -= block.mean(axis=(1, 2, 3), keepdims=True)
    largest = np.maximum(block.max(axis=(1, 2, 3)), -block.min(axis=(1, 2, 3)))
    block /= np.where(largest > 0, largest, 1)[:, None, None, None]
    return block


def crop(volume: np.ndarray, at: np.ndarray, size: Triple) -> np.ndarray:
    """The block of that size at a corner of [..., x, y, z], as a view."""
    return volume[..., *(slice(start, start + n) for start, n in zip(at, size, strict=True))]
