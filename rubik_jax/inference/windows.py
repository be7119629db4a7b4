"""Whole volumes, window by window; answers are added up on the devices."""

import functools
import itertools
import operator
from collections.abc import Iterable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Bool, Float, Float32, Int, Integer, Shaped

from rubik_jax import interrupts
from rubik_jax.data.loader import padded
from rubik_jax.inference.forward import Forward, rows
from rubik_jax.inference.tiling import Size, check, furthest, gaussian, starts
from rubik_jax.types import DEVICES

Place = tuple[int, int, int]

_SECTION = 32  # voxels, of which the sides of a slab's sums are multiples


def sliding(
    forward: Forward,
    volume: Shaped[np.ndarray, "x y z c"],
    *,
    window: Size,
    overlap: float,
    batch_size: int,
    classes: int,
    mirror: tuple[int, ...] = (),
    labels: bool = False,
) -> Iterator[tuple[int, Float32[np.ndarray, "n y z k"] | Integer[np.ndarray, "n y z"]]]:
    """The probabilities of every voxel, in slabs from left to right, which make up the volume.

    The devices add the answers up. A slab comes from there as soon as no later window reaches it,
    so that a device holds the sums of one window's width along x, [window, y, z, k + 1] in
    float32, and beside them at most what three slabs take; and a volume that is memory-mapped may
    be larger than memory:

        x        0 ........................ X
        windows  [------]
                    [------]        <- the next begins here: all to its left is final
        slabs    <-><-->...

    Windows are read while the devices work on those before, and travel in the volume's own dtype;
    so does a slab, back, while the devices go on. (A single CPU reads, answers and adds in turn.)
    Its sums are rounded up along y and z to multiples of 32 voxels, so that volumes of almost the
    same size have one compiled program.

    Args:
        forward: the network's probabilities per voxel.
        volume: of any number type, scaled as in training.
        window: voxels along x, y, z; a smaller volume is padded by its edge, and cropped again.
        overlap: as in `starts`, along every axis.
        batch_size: windows at a time, rounded up to a multiple of the devices; the last are filled
            up.
        classes: k.
        mirror: axes, of 0, 1, 2, over whose flips (2^n calls a batch) the answer is a mean.
        labels: whether only the most probable class is asked for.

    Yields:
        Where the slab begins along x, and its n planes: means of all windows that reach a voxel,
        weighted by `gaussian`; or the number of the largest, as uint8, or int16 where k is beyond.

    Raises:
        ArgumentError: overlap or mirror out of range.
    """
    size = volume.shape[:3]
    full = tuple(map(max, window, size))
    x, y, z = ((f - n) // 2 for f, n in zip(full, size, strict=True))
    batches = _answers(forward, volume, window, overlap, batch_size, mirror)
    section = tuple(-(-n // _SECTION) * _SECTION for n in full[1:])
    sums = jnp.zeros(
        (forward.devices, window[0], *section, classes + (not labels)), device=forward.sharding
    )
    slabs = _slabs(forward, batches, sums, window, furthest(window[0], overlap), labels)
    for begin, planes, slab in _one_behind(slabs):
        own = slice(max(x - begin, 0), min(x + size[0] - begin, planes))
        if own.start < own.stop:
            here = np.asarray(slab)[own, y : y + size[1], z : z + size[2]]
            yield begin + own.start - x, here


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
        forward: the network's probabilities of whole windows.
        volume: of any number type, scaled as in training.
        window: as in `sliding`; one that is not smaller than the volume sees it whole, once.
        overlap: as in `sliding`.
        batch_size: as in `sliding`.
        mirror: as in `sliding`.

    Raises:
        ArgumentError: overlap or mirror out of range.
    """
    batches = _answers(forward, volume, window, overlap, batch_size, mirror)
    found = [rows(answers)[: len(places)] for places, answers in _one_behind(batches)]
    return np.concatenate(found).mean(axis=0, dtype=np.float32)


def _answers(
    forward: Forward,
    volume: np.ndarray,
    window: Size,
    overlap: float,
    batch_size: int,
    mirror: tuple[int, ...],
) -> Iterator[tuple[list[Place], Float[Array, "d b ..."]]]:
    """Windows' corners, z the fastest, and their answers, those of copies that fill up included.

    Answers are handed out before they're there, but on a single CPU. No more than two batches are
    on their way at a time, lest the host runs ahead and fills the devices with windows.
    """
    check(overlap, mirror)
    options = itertools.product(*((False, True) if a in mirror else (False,) for a in range(3)))
    flips = [np.array(flip) for flip in options] if mirror else [None]
    size = volume.shape[:3]
    corners = itertools.product(*(starts(n, w, overlap) for n, w in zip(size, window, strict=True)))
    count = -(-batch_size // forward.devices) * forward.devices
    before = None
    while places := list(itertools.islice(corners, count)):
        interrupts.check()
        windows = forward.share(_cropped(volume, places, window, count))
        answers = functools.reduce(operator.add, (forward.answer(windows, f) for f in flips))
        yield places, answers / len(flips) if mirror else answers
        jax.block_until_ready(before)
        before = answers


def _cropped(
    volume: np.ndarray, places: list[Place], window: Size, count: int
) -> Shaped[np.ndarray, "b x y z c"]:
    """So many windows, the last one several times where there are fewer places."""
    # A device takes numbers in its own order of bytes, and none longer than eight.
    dtype = np.float32 if volume.dtype.itemsize > 8 else volume.dtype.newbyteorder("=")
    batch = np.empty((count, *window, volume.shape[3]), dtype)
    for i, place in enumerate(places):
        where = tuple(slice(begin, begin + w) for begin, w in zip(place, window, strict=True))
        batch[i] = padded(volume[where], window)
    batch[len(places) :] = batch[len(places) - 1]
    return batch


def _slabs(
    forward: Forward,
    batches: Iterable[tuple[list[Place], Array]],
    sums: Float32[Array, "d x y z k"],
    window: Size,
    planes: int,
    labels: bool,
) -> Iterator[tuple[int, int, Array]]:
    """Where final planes begin, how many they are, and an array on its way that begins with them.

    Args:
        forward: whose devices add up.
        batches: as of `_answers`.
        sums: zeros, which are given up.
        window: voxels along x, y, z.
        planes: that an array has, enough for the step between two windows.
        labels: as in `sliding`.
    """
    add = forward.mapped(_add, donate=(0,))
    finish = forward.mapped(_finish, static=(1, 2), out_axes=None)
    without = forward.mapped(_without, donate=(0,))
    weight = np.repeat(gaussian(window)[None], forward.devices, axis=0)
    weight = jax.device_put(weight, forward.sharding)

    def finished(done: int) -> Array:
        nonlocal sums
        slab = finish(sums, planes, labels)
        slab.copy_to_host_async()
        sums = without(sums, np.full(forward.devices, done, np.int32))
        return slab

    begin = 0
    for places, answers in batches:
        full = np.zeros((answers.shape[0] * answers.shape[1], 3), np.int32)
        full[: len(places)] = places
        for x in sorted({place[0] for place in places}):
            if x > begin:
                yield begin, x - begin, finished(x - begin)
                begin = x
            chosen = (full[:, 0] == x) & (np.arange(len(full)) < len(places))
            shared = full[:, 1:].reshape(*answers.shape[:2], 2), chosen.reshape(answers.shape[:2])
            sums = add(sums, answers, weight, *shared)
    for more in range(0, window[0], planes):
        count = min(planes, window[0] - more)
        yield begin + more, count, finished(count)


def _add(
    sums: Float32[Array, "x Y Z _"],
    answers: Float[Array, "b x y z k"],
    weight: Float32[Array, "x y z"],
    corners: Int[Array, "b 2"],
    chosen: Bool[Array, "b"],
) -> Float32[Array, "x Y Z _"]:
    """Adds the chosen windows' answers, by weight, and the weights where there's a channel more."""

    def one(i: Int[Array, ""], sums: Array) -> Array:
        answer = answers[i].astype(jnp.float32)
        if sums.shape[-1] > answer.shape[-1]:
            answer = jnp.concatenate([answer, jnp.ones((*answer.shape[:-1], 1))], axis=-1)
        corner = (0, corners[i, 0], corners[i, 1], 0)
        # Always the same number of turns: on a GPU the host has to wait for a loop it must ask.
        more = jnp.where(chosen[i], weight[..., None] * answer, 0)
        part = lax.dynamic_slice(sums, corner, answer.shape)
        return lax.dynamic_update_slice(sums, part + more, corner)

    return lax.fori_loop(0, len(answers), one, sums)


def _finish(
    sums: Float32[Array, "x y z _"], planes: int, labels: bool
) -> Shaped[Array, "n y z ..."]:
    """What the first planes come to, of all devices together."""
    first = lax.psum(sums[:planes], DEVICES)
    if labels:
        few = first.shape[-1] <= np.iinfo(np.uint8).max + 1
        return jnp.argmax(first, axis=-1).astype(jnp.uint8 if few else jnp.int16)
    return first[..., :-1] / first[..., -1:]


def _without(sums: Float32[Array, "x y z _"], done: Int[Array, ""]) -> Float32[Array, "x y z _"]:
    """The sums without so many planes; plane by plane, so that there is no second copy of them."""

    def move(i: Int[Array, ""], sums: Array) -> Array:
        plane = lax.dynamic_slice_in_dim(sums, i + done, 1)  # the last one, where there is none
        plane = jnp.where(i + done < len(sums), plane, 0)
        return lax.dynamic_update_slice_in_dim(sums, plane, i, axis=0)

    return lax.fori_loop(0, len(sums), move, sums)


def _one_behind(items: Iterable[Any]) -> Iterator[Any]:
    """Each item once the next one has been asked for."""
    held = []
    for item in items:
        yield from held
        held = [item]
    yield from held
