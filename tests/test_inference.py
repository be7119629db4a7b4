"""Windows tile a volume exactly, and what is asked window by window is what the whole would say."""

import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rubik_jax import inference
from rubik_jax.errors import UserError

RNG = np.random.default_rng(0)
AXES = st.sets(st.integers(0, 2)).map(tuple)


def whole(volume, forward=lambda windows: windows, **options):
    """The slabs put together, which must be contiguous and in order."""
    given_ = {"overlap": 0.5, "batch_size": 3, "classes": volume.shape[-1]} | options
    slabs = list(inference.sliding(forward, volume, **given_))
    ends = np.cumsum([0, *(len(slab) for _, slab in slabs)])
    assert [begin for begin, _ in slabs] == ends[:-1].tolist()
    return np.concatenate([slab for _, slab in slabs])


@given(st.integers(1, 300), st.integers(1, 90), st.floats(0, 1, exclude_max=True))
def test_windows_tile_any_axis_exactly(size, window, overlap):
    found = inference.starts(size, window, overlap)
    if size <= window:
        assert found == (0,)
        return
    assert found[0] == 0 and found[-1] + window == size
    steps = np.diff(found)
    assert steps.min() >= 1 and np.ptp(steps) <= 1  # none twice, evenly spread
    assert window - steps.max() >= min(overlap * window, window - 1)
    covered = np.zeros(size, bool)
    for start in found:
        covered[start : start + window] = True
    assert covered.all()
    # One window fewer would not do.
    fewer = -(-(size - window) // max(1, len(found) - 2))
    assert len(found) == 2 or window - fewer < min(np.ceil(overlap * window), window - 1)


def test_windows_of_a_known_axis():
    assert inference.starts(10, 4, 0.5) == (0, 2, 4, 6)
    assert inference.starts(10, 4, 0) == (0, 3, 6)
    assert inference.starts(8, 4, 0) == (0, 4)
    for overlap in (1.0, -0.1):
        with pytest.raises(UserError, match=r"config\.inference\.overlap is"):
            inference.starts(10, 4, overlap)


@given(st.tuples(*[st.integers(1, 12)] * 3), st.sampled_from([1 / 8, 1 / 2, 1e-3]))
def test_the_middle_counts_most_alike_on_both_sides_and_nothing_counts_nothing(window, sigma):
    weight = inference.gaussian(window, sigma)
    assert weight.shape == window and weight.dtype == np.float32
    assert weight.max() == 1 and weight.min() >= np.float32(1e-3)
    assert weight[tuple(n // 2 for n in window)] == 1
    np.testing.assert_allclose(np.flip(weight), weight, rtol=1e-6)


def test_the_bell_has_the_standard_deviation_of_nnu_net():
    weight = inference.gaussian((33, 1, 1))[:, 0, 0]
    away = np.arange(33) - 16
    deviation = np.sqrt((weight * away**2).sum() / weight.sum())
    assert deviation == pytest.approx(33 / 8, rel=0.02)


@settings(deadline=None)
@given(
    st.tuples(*[st.integers(1, 11)] * 3),
    st.tuples(*[st.integers(1, 7)] * 3),
    st.floats(0, 0.8),
    st.integers(1, 5),
    AXES,
)
def test_a_network_that_repeats_its_input_gives_the_volume_back(
    size, window, overlap, batch_size, mirror
):
    volume = RNG.random((*size, 2)).astype(np.float16)
    volume[..., 1] = 1 - volume[..., 0]
    found = whole(volume, window=window, overlap=overlap, batch_size=batch_size, mirror=mirror)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, volume, atol=1e-5)
    np.testing.assert_allclose(found.sum(axis=-1), 1, atol=1e-3)  # float16's rounding of 1 - p


def test_every_call_has_the_same_shape_and_sees_float32():
    seen = set()

    def forward(windows):
        seen.add((windows.shape, windows.dtype))
        return windows

    whole(RNG.random((9, 5, 3, 2)), forward, window=(4, 4, 4), batch_size=5, mirror=(1,))
    assert seen == {((5, 4, 4, 4, 2), np.dtype(np.float32))}


def _depends_on_place(windows):
    """Each voxel's answer depends on where in the window it lies, like a network's at its rim."""
    place = np.arange(windows[0, ..., 0].size).reshape(windows.shape[1:4])
    first = 1 / (1 + np.exp(-windows[..., 0] * np.cos(place)))
    return np.stack([first, 1 - first], axis=-1)


def test_the_batch_size_changes_nothing():
    volume = RNG.random((11, 6, 5, 1))
    results = [
        whole(volume, _depends_on_place, window=(4, 4, 4), classes=2, batch_size=b)
        for b in (1, 4, 100)
    ]
    np.testing.assert_allclose(results[0].sum(axis=-1), 1, rtol=1e-5)
    for result in results[1:]:
        np.testing.assert_array_equal(result, results[0])


def test_overlapping_answers_are_a_mean_by_weight():
    window, size = (4, 4, 4), (7, 5, 6)
    volume = RNG.random((*size, 1)).astype(np.float32)
    weight = inference.gaussian(window)[..., None]
    sums, weights = np.zeros((*size, 2)), np.zeros((*size, 1))
    for x in (0, 1, 3):
        for y in (0, 1):
            for z in (0, 2):
                at = np.s_[x : x + 4, y : y + 4, z : z + 4]
                sums[at] += weight * _depends_on_place(volume[at][None])[0]
                weights[at] += weight
    found = whole(volume, _depends_on_place, window=window, classes=2)
    np.testing.assert_allclose(found, sums / weights, rtol=1e-5)


def test_mirroring_is_the_mean_over_all_flips_and_makes_the_answer_symmetric():
    volume = RNG.random((4, 4, 4, 1)).astype(np.float32)

    def ask(array, mirror):
        return whole(array, _depends_on_place, window=(4, 4, 4), classes=2, mirror=mirror)

    flips = [(), (0,), (2,), (0, 2)]
    mean = np.mean([np.flip(ask(np.flip(volume, f), ()), f) for f in flips], axis=0)
    np.testing.assert_allclose(ask(volume, (0, 2)), mean, rtol=1e-5)
    assert np.abs(mean - ask(volume, ())).max() > 0.01
    turned = np.flip(ask(np.flip(volume, (0, 2)), (0, 2)), (0, 2))
    np.testing.assert_allclose(turned, mean, rtol=1e-5)
    for wrong in ((3,), (0, 0), (-1,)):
        with pytest.raises(UserError, match=r"config\.inference\.mirror is"):
            ask(volume, wrong)


def test_a_small_volume_is_padded_by_its_edge_on_both_sides():
    volume = np.arange(1, 4, dtype=np.float32).reshape(3, 1, 1, 1)
    seen = []
    found = whole(volume, lambda w: seen.append(w) or w, window=(6, 1, 1), batch_size=1)
    assert seen[0].ravel().tolist() == [1, 1, 2, 3, 3, 3]
    np.testing.assert_allclose(found, volume)


def test_a_volume_on_disk_is_streamed(tmp_path):
    shape = (1500, 16, 16, 1)
    volume = np.lib.format.open_memmap(tmp_path / "v.npy", "w+", np.float16, shape)
    volume[:] = np.linspace(0, 1, 1500)[:, None, None, None]
    volume = np.load(tmp_path / "v.npy", mmap_mode="r")
    classes = 4
    accumulator = 1500 * 16 * 16 * classes * 4

    def forward(windows):
        return np.repeat(windows, classes, axis=-1)

    options = {"window": (16, 16, 16), "overlap": 0.5, "batch_size": 2, "classes": classes}
    tracemalloc.start()
    try:
        planes = 0
        for begin, slab in inference.sliding(forward, volume, **options):
            assert begin == planes
            np.testing.assert_allclose(slab[0, 0, 0], volume[begin, 0, 0, 0], atol=1e-3)
            planes += len(slab)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert planes == 1500
    assert peak < accumulator / 6


def test_a_class_is_the_mean_over_windows_and_flips_without_the_copies_that_fill_a_batch():
    volume = RNG.random((10, 4, 4, 1)).astype(np.float32)

    def forward(windows):  # the share of the brightness that lies in the window's left half
        left = windows[:, :2].mean(axis=(1, 2, 3, 4)) / windows.mean(axis=(1, 2, 3, 4)) / 2
        return np.stack([left, 1 - left], axis=-1)

    options = {"window": (4, 4, 4), "overlap": 0.5}
    parts = np.concatenate([forward(volume[None, x : x + 4]) for x in (0, 2, 4, 6)])
    for batch_size in (1, 3, 8):
        found = inference.classify(forward, volume, **options, batch_size=batch_size)
        np.testing.assert_allclose(found, parts.mean(axis=0), rtol=1e-5)
    both = inference.classify(forward, volume, **options, batch_size=3, mirror=(0,))
    np.testing.assert_allclose(both, 0.5, rtol=1e-5)


def test_a_window_as_large_as_the_volume_sees_it_whole_and_once():
    volume = RNG.random((3, 4, 2, 1)).astype(np.float32)
    seen = []

    def forward(windows):
        seen.extend(windows)
        return np.ones((len(windows), 3), np.float32) / 3

    inference.classify(forward, volume, window=(5, 4, 2), overlap=0.5, batch_size=1)
    assert len(seen) == 1
    np.testing.assert_array_equal(seen[0][1:4], volume)
