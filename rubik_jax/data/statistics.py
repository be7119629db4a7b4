"""What is measured of a channel's voxels: extremes, moments, exact percentiles, a histogram."""

import itertools
import math
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

BINS = 64
PERCENTILES = (0.5, 99.5)
# So many voxels, evenly spaced, tell where the percentiles lie, and make up the histogram.
SAMPLE = 2**16
# Voxels worked on at once, so that what lies between two steps stays in the cache.
SLAB = 2**16


class Statistics(NamedTuple):
    """Of one channel. Its foreground are the voxels above its background.

    least, most: the extremes.
    background: the value that at least a tenth of the voxels have, and with less than a tenth as
        many voxels below it as above it, so that the few negative ones that interpolation leaves
        around a zeroed background do not hide it; the minimum where no value is like that, as in
        a raw scan, whose background is noise, and in one that was scaled to a mean of 0.
    voxels, above: how many voxels there are, and how many of them are foreground.
    mean, sd: of the foreground; the minimum and 0 where there is none.
    low, high: its `PERCENTILES`; the minimum where there is none.
    whole: mean and standard deviation of all voxels.
    histogram: int64 [BINS], the foreground from `low` to `high`, what lies beyond in the outermost
        bins; of every n-th voxel where there are more than about `SAMPLE`.
    """

    least: float
    most: float
    background: float
    voxels: int
    above: int
    mean: float
    sd: float
    low: float
    high: float
    whole: tuple[float, float]
    histogram: np.ndarray


def measure(array: np.ndarray) -> tuple[Statistics, ...]:
    """The statistics of each channel.

    Args:
        array: finite numbers [x, y, z, c], in any order of axes in memory. They do not depend on
            its type, but for numbers that float32 would round.
    """
    return tuple(_measure(flat(narrow(array[..., channel]))) for channel in range(array.shape[-1]))


def percentiles(
    array: np.ndarray, shares: Sequence[float], *, above: float | None = None
) -> tuple[float, ...]:
    """Exactly what `np.percentile` finds in float64, in a fraction of its time.

    Args:
        array: numbers, of any shape.
        shares: 0 to 100.
        above: when given, only the voxels above it are taken. Some must remain.
    """
    voxels = flat(narrow(array))
    if above is not None:
        voxels = voxels[voxels > voxels.dtype.type(above)]
    sample = _sample(voxels)
    return tuple(_percentile(voxels, share, sample) for share in shares)


def narrow(array: np.ndarray) -> np.ndarray:
    """The numbers as float32, but for integers of up to 32 bits, which stay as they are."""
    exact = array.dtype.kind in "iu" and array.dtype.itemsize <= 4
    return array if exact else array.astype(np.float32, copy=False)


def flat(array: np.ndarray) -> np.ndarray:
    """The numbers [n] in the order of memory, copied only where they do not lie side by side."""
    axes, steps = memory_order(array)
    return array.transpose(axes)[steps].reshape(-1)


def memory_order(array: np.ndarray) -> tuple[list[int], tuple[slice, ...]]:
    """The permutation and the flips of the axes that make strides positive and descending."""
    axes = sorted(range(array.ndim), key=lambda axis: -abs(array.strides[axis]))
    return axes, tuple(slice(None, None, -1 if array.strides[axis] < 0 else 1) for axis in axes)


def slabs(voxels: np.ndarray, size: int = SLAB) -> Iterator[np.ndarray]:
    """Parts of [n] numbers, [size] each but the last."""
    return (voxels[start : start + size] for start in range(0, voxels.size, size))


def _measure(voxels: np.ndarray) -> Statistics:
    least, most = voxels.min(), voxels.max()
    if least == most:
        value, empty = float(least), np.zeros(BINS, np.int64)
        return Statistics(*[value] * 3, voxels.size, 0, value, 0.0, value, value, (value, 0), empty)
    background, foreground, below = _parted(voxels, least)
    sample = _sample(foreground)
    low, high = (_percentile(foreground, share, sample) for share in PERCENTILES)
    edges = np.linspace(low, high, BINS + 1)[1:-1]
    places = [0, *np.searchsorted(sample, edges), sample.size]
    mean, sd = _moments(foreground, float(sample[sample.size // 2]), float(most) - float(least))
    equal = voxels.size - below - foreground.size
    groups = [(foreground.size, mean, sd), (equal, float(background), 0.0)]
    if below:
        under = voxels[voxels < background].astype(np.float64)
        groups.append((below, under.mean(), under.std()))
    return Statistics(
        least=float(least),
        most=float(most),
        background=float(background),
        voxels=voxels.size,
        above=foreground.size,
        mean=mean,
        sd=sd,
        low=low,
        high=high,
        whole=_together(groups),
        histogram=np.diff(places),
    )


def _parted(voxels: np.ndarray, least: np.generic) -> tuple[np.generic, np.ndarray, int]:
    """The background, the voxels above it, and how many there are below it."""
    # What meets the definition has the ranks from 9/110 to 1/10, so this one, and is the only one.
    some = _sample(voxels, SAMPLE // 4)
    value = some[some.size * 9 // 100]
    equal = int(np.count_nonzero(voxels == value)) if value > least else 0
    if 10 * equal >= voxels.size:
        above = voxels[voxels > value]
        below = voxels.size - equal - above.size
        if 10 * below < above.size:
            return value, above, below
    return least, voxels[voxels > least], 0


def _together(groups: Sequence[tuple[int, float, float]]) -> tuple[float, float]:
    """Mean and standard deviation of all, from the size, mean and deviation of each group."""
    sizes, means, deviations = np.transpose(groups)
    mean = np.average(means, weights=sizes)
    variance = np.average(deviations**2 + (means - mean) ** 2, weights=sizes)
    return float(mean), math.sqrt(variance)


def _sample(voxels: np.ndarray, size: int = SAMPLE) -> np.ndarray:
    """About so many of the voxels, or all of fewer, sorted."""
    # A step that shares no factor with the size hits all places of a row, and of a plane.
    start = max(1, voxels.size // size)
    step = next(k for k in itertools.count(start) if math.gcd(k, voxels.size) == 1)
    # Asked for a stable order, NumPy sorts short numbers by their digits, at four times the speed.
    return np.sort(voxels[::step], kind="stable" if voxels.itemsize <= 2 else None)


def _percentile(voxels: np.ndarray, share: float, sample: np.ndarray) -> float:
    place = share / 100 * (voxels.size - 1)
    rank = int(place)
    pair = _ranked(voxels, (rank, min(rank + 1, voxels.size - 1)), sample)
    below, beyond = (float(value) for value in pair)
    # Numpy's way to interpolate, so that not even the last bit differs.
    weight = place - rank
    if weight < 0.5:
        return below + (beyond - below) * weight
    return beyond - (beyond - below) * (1 - weight)


def _ranked(voxels: np.ndarray, ranks: tuple[int, int], sample: np.ndarray) -> np.ndarray:
    """Which numbers have these two neighbouring ranks.

    The sample brackets them, and only what lies in the bracket is put in order.
    """
    if sample.size == voxels.size:
        return sample[list(ranks)]
    middle = ranks[0] / voxels.size * sample.size
    margin = 6 * math.sqrt(middle * (1 - ranks[0] / voxels.size)) + 6  # deviations of the rank
    start, stop = math.floor(middle - margin), math.ceil(middle + margin)
    first = sample[start] if start >= 0 else voxels.min()
    last = sample[stop] if stop < sample.size else voxels.max()
    through, inside = 0, []
    for slab in slabs(voxels):
        within = slab > first
        through += slab.size - int(np.count_nonzero(within))
        within &= slab < last
        inside.append(slab[within])
    bracket = np.concatenate([[first], *inside, [last]], dtype=voxels.dtype)
    places = np.add(ranks, 1 - through)
    if places[0] < 1 or places[1] > bracket.size - 2:
        # The ends themselves have ties, which can be most of a volume.
        reach = np.count_nonzero(voxels < first), np.count_nonzero(voxels <= last)
        if not reach[0] <= ranks[0] <= ranks[1] < reach[1]:  # the sample was not like the rest
            return np.partition(voxels, ranks)[list(ranks)]
        places = np.clip(places, 0, bracket.size - 1)
    return np.partition(bracket, places)[places]


def _moments(voxels: np.ndarray, centre: float, span: float) -> tuple[float, float]:
    """Mean and standard deviation; `centre` lies amid them."""
    # A slab's squares must not overflow.
    dtype = np.float32 if span < 1e15 else np.float64
    first = second = 0.0
    for slab in slabs(voxels):
        moved = np.subtract(slab, dtype(centre), dtype=dtype)
        first += float(moved.sum())
        moved *= moved
        second += float(moved.sum())
    mean = first / voxels.size
    return centre + mean, math.sqrt(max(0.0, second / voxels.size - mean**2))
