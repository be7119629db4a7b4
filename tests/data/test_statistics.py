"""Selection by a sample against numpy's sorting, moments against their closed forms."""

import numpy as np
import pytest

from rubik_jax.data import statistics

SHAPE = (71, 79, 89)  # more than a sample


def normal(rng):
    return rng.normal(100, 30, SHAPE).astype(np.float32)


def mostly_background(rng):
    array = normal(rng)
    array[:, 4:] = 0
    return array


def ties(rng):
    return np.maximum(normal(rng), 100) - (rng.random(SHAPE) < 1e-5)


def few_values(rng):
    return rng.integers(0, 4, SHAPE).astype(np.uint8)


def binary(rng):
    return (rng.random(SHAPE) < 0.3).astype(np.uint8)


def mostly_255(rng):
    return np.where(rng.random(SHAPE) < 0.95, 255, 0).astype(np.uint8)


def hounsfield(rng):
    return rng.integers(-1024, 3000, SHAPE).astype(np.int16)


def ringing(rng):
    """A stripped scan after interpolation."""
    array = np.zeros(SHAPE, np.float32)
    array[20:40, 20:60, 30:70] = rng.normal(100, 30, (20, 40, 40))
    array[19, 20:60, 30:70] = rng.normal(0, 5, (40, 40))
    return array


def standardised(rng):
    """A stripped scan that was scaled to a mean of 0, where its background is."""
    array = np.zeros(SHAPE, np.float32)
    array[20:40] = rng.normal(0, 1, array[20:40].shape)
    return array


def saturated(rng):
    return np.minimum(rng.integers(0, 600, SHAPE), 255).astype(np.uint8)


def computed_tomography(rng):
    """Padded beyond the field of view, a few voxels below it, air, a body on a table."""
    x, y, _ = np.indices(SHAPE)
    array = rng.normal(-1000, 8, SHAPE)
    array[:, 60:64] = -200
    array[20:50, 30:60] = rng.normal(40, 20, (30, 30, SHAPE[2]))
    array[np.hypot(x - 35, y - 39) > 37] = -1024
    array[35, 40, ::9] = -1500
    return array.astype(np.int16)


def frequent(rng):
    """A level that almost a tenth of the voxels have is not their background."""
    array = rng.integers(20, 256, SHAPE).astype(np.uint8)
    array.flat[: array.size * 9 // 100] = 21
    return array


def sentinel(rng):
    array = normal(rng)
    array[:30] = -3.4e38
    return array


def huge(rng):
    return rng.normal(0, 1e17, SHAPE).astype(np.float32)


def unlike_its_sample(rng):
    """The sampled voxels alone are small, so that every bracket misses."""
    array = rng.uniform(10, 20, 500_000).astype(np.float32)
    array[::7] = rng.uniform(1, 2, 71_429)
    array[-1] = 0  # below the foreground, of which the sample is drawn
    assert len(array) // statistics.SAMPLE == 7 and len(array) % 7
    return array.reshape(-1, 1, 1)


# Each with its background, None where that is the minimum.
KINDS = {
    normal: None,
    mostly_background: 0,
    ties: 100,
    few_values: 0,
    binary: 0,
    mostly_255: 0,
    hounsfield: None,
    ringing: 0,
    standardised: None,
    saturated: None,
    computed_tomography: -1024,
    frequent: None,
    sentinel: None,
    huge: None,
    unlike_its_sample: None,
}


@pytest.mark.parametrize("kind", KINDS)
def test_percentiles_are_numpys_to_the_last_bit(kind):
    array = kind(np.random.default_rng(0))
    shares = (0, 0.5, 3, 50, 99.5, 99.9999, 100)
    least = float(array.min())
    above = array[array > least].astype(np.float64)
    expected = np.percentile(above, shares)
    np.testing.assert_array_equal(statistics.percentiles(array, shares, above=least), expected)
    expected = np.percentile(array.astype(np.float64), shares)
    np.testing.assert_array_equal(statistics.percentiles(array, shares), expected)
    small = array[:9, :9, :9]
    expected = np.percentile(small.astype(np.float64), shares)
    np.testing.assert_array_equal(statistics.percentiles(small, shares), expected)


@pytest.mark.parametrize(("kind", "background"), KINDS.items())
def test_measures_what_numpy_measures(kind, background):
    array = kind(np.random.default_rng(0)).astype(np.float64)
    background = array.min() if background is None else background
    found = statistics.measure(array[..., None])[0]
    above = array[array > background]
    assert (found.least, found.background, found.most) == (array.min(), background, array.max())
    assert (found.above, found.voxels) == (above.size, array.size)
    assert (found.low, found.high) == tuple(np.percentile(above, statistics.PERCENTILES))
    spread = above.std() or 1.0
    assert found.mean == pytest.approx(above.mean(), abs=1e-5 * spread)
    assert found.sd == pytest.approx(above.std(), rel=1e-4)
    np.testing.assert_allclose(found.whole, (array.mean(), array.std()), rtol=1e-4, atol=1e-5)
    # The sample's histogram is that of all voxels, within the noise of its size.
    bins = np.histogram(np.clip(above, found.low, found.high), 64, (found.low, found.high))[0]
    total = found.histogram.sum()
    assert min(above.size, statistics.SAMPLE) / 2 < total <= min(above.size, 2 * statistics.SAMPLE)
    if kind is not unlike_its_sample and found.low < found.high:
        np.testing.assert_allclose(found.histogram / total, bins / above.size, atol=0.005)


def test_a_constant_channel_has_no_foreground():
    found = statistics.measure(np.full((4, 5, 6, 1), 7, np.int16))[0]
    assert found[:-1] == (7, 7, 7, 120, 0, 7, 0, 7, 7, (7, 0)) and not found.histogram.any()


@pytest.mark.parametrize("size", [10, 11, 27, 240])
def test_the_background_has_a_tenth_of_the_voxels_and_less_than_a_tenth_as_many_below(size):
    """Whatever the numbers, it is what the definition finds among all values."""
    rng = np.random.default_rng(size)
    for _ in range(200):
        array = np.floor(rng.exponential(rng.uniform(0.2, 5), size)) - (rng.random(size) < 0.05)
        if array.min() == array.max():
            continue
        fitting = [
            value
            for value in np.unique(array)
            if 10 * (array == value).sum() >= size
            and 10 * (array < value).sum() < (array > value).sum()
        ]
        found = statistics.measure(rng.permutation(array).reshape(-1, 1, 1, 1))[0]
        assert [found.background] == (fitting or [array.min()])


@pytest.mark.parametrize("axes", [(0, 1, 2), (2, 0, 1), (1, 2, 0)])
def test_flat_follows_the_memory_without_a_copy(axes):
    memory = np.arange(120.0)
    turned = memory.reshape(4, 5, 6).transpose(axes)[::-1, :, ::-1]
    flat = statistics.flat(turned)
    np.testing.assert_array_equal(flat, memory)
    assert np.shares_memory(flat, memory)
