"""Volumes prepared once, kept on disk as memory-mapped arrays, keyed by files and preprocessing.

`entries` makes them. Each case is up to three files in the store's folder:

    <name>-<key>.npy         float16 [x, y, z, c], scaled into [0, 1]
    <name>-<key>.label.npy   int16 [x, y, z], where the case has a mask; both .b2nd if compressed
    <name>-<key>.json        shape, affine, files, preprocessing, what `facts` notes of the case and
                             `foreground` of its mask; its presence commits the entry
"""

import math
import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from rubik_jax.data import arrays_on_disk
from rubik_jax.data.arrays_on_disk import Array

DTYPE, LABEL_DTYPE = np.float16, np.int16


@dataclass(frozen=True)
class Store(Sequence):
    """A sequence of prepared volumes; `store[i]` is `store.volume(i)`, opened when asked for.

    root: the store's folder.
    entries: what the JSON file of each case says, in the order of the cases.
    """

    root: Path
    entries: tuple[dict, ...]

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the cases."""
        return tuple(entry["name"] for entry in self.entries)

    @property
    def keys(self) -> tuple[str, ...]:
        """What identifies each case's files and preprocessing."""
        return tuple(entry["key"] for entry in self.entries)

    @property
    def shapes(self) -> tuple[tuple[int, int, int, int], ...]:
        """The sizes (x, y, z, c)."""
        return tuple(tuple(entry["shape"]) for entry in self.entries)

    @property
    def size(self) -> int:
        """The bytes of all volumes and masks, before compression."""
        return sum(map(size, self.entries))

    @property
    def values(self) -> tuple[int, ...]:
        """The label values, sorted, that occur in any mask."""
        return tuple(sorted({int(value) for entry in self.entries for value in entry["labels"]}))

    @property
    def counts(self) -> dict[int, int]:
        """How many voxels each label has in all masks together."""
        counts = Counter()
        for entry in self.entries:
            counts.update({int(value): count for value, count in entry["labels"].items()})
        return dict(counts)

    def __len__(self) -> int:
        return len(self.entries)

    def __getitem__(self, i: int) -> np.ndarray:
        return self.volume(i)

    def volume(self, i: int) -> np.ndarray:
        """float16 [x, y, z, c] in [0, 1], memory-mapped, or read whole if it is compressed."""
        return np.asarray(self.volume_on_disk(i))

    def label(self, i: int) -> np.ndarray | None:
        """int16 [x, y, z], as `volume`, or None where the case has no mask."""
        label = self.label_on_disk(i)
        return None if label is None else np.asarray(label)

    def volume_on_disk(self, i: int) -> Array:
        """The volume, of which only what is sliced is read."""
        return self._load(i, self.entries[i]["shape"], np.dtype(DTYPE))

    def label_on_disk(self, i: int) -> Array | None:
        """The mask, of which only what is sliced is read, or None."""
        entry = self.entries[i]
        if entry["label"] is None:
            return None
        return self._load(i, entry["shape"][:3], np.dtype(LABEL_DTYPE), ".label")

    def _load(self, i: int, shape: Sequence[int], dtype: np.dtype, what: str = "") -> Array:
        entry = self.entries[i]
        end = arrays_on_disk.suffix(compress=entry["compress"])
        path = f"{self.root}{os.sep}{stem(entry)}{what}{end}"
        return arrays_on_disk.load(path, tuple(shape), dtype)

    def places(self, i: int) -> np.ndarray:
        """int32 [n, 3], up to 256 labelled voxels, evenly of every label; n is 0 without a mask."""
        return np.array(self.entries[i]["places"], np.int32).reshape(-1, 3)

    def affine(self, i: int) -> np.ndarray:
        """float64 [4, 4], from voxel indices to millimetres, RAS+."""
        return np.array(self.entries[i]["affine"], np.float64)

    def only(self, names: Sequence[str]) -> "Store":
        """The same store with these cases alone, in this order."""
        by_name = {entry["name"]: entry for entry in self.entries}
        return Store(self.root, tuple(by_name[name] for name in names))


def size(entry: dict) -> int:
    """The bytes of an entry's volume and mask, before compression."""
    *sides, channels = entry["shape"]
    mask = 0 if entry["label"] is None else np.dtype(LABEL_DTYPE).itemsize
    return math.prod(sides) * (channels * np.dtype(DTYPE).itemsize + mask)


def stem(entry: dict) -> str:
    """What the names of an entry's files begin with."""
    return f"{entry['name']}-{entry['key']}"
