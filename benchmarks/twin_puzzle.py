"""Examples for the twin, made in NumPy by the workers of a DataLoader, as the public ports do."""

from collections.abc import Iterator

import numpy as np
from torch import initial_seed
from torch.utils.data import IterableDataset

from benchmarks.numpy_puzzle import Puzzle, Triple, crop, normalise, play

_ROOM = 16  # voxels by which volumes are larger than a window


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
