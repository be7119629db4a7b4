"""Windows cropped from the store, in batches: endless for training, fixed for held-out cases."""

from collections.abc import Iterator, Sequence

import grain
import numpy as np

from rubik_jax.errors import UserError

# More than anyone trains for. Grain's endless repetition has a length that a batch size of one
# can't divide without an overflow.
_EPOCHS = 2**32


def fits(
    shapes: Sequence[tuple[int, ...]],
    names: Sequence[str],
    window: tuple[int, int, int],
    *,
    pad: str,
) -> None:
    """Refuses cases smaller than the window, unless `pad` is "edge".

    Args:
        shapes: the volumes' sizes, (x, y, z) or (x, y, z, c).
        names: of the cases.
        window: the size (x, y, z) that a crop has.
        pad: "refuse" or "edge".

    Raises:
        UserError: names the first case that is too small, its size, the size needed, the knobs.
    """
    if pad not in ("refuse", "edge"):
        raise UserError(f"config.data.pad is {pad!r}: expected 'refuse' or 'edge'")
    small = [
        (name, shape[:3])
        for name, shape in zip(names, shapes, strict=True)
        if any(have < need for have, need in zip(shape[:3], window, strict=True))
    ]
    if small and pad == "refuse":
        name, shape = small[0]
        raise UserError(
            f"case {name!r} is {_size(shape)} voxels, smaller than the window of {_size(window)} "
            f"that the cubes and gaps need ({len(small)} of {len(names)} cases are): make "
            "config.proxy.cube smaller, or set config.data.pad=edge, though padding gives away "
            "where a cube belongs"
        )


def padded(volume: np.ndarray, window: tuple[int, int, int]) -> np.ndarray:
    """The volume [x, y, z, c] grown to the window where it is smaller, by its edge, on both sides.

    What fits already is returned as it is, unread.
    """
    lack = [max(0, need - have) for have, need in zip(volume.shape[:3], window, strict=True)]
    if not any(lack):
        return volume
    return np.pad(volume, [*((n // 2, n - n // 2) for n in lack), (0, 0)], mode="edge")


def crop(
    volume: np.ndarray, corner: tuple[int, int, int], window: tuple[int, int, int]
) -> np.ndarray:
    """The window [x, y, z, c] of the volume at a corner, as a copy in memory."""
    where = tuple(slice(c, c + w) for c, w in zip(corner, window, strict=True))
    return np.array(volume[where])


def training_batches(
    volumes: Sequence[np.ndarray],
    *,
    window: tuple[int, int, int],
    batch_size: int,
    seed: int,
    start: int = 0,
    threads: int = 1,
) -> Iterator[dict[str, np.ndarray]]:
    """Endless batches of random windows, the cases reshuffled every epoch.

    A batch is a function of `seed` and its step alone: begun at `start`, the iterator gives what
    one begun at 0 gives from there on, whatever the number of threads. An epoch may end within a
    batch, and a batch may be larger than the cohort.

    Args:
        volumes: [x, y, z, c] each; a `Store`, say.
        window: the size (x, y, z) of a crop.
        batch_size: windows in a batch.
        seed: of order and corners.
        start: the first step.
        threads: that prepare batches ahead; 0 prepares each when it is asked for.

    Yields:
        "window": storage dtype [b, x, y, z, c]; "index": int32 [b], the example's place in the
        batch.
    """
    index = np.arange(batch_size, dtype=np.int32)
    batches = (
        grain.MapDataset.source(volumes)
        .seed(seed)
        .shuffle()
        .repeat(_EPOCHS)
        .random_map(lambda volume, rng: {"window": _random_crop(volume, window, rng)})
        .batch(batch_size)
        .map(lambda batch: batch | {"index": index.copy()})
    )
    ahead = grain.ReadOptions(num_threads=threads, prefetch_buffer_size=threads and threads + 1)
    return iter(batches[start:].to_iter_dataset(ahead))


def held_out_batches(
    volumes: Sequence[np.ndarray],
    *,
    window: tuple[int, int, int],
    batch_size: int,
    repeats: int,
    seed: int,
) -> Iterator[dict[str, np.ndarray]]:
    """Every volume `repeats` times, at corners that are random but the same on every call.

    An example depends on `seed` and its index, not on the batch size.

    Yields:
        "window": storage dtype [b, x, y, z, c]; "index": int32 [b], of the example among all;
        "weight": float32 [b], 1, or 0 for the copies of the last example that fill its batch.
    """
    examples = len(volumes) * repeats
    for first in range(0, examples, batch_size):
        real = min(batch_size, examples - first)
        index = np.minimum(np.arange(first, first + batch_size), examples - 1).astype(np.int32)
        windows = [
            _random_crop(volumes[i // repeats], window, np.random.default_rng((seed, i)))
            for i in index[:real].tolist()
        ]
        windows += [windows[-1]] * (batch_size - real)
        weight = (np.arange(batch_size) < real).astype(np.float32)
        yield {"window": np.stack(windows), "index": index, "weight": weight}


def resident(
    volumes: Sequence[np.ndarray], *, window: tuple[int, int, int], shards: int
) -> dict[str, np.ndarray]:
    """The whole cohort as arrays for the devices, the cases dealt to the shards in turn.

    Returns:
        "volumes": storage dtype [shards, n, X, Y, Z, C], zeros beyond a volume's own size;
        "sizes": int32 [shards, n, 3], the volumes' own sizes, padded by the edge to the window;
        "count": int32 [shards], how many of the n places hold a case.

    Raises:
        UserError: fewer cases than shards.
    """
    if len(volumes) < shards:
        raise UserError(
            f"config.data.resident shares {len(volumes)} training cases among {shards} devices: "
            "expected at least one case for each"
        )
    places = -(-len(volumes) // shards)
    sizes = np.tile(np.array(window, np.int32), (shards, places, 1))
    for i in range(len(volumes)):
        place = i % shards, i // shards
        sizes[place] = np.maximum(volumes[i].shape[:3], window)
    like = volumes[0]
    held = np.zeros((shards, places, *sizes.max(axis=(0, 1)), like.shape[-1]), like.dtype)
    for i in range(len(volumes)):
        volume = padded(volumes[i], window)
        x, y, z = volume.shape[:3]
        held[i % shards, i // shards, :x, :y, :z] = volume
    count = np.array([len(range(s, len(volumes), shards)) for s in range(shards)], np.int32)
    return {"volumes": held, "sizes": sizes, "count": count}


def _random_crop(
    volume: np.ndarray, window: tuple[int, int, int], rng: np.random.Generator
) -> np.ndarray:
    volume = padded(volume, window)
    free = np.array(volume.shape[:3]) - window + 1
    return crop(volume, tuple(rng.integers(free).tolist()), window)


def _size(shape: Sequence[int]) -> str:
    return "x".join(map(str, shape))
