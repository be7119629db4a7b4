"""Windows cropped from the store, in batches: endless for training, fixed for held-out cases."""

import functools
from collections.abc import Iterator, Sequence

import numpy as np

from rubik_jax.data.arrays_on_disk import Array
from rubik_jax.data.examples import Example
from rubik_jax.errors import ArgumentError

IGNORED = -1  # the label of voxels that no mask covers

_STEPS = 2**40  # more than anyone trains for


def too_small(
    shapes: Sequence[tuple[int, ...]],
    names: Sequence[str],
    window: tuple[int, int, int],
    *,
    pad: str,
) -> dict[str, str]:
    """The cases smaller than the window, each with the sizes in words; none with the pad "edge".

    Args:
        shapes: the volumes' sizes, (x, y, z) or (x, y, z, c).
        names: of the cases.
        window: the size (x, y, z) that a crop has.
        pad: "refuse" or "edge".

    Raises:
        ArgumentError: another `pad`.
    """
    if pad not in ("refuse", "edge"):
        raise ArgumentError("pad", f"is {pad!r}: expected 'refuse' or 'edge'")
    return {
        name: f"{_size(shape[:3])} voxels, smaller than the window of {_size(window)}"
        for name, shape in zip(names, shapes, strict=True)
        if pad == "refuse" and np.any(np.less(shape[:3], window))
    }


def padded(volume: Array, window: tuple[int, int, int]) -> Array:
    """The volume [x, y, z, c] grown to the window where it is smaller, by its edge, on both sides.

    What fits already is returned as it is, unread.
    """
    lack = _lack(volume.shape, window)
    return np.pad(volume, [*lack, (0, 0)], mode="edge") if np.any(lack) else volume


def crop(
    volume: np.ndarray, corner: tuple[int, int, int], window: tuple[int, int, int]
) -> np.ndarray:
    """The window [x, y, z, ...] of the volume at a corner, as a copy in memory."""
    where = tuple(slice(c, c + w) for c, w in zip(corner, window, strict=True))
    return np.array(volume[where])


def training_batches(
    examples: Sequence[Example],
    *,
    window: tuple[int, int, int],
    batch_size: int,
    seed: int,
    start: int = 0,
    threads: int = 1,
    foreground: float = 0.0,
    together: int | None = None,
) -> Iterator[dict[str, np.ndarray]]:
    """Endless batches of random windows, the cases reshuffled every epoch.

    A batch is a function of `seed` and its step alone: begun at `start`, the iterator gives what
    one begun at 0 gives from there on, whatever the number of threads. An epoch may end within a
    batch, and a batch may be larger than the cohort.

    Args:
        examples: as `examples.Example` says.
        window: the size (x, y, z) of a crop.
        batch_size: windows in a batch.
        seed: of order and corners.
        start: the first step.
        threads: that prepare batches ahead; 0 prepares each when it is asked for.
        foreground: the share of windows that must hold a labelled voxel, where there are any.
        together: how many steps' batches come at a time, along a new first axis of all arrays;
            None for one without that axis.

    Yields:
        "window": storage dtype [b, x, y, z, c]; "index": int32 [b], the example's place in the
        batch; and "label": int16 [b, x, y, z], `IGNORED` beyond the volume, and "target":
        int32 [b], where the examples have them.
    """
    import grain  # here: it takes a quarter of a second, and cropping doesn't need it

    index, stride = np.arange(batch_size, dtype=np.int32), together or 1

    @functools.lru_cache(maxsize=8)
    def order(epoch: int) -> np.ndarray:
        return np.random.default_rng((seed, 1, epoch)).permutation(len(examples))

    def drawn(step: int) -> Iterator[Example]:
        rng = np.random.default_rng((seed, 2, step))
        for i in range(step * batch_size, (step + 1) * batch_size):
            epoch, place = divmod(i, len(examples))
            example = examples[int(order(epoch)[place])]
            yield draw(example, window, rng, foreground=foreground)

    def batches(first: int) -> dict[str, np.ndarray]:
        flat = _stacked([each for step in range(first, first + stride) for each in drawn(step)])
        flat["index"] = np.tile(index, stride)
        axes = (batch_size,) if together is None else (stride, batch_size)
        return {name: array.reshape(*axes, *array.shape[1:]) for name, array in flat.items()}

    # Grain would shuffle and stack as well, but in up to milliseconds a window, a hundred times
    # what the copy takes.
    calls = grain.MapDataset.range(start, _STEPS, stride).map(batches)
    # A call for each thread, which makes all of its steps; and where that is one, one more.
    buffer = threads and threads + (stride == 1)
    ahead = grain.ReadOptions(num_threads=threads, prefetch_buffer_size=buffer)
    return iter(calls.to_iter_dataset(ahead))


def held_out_batches(
    examples: Sequence[Example],
    *,
    window: tuple[int, int, int],
    batch_size: int,
    repeats: int,
    seed: int,
    foreground: float = 0.0,
) -> Iterator[dict[str, np.ndarray]]:
    """Every example `repeats` times, at corners that are random but the same on every call.

    A window depends on `seed` and its index, not on the batch size.

    Yields:
        What `training_batches` yields, with "index": int32 [b], of the window among all, and
        "weight": float32 [b], 1, or 0 for the copies of the last window that fill its batch.
    """
    windows = len(examples) * repeats
    for first in range(0, windows, batch_size):
        real = min(batch_size, windows - first)
        index = np.minimum(np.arange(first, first + batch_size), windows - 1).astype(np.int32)
        drawn = [
            draw(
                examples[i // repeats],
                window,
                np.random.default_rng((seed, i)),
                foreground=foreground,
            )
            for i in index[:real].tolist()
        ]
        drawn += [drawn[-1]] * (batch_size - real)
        weight = (np.arange(batch_size) < real).astype(np.float32)
        yield _stacked(drawn) | {"index": index, "weight": weight}


def resident(
    examples: Sequence[Example], *, window: tuple[int, int, int], shards: int
) -> dict[str, np.ndarray]:
    """The whole cohort as arrays for the devices, the cases dealt to the shards in turn.

    Returns:
        "window": the volumes, storage dtype [shards, n, X, Y, Z, C], zeros beyond a volume's own
        size; "sizes": int32 [shards, n, 3], the volumes' own sizes, padded by the edge to the
        window; "count": int32 [shards], how many of the n places hold a case. Where the examples
        have them "label": int16 [shards, n, X, Y, Z], "target": int32 [shards, n], "places":
        int32 [shards, n, p, 3], repeated to the longest list, and "labelled": bool [shards, n],
        whether a case has any.

    Raises:
        ArgumentError: fewer cases than shards.
    """
    if len(examples) < shards:
        raise ArgumentError.of(
            "{shards} shares {} training cases among {} devices: expected at least one case for "
            "each",
            *(len(examples), shards),
        )
    homes = [(i % shards, i // shards) for i in range(len(examples))]
    shape = (shards, homes[-1][1] + 1)
    whole = [_whole(examples[i], window) for i in range(len(examples))]
    sizes = np.tile(np.array(window, np.int32), (*shape, 1))
    for home, example in zip(homes, whole, strict=True):
        sizes[home] = example["window"].shape[:3]
    most = tuple(sizes.max(axis=(0, 1)))
    like = whole[0]
    held = {"window": np.zeros((*shape, *most, like["window"].shape[-1]), like["window"].dtype)}
    if "label" in like:
        held["label"] = np.full((*shape, *most), IGNORED, np.int16)
        longest = max(1, *(len(example["places"]) for example in whole))
        held["places"] = np.zeros((*shape, longest, 3), np.int32)
        held["labelled"] = np.zeros(shape, bool)
    if "target" in like:
        held["target"] = np.zeros(shape, np.int32)
    for home, example in zip(homes, whole, strict=True):
        where = tuple(slice(n) for n in example["window"].shape[:3])
        held["window"][home][where] = example["window"]
        if "label" in like:
            held["label"][home][where] = example["label"]
            held["labelled"][home] = len(example["places"]) > 0
            if held["labelled"][home]:
                held["places"][home] = np.resize(example["places"], (longest, 3))
        if "target" in like:
            held["target"][home] = example["target"]
    count = np.array([len(range(s, len(examples), shards)) for s in range(shards)], np.int32)
    return held | {"sizes": sizes, "count": count}


def draw(
    example: Example,
    window: tuple[int, int, int],
    rng: np.random.Generator,
    *,
    foreground: float = 0.0,
) -> Example:
    """A window of an example at a random corner, all such corners equally likely.

    With the chance `foreground` it holds one of the labelled voxels, drawn first. Its arrays are
    views of the example's, unread where those are memory-mapped.
    """
    free = [have - need for have, need in zip(example["window"].shape, window, strict=False)]
    if min(free) < 0:
        example = _whole(example, window)
        free = [max(0, n) for n in free]
    least, most = (0, 0, 0), free
    places = example.get("places", ())
    if len(places) and rng.random() < foreground:
        place = places[rng.integers(len(places))]
        least = np.clip(place - np.array(window) + 1, 0, free).tolist()
        most = np.clip(place, 0, free).tolist()
    # Not by `rng.integers`, which takes as long as copying a small window does.
    shares = rng.random(3).tolist()
    corner = [a + int(u * (b - a + 1)) for u, a, b in zip(shares, least, most, strict=True)]
    where = tuple([slice(c, c + w) for c, w in zip(corner, window, strict=True)])
    return {
        name: array[where] if array.ndim else array
        for name, array in example.items()
        if name != "places"
    }


def _stacked(drawn: Sequence[Example]) -> dict[str, np.ndarray]:
    """The windows as one batch: here they are read from disk and copied, once."""
    return {name: np.stack([each[name] for each in drawn]) for name in drawn[0]}


def _whole(example: Example, window: tuple[int, int, int]) -> Example:
    """The example with its volume padded to the window, and its mask and places with it."""
    lack = _lack(example["window"].shape, window)
    if not np.any(lack):
        return dict(example)
    grown = example | {"window": padded(example["window"], window)}
    if "label" in example:
        grown["label"] = np.pad(example["label"], lack, constant_values=IGNORED)
        grown["places"] = example["places"] + np.array(lack, np.int32)[:, 0]
    return grown


def _lack(shape: Sequence[int], window: tuple[int, int, int]) -> list[tuple[int, int]]:
    """How many voxels a volume lacks before and behind on each axis."""
    short = [max(0, need - have) for have, need in zip(shape[:3], window, strict=True)]
    return [(n // 2, n - n // 2) for n in short]


def _size(shape: Sequence[int]) -> str:
    return "x".join(map(str, shape))
