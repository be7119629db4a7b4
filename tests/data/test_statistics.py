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


def hounsfield(rng):
    return rng.integers(-1024, 3000, SHAPE).astype(np.int16)


def sentinel(rng):
    array = normal(rng)
    array[:30] = -3.4e38
    return array


def huge(rng):
    return rng.normal(0, 1e17, SHAPE).astype(np.float32)


def unlike_its_sample(rng):
    """The sampled voxels alone are small, so that every bracket misses."""
    array = rng.uniform(10, 20, 499_999).astype(np.float32)
    array[:: 499_998 // statistics.SAMPLE] = rng.uniform(1, 2, 166_667)
    return array.reshape(-1, 1, 1)


KINDS = (
    normal,
    mostly_background,
    ties,
    few_values,
    binary,
    hounsfield,
    sentinel,
    huge,
    unlike_its_sample,
)


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


@pytest.mark.parametrize("kind", KINDS)
def test_measures_what_numpy_measures(kind):
    array = kind(np.random.default_rng(0)).astype(np.float64)
    found = statistics.measure(array[..., None])[0]
    above = array[array > array.min()]
    assert (found.least, found.most) == (array.min(), array.max())
    assert (found.above, found.voxels) == (above.size, array.size)
    assert (found.low, found.high) == tuple(np.percentile(above, statistics.PERCENTILES))
    spread = above.std() or 1.0
    assert found.mean == pytest.approx(above.mean(), abs=1e-5 * spread)
    assert found.sd == pytest.approx(above.std(), rel=1e-4)
    np.testing.assert_allclose(found.whole, (array.mean(), array.std()), rtol=1e-4, atol=1e-5)
    # The sample's histogram is that of all voxels, within the noise of its size.
    bins = np.histogram(np.clip(above, found.low, found.high), 64, (found.low, found.high))[0]
    total = found.histogram.sum()
    assert min(above.size, statistics.SAMPLE) / 2 < total <= above.size
    if kind is not unlike_its_sample and found.low < found.high:
        np.testing.assert_allclose(found.histogram / total, bins / above.size, atol=0.005)


def test_a_constant_channel_has_no_foreground():
    found = statistics.measure(np.full((4, 5, 6, 1), 7, np.int16))[0]
    assert found[:8] == (7, 7, 120, 0, 7, 0, 7, 7) and not found.histogram.any()
    assert found.whole == (7, 0)


@pytest.mark.parametrize("axes", [(0, 1, 2), (2, 0, 1), (1, 2, 0)])
def test_flat_follows_the_memory_without_a_copy(axes):
    memory = np.arange(120.0)
    turned = memory.reshape(4, 5, 6).transpose(axes)[::-1, :, ::-1]
    flat = statistics.flat(turned)
    np.testing.assert_array_equal(flat, memory)
    assert np.shares_memory(flat, memory)
