"""Sums over the voxels of a batch, chunk by chunk, so that what is summed need not be held."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array

# Voxels of a chunk: enough for all cores to share, few enough to stay in their cache.
_VOXELS = 4096


class Chunks(NamedTuple):
    """How a batch of images is shared out: some parts of one image, or some whole images.

    Attributes:
        images: of a chunk.
        parts: of each of them (planes, or tiles of planes) in a chunk.
        rest: how many parts an image must be filled up with.
        count: of groups of so many images, and of the chunks of each.
    """

    images: int
    parts: int
    rest: int
    count: tuple[int, int]

    def cut(self, x: Array, chunk: Array, step: int, planes: int) -> Array:
        """So many planes [images, planes, ...] of a chunk; a part begins every `step` planes."""
        image, part = chunk // self.count[1], chunk % self.count[1]
        start = (image * self.images, part * self.parts * step, *(0 for _ in x.shape[2:]))
        return lax.dynamic_slice(x, start, (self.images, planes, *x.shape[2:]))

    def sum(self, of: Callable[[Array], Array]) -> Array:
        """The sum of what `of` makes of the number of each chunk."""

        def add(total: Array, chunk: Array) -> tuple[Array, None]:
            return total + of(chunk), None

        numbers = jnp.arange(self.count[0] * self.count[1])
        like = jax.eval_shape(of, numbers[0])
        return lax.scan(add, jnp.zeros(like.shape, like.dtype), numbers)[0]


def divide(images: int, parts: int, voxels: int) -> Chunks:
    """Shares out so many images, of so many parts each, of so many voxels each."""
    together = min(parts, max(1, _VOXELS // voxels))
    chunks = -(-parts // together)
    whole = max(1, _VOXELS // (parts * voxels)) if chunks == 1 else 1
    whole = next(n for n in range(min(whole, images), 0, -1) if images % n == 0)
    return Chunks(whole, together, chunks * together - parts, (images // whole, chunks))
