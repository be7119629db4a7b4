"""Examples for the twin, made in NumPy by the workers of a DataLoader, as the public ports do."""

import itertools
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from torch import initial_seed
from torch.utils.data import IterableDataset

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


class Puzzles(IterableDataset):
    """Endless games on random windows of volumes [c, x, y, z].

    Each is the scrambled cubes, float32 [m, c, x, y, z], the number of their order, and for each
    place whether its cube was turned horizontally and vertically, float32 [m, 2].
    """

    def __init__(self, volumes: list[np.ndarray], puzzle: Puzzle):
        self.volumes, self.puzzle = volumes, puzzle

    def __iter__(self) -> Iterator[tuple[np.ndarray, int, np.ndarray]]:
        rng = np.random.default_rng(initial_seed())  # of its own in each worker
        orders = self.puzzle.orders
        while True:
            volume = self.volumes[rng.integers(len(self.volumes))]
            order = int(rng.integers(len(orders)))
            turns = rng.integers(0, 2, (orders.shape[1], 2), dtype=np.int8)
            window = crop(volume, corner(volume, self.puzzle.window, rng), self.puzzle.window)
            yield play(window, self.puzzle, order, turns), order, turns.astype(np.float32)


class Windows(IterableDataset):
    """Endless random windows, normalised, with their labels; masks are uint8 [x, y, z]."""

    def __init__(self, volumes: list[np.ndarray], masks: list[np.ndarray], window: Triple):
        self.volumes, self.masks, self.window = volumes, masks, window

    def __iter__(self) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        rng = np.random.default_rng(initial_seed())
        while True:
            i = rng.integers(len(self.volumes))
            at = corner(self.volumes[i], self.window, rng)
            labels = crop(self.masks[i], at, self.window)
            yield normalise(crop(self.volumes[i], at, self.window)), labels.copy()


def play(window: np.ndarray, puzzle: Puzzle, order: int, turns: np.ndarray) -> np.ndarray:
    """The cubes of a window, float32 [m, c, x, y, z]: cut, normalised, ordered and turned.

    Args:
        window: [c, x, y, z], as large as the puzzle's.
        puzzle: what is played.
        order: which of its orders.
        turns: [m, 2], of the cube that comes to each place: horizontally, vertically.
    """
    cells = list(itertools.product(*map(range, puzzle.counts)))
    steps = np.add(puzzle.cube, puzzle.gap)
    cubes = np.empty((len(cells), len(window), *puzzle.cube), np.float32)
    for place, (cell, (horizontal, vertical)) in enumerate(
        zip(puzzle.orders[order], turns, strict=True)
    ):
        cube = normalise(crop(window, steps * cells[cell], puzzle.cube))
        turned = (horizontal, horizontal != vertical, vertical)
        cubes[place] = np.flip(cube, [axis for axis, on in enumerate(turned, start=1) if on])
    return cubes


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


def corner(volume: np.ndarray, window: Triple, rng: np.random.Generator) -> np.ndarray:
    """A random one at which the window lies within the volume."""
    return rng.integers(0, np.subtract(volume.shape[-3:], window) + 1)


def generate(count: int, window: Triple, channels: int, classes: int = 0) -> tuple[list, list]:
    """Volumes of noise, float32 [c, x, y, z], and masks, uint8, some voxels larger than a window.

    There are no masks without classes.
    """
    rng, size = np.random.default_rng(0), [n + _ROOM for n in window]
    volumes = [rng.random((channels, *size), np.float32) for _ in range(count)]
    masks = [rng.integers(0, classes, size, np.uint8) for _ in range(count) if classes]
    return volumes, masks


_ROOM = 16
