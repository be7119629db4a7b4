"""Fills arrays from others whose axes lie in another order, as they are or scaled into [0, 1]."""

from collections.abc import Iterator, Sequence

import numpy as np

from rubik_jax.data import statistics

# Voxels worked on at once, so that they stay in the cache between two steps.
_BLOCK = 2**17


def scale(source: np.ndarray, target: np.ndarray, ends: Sequence[tuple[float, float]]) -> None:
    """Fills the target, float32 or float16, so that of each channel's ends one is 0, the other 1.

    Args:
        source: numbers [x, y, z, c].
        target: [x, y, z, c].
        ends: of each channel.
    """
    ends = np.array(ends, np.float32)
    for part, place in _blocks(source, target):
        # All channels of a block in turn: in the target they are neighbours.
        for channel, (least, most) in enumerate(ends):
            share = np.clip(part[..., channel], least, most, dtype=np.float32)
            share -= least
            share /= most - least
            place[..., channel] = share if target.dtype == np.float32 else _half(share)


def copy(source: np.ndarray, target: np.ndarray) -> None:
    """Fills the target with the same numbers; both are [x, y, z]."""
    for part, place in _blocks(source[..., None], target[..., None]):
        place[...] = part


def _half(share: np.ndarray) -> np.ndarray:
    """[0, 1] as float16, in a third of the time of `astype`; ruins `share`, which is float32."""
    share *= np.float32(2.0**-112)  # from the one format's bias of exponents to the other's
    bits = share.view(np.uint32)
    bits += 0x1000  # to the nearest; ties go up
    bits >>= 13
    return bits.astype(np.uint16).view(np.float16)


def _blocks(source: np.ndarray, target: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Both cut alike into blocks that fit the cache, though their axes lie in different orders.

    The axes of a block are those of the source's memory, and the channels.
    """
    axes, steps = statistics.memory_order(source[..., 0])
    source, target = (array.transpose(*axes, 3)[steps] for array in (source, target))
    deep = min(source.shape[0], 256)
    wide = max(1, _BLOCK // (deep * source.shape[2] * source.shape[3]))
    for i in range(0, source.shape[0], deep):
        for j in range(0, source.shape[1], wide):
            yield source[i : i + deep, j : j + wide], target[i : i + deep, j : j + wide]
