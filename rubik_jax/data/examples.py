"""What windows are drawn from: the cases of a store, with the answers that a task asks for."""

import functools
from collections.abc import Mapping, Sequence

import numpy as np

from rubik_jax.data.arrays_on_disk import Array
from rubik_jax.data.store import Store

Example = dict[str, Array]
"""One case, by name: "window", its volume [x, y, z, c]; and where they are asked for "label", its
mask int16 [x, y, z], "places", voxels of it that are labelled, int32 [n, 3], and "target", the
number of its class, int32."""


class Examples(Sequence):
    """The cases of a store as examples, opened when they're asked for.

    Args:
        store: the cases.
        masks: whether an example brings its mask.
        ignore: a label that says nothing, and is no place to look for; -1 for none.
        targets: the number of each case's class by the case's name, or None.
    """

    def __init__(
        self,
        store: Store,
        *,
        masks: bool = False,
        ignore: int = -1,
        targets: Mapping[str, int] | None = None,
    ):
        self._store, self._masks, self._ignore = store, masks, ignore
        self._targets = None
        if targets is not None:
            self._targets = [np.int32(targets[name]) for name in store.names]
        self._places = functools.cache(self._told)  # to look them up takes longer than a crop

    def __len__(self) -> int:
        return len(self._store)

    def __getitem__(self, i: int) -> Example:
        example = {"window": self._store.volume_on_disk(i)}
        if self._masks:
            example |= {"label": self._store.label_on_disk(i), "places": self._places(i)}
        if self._targets is not None:
            example["target"] = self._targets[i]
        return example

    def _told(self, i: int) -> np.ndarray:
        places = self._store.places(i)
        return places[self._store.label(i)[tuple(places.T)] != self._ignore]
